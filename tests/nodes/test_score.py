"""What the graph tells is compared with truths made by hand."""

import json
from math import inf

import numpy as np
import pytest

from graph import Stamp
from nodes.messages import Detections, Hazard, Hazards, Truth, Utterance
from nodes.score import Score

S = 10**9
FPS = 10
NAMES = ("person", "car", "door")
BOX = (300.0, 100.0, 340.0, 300.0)
ELSEWHERE = (10.0, 10.0, 60.0, 60.0)


def thing(name="person", *, box=BOX, distance=4.0, bearing=0.0, visible=1.0, ttc=inf, velocity=(0, 0, 0), number=1):
    """One object of a truth."""
    return name, box, distance, bearing, visible, ttc, velocity, number


def truth(*things) -> Truth:
    names, boxes, distances, bearings, visible, ttcs, velocities, numbers = (
        zip(*things, strict=True) if things else [()] * 8
    )
    n = len(things)

    def floats(values, *shape):
        return np.array(values, np.float32).reshape(n, *shape)

    detections = Detections(
        floats(boxes, 4), np.ones(n, np.float32), np.array([NAMES.index(x) for x in names], np.int32), NAMES, (640, 480)
    )
    return Truth(
        detections,
        visible=floats(visible),
        distance_m=floats(distances),
        bearing_deg=floats(bearings),
        velocity=floats(velocities, 3),
        ttc_s=floats(ttcs),
        track_id=np.array(numbers, np.int32),
        position=np.zeros(3),
        rotation=np.eye(3),
    )


def hazard(name="person", *, box=BOX, bearing=0.0, distance=4.0) -> Hazard:
    return Hazard(name, bearing, box, 0.9, 2, distance)


