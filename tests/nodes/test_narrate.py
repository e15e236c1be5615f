"""Little is said, and only what is new, more, or nearer."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graph import Stamp
from nodes.messages import Hazard, Hazards
from nodes.narrate import Narrate
from nodes.phrases import languages, phrases

FPS = 10


def person(bearing=0.0, distance_m=None, priority=2, name="person") -> Hazard:
    return Hazard(name, bearing, (0, 0, 1, 1), 0.9, priority, distance_m)


def said(frames, **options) -> list[tuple[float, str]]:
    """Second and words of all utterances on `frames`, lists of hazards at `FPS`."""
    node = Narrate(**options)
    node.setup()
    out = []
    for i, hazards in enumerate(frames):
        u = node.process(Hazards(tuple(hazards)), Stamp("camera", i, int(i * 1e9 / FPS)))
        if u is not None:
            out.append((i / FPS, u.text))
    return out


def test_somebody_who_stays_is_spoken_of_once():
    assert [text for _, text in said([[]] * 5 + [[person()]] * 100)] == ["person, ahead"]


def test_a_flicker_is_no_news_and_a_single_frame_neither():
    there, gone = [[person()]], [[]]
    assert len(said(there * 30 + gone * 15 + there * 30 + gone * 20 + there * 30)) == 1
    assert said(gone * 20 + there + gone * 20) == []


def test_whoever_comes_back_after_a_while_is_new():
    assert len(said([[person()]] * 20 + [[]] * 40 + [[person()]] * 20)) == 2


def test_more_of_them_is_news_when_it_lasts():
    one, two = [[person(-30)]], [[person(-30), person(30)]]
    assert len(said(one * 70 + two * 5 + one * 30)) == 1
    texts = [text for _, text in said(one * 70 + two * 40)]
    assert texts == ["person, left", "two people, nearest left"]


def test_coming_nearer_is_news_and_urgent_when_in_the_way():
    frames = [[person(0, (80 - i) / 10, 1 if 80 - i < 15 else 2)] for i in range(75)]
    times, texts = zip(*said(frames), strict=True)
    assert texts[0] == "person, eight metres, ahead"
    assert "one and a half metres" in texts[-1]
    assert times[-1] == 6.6  # the first frame nearer than 1.5 m


def test_words_are_paced_unless_urgent():
    frames = [[person(), person(name="car"), person(name="dog")]] * 40
    times = [t for t, _ in said(frames)]
    assert len(times) == 3
    assert min(b - a for a, b in pairwise(times)) >= 1.0


def test_only_classes_that_were_asked_for():
    assert said([[person(name="frisbee")]] * 20, classes=["person"]) == []


@pytest.mark.parametrize(
    ("language", "text"),
    [("en", "person, two metres, slightly left"), ("es", "persona, a dos metros, un poco a la izquierda")],
)
def test_two_languages(language, text):
    assert [t for _, t in said([[person(-10, 2.1)]] * 10, language=language)] == [text]


def test_why_tells_rule_and_measurements():
    node = Narrate()
    node.setup()
    found = [node.process(Hazards((person(-8, 2.1),)), Stamp("c", i, i * 10**8)) for i in range(8)]
    (u,) = [u for u in found if u]
    assert u.why == "new: 1 x person, conf 0.90, 2.1 m, -8 deg"
    assert (u.key, u.priority, u.bearing_deg) == ("person", 2, -8)


def test_a_language_that_there_is_not_is_named():
    assert list(Narrate.check({"language": "fr"})) == ["language: is 'fr'; there is: en, es"]


@pytest.mark.parametrize(
    ("metres", "en", "es"),
    [
        (0.3, "half a metre", "a medio metro"),
        (1.1, "one metre", "a un metro"),
        (1.4, "one and a half metres", "a un metro y medio"),
        (2.4, "two and a half metres", "a dos metros y medio"),
        (3.4, "three metres", "a tres metros"),
        (30.4, "30 metres", "a 30 metros"),
    ],
)
def test_distances_are_rounded_as_they_are_known(metres, en, es):
    assert phrases("en").distance(metres) == en
    assert phrases("es").distance(metres) == es


@pytest.mark.parametrize(
    ("bearing", "words", "clock"),
    [
        (0, "ahead", "at twelve o'clock"),
        (-10, "slightly left", "at twelve o'clock"),
        (61, "far right", "at two o'clock"),
    ],
)
def test_directions(bearing, words, clock):
    assert phrases("en").direction(bearing) == words
    assert phrases("en").direction(bearing, "clock") == clock
    assert phrases("en").direction(-20, "degrees") == "20 degrees left"


def test_spanish_knows_gender_and_plural():
    es = phrases("es")
    assert (
        es.describe("car", count=3, distance_m=4.0, bearing_deg=30)
        == "tres coches, el más cercano a cuatro metros, a la derecha"
    )
    assert es.describe("person", count=9, distance_m=None, bearing_deg=0) == "varias personas, la más cercana delante"


@given(
    st.sampled_from(languages()),
    st.text(min_size=1, max_size=10),
    st.integers(1, 40),
    st.one_of(st.none(), st.floats(0, 500)),
    st.floats(-180, 180),
    st.sampled_from(["words", "clock", "degrees"]),
)
def test_everything_can_be_said(language, name, count, distance_m, bearing, style):
    text = phrases(language).describe(name, count=count, distance_m=distance_m, bearing_deg=bearing, style=style)
    assert name in text or count > 1
