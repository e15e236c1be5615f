"""Targets become objects; parts of a command that it builds itself become recipes."""

import pytest

from graph.build import Builder, Recipe

NODE = {"_target_": "tests.graph.toys.Count", "n": 3}


class Lazy:
    built_later = ("one", "many", "off", "plain")

    def __init__(self, one=None, many=None, off=None, plain=None, other=None) -> None:
        self.one, self.many, self.off, self.plain, self.other = one, many, off, plain, other


@pytest.fixture
def builder():
    return Builder(["tests"])


def test_what_is_built_later_is_a_recipe_and_what_is_off_is_none(builder):
    here = f"{__name__}.Lazy"
    off = {"_target_": None, "n": 1}
    parts = {"one": NODE, "many": {"a": NODE, "b": off}, "off": off, "plain": 5, "other": NODE}
    made = builder.instantiate({"_target_": here, **parts})
    assert made.one == Recipe(NODE, builder)
    assert made.many == {"a": Recipe(NODE, builder), "b": None}
    assert (made.off, made.plain) == (None, 5)
    assert type(made.other).__name__ == "Count"


def test_a_recipe_builds_as_often_as_wanted_with_changes(builder):
    recipe = Recipe(NODE, builder)
    first, second = recipe.build(), recipe.build(n=8)
    assert first is not second
    assert (first.n, second.n) == (3, 8)


def test_a_recipe_tells_its_mistakes_without_building(builder):
    assert list(Recipe({**NODE, "period": 1}, builder).problems("it")) == [
        "it.period: Count has no such parameter; did you mean 'period_ms'?"
    ]
    assert "may not be instantiated" in next(Recipe({"_target_": "os.system"}, builder).problems("it"))


def test_a_recipe_of_a_part(builder):
    assert Recipe({"engine": NODE}, builder).part("engine").build().n == 3
