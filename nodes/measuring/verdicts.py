"""Shows what `validate` found: one table, a row a model and backend, and below it what is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from nodes.measuring import sweep, tables
from nodes.measuring.sweep import Row


def show(report: Mapping[str, Any], rows: Sequence[Row], paths: Sequence[Path]) -> None:
    """Print all of it."""
    out = tables.console()
    tables.environment(report["environment"], out)
    out.print(_table(_title(report["models"]), rows))
    for line in sweep.told(rows):
        out.print(line, markup=False, soft_wrap=True)
    for m in report["models"]:
        if found := m.get("layers"):
            _layers(m, found, out)
        if m.get("fallback"):
            out.print(f"{m['name']} FELL BACK to {m['device']}: {m['reason']}", markup=False, soft_wrap=True)
    for row in rows:
        for violation in row["violations"]:
            out.print(
                f"FAIL {row['name']} on {row['backend']}{_job(row)}: {violation}",
                style="red",
                markup=False,
                soft_wrap=True,
            )
    for path in paths:
        out.print(str(path), markup=False, soft_wrap=True)


def _title(models: Sequence[Mapping[str, Any]]) -> str:
    m = next((m for m in models if m.get("reference")), None)
    if m is None:
        return "validate"
    at, count = m["reference"], m["frames"]["count"]
    return f"{count} frames, against {at['backend']} {at['precision']} on {at['device']} ({at['provider']})"


def _table(title: str, rows: Sequence[Row]) -> Any:
    t = tables.table(title, ["model", "ms", "per s", "RAM/file", "agrees", "accuracy", ""], left=1)
    for column in t.columns[1:]:
        column.justify = "left"
    last = None
    for row in rows:
        if last is not None:
            t.add_section()
        last = row["kind"]
        t.add_row(tables.named(row), *_speed(row), _agreement(row), _accuracy(row), _verdict(row))
    return t


def _job(row: Row) -> str:
    return "" if row["job"] is None else f" (#{row['job']})"


def _speed(row: Row) -> tuple[str, str, str]:
    if row["median_ms"] is None:
        return "-", "-", "-"
    times = "\n".join(f"p{p} {tables.ms(row[key])}" for p, key in ((50, "median_ms"), (90, "p90_ms"), (99, "p99_ms")))
    ratio = f"\n{row['rate_ratio']:.2f}x" if row["rate_ratio"] is not None else ""
    memory = f"{tables.megabytes(row['peak_bytes'])}\n{tables.megabytes(row['artifact_bytes'])}"
    return times, tables.figure(row["per_s"]) + ratio, memory


def _agreement(row: Row) -> str:
    if row["f1"] is not None:
        return f"F1 {row['f1']:.4f}\n{row['boxes']} boxes"
    if row["absrel"] is not None:
        return f"AbsRel {row['absrel']:.2%}\ndelta1 {row['delta1']:.4f}"
    return "-"


def _accuracy(row: Row) -> str:
    if row["map"] is not None:
        return f"mAP {100 * row['map']:.1f}\nmAP50 {100 * row['map50']:.1f}\nloss {row['map_loss']:+.2f}"
    if row["truth_absrel"] is not None:
        return f"AbsRel {row['truth_absrel']:.1%}\nloss {row['truth_loss']:+.2%}"
    return "-"


def _verdict(row: Row) -> str:
    return "[green]PASS[/]" if row["verdict"] == "PASS" else "[red]FAIL[/]"


def _layers(m: Mapping[str, Any], found: Mapping[str, Any], out: Console) -> None:
    first, worst = found["first"], found["worst"]
    told = (
        f"the first of {found['count']} layers that differs by more than {found['threshold']:g}: {_layer(first)}"
        if first
        else f"none of {found['count']} layers differs by more than {found['threshold']:g}"
    )
    most = "they are equal" if worst["relative_mse"] == 0 else f"the worst: {_layer(worst)}"
    out.print(f"{m['name']}: {told}; {most}", markup=False, soft_wrap=True)


def _layer(layer: Mapping[str, Any]) -> str:
    mse = layer["relative_mse"]
    told = "not finite" if mse is None else f"relative MSE {mse:.1e}"
    return f"{layer['op_type']} {layer['name']} (node {layer['index']}, {told})"
