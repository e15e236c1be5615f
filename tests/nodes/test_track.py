"""Objects keep their numbers, however they move and whatever is dropped."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from graph import Stamp
from nodes.messages import Detections, Tracks
from nodes.track import Track

SIZE = (640, 480)
NAMES = ("person", "car")
S = 10**9


def detections(*boxes, conf=0.9, classes=None) -> Detections:
    n = len(boxes)
    conf = np.broadcast_to(np.array(conf, np.float32), n).copy()
    return Detections(
        np.array(boxes, np.float32).reshape(n, 4), conf, np.array(classes or [0] * n, np.int32), NAMES, SIZE
    )


def box(x: float, y: float = 200, width: float = 40, height: float = 120) -> tuple[float, ...]:
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def follow(frames, *, fps=15, times=None, **options) -> list[Tracks]:
    node = Track(**options)
    times = times or [i / fps for i in range(len(frames))]
    return [node.process(f, Stamp("camera", i, int(t * S))) for i, (f, t) in enumerate(zip(frames, times, strict=True))]


def ids(tracks: Tracks) -> list[int]:
    return tracks.track_id.tolist()


def test_an_object_is_told_once_it_was_found_twice_and_keeps_its_number():
    found = follow([detections(box(100 + 4 * i)) for i in range(20)])
    assert [ids(t) for t in found] == [[]] + [[1]] * 19
    assert [t.age.tolist() for t in found[1:4]] == [[2], [3], [4]]
    np.testing.assert_array_equal(found[5].detections.xyxy[0], box(120))


def test_those_who_cross_keep_their_numbers():
    for step in (3, 7, 13):
        frames = [detections(box(200 + step * i), box(400 - step * i, 208)) for i in range(-10, 45)]
        found = follow(frames)
        assert ids(found[1]) == [1, 2]
        for i, tracks in enumerate(found[1:], 1):
            for number, box_ in zip(ids(tracks), tracks.detections.xyxy, strict=True):
                np.testing.assert_array_equal(box_, frames[i].xyxy[number - 1])


def test_one_who_is_hidden_for_half_a_second_keeps_the_number_and_a_second_later_is_new():
    frames = [detections(box(100 + 5 * i)) for i in range(40)]
    hidden = [detections() if 15 <= i < 22 else f for i, f in enumerate(frames)]
    assert {n for t in follow(hidden) for n in ids(t)} == {1}
    gone = [detections() if 10 <= i < 30 else f for i, f in enumerate(frames)]
    assert ids(follow(gone)[-1]) == [2]


def test_frames_that_were_dropped_do_not_matter():
    times = [i / 30 for i in range(60) if i < 10 or i % 7 in (0, 1)]
    frames = [detections(box(100 + 200 * t), box(500 - 120 * t, 260)) for t in times]
    assert ids(follow(frames, times=times)[-1]) == [1, 2]


def test_what_is_found_once_is_never_told():
    frames = [detections(box(100 + 60 * i)) if i % 2 else detections() for i in range(20)]
    assert [len(t.detections) for t in follow(frames)] == [0] * 20


def test_the_less_sure_go_on_with_a_track_but_begin_none():
    frames = [detections(box(100), box(400), conf=[0.9, 0.3]) for _ in range(3)]
    frames += [detections(box(100), box(400), conf=[0.28, 0.3]) for _ in range(20)]
    found = follow(frames)
    assert [ids(t) for t in found[1:]] == [[1]] * 22
    assert found[-1].detections.conf.tolist() == [np.float32(0.28)]


def test_classes_are_never_mixed():
    frames = [detections(box(100), box(104), classes=[0, 1])] * 5 + [detections(box(100), classes=[1])] * 3
    found = follow(frames)
    assert [(ids(t), t.detections.class_id.tolist()) for t in (found[4], found[-1])] == [([1, 2], [0, 1]), ([2], [1])]


def test_empty_frames_are_told_too():
    assert [len(t.detections) for t in follow([detections()] * 3)] == [0, 0, 0]


BOXES = st.lists(st.tuples(st.integers(0, 600), st.integers(60, 400), st.sampled_from([0.3, 0.9])), max_size=5)


@given(st.lists(BOXES, max_size=25))
def test_whatever_comes_numbers_are_unique_never_return_and_runs_repeat(frames):
    messages = [detections(*[box(x, y) for x, y, _ in f], conf=[c for *_, c in f]) for f in frames]
    found = follow(messages, lost_s=0.2)
    last_seen: dict[int, int] = {}
    highest = 0
    for i, tracks in enumerate(found):
        assert len(set(ids(tracks))) == len(ids(tracks))
        for number in ids(tracks):
            assert number in last_seen or number > highest
            assert i - last_seen.get(number, i) <= 3
            last_seen[number] = i
        highest = max([highest, *ids(tracks)])
        assert {tuple(b) for b in tracks.detections.xyxy.tolist()} <= {tuple(b) for b in messages[i].xyxy.tolist()}
    assert [ids(t) for t in follow(messages, lost_s=0.2)] == [ids(t) for t in found]


def test_in_a_crowd_nobody_is_exchanged():
    rng = np.random.default_rng(1)
    places = np.array([(x, y) for x in range(40, 440, 40) for y in range(100, 350, 50)])
    frames = [detections(*[box(x + i, y) for x, y in places + rng.normal(0, 2, places.shape)]) for i in range(40)]
    _, *found = follow(frames)
    assert [ids(t) for t in found] == [list(range(1, 51))] * 39
    for i, tracks in enumerate(found, 1):
        boxes = tracks.detections.xyxy
        assert np.abs((boxes[:, :2] + boxes[:, 2:]) / 2 - places - (i, 0)).max() < 10
