"""What the user wrote: plain, frozen data, parsed from a config and not yet checked against code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args

from graph.errors import nearest

Policy = Literal["latest", "block", "hold"]
OnError = Literal["stop", "skip", "restart"]
OnStall = Literal["warn", "stop", "restart"]


@dataclass(frozen=True, slots=True)
class EdgeSpec:
    """One connection into a port, as its consumer declares it."""

    source: str
    """"node", or "node.output" where a node has several."""
    policy: Policy = "latest"
    capacity: int | None = None
    """Packets that may wait. None: 1 for `latest`, or one for each origin, or as many as the source's batch; 4 for
    `block`, or as many as the own batch; a port that is joined keeps what the join needs."""
    every: int = 1
    """Takes the first of every N packets."""
    max_age_ms: float | None = None
    """Older packets are dropped as stale. For `hold`, age is counted back from the capture it is combined with."""
    only: tuple[str, ...] | None = None
    """Takes the captures of these sources, or of their outputs, of all that the producer serves; None: of all."""


@dataclass(frozen=True, slots=True)
class BatchSpec:
    """How many messages one step of a node may take together, and how long it may wait for them."""

    max: int
    window_ms: float = 0.0
    """The oldest message waits no longer than this for others; 0: take what is there."""


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """One node: its class and parameters, its connections, and how it is to be run."""

    name: str
    target: str
    params: Mapping[str, Any]
    inputs: Mapping[str, tuple[EdgeSpec, ...]] = field(default_factory=dict)
    worker: str = "main"
    on_error: OnError = "stop"
    max_restarts: int = 5
    backoff_s: float = 0.5
    """Pause before the first restart; doubles with each further one, up to 30 s."""
    on_stall: OnStall = "warn"
    stall_after_s: float | None = 5.0
    """A step longer than this is reported with its stack; null switches the report off."""
    min_rate_hz: float | None = None
    """Steps a second below which the node counts as too slow, in metrics and status; null: it may be as slow as it is.
    """
    in_flight: int | None = None
    """Of a source: how many captures may be between it and the sinks; null: as many as the mailboxes hold."""
    align_ms: float = 50.0
    """How far apart the captures of different sources may be that are processed together."""
    batch: BatchSpec | None = None
    """None: a step takes one message. Else `process_batch` takes several of the node's only port."""


_RUN_KEYS = frozenset(f.name for f in fields(NodeSpec)) - {"name", "target", "params", "inputs"}
_EDGE_KEYS = tuple(f.name for f in fields(EdgeSpec))
_BATCH_KEYS = tuple(f.name for f in fields(BatchSpec))
_WORDS: dict[str, tuple[str, ...]] = {
    "policy": get_args(Policy),
    "on_error": get_args(OnError),
    "on_stall": get_args(OnStall),
}
_COUNTS = ("capacity", "every", "in_flight", "max")
_AMOUNTS = (
    *("max_age_ms", "backoff_s", "stall_after_s", "align_ms", "max_restarts", "min_rate_hz"),
    "window_ms",
)
_MAY_BE_NULL = frozenset({"capacity", "max_age_ms", "stall_after_s", "in_flight", "min_rate_hz", "only"})


def parse_nodes(nodes: Any) -> tuple[dict[str, NodeSpec], list[str]]:
    """Specs by node name, and every mistake of form. A node with a `_target_` of null is switched off: left out."""
    if not isinstance(nodes, Mapping):
        return {}, [f"nodes: is {nodes!r}; expected a mapping from node names to nodes"]
    problems: list[str] = []
    specs = {}
    for name, entry in nodes.items():
        spec = _parse_node(str(name), entry, problems)
        if spec is not None:
            specs[spec.name] = spec
    return specs, problems


def switched_off(nodes: Any) -> frozenset[str]:
    """Names of the nodes that stand in the graph with a `_target_` of null."""
    entries = nodes.items() if isinstance(nodes, Mapping) else ()
    return frozenset(
        str(n)
        for n, e in entries
        if isinstance(e, Mapping) and "_target_" in (m := _merged(e)) and m["_target_"] is None
    )


