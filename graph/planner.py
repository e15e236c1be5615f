"""Checks a spec against the code and orders it. Reports every mistake at once, each by its config key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from graphlib import CycleError, TopologicalSorter
from typing import Any

from graph import contracts, partition
from graph.build import Builder
from graph.errors import ConfigError, nearest
from graph.node import Contract, Node
from graph.placement import HERE, context_problems, parse_placement
from graph.plan import Plan, PlannedEdge, PlannedNode
from graph.ports import Ports, batch_problem, ports_of
from graph.spec import EdgeSpec, NodeSpec, Policy, parse_nodes, switched_off

DEFAULT_CAPACITY: Mapping[Policy, int] = {"latest": 1, "block": 4, "hold": 1}
JOIN_WINDOW = 64  # captures that a join keeps while its slowest input is under way


def make_plan(nodes: Any, placement: Any, builder: Builder | None = None) -> Plan:
    """The plan of the graph `nodes` on the workers `placement`; ConfigError with all mistakes."""
    plan = _Planner(nodes, placement, builder or Builder()).plan()
    if problems := list(partition.problems(plan)):
        raise ConfigError(problems)
    return plan


class _Planner:
    """Collects problems while it turns specs into a plan."""

    def __init__(self, nodes: Any, placement: Any, builder: Builder) -> None:
        self.specs, self.problems = parse_nodes(nodes)
        self.off = switched_off(nodes)
        self.workers, placement_problems = parse_placement(placement)
        self.problems += [*placement_problems, *context_problems(self.workers, builder)]
        self.builder = builder
        self.classes: dict[str, type[Node]] = {}
        self.ports: dict[str, Ports] = {}

    def plan(self) -> Plan:
        for name, spec in self.specs.items():
            self._check_class(name, spec)
        for name, spec in self.specs.items():
            self._check_wiring(name, spec)
            if spec.worker not in self.workers:
                hint = nearest(spec.worker, self.workers)
                self.problems.append(f"nodes.{name}.worker: there is no worker {spec.worker!r} in placement{hint}")
            elif spec.on_stall == "restart" and self.workers[spec.worker].site == HERE:
                self.problems.append(
                    f"nodes.{name}.on_stall: is 'restart', but nothing can end a thread that hangs, only a process; "
                    f"expected placement.{spec.worker}.kind=process, or on_stall 'warn' or 'stop'"
                )
        order = self._order()
        if not self.specs:
            self.problems.append("nodes: the graph has no nodes")
        if self.problems:
            raise ConfigError(self.problems)
        planned = self._planned(order)
        if self.problems:
            raise ConfigError(self.problems)
        return planned

    def _check_class(self, name: str, spec: NodeSpec) -> None:
        config = {"_target_": spec.target, **spec.params}
        found = list(self.builder.problems(f"nodes.{name}", config))
        self.problems += found
        if any(p.startswith(f"nodes.{name}._target_:") for p in found):
            return
        cls = self.builder.resolve(spec.target)
        if not (isinstance(cls, type) and issubclass(cls, Node)):
            self.problems.append(f"nodes.{name}._target_: {spec.target} is no node; expected a subclass of graph.Node")
            return
        try:
            self.ports[name] = ports_of(cls)
            self.classes[name] = cls
        except (TypeError, NameError) as e:
            self.problems.append(f"nodes.{name}: {e}")

    def _check_wiring(self, name: str, spec: NodeSpec) -> None:
        ports = self.ports.get(name)
        if ports is None:
            return
        key = f"nodes.{name}.inputs"
        for port, edges in spec.inputs.items():
            if port in ports.inputs:
                self.problems += [
                    m for e in edges if (m := self._edge_problem(f"{key}.{port}", e, ports.inputs[port].type))
                ]
            else:
                self.problems.append(f"{key}.{port}: {spec.target} has no such input{nearest(port, ports.inputs)}")
        for port, p in ports.inputs.items():
            left = [e for e in spec.inputs.get(port, ()) if e.source.partition(".")[0] not in self.off]
            if p.required and not left:
                off = ", ".join(e.source for e in spec.inputs.get(port, ()))
                why = f"only {off} would feed it, which is switched off" if off else "nothing is connected"
                self.problems.append(f"{key}.{port}: expects {p.type.__name__}, but {why}")
        triggers = [e for es in spec.inputs.values() for e in es if e.policy != "hold"]
        if ports.inputs and spec.inputs and not triggers:
            self.problems.append(
                f"{key}: all inputs hold, so nothing would ever trigger it; make one `latest` or `block`"
            )
        if spec.batch is not None and (problem := batch_problem(self.classes[name], ports)):
            self.problems.append(f"nodes.{name}.batch: {problem}")
        if spec.batch is not None and len(triggers) < sum(map(len, spec.inputs.values())):
            self.problems.append(f"nodes.{name}.batch: an input that holds has no place in a batch; make it `latest`")
        if spec.in_flight is not None and ports.inputs:
            self.problems.append(f"nodes.{name}.in_flight: only a source has one, and {spec.target} has inputs")
        if spec.on_error == "skip" and not ports.inputs:
            self.problems.append(f"nodes.{name}.on_error: a source has nothing to skip; expected 'stop' or 'restart'")

    def _edge_problem(self, key: str, edge: EdgeSpec, want: type) -> str | None:
        node, _, output = edge.source.partition(".")
        if node in self.off:
            return None
        if node not in self.specs:
            return f"{key}: there is no node {node!r}{nearest(node, self.specs)}"
        if node not in self.ports:
            return None  # its own mistake is reported already
        outputs = self.ports[node].outputs
        if not outputs:
            return f"{key}: {node!r} is a sink, it emits nothing"
        if output not in outputs:
            names = ", ".join(f"{node}.{o}" if o else node for o in outputs)
            return f"{key}: there is no output {edge.source!r}; expected {names}"
        got = outputs[output].type
        return (
            None
            if issubclass(got, want)
            else f"{key}: expects {want.__name__}, but {edge.source!r} emits {got.__name__}"
        )

    def _order(self) -> list[str]:
        sources = {
            n: {e.source.partition(".")[0] for es in s.inputs.values() for e in es} for n, s in self.specs.items()
        }
        sorter = TopologicalSorter({n: sorted(deps & self.specs.keys()) for n, deps in sources.items()})
        try:
            return list(sorter.static_order())
        except CycleError as e:
            self.problems.append("nodes: there is a cycle: " + " -> ".join(reversed(e.args[1])))
            return []

    def _planned(self, order: list[str]) -> Plan:
        sources = [n for n in order if not self.ports[n].inputs]
        lossless = any(self.classes[n].lossless(self.specs[n].params) for n in sources)
        nodes: dict[str, PlannedNode] = {}
        for name in order:
            edges = tuple(self._edges(self.specs[name], lossless, nodes))
            nodes[name] = self._contracted(name, edges, nodes)
        return Plan(_telling_absence(nodes), lossless, self.workers, tuple(sorted(self.off)))

    def _edges(self, spec: NodeSpec, lossless: bool, earlier: Mapping[str, PlannedNode]) -> Iterator[PlannedEdge]:
        alive = [(p, e) for p, es in spec.inputs.items() for e in es if e.source.partition(".")[0] not in self.off]
        origins = [
            self._origins(spec.name, port, e, earlier[node].origins(output))
            for port, e in alive
            for node, _, output in [e.source.partition(".")]
        ]
        triggers = {port: o for (port, e), o in zip(alive, origins, strict=True) if e.policy != "hold"}
        joined, aligned = len(triggers) > 1, len(triggers) > 1 and len({*triggers.values()}) > 1
        for (port, edge), known in zip(alive, origins, strict=True):
            node, _, output = edge.source.partition(".")
            policy: Policy = "block" if lossless and edge.policy == "latest" else edge.policy
            capacity, copies = edge.capacity or self._capacity(policy, spec, earlier[node], known), earlier[node].copies
            if joined and policy != "hold" and edge.capacity is None and (policy == "latest" or aligned):
                capacity = JOIN_WINDOW
            elif len(alive) > 1 and policy == "block":  # one more, to tell that nothing more comes of a capture
                capacity = max(capacity, copies * len(known) + 1)
            kind = self.ports[node].outputs[output].type
            age = None if lossless and policy != "hold" else edge.max_age_ms
            yield PlannedEdge(
                node, output, spec.name, port, kind, policy, capacity, edge.every, age, known,
                is_picky=edge.only is not None, copies=copies,
            )  # fmt: skip

    def _origins(self, name: str, port: str, edge: EdgeSpec, known: frozenset[str]) -> frozenset[str]:
        """The source outputs whose captures may arrive on an edge, of those `known` to its producer."""
        if edge.only is None:
            return known
        found = frozenset(o for o in known if o in edge.only or o.partition(".")[0] in edge.only)
        if not found:
            key = f"nodes.{name}.inputs.{port}.only"
            self.problems.append(
                f"{key}: nothing of {', '.join(edge.only)} comes by {edge.source!r}{nearest('', known)}"
            )
        return found

    @staticmethod
    def _capacity(policy: Policy, target: NodeSpec, source: PlannedNode, origins: frozenset[str]) -> int:
        """How many packets may wait where nobody has said.

        What comes together must not push itself out: the results of one batch, the newest of each origin.
        """
        batch = source.spec.batch if policy == "latest" else target.batch if policy == "block" else None
        together = max(batch.max if batch else 1, len(origins) if policy == "latest" else 1)
        return max(DEFAULT_CAPACITY[policy], together)

    def _contracted(self, name: str, edges: tuple[PlannedEdge, ...], earlier: Mapping[str, PlannedNode]) -> PlannedNode:
        spec, cls = self.specs[name], self.classes[name]
        given: dict[str, list[Contract]] = {}
        for e in edges:
            given.setdefault(e.port, []).append(earlier[e.source].emits.get(e.output, {}))
        expects = cls.expects(spec.params)
        for e in edges:
            emitted = earlier[e.source].emits.get(e.output, {})
            for mismatch in contracts.mismatches(expects.get(e.port, {}), emitted):
                self.problems.append(f"nodes.{name}.inputs.{e.port}: {mismatch} from {e.source!r}")
        emits = cls.emits(spec.params, {port: contracts.common(cs) for port, cs in given.items()})
        return PlannedNode(spec, self.ports[name], self.workers[spec.worker], edges, expects, emits)


def _telling_absence(nodes: Mapping[str, PlannedNode]) -> dict[str, PlannedNode]:
    """The same nodes, with the edges marked that lead, at any distance, to a node that combines inputs."""
    wanted: set[str] = set()
    told: dict[str, PlannedNode] = {}
    for name in reversed(list(nodes)):
        node = nodes[name]
        tells = len(node.edges) > 1 or name in wanted
        edges = tuple(replace(e, tells_absence=tells) for e in node.edges)
        wanted |= {e.source for e in edges if tells}
        told[name] = replace(node, edges=edges)
    return {name: told[name] for name in nodes}
