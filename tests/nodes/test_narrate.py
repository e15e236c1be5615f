"""Little is said, and only what is new, more, or nearer."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.messages import Hazard, Hazards, Utterance
from nodes.narrate import Narrate
from tests.nodes.stamps import recorded

FPS = 10


def thing(bearing=0.0, distance_m=None, priority=2, name="person", nearness=None, track_id=None) -> Hazard:
    return Hazard(name, bearing, (0, 0, 1, 1), 0.9, priority, distance_m, nearness, track_id=track_id)


def utterances(frames, *, fps=FPS, **options) -> list[tuple[float, Utterance]]:
    """Second and utterance of all that is said of `frames`, lists of hazards."""
    node = Narrate(**options)
    node.setup()
    stamps = [recorded("camera", i, int(i * 1e9 / fps)) for i in range(len(frames))]
    found = [(s, node.process(Hazards(tuple(h)), s)) for h, s in zip(frames, stamps, strict=True)]
    return [(s.captured_ns / 1e9, u) for s, u in found if u is not None]


def said(frames, **options) -> list[str]:
    return [u.text for _, u in utterances(frames, **options)]


NOBODY, ONE = [[]], [[thing()]]


def test_somebody_who_stays_is_spoken_of_once():
    assert said(NOBODY * 5 + ONE * 600) == ["person ahead"]


def test_a_single_frame_is_no_news():
    assert said(NOBODY * 20 + ONE + NOBODY * 20) == []


def test_flicker_is_no_news():
    assert len(said(ONE * 30 + NOBODY * 15 + ONE * 30 + NOBODY * 20 + ONE * 30)) == 1


def test_whoever_comes_back_after_a_while_is_new():
    assert said(ONE * 20 + NOBODY * 40 + ONE * 20) == ["person ahead"] * 2


@given(st.lists(st.tuples(st.integers(1, 30), st.integers(1, 24)), max_size=8))
def test_however_it_flickers_for_less_than_the_time_of_forgetting_it_is_spoken_of_at_most_once(runs):
    assert len(said([frame for seen, gap in runs for frame in ONE * seen + NOBODY * gap])) <= 1


def test_a_glimpse_of_long_ago_confirms_nothing():
    node = Narrate()
    node.setup()
    seconds = (0.0, 0.1, 60.0)
    stamps = [recorded("camera", i, int(s * 1e9)) for i, s in enumerate(seconds)]
    assert [node.process(Hazards((thing(),)), s) for s in stamps] == [None] * 3


def test_somebody_is_spoken_of_within_half_a_second():
    ((second, _),) = utterances(ONE * 20, fps=30)
    assert second <= 0.25
    ((second, _),) = utterances(ONE * 20, fps=5)
    assert second <= 0.5


def test_more_of_them_is_news_when_it_lasts():
    one, two = [[thing(-30)]], [[thing(-30), thing(30)]]
    assert said(one * 70 + two * 10 + one * 30) == ["person, left"]
    assert said(one * 70 + two * 40) == ["person, left", "two people, nearest left"]


def test_of_a_crowd_the_exact_number_is_no_news():
    assert said([[thing()] * 7] * 70 + [[thing()] * 12] * 70) == ["several people, nearest ahead"]


def test_fewer_for_a_while_makes_more_of_them_news_again():
    one, two = [[thing()]], [[thing(), thing()]]
    assert said(two * 60 + one * 40 + two * 60) == ["two people, nearest ahead"] * 2
    assert said(two * 60 + one * 20 + two * 60) == ["two people, nearest ahead"]


def approach(start_m: float, end_m: float, urgent_m: float = 1.5) -> list[list[Hazard]]:
    """Somebody who walks a metre a second towards the wearer."""
    steps = range(int(start_m * FPS), int(end_m * FPS) - 1, -1)
    return [[thing(0, i / FPS, 1 if i / FPS < urgent_m else 2)] for i in steps]


def test_coming_nearer_is_news_and_urgent_when_in_the_way():
    found = utterances(approach(8, 0.8))
    assert [(u.text, u.priority) for _, u in found] == [
        ("person, eight metres, ahead", 2),
        ("person, three metres, ahead", 2),
        ("person, one and a half metres, ahead", 1),
    ]
    assert found[-1][0] == 6.7  # the second frame of those nearer than 1.5 m


def test_one_wrong_measurement_raises_no_alarm():
    far, wrong = [[thing(0, 5.0)]], [[thing(0, 1.0, 1)]]
    assert said(far * 60 + wrong + far * 20) == ["person, five metres, ahead"]


def test_stepping_into_the_way_is_urgent_even_at_the_same_distance():
    beside, before = [[thing(50, 1.2, 2)]], [[thing(5, 1.2, 1)]]
    found = utterances(beside * 20 + before * 5)
    assert [u.priority for _, u in found] == [2, 1]


def test_going_away_and_coming_back_is_news_and_swaying_is_not():
    near, far = [[thing(0, 2.0)]], [[thing(0, 5.0)]]
    assert said(near * 60 + far * 40 + near * 60) == ["person, two metres, ahead"] * 2
    swaying = [[thing(0, 2.9)]] * 30 + [[thing(0, 3.3)]] * 30
    assert len(said(swaying * 6)) == 1


def test_depth_that_comes_and_goes_is_no_news():
    known, unknown = [[thing(0, 2.0)]], [[thing(0)]]
    assert len(said((known * 30 + unknown * 40) * 5)) == 1


def test_an_urgent_one_among_many_is_spoken_of_alone():
    assert said([[thing(0, 1.0, 1), thing(60, 0.9), thing(-60, 4.0)]] * 10) == ["person, one metre, ahead"]


def test_another_urgent_one_is_spoken_of_though_the_first_was():
    first, second = [[thing(0, 1.2, 1, track_id=1)]], [[thing(20, 1.2, 1, track_id=2)]]
    texts = ["person, one metre, ahead", "person, one metre, right"]
    assert said(first * 25 + second * 25) == texts
    assert said(first * 25 + first * 25) == texts[:1]
    assert said(first * 8 + second * 6 + first * 30) == texts[:1]


def test_an_alarm_never_names_one_who_is_not_urgent():
    gone = [[thing(0, 1.2, 1, track_id=1)]] * 25 + [[thing(-20, 7.0, 3, track_id=2)]] * 25
    assert said(gone) == ["person, one metre, ahead"]


def test_what_only_matters_near_by_is_left_unsaid_farther_off():
    kerb = [[thing(0, metres / 10, name="kerb")] for metres in range(80, 18, -1)]
    ((second, u),) = utterances(kerb, within_m={"kerb": 3.0})
    assert (u.text, round(second)) == ("kerb, three metres, ahead", 5)
    assert said([[thing(0, name="kerb")]] * 10, within_m={"kerb": 3.0}) == ["kerb ahead"]


def test_relative_depth_says_near_and_never_metres():
    assert said([[thing(0, nearness=0.9)]] * 10) == ["person, near, ahead"]
    assert said([[thing(0, nearness=0.4)]] * 80 + [[thing(0, nearness=0.9)]] * 10) == [
        "person ahead",
        "person, near, ahead",
    ]


def test_words_are_paced_unless_urgent():
    calm = [[thing(), thing(name="car"), thing(name="dog")]] * 40
    times = [t for t, _ in utterances(calm)]
    assert len(times) == 3
    assert min(b - a for a, b in pairwise(times)) >= 1.0
    urgent = [[thing()]] * 5 + [[thing(0, 1.0, 1, "car"), thing()]] * 5
    assert [u.text for _, u in utterances(urgent)] == ["person ahead", "car, one metre, ahead"]


def test_the_most_urgent_is_said_first_and_then_the_nearest():
    assert said([[thing(0, 4.0, name="dog"), thing(0, 3.0, name="car"), thing(0, 8.0, 3)]] * 40) == [
        "car, three metres, ahead",
        "dog, four metres, ahead",
        "person, eight metres, ahead",
    ]


@pytest.mark.parametrize(
    ("verbosity", "texts"),
    [
        ("quiet", ["person, five metres, ahead", "person, one metre, ahead"]),
        ("normal", ["person, five metres, ahead", "person, two metres, ahead", "person, one metre, ahead"]),
        (
            "detailed",
            ["person, five metres, ahead", "person, two metres, ahead", "person, one metre, ahead", "no more people"],
        ),
    ],
)
def test_verbosity(verbosity, texts):
    frames = [[thing(0, 5.0)]] * 60 + [[thing(0, 2.0)]] * 60 + [[thing(0, 1.0, 1)]] * 10 + NOBODY * 40
    assert said(frames, verbosity=verbosity) == texts


def test_only_classes_that_were_asked_for():
    assert said([[thing(name="frisbee")]] * 20, classes=["person"]) == []


@pytest.mark.parametrize(
    ("language", "text"),
    [("en", "person, two metres, slightly left"), ("es", "persona, a dos metros, un poco a la izquierda")],
)
def test_two_languages(language, text):
    assert said([[thing(-10, 2.1)]] * 10, language=language) == [text]


def test_directions_may_be_on_the_clock_face():
    assert said([[thing(-30, 2.1)]] * 10, direction="clock") == ["person, two metres, at eleven o'clock"]


def test_an_utterance_tells_why_and_how_long_it_is_worth_saying():
    ((_, u),) = utterances([[thing(-8, 2.1)]] * 8)
    assert u.why == "new: 1 x person, conf 0.90, 2.1 m, -8 deg"
    assert (u.key, u.priority, u.bearing_deg, u.language, u.max_age_ms) == ("person", 2, -8, "en", 2000)
    ((_, urgent),) = utterances([[thing(0, 1.0, 1)]] * 8)
    assert urgent.max_age_ms == 700
    ((_, near),) = utterances([[thing(0, nearness=0.91)]] * 8)
    assert near.why == "new: 1 x person, conf 0.90, nearness 0.91, +0 deg"


@given(
    st.lists(
        st.lists(
            st.builds(
                thing,
                st.floats(-60, 60),
                st.one_of(st.none(), st.floats(0.3, 20)),
                st.sampled_from([1, 2, 3]),
                st.sampled_from(["person", "car"]),
            ),
            max_size=4,
        ),
        max_size=60,
    )
)
def test_whatever_is_seen_what_is_not_urgent_keeps_its_pause(frames):
    found = utterances(frames)
    for (before, _), (after, u) in pairwise(found):
        assert u.priority == 1 or after - before >= 1.0 - 1e-9


def test_mistakes_show_at_once():
    params = {"language": "fr", "direction": "north", "verbosity": "loud", "pause_s": -1, "zones_m": 3, "near": 2,
              "within_m": 3}  # fmt: skip
    assert list(Narrate.check(params)) == [
        "language: is 'fr'; there is: en, es",
        "direction: is 'north'; expected one of words, clock, degrees",
        "verbosity: is 'loud'; expected one of quiet, normal, detailed",
        "within_m: is 3; expected a number above 0 for each class name, such as {kerb: 3}",
        "pause_s: is -1; expected a number, 0 or more",
        "zones_m: is 3; expected distances in metres, such as [1.5, 3, 6]",
        "near: is 2; expected a number, 0 to 1",
    ]
    assert list(Narrate.check({"language": False})) == ["language: is False; there is: en, es"]
