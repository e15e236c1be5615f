"""A plan for people: as a table, and as a picture in Mermaid or SVG."""

from __future__ import annotations

from html import escape

from rich.console import Console
from rich.table import Table

from graph import contracts
from graph.plan import Plan, PlannedEdge, PlannedNode


def table(plan: Plan, *, width: int | None = None) -> str:
    """Nodes with their workers, inputs and outputs."""
    t = Table("node", "class", "worker", "inputs", "output", show_lines=True)
    for n in plan.nodes.values():
        worker = f"{n.worker.name} ({n.worker.kind})"
        batch = n.spec.batch
        together = [f"batch: up to {batch.max} within {batch.window_ms:g} ms"] if batch else []
        t.add_row(n.name, n.spec.target, worker, "\n".join([*map(_input, n.edges), *together]) or "source", _output(n))
    console = Console(width=width, highlight=False)
    if not console.is_terminal:
        console = Console(width=width or 140, highlight=False)
    with console.capture() as capture:
        console.print(t)
    mode = "lossless: every capture is processed" if plan.lossless else "live: newest wins"
    off = f"; switched off: {', '.join(plan.off)}" if plan.off else ""
    return f"{capture.get()}{len(plan.nodes)} nodes, {len(plan.edges)} edges, {mode}{off}"


def mermaid(plan: Plan) -> str:
    """A flow chart, nodes grouped by worker."""
    lines = ["flowchart LR"]
    for worker in dict.fromkeys(n.worker for n in plan.nodes.values()):
        lines.append(f'  subgraph w_{worker.name}["{worker.name} ({worker.kind})"]')
        lines += [
            f'    {n.name}["{n.name}<br/><small>{n.spec.target}</small>"]'
            for n in plan.nodes.values()
            if n.worker == worker
        ]
        lines.append("  end")
    lines += [f'  {e.source} -->|"{_label(e)}"| {e.target}' for e in plan.edges]
    return "\n".join(lines)


def svg(plan: Plan) -> str:
    """The same as a picture of its own: columns by distance from the sources."""
    column: dict[str, int] = {}
    for n in plan.nodes.values():
        column[n.name] = max((column[e.source] + 1 for e in n.edges), default=0)
    rows: dict[int, int] = {}
    place = {}
    for name, c in column.items():
        place[name] = (30 + c * 260, 40 + rows.get(c, 0) * 110)
        rows[c] = rows.get(c, 0) + 1
    width, height = 30 + (max(rows) + 1) * 260, 40 + max(rows.values()) * 110
    colours = ["#dbeafe", "#dcfce7", "#fef3c7", "#fce7f3", "#ede9fe", "#e5e7eb"]
    workers = list(dict.fromkeys(n.worker.name for n in plan.nodes.values()))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif"',
        'font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    parts += [_arrow(e, place) for e in plan.edges]
    for n in plan.nodes.values():
        fill = colours[workers.index(n.worker.name) % len(colours)]
        parts += _box(n, place[n.name], fill)
    return "\n".join([*parts, "</svg>"])


def _box(n: PlannedNode, place: tuple[int, int], fill: str) -> list[str]:
    x, y = place
    texts = [
        (21, "#111827", "bold", n.name),
        (37, "#374151", "normal", _short(n.spec.target)),
        (52, "#6b7280", "normal", n.worker.name),
    ]
    return [
        f'<rect x="{x}" y="{y}" width="170" height="58" rx="8" fill="{fill}" stroke="#374151"/>',
        *(
            f'<text x="{x + 85}" y="{y + dy}" text-anchor="middle" fill="{ink}" font-weight="{weight}">'
            f"{escape(t)}</text>"
            for dy, ink, weight, t in texts
        ),
    ]


def _arrow(e: PlannedEdge, place: dict[str, tuple[int, int]]) -> str:
    (x1, y1), (x2, y2) = place[e.source], place[e.target]
    start, end, bend = (x1 + 170, y1 + 29), (x2, y2 + 29), (x2 - x1 - 170) // 2
    path = f"M{start[0]},{start[1]} C{start[0] + bend},{start[1]} {end[0] - bend},{end[1]} {end[0]},{end[1]}"
    dash = ' stroke-dasharray="5 4"' if e.policy == "hold" else ""
    anchor = f'x="{end[0] - 6}" y="{end[1] - 5}" text-anchor="end" fill="#6b7280" font-size="10"'
    label = f"<text {anchor}>{escape(_settings(e))}</text>"
    return f'<path d="{path}" fill="none" stroke="#6b7280"{dash}/><circle cx="{end[0]}" cy="{end[1]}" r="3"/>{label}'


def _input(e: PlannedEdge) -> str:
    source = f"{e.source}.{e.output}" if e.output else e.source
    return f"{e.port} <- {source}: {_settings(e)}"


def _settings(e: PlannedEdge) -> str:
    words: list[str] = [e.policy]
    if e.every > 1:
        words.append(f"every {e.every}")
    if e.max_age_ms is not None:
        words.append(f"max age {e.max_age_ms:g} ms")
    if e.is_picky:
        words.append(f"only {', '.join(sorted(e.origins))}")
    return ", ".join(words)


def _output(n: PlannedNode) -> str:
    if n.is_sink:
        return "sink"
    rows = []
    for name, port in n.ports.outputs.items():
        known = contracts.text(n.emits.get(name, {}))
        rows.append(f"{name + ': ' if name else ''}{port.type.__name__}{' ' + known if known else ''}")
    return "\n".join(rows)


def _label(e: PlannedEdge) -> str:
    return f"{e.type.__name__}<br/>{_settings(e)}"


def _short(target: str) -> str:
    return target if len(target) < 27 else "..." + target[-24:]
