import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nodes.ops import boxes
from nodes.ops.boxes import Candidates, strongest, suppress

IOU = 0.4567  # no ratio of small whole numbers, so that no pair lies on the threshold


def candidates(rows) -> Candidates:
    """Rows of left, top, width, height and class; the earlier the more confident."""
    table = np.array(rows, np.float32).reshape(-1, 5)
    xyxy = np.concatenate([table[:, :2], table[:, :2] + table[:, 2:4]], axis=1)
    conf = np.linspace(1, 0.1, len(table), dtype=np.float32)
    return Candidates(xyxy, conf, table[:, 4].astype(np.int32))


def overlap(a, b) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    both = max(width, 0) * max(height, 0)
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def naive(found: Candidates, iou: float, *, agnostic: bool) -> list[float]:
    kept: list[int] = []
    for i in np.argsort(-found.conf):
        rivals = [k for k in kept if agnostic or found.class_id[k] == found.class_id[i]]
        if all(overlap(found.xyxy[k], found.xyxy[i]) <= iou for k in rivals):
            kept.append(i)
    return found.conf[kept].tolist()


corner, side = st.integers(-60, 60), st.integers(1, 60)
rows = st.lists(st.tuples(corner, corner, side, side, st.integers(0, 3)), max_size=30)


@given(rows, st.booleans(), st.randoms())
def test_it_keeps_what_a_naive_loop_keeps_in_the_same_order(rows, agnostic, random):
    found = candidates(rows)
    order = list(range(len(rows)))
    random.shuffle(order)
    kept = suppress(found.take(np.array(order, np.intp)), IOU, agnostic=agnostic)
    assert kept.conf.tolist() == naive(found, IOU, agnostic=agnostic)


def test_a_box_over_the_left_edge_does_not_suppress_another_class():
    found = candidates([(0, 0, 100, 100, 0), (-101, -101, 100, 100, 1)])
    assert len(suppress(found, 0.5)) == 2


def test_the_same_box_in_two_classes_stays_twice_unless_agnostic():
    found = candidates([(0, 0, 10, 10, 0), (0, 0, 10, 10, 1)])
    assert len(suppress(found, 0.5)) == 2
    assert suppress(found, 0.5, agnostic=True).class_id.tolist() == [0]


def test_the_most_confident_are_kept_where_there_are_too_many():
    found = candidates([(20 * i, 0, 10, 10, 0) for i in range(10)])
    assert suppress(found, 0.5, count=3).conf.tolist() == found.conf[:3].tolist()


def test_the_limit_counts_kept_boxes_not_candidates():
    found = candidates([(0, 0, 10, 10, 0), (0, 0, 10, 10, 0), (0, 0, 10, 10, 0), (50, 0, 10, 10, 0)])
    assert suppress(found, 0.5, count=2).xyxy[:, 0].tolist() == [0, 50]


def test_no_candidate_is_no_box():
    assert len(suppress(candidates([]), 0.5)) == 0


def test_of_too_many_candidates_only_the_most_confident_are_looked_at():
    many = boxes.MAX_CANDIDATES + 500
    found = candidates([(20 * i, 0, 10, 10, 0) for i in range(many)])
    kept = suppress(found.take(np.arange(many)[::-1]), 0.5, count=many)
    assert kept.conf.tolist() == found.conf[: boxes.MAX_CANDIDATES].tolist()


def test_strongest_sorts_and_cuts():
    found = candidates([(0, 0, 1, 1, c) for c in range(5)])
    assert strongest(found.take(np.array([3, 1, 4, 0])), 2).class_id.tolist() == [0, 1]
