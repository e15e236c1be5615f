import pytest

from graph.compose import composed, with_ladders
from graph.errors import ConfigError


def test_a_list_of_backends_is_a_ladder():
    config, _ = composed(["backend=[openvino,onnx]", "backend.known.onnx.threads=1"])
    assert (config["backend"]["_target_"], config["backend"]["steps"]) == (
        "engines.ladder.Ladder",
        ["openvino", "onnx"],
    )
    assert config["backend"]["known"]["onnx"]["threads"] == 1
    assert config["backend"]["known"]["onnx_cuda"]["device"] == "cuda:0"


def test_other_words_stay_as_they_are():
    words = ["detector.size_wh=[640,640]", "backend=onnx", "plugins=[mine]", "-m", "backend=a,b"]
    assert with_ladders(words) == words


def test_a_wrong_step_is_told_by_its_key():
    from graph import load

    with pytest.raises(
        ConfigError, match=r"nodes\.detector\.engine\.steps: there is no backend 'onx'; did you mean 'onnx"
    ):
        load("demo", ["backend=[onx]"])
