"""What a run holds of one actor: to the run one more process worker, which dies and is restarted like any other."""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any

from graph import logs
from graph.build import Builder
from graph.cluster.actor import SiteActor, Start
from graph.cluster.counts import Counts
from graph.cluster.line import Line
from graph.cluster.session import Session, offered
from graph.errors import NodeError
from graph.partition import Output, Part
from graph.placement import WorkerSpec
from graph.plan import Plan, PlannedEdge
from graph.process import OnEvent, Process
from graph.transport.memory import Handle
from graph.transport.ring import RingSpec

log = logging.getLogger(__name__)
SILENT_S = 15.0  # an actor that tells nothing for so long hangs as a whole, or its machine cannot be reached
STACK_S = 1.0


class Cluster:
    """The workers of one run that are actors."""

    def __init__(self, plan: Plan, is_stopping: Callable[[], bool]) -> None:
        self._nodes = [name for name, node in plan.nodes.items() if node.worker.kind == "ray"]
        self._is_stopping = is_stopping
        site = {name: node.worker.site for name, node in plan.nodes.items()}
        far = {name for name, worker in plan.workers.items() if worker.kind == "ray"}
        self.edges = [e for e in plan.edges if site[e.source] != site[e.target]]
        self.session = Session(next(w.address for w in plan.workers.values() if w.kind == "ray"))
        readers: dict[Output, set[str]] = {}
        for e in self.edges:
            if site[e.target] in far and site[e.source] not in far:
                readers.setdefault((e.source, e.output), set()).add(e.name)
        self.shared = {output for output, names in readers.items() if len(names) > 1}

    def worker(self, part: Part, worker: WorkerSpec, builder: Builder, on_event: OnEvent) -> ClusterProcess:
        """One of the workers."""
        return ClusterProcess(part, worker, builder, on_event, self)

    def join(self) -> bool:
        """Connect with the cluster; False where the run is to stop before that has come about."""
        return self.session.join(self._is_stopping)

    def leave(self) -> list[str]:
        """Disconnect from the cluster; the names of the nodes for which that was not possible."""
        return [] if self.session.leave() else self._nodes


