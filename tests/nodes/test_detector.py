import numpy as np
import pytest

from engines.base import EngineError
from nodes.detector import Detector, names_in
from nodes.messages import Frame
from nodes.ops.camera import Pinhole
from tests.nodes.fakes import FakeEngine

NAMES = "{0: 'person', 1: 'car', 2: 'dog'}"


def dense(*columns, anchors=84):
    """Output of a model with three classes at 64x64; a column is x, y, w, h and the three scores."""
    output = np.zeros((1, 7, anchors), np.float32)
    for i, column in enumerate(columns):
        output[0, :, i] = column
    return output


def detector(output, **params) -> tuple[Detector, FakeEngine]:
    engine = FakeEngine(output, metadata=params.pop("metadata", {"names": NAMES}), **params.pop("engine", {}))
    node = Detector(engine, "toy", **({"weights": None, "size_wh": [64, 64]} | params))
    return node, engine


def found_in(output, image=None, **params):
    node, _ = detector(output, **params)
    node.setup()
    try:
        return node.process(image or frame(128, 64))
    finally:
        node.close()


def frame(width: int, height: int, **more) -> Frame:
    return Frame(np.full((height, width, 3), 255, np.uint8), **more)


def test_boxes_come_back_in_pixels_of_the_frame_most_confident_first():
    found = found_in(dense([32, 32, 16, 8, 0.5, 0, 0], [16, 24, 8, 8, 0, 0.75, 0]))
    assert found.xyxy.tolist() == [[24, 8, 40, 24], [48, 24, 80, 40]]
    assert found.conf.tolist() == [0.75, 0.5]
    assert [found.name(i) for i in range(2)] == ["car", "person"]
    assert found.size_wh == (128, 64)


def test_boxes_end_at_the_frame_and_what_lies_in_the_padding_is_no_object():
    found = found_in(dense([2, 18, 16, 16, 0.9, 0, 0], [32, 4, 8, 8, 0.9, 0, 0]))
    assert found.xyxy.tolist() == [[0, 0, 20, 20]]


def test_the_camera_of_the_frame_goes_along():
    camera = Pinhole((128, 64), 100, 100, 64, 32)
    assert found_in(dense(), frame(128, 64, camera=camera)).camera is camera


def test_one_object_is_told_once():
    columns = [32, 32, 16, 8, 0.5, 0, 0], [32, 32, 16, 9, 0.75, 0, 0], [32, 32, 16, 8, 0, 0.6, 0]
    assert found_in(dense(*columns)).conf.tolist() == pytest.approx([0.75, 0.6])
    assert found_in(dense(*columns), agnostic=True).conf.tolist() == [0.75]
    assert len(found_in(dense(*columns), iou=1.0)) == 3
    assert found_in(dense(*columns), max_detections=1).conf.tolist() == [0.75]


def test_only_the_named_classes_are_kept_with_the_models_numbers():
    columns = [32, 32, 16, 8, 0.5, 0, 0], [16, 32, 8, 8, 0, 0.6, 0], [48, 32, 8, 8, 0, 0, 0.7]
    found = found_in(dense(*columns), classes=["dog", "person"])
    assert found.class_id.tolist() == [2, 0]
    assert found.class_names == ("person", "car", "dog")


@pytest.mark.parametrize("how", [{"metadata": {"names": "{0: 'face'}", "kpt_shape": "[5, 3]"}},
                                 {"metadata": {}, "class_names": ["face"], "keypoints": 5}])  # fmt: skip
def test_a_face_model_works_by_config_and_its_landmarks_are_no_classes(how):
    output = np.zeros((1, 4 + 1 + 15, 84), np.float32)
    output[0, :5, 7] = [32, 32, 16, 8, 0.8]
    output[0, 5:, :] = 60.0  # landmarks, in pixels
    found = found_in(output, **how)
    assert [found.name(i) for i in range(len(found))] == ["face"]
    assert found.conf.tolist() == pytest.approx([0.8])


