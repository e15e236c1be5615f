"""Ports come from the signature alone."""

from typing import NamedTuple

import pytest

from graph import Captured, Node, Stamp
from graph.ports import ports_of
from tests.graph.toys import Number, Word


class Out(NamedTuple):
    left: Captured[Number] | None
    right: Captured[Number] | None


class Device(Node):
    def process(self) -> Out: ...


class Fuse(Node):
    def process(self, a: Number, stamp: Stamp, b: Word | None = None) -> None: ...


class Untyped(Node):
    def process(self, image) -> None: ...


class Endless(Node):
    def process(self, *images: Number) -> None: ...


class Silent(Node):
    def process(self, a: Number): ...


class Vague(Node):
    def process(self, a: Number | Word) -> None: ...


class Nothing(Node):
    pass


def test_named_outputs_of_a_device_with_two_cameras():
    assert {n: p.type for n, p in ports_of(Device).outputs.items()} == {"left": Number, "right": Number}


def test_stamp_is_no_port_and_a_default_makes_it_optional():
    ports = ports_of(Fuse)
    assert {n: p.required for n, p in ports.inputs.items()} == {"a": True, "b": False}
    assert ports.outputs == {}
    assert ports.stamp == "stamp"


@pytest.mark.parametrize(
    ("cls", "message"),
    [
        (Untyped, "Untyped.process: parameter 'image' has no annotation; a port's type is its annotation"),
        (Endless, "Endless.process: parameter 'images' takes any number of values; a port has one name and one type"),
        (Silent, "Silent.process has no return annotation; write `-> None` for a sink"),
        (Nothing, "Nothing has no process method; its signature would be the node's ports"),
    ],
)
def test_what_a_signature_leaves_open_is_named(cls, message):
    with pytest.raises(TypeError) as e:
        ports_of(cls)
    assert str(e.value) == message


def test_a_choice_of_types_is_no_port():
    with pytest.raises(TypeError, match="expected one class, or one class or None"):
        ports_of(Vague)