class ClusterProcess(Process):
    """A worker that is an actor, from its first start over all restarts to its end."""

    def __init__(self, part: Part, worker: WorkerSpec, builder: Builder, on_event: OnEvent, cluster: Cluster) -> None:
        super().__init__(part, worker, builder, on_event)
        self._cluster = cluster
        self._line: Line | None = None
        self._generation = 0
        self._readers: dict[PlannedEdge, ClusterProcess] = {}
        self._sources: dict[PlannedEdge, ClusterProcess] = {}
        self._rings: Mapping[Output, Handle] = {}
        self._counts = Counts(part, self._block, self.books)
        self._how = ""
        self._memory_mb = 0.0

    @property
    def pid(self) -> int | None:
        """None: its process may be on another machine."""
        return None

    def spawn(self, rings: Mapping[Output, Handle]) -> None:
        """See `Process.spawn`."""
        import ray

        if not self._cluster.join():
            return
        self._rings = rings
        self._generation += 1
        self._how = ""
        self.is_to_restart = False
        counts = self._counts.begin(is_first=self._line is None)
        resources = dict(self.worker.resources)
        options = {
            "num_cpus": resources.pop("CPU", 1),
            "num_gpus": resources.pop("GPU", 0),
            "resources": resources,
            "max_restarts": 0,  # whether it is to be restarted is a matter of its nodes' policies
            "max_task_retries": 0,
            "scheduling_strategy": "SPREAD",
        }
        handle = ray.remote(**options)(SiteActor).remote()  # type: ignore[call-overload,unused-ignore]
        line = self._line = Line(self.part.name, handle, self._cluster.edges, self._generation, self._heard)
        self.is_up, self.is_ready = True, False
        self.started_at = monotonic()
        level = logging.getLogger().getEffectiveLevel()
        cut = [e for e, reader in self._readers.items() if not reader.is_up]

        def started(theta_ns: int) -> Start:
            edges, plugins = self._cluster.edges, self._builder.plugins
            return Start(self.part, edges, plugins, level, [*sys.path, os.getcwd()], counts, theta_ns, cut)

        line.start(started)

    def _tell(self, kind: str, *values: Any, fds: Any = ()) -> None:
        if self._line is not None and self.is_up:
            self._line.tell(kind, *values)

    def connect_out(self, edge: PlannedEdge, end: socket.socket, *, is_new: bool) -> None:
        """See `Site.connect_out`."""
        assert self._line is not None
        output = (edge.source, edge.output)
        ring = (self._rings[output], self.part.rings[output])
        counts = self.part.counts_captures
        self._line.connect_out(edge, end, ring, self.books.links[edge], is_new=is_new, counts_captures=counts)

    def connect_in(self, edge: PlannedEdge, end: socket.socket, ring: Handle, spec: RingSpec) -> None:
        """See `Site.connect_in`."""
        assert self._line is not None
        output = (edge.source, edge.output)
        shelf = self._cluster.session.shelf(output) if output in self._cluster.shared else None
        self._line.connect_in(edge, end, ring, spec, shelf=shelf)

    def connect_directly(self, edge: PlannedEdge, target: Process, *, is_new: bool) -> bool:
        """Have an actor take what another one sends, past this machine."""
        if not isinstance(target, ClusterProcess):
            return False
        assert self._line is not None
        self._readers[edge], target._sources[edge] = target, self
        target._generation += 1
        target._tell("pull", edge, self._line.handle, target._generation, is_new)
        return True

    def _heard(self, line: Line, kind: str, value: Any) -> None:
        """In the line's thread."""
        if line is not self._line:
            return
        if kind == "report":
            changes, events, self._memory_mb = value
            self._counts.merge(changes, line)
            for event, told in events:
                self._act_on(event, told)
        elif kind == "refused":
            cause = getattr(value, "cause", None) or value
            text = f"{type(cause).__name__}: {str(cause).strip().splitlines()[-1]}"
            doing = "send" if line.is_made else "start"
            self._on_event(self, "failed", NodeError(next(iter(self.part.nodes)), doing, text))
        elif kind == "died":
            self._how = self._how or _how(value)
            self._on_event(self, "died", line)

    def _act_on(self, kind: str, value: Any) -> None:
        if kind == "words":
            self.said = value
        elif kind == "log":
            logs.take_over(self.part.name, value)
        elif kind == "over":
            self.facts = value
            if not self.over.done():
                self.over.set_result(None)
        elif kind == "closed":
            self._closed.set_result(value)
        else:
            self._on_event(self, kind, value)

    def _take_down(self) -> str:
        line = self._line
        assert line is not None
        line.close()
        self._counts.settle(line)
        for edge, source in self._sources.items():
            source._tell("cut", edge, self._generation)
        return self._how

    def end(self, deadline: float) -> None:
        """See `Process.end`."""
        line = self._line
        if line is None:
            return
        if self.is_up and line.is_made:
            try:
                self._closed.result(max(0.0, deadline - monotonic()))
            except TimeoutError:
                log.warning("placement.%s: its actor did not end in time; killed", self.part.name)
        self.is_up = False
        line.close()

    def kill(self, why: str) -> None:
        """See `Process.kill`."""
        line = self._line
        if line is None or not self.is_up:
            return
        if line.is_made:
            log.warning("placement.%s: its actor %s; killed", self.part.name, why)
            self._how = f"{why}; it was killed"
            self._on_event(self, "died", line)
            return
        wanted = {"CPU": 1.0, **self.worker.resources}
        asked = ", ".join(f"{k} {v:g}" for k, v in wanted.items() if v)
        text = (
            f"no machine of the cluster had room for it within start_s={self.worker.start_s:g}: it wants {asked} "
            f"(placement.{self.part.name}.resources); there is: {offered(wanted)}"
        )
        if self._generation > 1 and self.restarts.count:
            self._how = text
            self._on_event(self, "died", line)
        else:
            self._on_event(self, "failed", NodeError(", ".join(self.part.nodes), "start", text))

    def check(self) -> None:
        """See `Process.check`: an actor that does not tell anything any more."""
        line = self._line
        if line is not None and self.is_ready and monotonic() - line.heard_at > SILENT_S:
            self.kill(f"has not answered for {SILENT_S:g} s")

    def is_this(self, control: object) -> bool:
        """See `Process.is_this`."""
        return control is self._line

    def stack(self) -> str:
        """See `Process.stack`."""
        return self._line.where(STACK_S) if self._line is not None else ""

    def resident_mb(self) -> float:
        """See `Process.resident_mb`."""
        return self._memory_mb

    def release(self) -> None:
        """See `Process.release`."""
        super().release()
        self._counts.close()


def _how(error: Exception) -> str:
    """How an actor died, in one line, by what Ray says of it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    because = next((line for line in lines if "because" in line), lines[0] if lines else "")
    _, _, cause = because.partition("because ")
    return f"died: {cause or because or type(error).__name__}"