def test_nothing_found_is_an_empty_message():
    found = found_in(dense())
    assert found.xyxy.shape == (0, 4)
    assert found.class_id.dtype == np.int32


def test_an_end_to_end_model_is_not_suppressed_again():
    output = np.zeros((1, 300, 6), np.float32)
    output[0, :2] = [[0, 16, 32, 48, 0.5, 2], [0, 16, 32, 48, 0.75, 2]]
    found = found_in(output)
    assert found.conf.tolist() == [0.75, 0.5]
    assert found.xyxy[0].tolist() == [0, 0, 64, 64]


def test_the_model_is_fed_a_letterboxed_picture_of_0_to_1():
    node, engine = detector(dense())
    node.setup()
    node.process(frame(128, 64))
    assert engine.spec is not None
    assert engine.spec.inputs == {"": (1, 3, 64, 64)}
    assert engine.model is not None
    fed = engine.model.fed
    assert (fed.shape, fed.dtype) == ((1, 3, 64, 64), np.float32)
    assert (fed[0, :, 16:48] == 1).all()
    assert (fed[0, :, :16] < 0.5).all()


def test_yolox_settings_reach_the_model():
    node, engine = detector(dense(), colour="bgr", value_max=255, pad="corner")
    node.setup()
    node.process(Frame(np.full((32, 64, 3), (1, 2, 3), np.uint8)))
    assert engine.model.fed[0, :, 0, 0].tolist() == [3, 2, 1]


def test_a_half_precision_model_is_fed_and_read_in_its_own_type():
    output = dense([32, 32, 16, 8, 0.5, 0, 0]).astype(np.float16)
    node, engine = detector(output, engine={"dtype": np.float16})
    node.setup()
    assert node.process(frame(128, 64)).conf.dtype == np.float32
    assert engine.model.fed.dtype == np.float16


def test_a_gray_frame_is_as_good_as_one_in_colour():
    found = found_in(dense([32, 32, 16, 8, 0.5, 0, 0]), Frame(np.zeros((64, 128), np.uint8)))
    assert len(found) == 1


def test_a_frame_on_its_side_is_refused():
    with pytest.raises(ValueError, match=r"^toy: the frame lies on its side; put a nodes.rectify.Rectify with rotate"):
        found_in(dense(), frame(128, 64, upright=False))


def test_values_that_are_not_finite_are_an_error_and_not_an_empty_street():
    with pytest.raises(EngineError, match=r"^toy gives values that are not finite on cpu at fp32; use precision fp32"):
        found_in(np.full((1, 7, 84), np.nan, np.float32))


def test_a_model_of_another_size_does_not_load():
    node, engine = detector(dense(), engine={"takes": (1, 3, 96, 96)})
    with pytest.raises(EngineError) as error:
        node.setup()
    assert str(error.value) == (
        "toy: the model takes [(1, 3, 96, 96)]; expected one input (1, 3, 64, 64); set size_wh to its size"
    )
    assert engine.model.closed


def test_an_output_of_no_known_head_does_not_load():
    node, engine = detector(np.zeros((1, 1000), np.float32))
    with pytest.raises(ValueError, match=r"^toy: the output \(1, 1000\) fits no known head; an input of 64x64 has 84 "):
        node.setup()
    node.close()
    assert engine.model.closed


def test_as_many_class_names_as_the_model_has_classes():
    node, _ = detector(dense(), class_names=["person", "car"])
    with pytest.raises(
        ValueError, match=r"^toy: the model has 3 classes, but there are 2 class names; give class_names"
    ):
        node.setup()


def test_class_names_must_come_from_somewhere():
    node, _ = detector(dense(), metadata={})
    with pytest.raises(ValueError, match=r"^toy: the model file does not name its classes; list them in class_names$"):
        node.setup()


