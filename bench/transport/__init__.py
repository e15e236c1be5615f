"""What it costs to hand camera frames from process to process: our workers beside peers, in one run.

    uv run python -m bench.transport                                   six minutes, ten with all peers
    uv run python -m bench.transport --quick --only hop,graph
    uv run --with iceoryx2==0.10.0,dora-rs==1.1.0,dora-rs-cli==1.1.0,pyarrow python -m bench.transport

How it is timed: a stamp of the monotonic clock, which all processes of a machine share, lies in the first bytes of
each frame. A latency ends when the consumer has read one byte of every page of 4 KiB. *Copy*: the stamp is taken before
a private frame is copied into the buffer of the transport, as the callback of a camera forces. *In place*: the pixels
were written straight into that buffer, and the stamp is taken when they are ready.

The peers: a ring in shared memory with semaphores (`ring.py`, what one writes by hand), slots with a socket for each
reader (`bare.py`, what ours is without a framework), multiprocessing.Queue with pickled arrays, and where they are
installed iceoryx2 and dora-rs. Contenders take turns within each repeat.
"""
