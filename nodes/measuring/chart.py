"""Draws a comparison: a row a model and backend, with bars of time and of agreement. Knows no measurement."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from nodes.measuring import tables
from nodes.measuring.sweep import Row
from nodes.ops import draw
from nodes.ops.draw import Colour, Picture

WIDTH = 1280
MARGIN, ROW, HEAD, SECTION = 36, 76, 56, 44
NAME_X, TIME_X, TIME_W, AGREE_X, AGREE_W, VERDICT_X = 36, 350, 400, 800, 320, 1150
BAR = 18
GROUND: Colour = draw.DARK
TRACK: Colour = (40, 47, 58)
FAINT: Colour = (160, 170, 184)
TIME: Colour = (86, 180, 233)
GOOD: Colour = (0, 158, 115)
KINDS = {"detector": "detectors: box F1 with the reference", "depth": "depth: 1 - AbsRel to the reference"}


def write(path: Path, rows: Sequence[Row]) -> Path:
    """Write the picture as PNG, whole or not at all."""
    _, data = cv2.imencode(".png", cv2.cvtColor(picture(rows), cv2.COLOR_RGB2BGR))
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.write_bytes(data.tobytes())
    part.replace(path)
    return path


def picture(rows: Sequence[Row]) -> Picture:
    """(h, w, 3) RGB."""
    kinds = list(dict.fromkeys(row["kind"] for row in rows))
    height = 2 * MARGIN + len(kinds) * (SECTION + HEAD) - SECTION + len(rows) * ROW
    canvas: Picture = np.empty((height, WIDTH, 3), np.uint8)
    canvas[:] = GROUND
    y = MARGIN
    for kind in kinds:
        of_kind = [row for row in rows if row["kind"] == kind]
        y = _section(canvas, kind, of_kind, y)
    return canvas


def _section(canvas: Picture, kind: str, rows: Sequence[Row], y: int) -> int:
    """One kind of model, from `y` down; where the next begins."""
    most = max((row["p99_ms"] or row["median_ms"] or 0 for row in rows), default=0) or 1
    draw.write(canvas, "ms a frame: median, line to p99", (TIME_X, y + 4), px=11, ink=FAINT)
    title, _, what = KINDS.get(kind, f"{kind}: agreement").partition(": ")
    draw.write(canvas, title, (NAME_X, y), px=17)
    draw.write(canvas, what, (AGREE_X, y + 4), px=11, ink=FAINT)
    y += HEAD
    for row in rows:
        _row(canvas, row, y, most)
        y += ROW
    return y + SECTION


def _row(canvas: Picture, row: Row, y: int, most_ms: float) -> None:
    at = " ".join(str(row[key]) for key in ("backend", "device", "precision") if row[key])
    draw.write(canvas, _fitted(row["name"], 14, TIME_X - NAME_X - 20), (NAME_X, y), px=14)
    draw.write(canvas, _fitted(at, 10, TIME_X - NAME_X - 20), (NAME_X, y + 24), px=10, ink=FAINT)
    if words := " ".join(row["job_words"]):
        draw.write(canvas, _fitted(words, 9, TIME_X - NAME_X - 20), (NAME_X, y + 42), px=9, ink=FAINT)
    _time(canvas, row, y, most_ms)
    _agreement(canvas, row, y)
    passed = row["verdict"] == "PASS"
    draw.plate(canvas, row["verdict"] or "-", (VERDICT_X, y - 8), px=14, ground=GOOD if passed else draw.URGENT,
               opacity=1.0)  # fmt: skip


def _time(canvas: Picture, row: Row, y: int, most_ms: float) -> None:
    cv2.rectangle(canvas, (TIME_X, y), (TIME_X + TIME_W, y + BAR), TRACK, cv2.FILLED)
    median, p99 = row["median_ms"], row["p99_ms"]
    if median is None:
        draw.write(canvas, "not measured", (TIME_X, y + BAR + 10), px=11, ink=FAINT)
        return
    end = TIME_X + max(2, round(TIME_W * median / most_ms))
    cv2.rectangle(canvas, (TIME_X, y), (end, y + BAR), TIME, cv2.FILLED)
    told = f"{tables.ms(median)} ms"
    if p99 is not None:
        far, middle = TIME_X + round(TIME_W * p99 / most_ms), y + BAR // 2
        cv2.line(canvas, (end, middle), (far, middle), draw.INK, 2)
        cv2.line(canvas, (far, y + 3), (far, y + BAR - 3), draw.INK, 2)
        told += f", p99 {tables.ms(p99)} ms"
    draw.write(canvas, f"{told}, {tables.figure(row['per_s'])} a second", (TIME_X, y + BAR + 10), px=11)


def _agreement(canvas: Picture, row: Row, y: int) -> None:
    cv2.rectangle(canvas, (AGREE_X, y), (AGREE_X + AGREE_W, y + BAR), TRACK, cv2.FILLED)
    share, limit, told = _agreed(row)
    if share is not None:
        colour = GOOD if row["verdict"] == "PASS" else draw.URGENT
        end = AGREE_X + round(AGREE_W * min(max(share, 0.0), 1.0))
        if end > AGREE_X:
            cv2.rectangle(canvas, (AGREE_X, y), (end, y + BAR), colour, cv2.FILLED)
    if limit is not None:
        x = AGREE_X + round(AGREE_W * min(max(limit, 0.0), 1.0))
        cv2.line(canvas, (x, y - 5), (x, y + BAR + 5), draw.INK, 2)
    draw.write(canvas, _fitted(told, 11, WIDTH - AGREE_X - 20), (AGREE_X, y + BAR + 10), px=11)
    if row["violations"]:
        why = _fitted(row["violations"][0], 9, WIDTH - AGREE_X - 20)
        draw.write(canvas, why, (AGREE_X, y + BAR + 28), px=9, ink=FAINT)


def _agreed(row: Row) -> tuple[float | None, float | None, str]:
    """Agreement and its limit, 0..1, and both in words."""
    if row["f1"] is not None:
        wanted = f" (at least {row['f1_limit']:g})" if row["f1_limit"] is not None else ""
        accuracy = f", mAP {100 * row['map']:.1f}, loss {row['map_loss']:+.2f}" if row["map"] is not None else ""
        return row["f1"], row["f1_limit"], f"F1 {row['f1']:.4f}{wanted}{accuracy}"
    if row["absrel"] is not None:
        limit = row["absrel_limit"]
        wanted = f" (at most {limit:.1%})" if limit is not None else ""
        accuracy = f", to truth {row['truth_absrel']:.1%}" if row["truth_absrel"] is not None else ""
        told = f"AbsRel {row['absrel']:.2%}{wanted}{accuracy}"
        return 1 - row["absrel"], None if limit is None else 1 - limit, told
    return None, None, "not compared"


def _fitted(text: str, px: int, width: int) -> str:
    """`text`, cut where it is wider than `width`."""
    if draw.text_width(text, px) <= width:
        return text
    while text and draw.text_width(f"{text}...", px) > width:
        text = text[:-1]
    return f"{text}..."