def score(frames, *, path=None, **options) -> Score:
    """A node that has seen `frames`: hazards, truth and the utterance that is held, if any."""
    node = Score(path, **options)
    for i, (hazards, known, *utterance) in enumerate(frames):
        node.process(Hazards(tuple(hazards)), known, Stamp("camera", i, i * S // FPS), *utterance)
    return node


def test_errors_of_bearing_and_distance_are_those_of_the_object_of_the_same_class():
    seen = truth(thing(bearing=10, distance=4), thing("car", box=ELSEWHERE, bearing=-20, distance=20, number=2))
    told = [hazard(bearing=12, distance=5), hazard("car", box=ELSEWHERE, bearing=-20.5, distance=10)]
    figures = score([(told, seen)] * 11).figures()
    assert figures["bearing_error_deg"] == {"n": 22, "median": 1.25, "p95": 2.0, "within_1": 0.5}
    # The car is beyond 8 m.
    assert figures["distance_error"] == {"n": 11, "median": 0.25, "p95": 0.25, "within_15_percent": 0.0}
    assert (figures["found"], figures["found_by_class"]) == (1.0, {"person": [11, 11]})


def test_a_wrong_class_is_not_found_but_something_is_there_and_a_hazard_on_nothing_is_false():
    figures = score([([hazard("car"), hazard(box=ELSEWHERE)], truth(thing()))] * 61).figures()
    assert figures["found"] == 0
    assert (figures["hazards"], figures["false_hazards_per_minute"]) == (122, pytest.approx(610))


def test_what_is_far_or_hidden_need_not_be_found():
    seen = truth(thing(distance=9), thing(visible=0.4, number=2))
    figures = score([([], seen)] * 5).figures()
    assert (figures["found"], figures["bearing_error_deg"]["n"]) == (None, 0)


def about(bearing=0.0, *, key="person", why="new: 1 x") -> Utterance:
    return Utterance(f"{key} somewhere", key=key, bearing_deg=bearing, why=why)


def words(*spoken: Utterance, until=6, bearing=8.0) -> dict:
    """Somebody at a bearing for `until` frames; then, with nobody there, each utterance is held for three frames."""
    frames = [([], truth(thing(bearing=bearing)))] * until + [([], truth())] * 2
    return score(frames + [([], truth(), u) for u in spoken for _ in range(3)]).figures()


def test_an_utterance_counts_once_and_is_true_where_somebody_was_in_the_last_second():
    figures = words(about(0.0))
    assert (figures["words"], figures["false_words"]) == (1, [])


def test_an_utterance_on_nobody_elsewhere_or_on_another_class_is_false():
    aside, car = about(25.0), about(8.0, key="car")
    assert words(aside, car)["false_words"] == [(0.8, "person somewhere"), (1.1, "car somewhere")]
    nobody = [([], truth())] * 15
    assert len(score([([], truth(thing())), *nobody, ([], truth(), about())]).figures()["false_words"]) == 1


def test_that_somebody_is_gone_and_words_on_no_class_are_no_claims():
    assert words(about(why="gone: person"), about(key=""), about(key="frisbee"))["words"] == 0


def coming(spoken_at: int | None, *, steps_aside_at=None, of="person", **options) -> dict:
    """Somebody comes for 4 s, contact at 5 s; spoken of at a frame."""
    frames, said = [], None
    for i in range(41):
        left_s = 5 - i / FPS
        aside = steps_aside_at is not None and i >= steps_aside_at
        said = about(0.0, key=of) if i == spoken_at else said
        seen = truth(thing(of, distance=2 * left_s, ttc=inf if aside else left_s))
        frames.append(([], seen, *([said] if said else [])))
    return score(frames, **options).figures()


def test_the_lead_of_a_warning_is_the_time_from_the_words_to_the_contact():
    figures = coming(10)
    assert figures["lead_s"] == {"n": 1, "median": 4.0, "p95": 4.0, "least": 4.0}
    assert figures["unsaid"] == []


def test_contact_with_what_was_never_spoken_of_is_a_miss_also_where_it_steps_aside_late():
    assert coming(None)["unsaid"] == [(5.0, "person")]
    assert coming(None, steps_aside_at=35)["unsaid"] == [(5.0, "person")]
    early = coming(None, steps_aside_at=20)
    assert (early["unsaid"], early["lead_s"]["n"]) == ([], 0)


def test_only_classes_that_are_asked_for_need_a_warning():
    assert coming(None, of="door", classes=["person"])["unsaid"] == []
    assert coming(None, of="door")["unsaid"] == [(5.0, "door")]


def test_passing_within_reach_counts_as_contact_and_farther_off_it_does_not():
    def passing(aside_m):
        frames = []
        for i in range(35):
            ahead = 6 - 1.5 * i / FPS
            bearing, distance = np.degrees(np.arctan2(aside_m, ahead)), np.hypot(aside_m, ahead)
            frames.append(([], truth(thing(distance=distance, bearing=bearing, velocity=(0, 0, -1.5)))))
        return score(frames).figures()["unsaid"]

    assert passing(0.5) == [(pytest.approx(4.0, abs=0.1), "person")]
    assert passing(0.8) == []


def test_results_go_to_the_file_and_the_summary(tmp_path):
    node = score([([hazard()], truth(thing()))] * 11, path=str(tmp_path / "out" / "score.json"))
    assert node.facts()["figures"] == {
        "found within 8 m": "100%",
        "bearing error": "0.0 deg (p95 0.0)",
        "distance error": "0% (p95 0%)",
        "false words": "0 of 0",
        "contacts unsaid": "0 of 0",
    }
    node.close()
    written = json.loads((tmp_path / "out" / "score.json").read_text())
    assert written == node.figures()
    assert (written["frames"], written["seconds"]) == (11, 1.0)


def test_nothing_seen_leaves_no_file(tmp_path):
    node = Score(str(tmp_path / "score.json"))
    node.close()
    assert (node.facts(), list(tmp_path.iterdir())) == ({}, [])


def test_mistakes_show_at_once():
    assert list(Score.check({"classes": "person", "path_half_width_m": -1})) == [
        "classes: is 'person'; expected a list of names, such as [person, car], or null",
        "path_half_width_m: is -1; expected a number, 0 or more",
    ]
