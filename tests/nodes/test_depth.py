import numpy as np
import pytest

from engines.base import EngineError
from engines.onnx import Onnx
from nodes.depth import Depth
from nodes.messages import DepthMap, Frame
from nodes.ops.fisheye import Fisheye624
from tests.nodes.fakes import FakeEngine

RAMP = np.linspace(0, 20, 14 * 28, dtype=np.float32).reshape(1, 1, 14, 28)


def depth_of(output, image=None, **params) -> tuple[DepthMap, FakeEngine]:
    engine = FakeEngine(output)
    node = Depth(engine, "toy", **({"weights": None, "size_wh": [28, 14], "kind": "metres"} | params))
    node.setup()
    try:
        return node.process(image or Frame(np.full((50, 100, 3), 255, np.uint8))), engine
    finally:
        node.close()


def test_a_map_has_the_models_resolution_and_describes_the_whole_frame():
    depth, engine = depth_of(RAMP)
    assert depth.values.shape == (14, 28)
    assert depth.size_wh == (100, 50)
    assert depth.kind == "metres"
    assert engine.spec.inputs == {"": (1, 3, 14, 28)}


def test_metres_are_scaled_and_limited():
    depth, _ = depth_of(RAMP, output_scale=2, min_m=0.5, max_m=10)
    np.testing.assert_allclose(depth.values, np.clip(RAMP[0, 0] * 2, 0.5, 10), rtol=1e-6)


def test_relative_depth_is_as_the_model_says():
    depth, _ = depth_of(RAMP[0] * 1000, kind="relative")
    np.testing.assert_array_equal(depth.values, RAMP[0, 0] * 1000)


@pytest.mark.parametrize("kind", ["metres", "relative"])
def test_a_map_does_not_change_when_the_engine_writes_its_output_again(kind):
    output = RAMP.copy()
    depth, _ = depth_of(output, kind=kind)
    before = depth.values.copy()
    output[:] = -1
    np.testing.assert_array_equal(depth.values, before)


def test_what_the_lens_does_not_see_is_unknown():
    lens = Fisheye624((100, 100), 40.0, 49.5, 49.5, k=(0.0,) * 6, valid_radius_px=40.0)
    depth, _ = depth_of(RAMP + 1, Frame(np.zeros((100, 100, 3), np.uint8), camera=lens))
    assert np.isnan(depth.values[[0, 0, -1, -1], [0, -1, 0, -1]]).all()
    np.testing.assert_array_equal(depth.values[7, 10:18], RAMP[0, 0, 7, 10:18] + 1)


def test_the_whole_frame_is_fed_normalised_without_padding():
    _, engine = depth_of(RAMP, mean=[0.5, 0.5, 0], std=[0.5, 0.25, 1])
    for channel, value in enumerate((1, 2, 1)):
        np.testing.assert_allclose(engine.model.fed[0, channel], value, rtol=1e-5)


def test_a_gray_frame_is_as_good_as_one_in_colour():
    depth, engine = depth_of(RAMP, Frame(np.full((50, 100), 51, np.uint8)))
    assert depth.values.shape == (14, 28)
    np.testing.assert_allclose(engine.model.fed, 0.2, rtol=1e-6)


def test_a_frame_on_its_side_is_refused():
    with pytest.raises(ValueError, match=r"^toy: the frame lies on its side; put a nodes.rectify.Rectify with rotate"):
        depth_of(RAMP, Frame(np.zeros((50, 100, 3), np.uint8), upright=False))


def test_an_output_that_is_no_map_is_refused():
    with pytest.raises(
        ValueError, match=r"^toy: the output is \(1, 2, 14, 28\); expected \(1, h, w\) or \(1, 1, h, w\)$"
    ):
        depth_of(np.zeros((1, 2, 14, 28), np.float32))


def test_values_that_are_not_finite_are_an_error():
    with pytest.raises(EngineError, match=r"^toy gives values that are not finite on cpu at fp32"):
        depth_of(np.full((1, 14, 28), np.inf, np.float32))


def test_384_is_refused_for_patches_of_14_with_the_nearest_right_sizes(tmp_path):
    (tmp_path / "model.onnx").touch()
    params = {"weights": str(tmp_path / "model.onnx"), "size_wh": [392, 384], "multiple_of": 14, "kind": "relative"}
    assert list(Depth.check(params)) == [
        "size_wh: the height 384 is no multiple of 14, which the model needs; set it to 378 or 392"
    ]


def test_check_finds_all_mistakes_at_once():
    params = {
        "weights": None,
        "size_wh": [10, 28],
        "multiple_of": 14,
        "kind": "meters",
        "mean": [0.5, 0.5],
        "std": [1, 1, 0],
        "output_scale": 0,
        "min_m": 5,
        "max_m": 5,
    }
    assert list(Depth.check(params)) == [
        "weights: no weights given; set it to the path of a model file",
        "size_wh: the width 10 is no multiple of 14, which the model needs; set it to 14",
        "kind: is 'meters'; expected one of relative, metres",
        "mean: is [0.5, 0.5]; expected three numbers, for red, green and blue",
        "std: is [1, 1, 0]; expected three numbers above 0",
        "output_scale: is 0, which makes every distance 0; expected a number above 0",
        "max_m: is 5; expected more than min_m, which is 5",
    ]


def test_facts_tell_where_the_model_runs():
    node = Depth(FakeEngine(RAMP), "toy", weights=None, size_wh=[28, 14], kind="metres")
    assert node.facts() == {}
    node.setup()
    assert node.facts()["model"]["device"] == "cpu"


@pytest.mark.data
def test_fastdepth_tells_metres_as_its_authors_say(data):
    image = (np.load(data / "rgbd/fastdepth_nyu_rgb.npy") * 255).round().astype(np.uint8)
    truth, authors = np.load(data / "rgbd/fastdepth_nyu_depth.npy"), np.load(data / "rgbd/fastdepth_nyu_pred.npy")[0, 0]
    weights = str(data / "models/derived/fastdepth_nyu_dequant.onnx")
    node = Depth(Onnx(), "fastdepth", weights=weights, size_wh=[224, 224], kind="metres", min_m=0.5, max_m=10)
    node.setup()
    metres = node.process(Frame(image)).values
    node.close()
    assert np.abs(metres - authors).mean() < 0.05
    assert (np.abs(metres - truth) / truth).mean() == pytest.approx(0.140, abs=0.002)
