"""Who is beside the wearer: bearings are the wearer's, whichever camera saw it."""

from math import cos, radians, sin

import numpy as np
import pytest

from graph import Stamp
from nodes.messages import Detections, Hazard, Hazards
from nodes.narrate import Narrate
from nodes.ops.bearing import box_heights_deg
from nodes.ops.camera import Pinhole, bearing_deg
from nodes.sides import Sides
from nodes.street import rig
from tests.nodes.stamps import recorded

NAMES = ("person", "pole")
LEFT, RIGHT = rig.slam(-1).mounted, rig.slam(1).mounted


def seen(camera, *persons, conf=0.9, class_id=0) -> Detections:
    """Detections of boxes around upright things, each (bearing in degrees, distance and height in metres)."""
    boxes = []
    for bearing, distance_m, height_m in persons:
        x, z = distance_m * sin(radians(bearing)), distance_m * cos(radians(bearing))
        ends = [[x, y, z] for y in (-height_m / 2, 0, height_m / 2)]
        (_, top), (u, _), (_, bottom) = camera.project(ends).tolist()
        boxes.append((u - 5, top + 0.5, u + 5, bottom + 0.5))
    n = len(boxes)
    return Detections(
        np.array(boxes, np.float32).reshape(n, 4), np.full(n, conf, np.float32), np.full(n, class_id, np.int32),
        NAMES, camera.size_wh, camera,
    )  # fmt: skip


def at(ms: float, origin: str = "camera.slam_right") -> Stamp:
    return recorded(origin, int(ms), int(ms * 1e6))


@pytest.mark.parametrize("bearing", [-70, -55, -20, 15, 55, 70, 90])
def test_a_mounted_camera_tells_where_around_the_wearer_something_is(bearing):
    camera = LEFT if bearing < 0 else RIGHT
    point = np.array([sin(radians(bearing)), 0.1, cos(radians(bearing))]) * 3
    ray = camera.unproject(camera.project(point))
    assert bearing_deg(ray)[0] == pytest.approx(bearing, abs=0.01)
    np.testing.assert_allclose(ray[0], point / np.linalg.norm(point), atol=1e-4)
    assert hash(camera) == hash(rig.slam(-1 if bearing < 0 else 1).mounted)  # what is computed for it is kept


def test_both_cameras_see_the_one_ahead_at_the_same_bearing():
    point = [0.3, 0.0, 4.0]
    told = [bearing_deg(c.unproject(c.project(point)))[0] for c in (LEFT, RIGHT)]
    assert told == pytest.approx([np.degrees(np.arctan2(0.3, 4))] * 2, abs=0.01)


def test_how_tall_a_box_appears_is_read_through_the_lens():
    found = seen(RIGHT, (60, 3.0, 1.7))
    assert box_heights_deg(RIGHT, found.xyxy)[0] == pytest.approx(2 * np.degrees(np.arctan(0.85 / 3)), abs=0.5)


def test_only_what_the_camera_in_front_does_not_see_is_told_the_tallest_first():
    hazards = Sides().process(seen(RIGHT, (30, 3, 1.7), (60, 4, 1.7), (75, 2, 1.7)), at(0))
    assert [round(h.bearing_deg) for h in hazards.items] == [75, 60]
    assert {(h.priority, h.distance_m, h.name) for h in hazards.items} == {(2, None, "person")}


@pytest.mark.parametrize(
    ("found", "params"),
    [
        (seen(RIGHT, (60, 8, 1.7)), {}),
        (seen(RIGHT, (60, 3, 1.7), conf=0.4), {}),
        (seen(RIGHT, (60, 3, 1.7), class_id=1), {"classes": ["person"]}),
        (seen(RIGHT), {}),
    ],
    ids=["far", "unsure", "unwanted", "nothing"],
)
def test_what_does_not_matter_is_not_told(found, params):
    assert len(Sides(**params).process(found, at(0))) == 0


def test_what_one_camera_saw_stays_while_the_other_is_told_and_then_goes():
    sides = Sides(keep_s=0.5)
    left = seen(LEFT, (-60, 3, 1.7))
    sides.process(left, at(0, "camera.slam_left"))
    both = sides.process(seen(RIGHT, (60, 3, 1.7)), at(0)).items
    assert sorted(round(h.bearing_deg) for h in both) == [-60, 60]
    assert [round(h.bearing_deg) for h in sides.process(seen(RIGHT), at(400)).items] == [-60]
    assert len(sides.process(seen(RIGHT), at(600))) == 0


def test_without_a_camera_nobody_can_tell_where_it_is():
    found = seen(Pinhole.from_hfov((640, 480), 90), (10, 3, 1.7))
    found = Detections(found.xyxy, found.conf, found.class_id, NAMES, found.size_wh)
    with pytest.raises(ValueError, match=r"the frames of camera.slam_right come without a camera"):
        Sides().process(found, at(0))


def test_mistakes_in_the_parameters_are_told():
    told = list(Sides.check({"beyond_deg": -1, "min_conf": 2, "keep_s": "x", "classes": "person"}))
    assert [t.partition(":")[0] for t in told] == ["min_conf", "beyond_deg", "keep_s", "classes"]


def spoken(ahead: list[Hazard], beside: list[Hazard], *, seconds: float = 4, **params) -> list[str]:
    narrate = Narrate(**params)
    narrate.setup()
    said = [
        narrate.process(Hazards(tuple(ahead)), at(ms), sides=Hazards(tuple(beside)))
        for ms in range(0, int(seconds * 1e3), 50)
    ]
    return [u.text for u in said if u is not None]


def person(bearing: float, distance_m: float | None = None) -> Hazard:
    return Hazard("person", bearing, (0, 0, 1, 1), 0.9, 2, distance_m)


def test_somebody_at_the_side_is_said_beside_the_one_ahead():
    assert spoken([person(0, 4)], []) == ["person, four metres, ahead"]
    both = spoken([person(0, 4)], [person(70), person(-65)])
    assert both == ["person, four metres, ahead", "person, far right", "person, far left"]


def test_two_at_one_side_are_counted_and_neither_replaces_what_is_ahead():
    assert spoken([], [person(70), person(60)])[0].startswith("two people")
    narrate = Narrate()
    narrate.setup()
    said = [narrate.process(Hazards((person(0, 4),)), at(ms), Hazards((person(70),))) for ms in range(0, 4000, 50)]
    assert {u.key for u in said if u is not None} == {"person", "person@right"}


def test_nobody_is_said_to_be_gone_who_was_at_the_side():
    narrate = Narrate(verbosity="detailed")
    narrate.setup()
    beside = Hazards((person(70),))
    said = [narrate.process(Hazards(), at(ms), beside if ms < 1500 else Hazards()) for ms in range(0, 9000, 50)]
    assert [u.text for u in said if u is not None] == ["person, far right"]
