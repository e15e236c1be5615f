import numpy as np
import pytest

from engines.base import ModelSpec, Tensor, Weights
from engines.shapes import shape_problem, warm_up_shapes

KIND = "use a model of the kind that the node is for"


def tensor(*shape: int | None, name: str = "images") -> Tensor:
    return Tensor(name, shape, np.dtype("f4"))


def spec(shapes: dict, **more) -> ModelSpec:
    return ModelSpec("m", Weights(), shapes, **more)


@pytest.mark.parametrize(
    ("want", "have"),
    [
        ((1, 3, 640, 640), (1, 3, 640, 640)),
        ((1, 3, 640, 640), (None, 3, None, None)),
        ((None, 3, 640, 640), (1, 3, 640, 640)),
    ],
)
def test_a_free_dimension_takes_any_size(want, have):
    assert shape_problem(spec({"": want}), [tensor(*have)], "m.onnx") is None


@pytest.mark.parametrize(
    ("want", "have", "remedy"),
    [
        ((1, 3, 416, 320), (1, 3, 480, 640), "set size_wh to [640, 480], or export the model at the wanted size"),
        ((2, 3, 64, 64), (1, 3, 64, 64), "export the model with a free batch size, or with 2"),
        ((1, 1, 64, 64), (1, 3, 64, 64), KIND),
        ((1, 3, 64, 64), (1, 3), KIND),
    ],
)
def test_a_shape_that_does_not_fit_names_both_and_the_remedy(want, have, remedy):
    assert shape_problem(spec({"": want}), [tensor(*have)], "m.onnx") == (
        f"input 'images' of m.onnx is {have}, but {want} is wanted; {remedy}"
    )


def test_an_input_that_there_is_not_is_named_beside_those_that_there_are():
    assert shape_problem(spec({"pixels": (1,)}), [tensor(1)], "m.onnx") == (
        f"the node feeds an input named 'pixels', but m.onnx has 'images'; {KIND}"
    )
    assert shape_problem(spec({"": (1,)}), [tensor(1), tensor(1, name="b")], "m.onnx") == (
        f"the node feeds a sole input, but m.onnx has 'images', 'b'; {KIND}"
    )


def test_inputs_are_found_by_name():
    two = [tensor(1, name="a"), tensor(2, name="b")]
    assert shape_problem(spec({"b": (2,), "a": (1,)}), two, "m.onnx") is None
    assert "'b'" in str(shape_problem(spec({"b": (3,)}), two, "m.onnx"))


def test_every_batch_size_is_warmed_up_where_the_batch_is_free():
    given = spec({"": (None, 3, 8, 8)}, batch_sizes=(1, 4))
    assert warm_up_shapes(given, [tensor(None, 3, None, None)]) == [[(1, 3, 8, 8)], [(4, 3, 8, 8)]]


def test_a_fixed_batch_is_warmed_up_once():
    assert warm_up_shapes(spec({}, batch_sizes=(1, 4)), [tensor(2, 3, 8, 8)]) == [[(2, 3, 8, 8)]]


def test_a_model_whose_size_stays_free_cannot_be_warmed_up():
    assert warm_up_shapes(spec({}), [tensor(1, 3, None, None)]) == []
