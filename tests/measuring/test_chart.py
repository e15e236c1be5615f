"""The picture of a comparison."""

import cv2
import numpy as np
import pytest

from nodes.measuring import chart
from nodes.ops import draw


def row(**changes):
    return {
        "kind": "detector", "name": "yolo11n", "backend": "onnx", "device": "cpu", "precision": "fp32",
        "verdict": "PASS",
        "median_ms": 10.0, "p99_ms": 20.0, "per_s": 100.0, "f1": 0.5, "f1_limit": 0.99, "absrel": None,
        "absrel_limit": None, "map": None, "map_loss": None, "truth_absrel": None, "job": None, "job_words": [],
        "violations": [],
        **changes,
    }  # fmt: skip


def width_of(picture, colour, x, end) -> int:
    """Columns from `x` to `end` that show the colour."""
    part = picture[:, x:end]
    return int((part == np.array(colour)).all(axis=2).any(axis=0).sum())


def test_bars_are_as_long_as_what_they_stand_for():
    picture = chart.picture([row()])
    time = width_of(picture, chart.TIME, chart.TIME_X, chart.TIME_X + chart.TIME_W)
    agreement = width_of(picture, chart.GOOD, chart.AGREE_X, chart.VERDICT_X - 10)
    assert time == pytest.approx(chart.TIME_W / 2, abs=3)
    assert agreement == pytest.approx(chart.AGREE_W / 2, abs=3)


def test_what_fails_is_shown_in_the_colour_of_what_is_urgent():
    passed, failed = chart.picture([row()]), chart.picture([row(verdict="FAIL")])
    assert width_of(passed, draw.URGENT, 0, chart.WIDTH) == 0
    assert width_of(failed, draw.URGENT, chart.AGREE_X, chart.VERDICT_X - 10) > 100


def test_all_rows_of_both_kinds_have_room():
    rows = [row(), row(name="x" * 200, job_words=["a.very.long=word"] * 9), row(kind="depth", f1=None, absrel=0.02)]
    assert len(chart.picture(rows)) - len(chart.picture(rows[:1])) == 2 * chart.ROW + chart.HEAD + chart.SECTION


def test_a_row_without_figures_can_be_drawn():
    picture = chart.picture([row(median_ms=None, p99_ms=None, per_s=None, f1=None, verdict="FAIL", device=None)])
    assert width_of(picture, chart.TIME, 0, chart.WIDTH) == 0


def test_the_file_is_a_png_and_nothing_else_is_left(tmp_path):
    path = chart.write(tmp_path / "new" / "c.png", [row()])
    assert cv2.imread(str(path)).shape[1] == chart.WIDTH
    assert list(path.parent.iterdir()) == [path]
