"""Time to contact from where things were; through Fuse, what comes towards the wearer is urgent in time."""

from itertools import pairwise
from math import atan2, degrees, hypot, inf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graph import Stamp
from nodes.fuse import Fuse
from nodes.messages import DepthMap, Detections, Hazard, Tracks
from nodes.ops.approach import BODY_M, Approach
from nodes.ops.camera import Pinhole

S = 10**9
SIZE = (640, 480)
CAMERA = Pinhole.from_hfov(SIZE, 90)


def ttc(place, *, fps=10.0, seconds=1.0, noise=0.0, wrong=None, half_width_m=0.6, width_m=0.0) -> float:
    """The time to contact after `seconds` of something at `place(t)`: metres right and ahead, t = 0 at the end."""
    approach, rng = Approach(), np.random.default_rng(2)
    for i, t in enumerate(np.arange(-seconds, 1e-6, 1 / fps)):
        right, ahead = place(t)
        distance = hypot(right, ahead) * (1 + noise * rng.standard_normal()) * (3 if i == wrong else 1)
        left_deg, right_deg = (degrees(atan2(right + side, ahead)) for side in (-width_m / 2, width_m / 2))
        approach.note(7, int((t + 100) * S), distance_m=distance, edges_deg=(left_deg, right_deg))
    return approach.ttc_s(7, 100 * S, half_width_m=half_width_m)


@given(st.floats(1, 12), st.floats(0.5, 6), st.floats(-0.4, 0.4))
def test_what_comes_straight_touches_when_distance_over_speed_says(ahead, speed, right):
    found = ttc(lambda t: (right, ahead - speed * t))
    assert found == pytest.approx(max(0, (ahead - BODY_M) / speed), abs=1e-6)


def test_what_recedes_stands_passes_by_or_is_known_too_shortly_never_does():
    assert ttc(lambda t: (0, 4 + t)) == inf
    assert ttc(lambda t: (0, 4)) == inf
    assert ttc(lambda t: (1.5, 4 - 2 * t)) == inf
    assert ttc(lambda t: (-3 - 2 * t, 3 - t)) == inf  # crosses the way, long before
    assert ttc(lambda t: (0, 4 - 2 * t), seconds=0.2) == inf
    assert Approach().ttc_s(1, 0, half_width_m=1) == inf


def test_what_crosses_the_way_just_then_does():
    assert ttc(lambda t: (-3 + 2 * t, 2 - 4 / 3 * t)) == pytest.approx(1.5 - BODY_M / hypot(2, 4 / 3), abs=0.01)
    assert ttc(lambda t: (-1 + t, 2 - 2 * t)) == pytest.approx(1.0 - BODY_M / hypot(1, 2), abs=0.01)


def test_what_is_far_aside_and_no_faster_than_the_wearer_is_on_its_way_past():
    assert ttc(lambda t: (-2 + 0.8 * t, 2 - 0.8 * t)) == inf


def test_a_distance_that_jumps_tells_nothing():
    assert ttc(lambda t: (0, 8 if t < -0.35 else 4)) == inf


def test_what_is_wide_touches_with_its_edge_and_what_is_long_and_parked_does_not():
    assert ttc(lambda t: (1.0, 6 - 2 * t), width_m=0.2) == inf
    assert ttc(lambda t: (1.0, 6 - 2 * t), width_m=1.2) < 3
    # A car along the way: its near side is as far away as ever, its middle stays at one bearing, its end falls back.
    approach = Approach()
    for i in range(11):
        edges = (-62.0, -20.0 - 1.5 * i)
        approach.note(1, i * S // 10, distance_m=3.5 - 0.08 * i, edges_deg=edges)
    assert approach.ttc_s(1, S, half_width_m=0.6) == inf


def test_a_little_noise_tells_the_time_roughly_and_one_wrong_measurement_changes_little():
    assert ttc(lambda t: (0, 5 - 2.5 * t), noise=0.03) == pytest.approx(1.9, rel=0.3)
    assert ttc(lambda t: (0, 5 - 2.5 * t), wrong=4) == pytest.approx(1.9, rel=0.15)
    assert ttc(lambda t: (0, 8 - 0.3 * t), noise=0.1) == inf


def test_what_is_older_than_a_second_is_forgotten():
    approach = Approach()
    for i in range(30):
        approach.note(i % 2, i * S // 10, distance_m=3, edges_deg=(-4, 4))
    approach.forget(3 * S)
    assert [len(kept) for kept in approach.places.values()] == [5, 5]
    approach.forget(9 * S)
    assert approach.places == {}


def walk(place, *, fps=10, seconds=2.0, hold=1) -> list[Hazard]:
    """What Fuse tells of something at `place(t)`, with a map of its depth every `hold` frames."""
    fuse, told, depth = Fuse(), [], None
    for i in range(int(seconds * fps)):
        right, ahead = place(i / fps)
        x = CAMERA.project([right, 0, ahead])[0, 0] + 0.5
        box = np.array([[x - 10, 200, x + 10, 300]], np.float32)
        found = Detections(box, np.full(1, 0.3, np.float32), np.zeros(1, np.int32), ("person",), SIZE, CAMERA)
        if i % hold == 0:
            depth = DepthMap(np.full((48, 64), ahead, np.float32), "metres", SIZE)
        tracks = Tracks(found, np.array([5], np.int32), np.array([i + 1], np.int32))
        told += fuse.process(found, depth, tracks, Stamp("camera", i, i * S // fps)).items
    return told


def test_a_hazard_carries_its_number_and_the_time_until_contact():
    told = walk(lambda t: (0, 9 - 2 * t))
    assert {h.track_id for h in told} == {5}
    assert told[0].ttc_s == inf
    assert told[-1].ttc_s == pytest.approx((9 - 2 * 1.9 - BODY_M) / 2, abs=0.01)


def test_what_comes_fast_is_urgent_in_time_and_only_in_the_way():
    coming = walk(lambda t: (0, 10 - 3 * t))
    assert [h.priority for h in coming if h.distance_m > 6.6] == [3] * 12  # 2.1 s before
    assert [h.priority for h in coming if h.distance_m < 6.2] == [1] * 7
    assert 1 not in {h.priority for h in walk(lambda t: (1.5, 10 - 3 * t))}


def test_a_map_that_is_held_tells_no_standstill():
    times = [h.ttc_s for h in walk(lambda t: (0, 9 - 2 * t), fps=15, hold=3)]
    assert times[-1] == pytest.approx((9 - 2 * 29 / 15 - BODY_M) / 2, abs=0.15)
    assert all(after < before for before, after in pairwise(times[15:]))


def test_without_tracks_there_is_neither():
    found = Detections(
        np.array([[300, 200, 340, 300]], np.float32), np.ones(1, np.float32), np.zeros(1, np.int32), ("person",), SIZE
    )
    (hazard,) = Fuse().process(found, stamp=Stamp("camera", 0, 0)).items
    assert (hazard.track_id, hazard.ttc_s) == (None, inf)
