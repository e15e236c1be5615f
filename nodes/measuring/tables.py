"""Shows figures as tables that read well without colours, on 80 columns, and where there is no terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.box import ASCII2, SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

PLAIN_COLUMNS = 120
PARTS = {"pre": "before the engine", "engine": "engine", "post": "after the engine", "end_to_end": "end to end"}


def console() -> Console:
    """The standard output: as wide as the terminal, else wide enough for every table."""
    found = Console(highlight=False)
    return found if found.is_terminal else Console(highlight=False, width=PLAIN_COLUMNS)


def table(title: str, columns: Sequence[str], *, left: int = 1) -> Table:
    """A table whose first `left` columns are words, the others numbers."""
    t = Table(title=escape(title), title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False,
              padding=(0, 1), header_style="bold", safe_box=True)  # fmt: skip
    if not console().encoding.startswith("utf"):
        t.box = ASCII2
    for i, name in enumerate(columns):
        is_number = i >= left
        t.add_column(name, justify="right" if is_number else "left", no_wrap=is_number, overflow="fold")
    return t


def heading(facts: Mapping[str, Any]) -> str:
    """A model in two lines: what, on what."""
    size = "x".join(str(side) for side in facts["size_wh"])
    lines = [
        f"{facts['kind']}: {facts['name']}, {size}, {facts['precision']}, {megabytes(facts['artifact_bytes'])} on disk",
        f"{where(facts)}, loaded in {facts['load_s']:.1f} s, peak memory {megabytes(facts['memory']['peak_bytes'])}",
    ]
    if gpu := facts.get("gpu"):
        lines.append(f"{gpu['name']}, {gpu['memory']}, driver for {gpu['driver']}")
    if facts["fallback"]:
        lines.append(f"FELL BACK from {facts['requested_device']} to {facts['device']}: {facts['reason']}")
    return "\n".join(lines)


def where(facts: Mapping[str, Any]) -> str:
    """Backend, provider and device, as read back."""
    return f"{facts['backend']} on {facts['device']} ({facts['provider']})"


def latencies(parts: Mapping[str, Any], *, name: str) -> Table:
    """A row of milliseconds for each part."""
    t = table(name, ["ms", "n", "median", "95% interval", "p90", "p95", "p99", "max"])
    for key, figures in parts.items():
        t.add_row(PARTS.get(key, key), str(figures["n"]), ms(figures["median"]), span(figures["median_interval"]),
                  *(ms(figures[k]) for k in ("p90", "p95", "p99", "max")))  # fmt: skip
    return t


def model(row: Mapping[str, Any], out: Console) -> None:
    """Everything about one model of `bench`."""
    out.print(escape(heading(row)))
    scenarios = row["scenarios"]
    if single := scenarios.get("single_stream"):
        shown = single["parts"] | ({"age, paced": scenarios["paced"]["age"]} if "paced" in scenarios else {})
        out.print(latencies(shown, name=""))
        out.print(f"single_stream  {rate(single['per_s'])}{_tail(single['parts']['end_to_end'])}")
    elif paced := scenarios.get("paced"):
        out.print(latencies({"age, paced": paced["age"]}, name=""))
    if offline := scenarios.get("offline"):
        out.print(f"offline        {rate(offline['per_s'])}, {offline['n']} frames in {offline['seconds']:.1f} s")
    for batch in scenarios.get("batches", ()):
        name = f"engine alone, batch {batch['batch']}"
        told = batch.get("error") or f"{rate(batch['per_s'])}, median {ms(batch['engine']['median'])} ms a call"
        out.print(f"{name}  {told}", markup=False)
    if beside := scenarios.get("beside"):
        out.print(f"engine alone, calls beside each other  {rate(beside['per_s'])}")
    if paced := scenarios.get("paced"):
        out.print(f"paced          {paced['fps']:g} fps: {paced['drops']} of {paced['captures']} frames dropped, "
                  f"age {ms(paced['age']['median'])} ms median, {ms(paced['age']['max'])} ms most")  # fmt: skip
    for warning in row.get("warnings", ()):
        out.print(f"warning: {warning}", style="yellow", markup=False)
    out.print()


def environment(found: Mapping[str, Any], out: Console) -> None:
    """Where it was measured, in a few lines."""
    packages = ", ".join(f"{name} {v}" for name, v in found["packages"].items())
    commit = f", commit {found['commit']}" if found["commit"] else ""
    out.print(
        f"{found['processor']}, {found['cores']} cores, {found['memory_bytes'] / 1e9:.0f} GB, load {found['load']}\n"
        f"{found['system']}, Python {found['python']}, {packages}\n{found['date']}{commit}\n",
        markup=False,
    )


def named(row: Mapping[str, Any]) -> str:
    """The first cell of a comparison: model, what it runs on, job."""
    lines = [row["name"], " ".join(str(row[key]) for key in ("backend", "device", "precision") if row[key])]
    lines += [row["provider"].removesuffix("ExecutionProvider")] if row["provider"] else []
    lines[-1] += "" if row["job"] is None else f" #{row['job']}"
    return escape("\n".join(lines))


def ms(value: float | None) -> str:
    """Milliseconds with three figures that count; "-": the number of samples does not allow it."""
    return figure(value)


def figure(value: float | None) -> str:
    """A number with about three figures that count."""
    if value is None:
        return "-"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def span(pair: Sequence[float] | None) -> str:
    """An interval."""
    return "-" if pair is None else f"{figure(pair[0])}..{figure(pair[1])}"


def rate(per_s: float | None) -> str:
    """Throughput."""
    return "-" if per_s is None else f"{figure(per_s)} frames/s"


def megabytes(count: int | None) -> str:
    """Bytes for people."""
    return "-" if count is None else f"{count / 1e6:.1f} MB" if count < 1e8 else f"{count / 1e6:.0f} MB"


def show_errors(rows: Iterable[Mapping[str, Any]], out: Console) -> None:
    """What could not be measured, and why: whole sentences, below the table."""
    for row in rows:
        if row.get("error"):
            out.print(f"{row['name']} on {row['backend']}: {row['error']}", markup=False, soft_wrap=True)


def _tail(figures: Mapping[str, Any]) -> str:
    interval, most = figures["p99_interval"], figures["p99.9"]
    told = f", p99 {figure(figures['p99'])} ms, 95% interval {span(interval)}" if interval else ""
    return told + (f", p99.9 {figure(most)} ms" if most is not None else "")
