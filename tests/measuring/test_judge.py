"""What passes and what fails."""

import pytest

from nodes.measuring.agreement import AS_IS
from nodes.measuring.judge import Limits, violations

STRICT = Limits(f1=0.99, map_loss=0.2, absrel=0.01, delta1=0.98, non_finite=0)
COMMON = {"reference": {"backend": "torch"}, "frames": {"count": 8}, "non_finite": 0, "failed_frames": None}


def detector(**changes):
    return {"kind": "detector", **COMMON, "boxes": {"f1": 0.995}, **changes}


def depth(kind="relative", aligned=0.001, plain=0.5, delta1=1.0, **changes):
    against = {"AbsRel": aligned, AS_IS: plain, "delta1": delta1}
    return {"kind": "depth", **COMMON, "depth_kind": kind, "depth": against, **changes}


def scores(model, reference):
    return {"model": {"mAP50-95": model}, "reference": {"mAP50-95": reference}, "loss": 100 * (reference - model)}


@pytest.mark.parametrize(
    "figures",
    [
        detector(),
        detector(scores=scores(0.480, 0.481)),
        detector(scores=scores(0.5, 0.4)),
        depth(),
        depth("metres", plain=0.01),
        depth(depth_truth={"model": {"AbsRel": 0.11}, "loss": -0.02}),
    ],
)
def test_what_is_within_the_limits_passes(figures):
    assert violations(figures, STRICT) == []


@pytest.mark.parametrize(
    ("figures", "told"),
    [
        (detector(boxes={"f1": 0.9899}), "box F1 against torch is 0.9899, at least 0.99"),
        (detector(boxes={"f1": None}), "nothing was compared"),
        (detector(scores=scores(0.470, 0.481)), "mAP50-95 is 47.0, 1.10 points below the reference's 48.1"),
        (detector(non_finite=3), "3 values of the outputs are not finite, at most 0"),
        (detector(failed_frames={"count": 2, "first": "out of range"}), "2 of 8 frames failed: out of range"),
        (depth(aligned=0.011), "depth differs by 1.10% from the reference's, at most 1.00%"),
        (depth("metres"), "depth differs by 50.00%"),
        (depth(delta1=0.9), "delta1 against the reference is 0.9000"),
        (depth(depth_truth={"model": {"AbsRel": 0.13}, "loss": 0.02}), "the truth is 13.00%, 2.00% above"),
        (depth() | {"depth": None}, "could be compared"),
    ],
)  # fmt: skip
def test_what_is_beyond_a_limit_is_told(figures, told):
    (violation,) = violations(figures, STRICT)
    assert told in violation


def test_a_limit_of_null_is_none():
    off = Limits(non_finite=None)
    assert violations(detector(boxes={"f1": 0.1}, scores=scores(0.1, 0.9), non_finite=7), off) == []
    assert violations(depth("metres", delta1=0), off) == []


def test_mistakes_in_limits_are_found():
    told = list(Limits.problems({"f1": "high", "f2": 1, "absrel": None}))
    assert told[0].startswith("f1: is 'high'; expected a number")
    assert told[1].startswith("f2: there is no such limit; there is: f1, map_loss")
