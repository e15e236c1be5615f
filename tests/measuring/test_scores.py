"""Average precision, where it can be said by hand."""

import numpy as np
import pytest

from graph.errors import CauceError
from nodes.measuring.pictures import Label
from nodes.measuring.scores import Precision
from nodes.messages import Detections

pytest.importorskip("pycocotools", reason="average precision needs pycocotools")
NAMES = ("person", "car", "tree")
PERSON, CAR = Label("person", (0, 0, 10, 20)), Label("car", (40, 40, 30, 20))


def found(*rows) -> Detections:
    table = np.array(rows, np.float32).reshape(-1, 6)
    return Detections(table[:, :4].copy(), table[:, 4].copy(), table[:, 5].astype(np.int32), NAMES, (100, 100))


def figures(labels, *frames):
    precision = Precision(labels, NAMES)
    for i, frame in enumerate(frames):
        precision.add(i, frame)
    return precision.figures()


def test_all_found_exactly_is_one():
    told = figures([[PERSON], [CAR]], found((0, 0, 10, 20, 0.9, 0)), found((40, 40, 70, 60, 0.9, 1)))
    assert told == pytest.approx({"mAP50-95": 1.0, "mAP50": 1.0, "labels": 2, "classes": 2})


def test_one_of_two_classes_found_is_a_half():
    told = figures([[PERSON], [CAR]], found((0, 0, 10, 20, 0.9, 0)), found())
    assert told["mAP50-95"] == pytest.approx(0.5)


def test_an_overlap_of_0_72_counts_for_half_of_the_thresholds():
    # 0.5, 0.55, 0.6, 0.65, 0.7 of the ten.
    told = figures([[PERSON]], found((0, 0, 10, 14.4, 0.9, 0)))
    assert told["mAP50"] == pytest.approx(1.0)
    assert told["mAP50-95"] == pytest.approx(0.5)


def test_classes_of_the_model_that_have_no_labels_do_not_count():
    told = figures([[PERSON]], found((0, 0, 10, 20, 0.9, 0), (50, 50, 60, 60, 0.99, 2)))
    assert told["mAP50-95"] == pytest.approx(1.0)


def test_a_crowd_is_neither_right_nor_wrong():
    crowd = Label("person", (50, 50, 20, 20), is_crowd=True)
    told = figures([[PERSON, crowd]], found((0, 0, 10, 20, 0.8, 0), (50, 50, 70, 70, 0.9, 0)))
    assert told["mAP50-95"] == pytest.approx(1.0)
    assert told["labels"] == 1


def test_nothing_found_is_zero():
    assert figures([[PERSON]], found())["mAP50-95"] == 0


def test_labels_of_other_things_are_refused():
    with pytest.raises(CauceError, match=r"none of their classes \(boat\) is one of the model's \(person, car, tree\)"):
        Precision([[Label("boat", (0, 0, 1, 1))]], NAMES)
