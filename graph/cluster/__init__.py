"""Workers on the machines of a Ray cluster: an actor each, with frames in Ray's object store.

session   joins or starts the cluster; says what its machines have
worker    what a run holds of one actor: to the run it is one more process worker
line      one life of an actor as seen from the run: its commands, its counts, and the ends of its edges here
lane      edges between processes of this machine and an actor
pull      asks an actor for the messages of an edge, in order, some ahead
actor     the actor: makes its part of the graph and does as it is told
ends      where edges begin and end in an actor
loop      what waits in an actor's loop: for news from other threads, and for its turn

The run pushes to actors. Actors cannot call the run, so it pulls from them, as they do among themselves. A call that
is open is what an edge has under way: their number is bounded, since Ray itself would keep any number of frames.
"""
