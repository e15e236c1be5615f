"""What `command=` offers: each a class whose parameters stand in conf/command, and whose `execute` takes the graph."""
