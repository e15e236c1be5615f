"""The dataflow framework: spec -> plan -> runtime. Knows nothing of cameras or models.

Nodes need only `Node`, `Stamp`, `Captured` and `EndOfStream`.
"""

from graph.node import Captured, Contract, EndOfStream, Node, Stamp

__all__ = ["Captured", "Contract", "EndOfStream", "Node", "Stamp"]
