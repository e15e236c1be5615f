"""How fast and how right the application's own models are: `command=bench` and `command=validate`.

`figures` makes numbers of samples, `stopwatch` times the engine inside a node, `scenarios` feeds the node, `pictures`
are what it is fed with, `subject` is a model under test, `machine` what it runs on. `agreement`, `scores` and `judge`
say how right it is. `tables` and `chart` show, `sweep` compares.
"""
