"""What the street says of itself, against geometry that is computed here anew."""

import numpy as np
import pytest

from nodes.street import rig
from tests.street.scripted import EYE_M, empty_stage, of_class, person, shot


@pytest.mark.parametrize("mount", [rig.rgb((256, 256)), rig.slam(-1), rig.slam(1)], ids=["rgb", "left", "right"])
def test_depth_of_the_ground_is_that_of_a_plane_seen_through_the_lens(mount):
    seen, studio = shot(mount=mount)
    rays = np.stack([studio.ray_u, studio.ray_v, np.ones_like(studio.ray_u)], axis=2)
    rotation, position = seen.truth.rotation, seen.truth.position
    down = rays @ rotation[2]
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = np.where(down < -0.05, position[2] / -down, np.nan)
        place = position[:2] + (rays @ rotation[:2].T) * expected[..., None]
    # The pavement before the wearer, up to 7 m away and clear of kerb and walls.
    on_pavement = (np.abs(place[..., 0] - 0.3) < 1.9) & (place[..., 1] > 10.3) & (place[..., 1] < 17) & studio.is_seen
    assert on_pavement.sum() > 2000
    np.testing.assert_allclose(seen.depth[on_pavement], expected[on_pavement], rtol=2e-3)


@pytest.mark.parametrize(("x", "y"), [(0.0, 14.0), (1.5, 13.0), (-1.2, 12.0), (0.6, 17.5)])
def test_a_person_is_where_the_scene_says(x, y):
    seen, studio = shot(side=512, actors=[person([0, x, y])])
    (row,) = of_class(seen.truth, "person")[:1]
    truth = seen.truth
    assert truth.bearing_deg[row] == pytest.approx(np.degrees(np.arctan2(x, y - 10)), abs=1.0)
    # To the front of the body, which is a few hand's breadths before its middle.
    assert -0.1 < np.hypot(x, y - 10) - truth.distance_m[row] < 0.4
    left, top, right, bottom = truth.detections.xyxy[row]
    middle = np.array([[x, y, 1.0]]) - truth.position
    column, line = studio.camera.project(middle @ truth.rotation)[0]
    assert left - 1 < column < right + 1
    assert top < line < bottom
    assert truth.visible[row] == 1.0
    slant = np.median(seen.depth[int(top) : int(bottom), int((left + right) / 2)])
    assert slant == pytest.approx(np.hypot(x, y - 10) * np.cos(np.arctan2(x, y - 10)), rel=0.15)


def test_boxes_are_tight_and_depth_inside_them_is_the_objects():
    seen, studio = shot(side=512, actors=[person([0, 0.4, 13.0])])
    (row,) = of_class(seen.truth, "person")
    left, top, right, bottom = seen.truth.detections.xyxy[row].astype(int)
    near = (seen.depth > 2.4) & (seen.depth < 3.45)
    near[:, : left - 4] = near[:, right + 4 :] = False  # the ground is as near elsewhere
    inside = np.zeros_like(near)
    inside[top:bottom, left:right] = True
    head = near[: top + (bottom - top) // 2]
    assert head.any()
    assert not (head & ~inside[: len(head)]).any()
    assert studio.is_seen[top:bottom, left:right].all()


def test_who_is_behind_somebody_is_hidden_in_part():
    actors = [person([0, 0.0, 13.0]), person([0, 0.25, 15.0], seed=2), person([0, 1.6, 15.0], seed=3)]
    truth = shot(side=512, actors=actors)[0].truth
    first, hidden, free = (
        next(i for i in of_class(truth, "person") if abs(truth.bearing_deg[i] - bearing) < 3)
        for bearing in (0.0, np.degrees(np.arctan2(0.3, 5)) + 1.0, np.degrees(np.arctan2(1.6, 5)))
    )
    assert truth.visible[first] == 1.0
    assert truth.visible[free] == 1.0
    assert 0.02 < truth.visible[hidden] < 0.9


def test_time_to_contact_is_the_gap_over_the_speed():
    walk = {"path": [[0, 0.0, 2.0], [10, 0.0, 14.0]]}
    actors = [person([0, 0.0, 20.0], [10, 0.0, 10.0]), person([0, 1.8, 20.0], [10, 1.8, 10.0], seed=2)]
    truth = shot(1.0, side=512, walk=walk, actors=actors)[0].truth
    rows = of_class(truth, "person")
    ahead = min(rows, key=lambda i: abs(truth.bearing_deg[i]))
    aside = max(rows, key=lambda i: abs(truth.bearing_deg[i]))
    gap = (20 - 1.0) - (2 + 1.2)
    assert truth.ttc_s[ahead] == pytest.approx((gap - 0.3 - 0.25) / 2.2, rel=0.08)
    assert np.isinf(truth.ttc_s[aside])
    assert truth.velocity[ahead] == pytest.approx([0, 0, -2.2], abs=0.05)
    assert truth.speed_mps == pytest.approx(1.2)


def test_a_thing_in_the_way_is_reached_when_the_way_says():
    walk = {"path": [[0, 0.0, 2.0], [10, 0.0, 14.0]]}
    truth = shot(0.5, side=256, walk=walk, things=[{"kind": "bollard", "at": [0.0, 10.0]}])[0].truth
    (row,) = of_class(truth, "pole")
    assert truth.ttc_s[row] == pytest.approx((10 - 2.6 - 0.3 - 0.07) / 1.2, rel=0.03)


def test_who_is_who_stays():
    actors = [person([0, -1.0, 13.0], [4, 1.5, 13.0]), person([0, 1.0, 16.0], [4, -1.5, 16.0], seed=2)]
    truths = [shot(t, actors=actors)[0].truth for t in (0.5, 3.5)]
    by_id = [{int(t.track_id[i]): t for i in of_class(t, "person")} for t in truths]
    assert set(by_id[0]) == set(by_id[1])
    numbers = [{int(t.track_id[i]): float(t.bearing_deg[i]) for i in of_class(t, "person")} for t in truths]
    for number, bearing in numbers[0].items():
        assert bearing * numbers[1][number] < 0  # both have crossed the middle


def test_an_empty_street_has_doors_and_kerbs_and_nobody():
    truth = shot()[0].truth
    names = {truth.detections.name(i) for i in range(len(truth))}
    assert names <= {"door", "kerb"}
    assert empty_stage().wearer.pose(0).position[2] == pytest.approx(EYE_M, abs=1e-6)
