"""What is said, in words: rounded as it is known, counted, and right in each language."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.phrases import languages, phrases

COCO = """
person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant, stop sign,
parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe, backpack, umbrella,
handbag, tie, suitcase, frisbee, skis, snowboard, sports ball, kite, baseball bat, baseball glove, skateboard,
surfboard, tennis racket, bottle, wine glass, cup, fork, knife, spoon, bowl, banana, apple, sandwich, orange,
broccoli, carrot, hot dog, pizza, donut, cake, chair, couch, potted plant, bed, dining table, toilet, tv, laptop,
mouse, remote, keyboard, cell phone, microwave, oven, toaster, sink, refrigerator, book, clock, vase, scissors,
teddy bear, hair drier, toothbrush"""
CLASSES = [name.strip() for name in COCO.split(",")]


def test_there_are_english_and_spanish():
    assert languages() == ("en", "es")


def test_a_language_that_there_is_not_is_named():
    with pytest.raises(KeyError, match="there is no language 'fr'; there is: en, es"):
        phrases("fr")


def test_every_language_has_the_words_of_the_first():
    en = phrases("en").words
    for language in languages():
        words = phrases(language).words
        assert set(words) == set(en)
        for key in ("distance", "direction", "degrees", "several", "nearest"):
            assert set(words[key]) == set(en[key]), (language, key)


def test_spanish_has_words_for_all_classes_of_coco():
    names = phrases("es").words["names"]
    assert len(CLASSES) == 80
    assert [name for name in CLASSES if name not in names] == []
    assert [name for name, forms in names.items() if len(forms) != 3 or forms[2] not in ("m", "f")] == []


@pytest.mark.parametrize(
    ("metres", "en", "es"),
    [
        (0.0, "half a metre", "a medio metro"),
        (0.3, "half a metre", "a medio metro"),
        (1.1, "one metre", "a un metro"),
        (1.4, "one and a half metres", "a un metro y medio"),
        (2.1, "two metres", "a dos metros"),
        (2.4, "two and a half metres", "a dos metros y medio"),
        (2.9, "three metres", "a tres metros"),
        (3.4, "three metres", "a tres metros"),
        (30.4, "30 metres", "a 30 metros"),
    ],
)
def test_distances_are_rounded_to_half_metres_under_three_and_to_metres_beyond(metres, en, es):
    assert phrases("en").distance(metres) == en
    assert phrases("es").distance(metres) == es


@pytest.mark.parametrize(
    ("bearing", "words", "clock", "degrees"),
    [
        (0, "ahead", "at twelve o'clock", "ahead"),
        (2, "ahead", "at twelve o'clock", "ahead"),
        (-10, "slightly left", "at twelve o'clock", "10 degrees left"),
        (-33, "left", "at eleven o'clock", "35 degrees left"),
        (33, "right", "at one o'clock", "35 degrees right"),
        (61, "far right", "at two o'clock", "60 degrees right"),
        (-95, "far left", "at nine o'clock", "95 degrees left"),
    ],
)
def test_directions_in_three_styles(bearing, words, clock, degrees):
    en = phrases("en")
    assert (en.direction(bearing), en.direction(bearing, "clock")) == (words, clock)
    assert en.direction(bearing, "degrees") == degrees


@pytest.mark.parametrize(("bearing", "text"), [(30, "a la una"), (-30, "a las once"), (0, "a las doce")])
def test_spanish_clock(bearing, text):
    assert phrases("es").direction(bearing, "clock") == text


@pytest.mark.parametrize(
    ("situation", "en", "es"),
    [
        ({}, "person ahead", "persona delante"),
        ({"bearing_deg": -10}, "person, slightly left", "persona, un poco a la izquierda"),
        ({"near": True}, "person, near, ahead", "persona, cerca, delante"),
        ({"distance_m": 2.0}, "person, two metres, ahead", "persona, a dos metros, delante"),
        (
            {"count": 3, "distance_m": 2.0, "bearing_deg": -30},
            "three people, nearest two metres, left",
            "tres personas, la más cercana a dos metros, a la izquierda",
        ),
        ({"count": 2}, "two people, nearest ahead", "dos personas, la más cercana delante"),
        (
            {"count": 9, "bearing_deg": 70},
            "several people, nearest far right",
            "varias personas, la más cercana muy a la derecha",
        ),
    ],
)
def test_what_is_where(situation, en, es):
    assert phrases("en").describe("person", **situation) == en
    assert phrases("es").describe("person", **situation) == es


def test_spanish_knows_gender_and_plural():
    es = phrases("es")
    assert es.describe("car", count=3, distance_m=4.0) == "tres coches, el más cercano a cuatro metros, delante"
    assert es.counted(9, "truck") == "varios camiones"
    assert es.gone("bicycle") == "ya no hay bicicletas"


def test_english_plurals():
    en = phrases("en")
    names = ("person", "bus", "knife", "car", "sheep")
    assert [en.name(n, 2) for n in names] == ["people", "buses", "knives", "cars", "sheep"]
    assert en.gone("person") == "no more people"


def test_a_class_without_words_is_spoken_as_it_is():
    assert phrases("es").describe("wheelie bin", bearing_deg=30) == "wheelie bin, a la derecha"


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
    assert name in text
    assert "{" not in text.replace(name, "")


@pytest.mark.parametrize(
    ("name", "texts"),
    [
        ("pole", ("pole", "two poles", "poste", "dos postes")),
        ("bench", ("bench", "two benches", "banco", "dos bancos")),
        ("door", ("door", "two doors", "puerta", "dos puertas")),
        ("steps", ("steps", "two flights of steps", "escalones", "dos tramos de escalones")),
        ("branch", ("low branch", "two low branches", "rama baja", "dos ramas bajas")),
        ("kerb", ("kerb", "two kerbs", "bordillo", "dos bordillos")),
    ],
)
def test_what_stands_in_a_street_has_its_words(name, texts):
    en, es = phrases("en"), phrases("es")
    assert (en.name(name), en.counted(2, name), es.name(name), es.counted(2, name)) == texts
