"""The model card: what the networks are, how they were made, how good they are. Written from the evaluation's figures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write(path: Path, report: Mapping[str, Any]) -> None:
    """Write docs/models.md from what `Train` measured."""
    path.write_text(text(report), encoding="utf-8")


def text(report: Mapping[str, Any]) -> str:
    """The card, in Markdown."""
    e, made, files = report["evaluation"], report["made"], report["files"]
    rows = "\n".join(f"| {name} | {ap:.3f} |" for name, ap in e["classes"].items())
    weather = "\n".join(
        f"| {w} | {e['mAP50-95 by weather'][w]:.3f} | {e['AbsRel by weather'].get(w, float('nan')):.3f} |"
        for w in e["mAP50-95 by weather"]
    )
    errors = e["object distance error"]
    distances = ", ".join(
        f"{name} {error:.1%}" for name, error in errors.items() if name != "all" and error is not None
    )
    file_rows = "\n".join(f"| `{name}` | {f['bytes'] / 1e6:.2f} MB | `{f['sha256']}` |" for name, f in files.items())
    d, z = made["detector"], made["depth"]
    return f"""# The networks of the street

Two small networks that this project trains itself, so that `uv run main.py` shows everything without a download. They
know the procedural street of `source=street` and nothing else: **not for real streets**. Written by `main.py train`.

| file | size | sha256 |
|---|---|---|
{file_rows}

## What they are
- `street_yolo12n`: the shape of YOLO12n with {len(e["classes"])} classes, input {made["detector_px"]} by {made["detector_px"]}; built and scored by
  ultralytics {made["versions"].get("ultralytics", "?")}, from random weights. Made with a tool under the AGPL-3.0: treat the file as under that licence.
- `street_depth`: a U of convolutions with 1.1 million weights, input {made["depth_px"]} by {made["depth_px"]}, output metres at half of that, along
  the optical axis, for the lens of `source=street` only. Ours, Apache-2.0.

Weights are stored as fp16 and computed as fp32.

## How they were made
    uv run --extra train main.py train command.schedule={made["schedule"]}

| | detector | depth |
|---|---|---|
| frames | {d["frames"]} of {d["scenes"]} scenes | the same |
| epochs | {d["epochs"]:.1f} | {z["epochs"]:.1f} |
| batch, highest rate | {d["batch"]}, {d["rate"]} | {z["batch"]}, {z["rate"]} |
| minutes | {d["minutes"]:.0f} | {z["minutes"]:.0f} |

Seed {made["seed"]}; training scenes have the seeds from 100000 on, test scenes from 300000 on. Machine: {made["machine"]}.
Versions: {", ".join(f"{k} {v}" for k, v in made["versions"].items())}.

The schedule `full` is meant for a GPU (4 times the frames, {made["full"]}), `cpu` for two cores (an hour and a half in all),
`smoke` only shows that everything works.

## How good they are
{e["frames"]} frames of {e["scenes"]} test scenes, 704 by 704, {e["labels"]} labels (at least a quarter visible, no side under 1 % of the picture);
measured on the files above, through the application's own nodes, with ONNX Runtime.

| | |
|---|---|
| mAP50-95 | **{e["mAP50-95"]:.3f}** |
| mAP50 | {e["mAP50"]:.3f} |
| person AP50-95 | **{e["person AP50-95"]:.3f}** |
| person AP50 | {e["person AP50"]:.3f} |
| depth AbsRel, nearer than 30 m | **{e["AbsRel"]:.3f}** |
| depth delta1 | **{e["delta1"]:.3f}** |
| depth RMSE | {e["RMSE m"]:.2f} m |
| distance of objects nearer than 8 m, median error | {errors["all"]:.1%} of {e["objects"]} |

| class | AP50-95 |
|---|---|
{rows}

| | mAP50-95 | AbsRel |
|---|---|---|
{weather}

Median error of the distance by class: {distances}.

## What they cannot do
Anything real. Objects beyond about 20 m are a few pixels at this input size and are often missed. A kerb is a thin line:
its box is hard to overlap. Depth knows one lens and one height of the eye.
"""