def _merged(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The entry over what it refers to with `use:`, also in the mappings inside."""
    base = entry.get("use")
    over = {k: _merged(v) if isinstance(v, Mapping) else v for k, v in entry.items()}
    if isinstance(base, Mapping):
        del over["use"]
    return {**(_merged(base) if isinstance(base, Mapping) else {}), **over}


def _parse_node(name: str, entry: Any, problems: list[str]) -> NodeSpec | None:
    key = f"nodes.{name}"
    if not isinstance(entry, Mapping):
        problems.append(f"{key}: is {entry!r}; expected a mapping with `_target_`, or `use:` with one")
        return None
    if not name.isidentifier():
        problems.append(f"{key}: a node's name is made of letters, digits and underscores")
    merged = _merged(entry)
    if "use" in entry and not isinstance(entry["use"], Mapping):
        problems.append(f"{key}.use: is {entry['use']!r}; expected a mapping with `_target_`, such as ${{detector}}")
        return None
    if "_target_" not in merged:
        problems.append(f"{key}._target_: is missing; expected the path of a class, such as nodes.view.View")
        return None
    target = merged.pop("_target_")
    if target is None:
        return None
    inputs = _parse_inputs(f"{key}.inputs", merged.pop("inputs", None), problems)
    batch = _parse_batch(f"{key}.batch", merged.pop("batch", None), problems)
    run = {k: merged.pop(k) for k in sorted(_RUN_KEYS & merged.keys())}
    problems += [f"{key}.{k}: {m}" for k, v in run.items() if (m := _wrong(k, v))]
    return NodeSpec(name, str(target), merged, inputs, batch=batch, **run)


def _parse_batch(key: str, value: Any, problems: list[str]) -> BatchSpec | None:
    if value is None:
        return None
    if not isinstance(value, Mapping):
        problems.append(f"{key}: is {value!r}; expected a mapping, such as {{max: 4, window_ms: 3}}")
        return None
    wrong = [f"{key}.{k}: a batch has no such setting{nearest(k, _BATCH_KEYS)}" for k in value if k not in _BATCH_KEYS]
    wrong += [f"{key}.{k}: {m}" for k, v in value.items() if k in _BATCH_KEYS and (m := _wrong(k, v))]
    if "max" not in value:
        wrong.append(f"{key}.max: is missing; expected how many messages one step may take, such as 4")
    problems += wrong
    return None if wrong else BatchSpec(**value)


def _parse_inputs(key: str, inputs: Any, problems: list[str]) -> dict[str, tuple[EdgeSpec, ...]]:
    if inputs is None:
        return {}
    if not isinstance(inputs, Mapping):
        problems.append(f"{key}: is {inputs!r}; expected a mapping from ports to nodes")
        return {}
    edges: dict[str, tuple[EdgeSpec, ...]] = {}
    for port, value in inputs.items():
        if value is None:
            continue
        entries = value if isinstance(value, list) else [value]
        parsed = [_parse_edge(f"{key}.{port}", e, problems) for e in entries]
        edges[str(port)] = tuple(e for e in parsed if e is not None)
    return edges


def _parse_edge(key: str, value: Any, problems: list[str]) -> EdgeSpec | None:
    if isinstance(value, str):
        return EdgeSpec(value)
    if not isinstance(value, Mapping) or not isinstance(value.get("source"), str):
        problems.append(f"{key}: is {value!r}; expected the name of a node, or a mapping with `source`")
        return None
    unknown = [k for k in value if k not in _EDGE_KEYS]
    problems += [f"{key}.{k}: an edge has no such setting{nearest(k, _EDGE_KEYS)}" for k in unknown]
    known = {k: v for k, v in value.items() if k in _EDGE_KEYS}
    wrong = [f"{key}.{k}: {m}" for k, v in known.items() if (m := _wrong(k, v))]
    problems += wrong
    if known.get("only") is not None and not wrong:
        known["only"] = (known["only"],) if isinstance(known["only"], str) else tuple(known["only"])
    return EdgeSpec(**known) if not wrong else EdgeSpec(known["source"])


def _wrong(key: str, value: Any) -> str | None:
    """What is wrong with a setting's value, or None."""
    if key in _WORDS and value not in _WORDS[key]:
        return f"is {value!r}{nearest(value, _WORDS[key])}"
    if value is None and key in _MAY_BE_NULL:
        return None
    if key == "only" and not (isinstance(value, str) or (isinstance(value, list) and value and _are_text(value))):
        return f"is {value!r}; expected the name of a source, or a list of names"
    if key in _COUNTS and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        return f"is {value!r}; expected a whole number, 1 or more"
    if key in _AMOUNTS and (not isinstance(value, int | float) or isinstance(value, bool) or value < 0):
        return f"is {value!r}; expected a number, 0 or more"
    if key == "worker" and not isinstance(value, str):
        return f"is {value!r}; expected the name of a worker"
    return None


def _are_text(values: list[Any]) -> bool:
    return all(isinstance(v, str) for v in values)
