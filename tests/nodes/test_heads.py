import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.ops.heads import DenseHead, EndToEndHead, YoloxHead, anchor_count, find_head

SIZE = (64, 32)
ANCHORS = anchor_count(SIZE)  # 8 x 4 + 4 x 2 + 2 x 1


def test_there_are_8400_anchors_at_640_and_3549_at_416():
    assert anchor_count((640, 640)) == 8400
    assert anchor_count((416, 416)) == 3549


def test_dense_gives_corners_best_class_and_its_score_for_what_is_confident_enough():
    output = np.zeros((1, 4 + 3, ANCHORS), np.float32)
    output[0, :, 5] = [10, 20, 4, 8, 0.1, 0.75, 0.5]
    output[0, :, 9] = [30, 10, 2, 2, 0.2, 0.1, 0.24]
    output[0, :, 40] = [0, 0, 10, 10, 0.25, 0, 0]
    found = DenseHead(3).decode(output, 0.25)
    assert found.xyxy.tolist() == [[8, 16, 12, 24], [-5, -5, 5, 5]]
    assert found.conf.tolist() == [0.75, 0.25]
    assert found.class_id.tolist() == [1, 0]


@given(st.integers(0, 2**32 - 1), st.floats(0.05, 0.95))
def test_dense_equals_a_loop_over_the_anchors(seed, min_conf):
    output = np.random.default_rng(seed).random((1, 4 + 5, ANCHORS), np.float32)
    found = DenseHead(5).decode(output, min_conf)
    wanted = [column for column in output[0].T if column[4:].max() >= min_conf]
    assert found.conf.tolist() == [column[4:].max() for column in wanted]
    assert found.class_id.tolist() == [column[4:].argmax() for column in wanted]
    for (left, top, right, bottom), (x, y, w, h) in zip(found.xyxy, [column[:4] for column in wanted], strict=True):
        assert (left, top, right, bottom) == pytest.approx((x - w / 2, y - h / 2, x + w / 2, y + h / 2), abs=1e-5)


def test_end_to_end_gives_its_rows():
    output = np.zeros((1, 300, 6), np.float32)
    output[0, :2] = [[1, 2, 3, 4, 0.875, 7], [5, 6, 7, 8, 0.5, 2]]
    found = EndToEndHead().decode(output, 0.5)
    assert found.xyxy.tolist() == [[1, 2, 3, 4], [5, 6, 7, 8]]
    assert found.conf.tolist() == [0.875, 0.5]
    assert found.class_id.tolist() == [7, 2]


@pytest.mark.parametrize(
    ("anchor", "centre"),
    [(0, (0, 0)), (9, (8, 8)), (31, (56, 24)), (32, (0, 0)), (39, (48, 16)), (40, (0, 0)), (41, (32, 0))],
)
def test_yolox_places_each_anchor_in_its_cell(anchor, centre):
    stride = 8 if anchor < 32 else 16 if anchor < 40 else 32
    output = np.zeros((1, ANCHORS, 5 + 2), np.float32)
    output[0, anchor] = [0.5, 0.25, np.log(2), 0, 0.5, 0.25, 0.75]
    found = YoloxHead(SIZE, 2).decode(output, 0.3)
    x, y = centre[0] + 0.5 * stride, centre[1] + 0.25 * stride
    expected = [x - stride, y - stride / 2, x + stride, y + stride / 2]
    assert found.xyxy[0].tolist() == pytest.approx(expected)
    assert found.conf.tolist() == [0.375]
    assert found.class_id.tolist() == [1]


def test_yolox_judges_by_objectness_times_class():
    output = np.zeros((1, ANCHORS, 5 + 1), np.float32)
    output[0, 3, 4:] = [0.9, 0.2]
    output[0, 4, 4:] = [0.2, 0.9]
    assert len(YoloxHead(SIZE, 1).decode(output, 0.25)) == 0
    assert len(YoloxHead(SIZE, 1).decode(output, 0.17)) == 2


@pytest.mark.parametrize("head", [DenseHead(80), YoloxHead(SIZE, 80), EndToEndHead()])
def test_nothing_confident_is_no_candidate(head):
    shape = {DenseHead: (1, 84, ANCHORS), YoloxHead: (1, ANCHORS, 85), EndToEndHead: (1, 300, 6)}[type(head)]
    found = head.decode(np.zeros(shape, np.float32), 0.25)
    assert found.xyxy.shape == (0, 4)
    assert (found.xyxy.dtype, found.conf.dtype, found.class_id.dtype) == (np.float32, np.float32, np.int32)


@pytest.mark.parametrize(
    ("shape", "size_wh", "head"),
    [
        ((1, 84, 8400), (640, 640), DenseHead(80)),
        ((1, 5, 8400), (640, 640), DenseHead(1)),
        ((1, 6, 8400), (640, 640), DenseHead(2)),
        ((None, 84, None), (640, 640), DenseHead(80)),
        ((1, 84, 6300), (640, 480), DenseHead(80)),
        ((1, 300, 6), (640, 640), EndToEndHead()),
        ((1, 3549, 85), (416, 416), YoloxHead((416, 416), 80)),
        ((1, 3549, 6), (416, 416), YoloxHead((416, 416), 1)),
    ],
)
def test_auto_recognises_a_head_by_the_shape_of_its_output(shape, size_wh, head):
    assert find_head("auto", shape, size_wh) == head


def test_an_unknown_output_is_shown_beside_the_known_heads():
    with pytest.raises(ValueError, match="fits") as error:
        find_head("auto", (1, 3, 80, 80, 85), (640, 640))
    assert str(error.value) == (
        "the output (1, 3, 80, 80, 85) fits no known head; an input of 640x640 has 8400 anchors; known heads: "
        "dense (1, 4 + classes, anchors) of YOLOv8, 11 and 12; end_to_end (1, n, 6) of YOLOv10 and YOLO26; "
        "yolox (1, anchors, 5 + classes)"
    )


def test_a_named_head_must_fit_too():
    with pytest.raises(ValueError, match=r"the output \(1, 300, 6\) fits not the head 'dense'; an input of 640x640"):
        find_head("dense", (1, 300, 6), (640, 640))


def test_a_shape_that_fits_two_heads_asks_for_the_name():
    with pytest.raises(
        ValueError, match=r"the output \(1, any, any\) fits the heads dense and yolox; name one of them"
    ):
        find_head("auto", (1, None, None), (640, 640))
    assert find_head("yolox", (1, None, None), SIZE) == YoloxHead(SIZE, None)