def test_a_class_that_the_model_does_not_have_names_the_nearest():
    node, _ = detector(dense(), classes=["persn", "car"])
    with pytest.raises(ValueError, match=r"^toy: classes: the model has no class 'persn'; did you mean 'person'\?$"):
        node.setup()


def test_class_names_are_read_and_never_run():
    assert names_in({"names": NAMES}) == ("person", "car", "dog")
    assert names_in({"names": "{1: 'b', 0: 'a'}"}) == ("a", "b")
    assert names_in({"names": "['a', 'b']"}) == ("a", "b")
    assert names_in({"names": "__import__('os').getcwd()"}) == ()
    assert names_in({}) == ()


def test_facts_tell_where_the_model_runs():
    node, _ = detector(dense())
    assert node.facts() == {}
    node.setup()
    assert node.facts()["model"] == {
        "name": "toy",
        "backend": "fake",
        "requested_device": "cpu",
        "device": "cpu",
        "provider": "FakeProvider",
        "precision": "fp32",
        "reason": "as requested",
        "fallback": "false",
        "step": "0",
        "refused": "",
    }


@pytest.mark.parametrize(
    ("params", "problem"),
    [
        (
            {"weights": "random"},
            "architecture: is not given; the weights random belong to one of these",
        ),
        (
            {"weights": "random", "architecture": "yolo13n"},
            "architecture: there is no architecture 'yolo13n'; did you mean",
        ),
        ({"weights": "random", "architecture": "yolo12n"}, None),
    ],
)
def test_the_network_of_weights_is_checked_before_anything_loads(params, problem):
    found = list(Detector.check(params))
    assert [f.startswith(str(problem)) for f in found] == ([] if problem is None else [True])


def test_close_works_before_setup_and_loads_nothing():
    node, engine = detector(dense())
    node.close()
    assert engine.model is None


def test_check_finds_all_mistakes_at_once(tmp_path):
    params = {
        "weights": str(tmp_path / "gone.onnx"),
        "size_wh": [640, 650],
        "min_conf": "high",
        "iou": 1.5,
        "max_detections": 0,
        "head": "yolo",
        "colour": "gbr",
        "pad": "center",
        "value_max": 2,
        "classes": ["persn"],
        "class_names": ["person", "car"],
    }
    assert list(Detector.check(params)) == [
        f"weights: there is no file '{tmp_path / 'gone.onnx'}'; expected the path of a model file",
        "size_wh: the height 650 is no multiple of 32, which the model needs; set it to 640 or 672",
        "min_conf: is 'high'; expected a number, 0 to 1",
        "iou: is 1.5; expected a number, 0 to 1",
        "max_detections: is 0; expected a whole number, 1 or more",
        "head: is 'yolo'; expected one of auto, dense, end_to_end, yolox",
        "colour: is 'gbr'; expected one of rgb, bgr",
        "pad: is 'center'; expected one of centre, corner",
        "value_max: is 2; expected one of 1, 255",
        "classes: the model has no class 'persn'; did you mean 'person'?",
    ]


@pytest.mark.parametrize("size", [640, [640], [640, 640.5], [0, 640], None, "640x640", [True, 32]])
def test_check_refuses_what_is_no_size(size, tmp_path):
    (tmp_path / "model.onnx").touch()
    problems = list(Detector.check({"weights": str(tmp_path / "model.onnx"), "size_wh": size}))
    assert problems == [f"size_wh: is {size!r}; expected width and height in pixels, such as [640, 480]"]


def test_check_wants_lists_of_names(tmp_path):
    (tmp_path / "model.onnx").touch()
    problems = list(Detector.check({"weights": str(tmp_path / "model.onnx"), "classes": "person", "class_names": [1]}))
    assert problems == [
        "classes: is 'person'; expected a list of names, such as [person, car], or null",
        "class_names: is [1]; expected a list of names, such as [person, car], or null",
    ]
