from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.base import Placement, Weights, located

SHA = "ab" * 32
URL = "https://example.org/yolox_nano.onnx"


@pytest.mark.parametrize(
    ("value", "weights"),
    [
        (None, Weights()),
        ("model.onnx", Weights(path="model.onnx")),
        ({"path": "model.onnx"}, Weights(path="model.onnx")),
        ({"url": URL, "sha256": SHA}, Weights(url=URL, sha256=SHA)),
        ({"path": None, "url": URL, "sha256": SHA}, Weights(url=URL, sha256=SHA)),
    ],
)
def test_weights_are_parsed_from_what_stands_in_a_yaml_file(value, weights):
    assert Weights.parse(value) == weights


FORM = [
    (URL, f"'{URL}' is an address without its sha256; write {{url: {URL}, sha256: ...}}"),
    (7, "7 is a int; expected the path of a model file, or {url: ..., sha256: ...}"),
    ({"file": "x"}, "unknown key 'file'; expected path, or url and sha256"),
    ({"path": "x", "url": URL, "sha256": SHA}, "both path and url are given; keep one of them"),
    (
        {"url": URL},
        f"'{URL}' is given without sha256; add that of the official file, so that no other one is ever loaded",
    ),
    (
        {"url": "ftp://example.org/x", "sha256": SHA},
        "'ftp://example.org/x' does not begin with https://, http:// or file://; give such an address, or a path",
    ),
    (
        {"url": URL, "sha256": "12"},
        "sha256 is '12'; expected 64 hexadecimal digits, as `sha256sum FILE` prints them",
    ),
]


@pytest.mark.parametrize(("value", "problem"), FORM)
def test_weights_of_a_wrong_form_are_a_problem_and_do_not_parse(value, problem):
    assert list(Weights.problems(value)) == [problem]
    with pytest.raises(ValueError, match=r".") as e:
        Weights.parse(value)
    assert str(e.value) == problem


def test_all_mistakes_of_weights_are_told_at_once():
    assert len(list(Weights.problems({"url": "gopher://x", "sha256": "1", "size": 3}))) == 3


def test_weights_that_are_not_given_are_a_problem():
    assert list(Weights.problems(None)) == ["no weights given; set it to the path of a model file"]
    assert list(Weights.problems({})) == ["no weights given; set it to the path of a model file"]


def test_weights_that_are_there_or_can_be_downloaded_are_no_problem(tmp_path):
    (tmp_path / "m.onnx").touch()
    assert list(Weights.problems(str(tmp_path / "m.onnx"))) == []
    assert list(Weights.problems({"url": URL, "sha256": SHA})) == []


def test_a_missing_file_names_the_nearest_one_in_its_folder(tmp_path):
    (tmp_path / "yolo11n.onnx").touch()
    assert list(Weights.problems(str(tmp_path / "yolo12n.onnx"))) == [
        f"there is no file '{tmp_path}/yolo12n.onnx'; did you mean '{tmp_path}/yolo11n.onnx'?"
    ]
    assert list(Weights.problems(str(tmp_path / "depth"))) == [
        f"there is no file '{tmp_path}/depth'; expected the path of a model file"
    ]


def test_a_missing_folder_is_named(tmp_path):
    assert list(Weights.problems(str(tmp_path / "no" / "m.onnx"))) == [
        f"there is no file '{tmp_path}/no/m.onnx', and no folder '{tmp_path}/no' either; "
        "expected the path of a model file"
    ]


def test_a_folder_is_no_model_file(tmp_path):
    assert list(Weights.problems(str(tmp_path))) == [f"'{tmp_path}' is a folder; expected a model file"]


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "m.onnx").touch()
    assert list(Weights.problems("~/m.onnx")) == []
    assert str(tmp_path) in next(iter(Weights.problems("~/other")))


plain = st.none() | st.booleans() | st.integers() | st.text() | st.floats()


@given(plain | st.lists(plain) | st.dictionaries(st.sampled_from(["path", "url", "sha256", "x"]), plain))
def test_weights_either_parse_or_have_problems_and_nothing_else_is_raised(value):
    try:
        Weights.parse(value)
    except ValueError:
        assert list(Weights.problems(value))
    else:
        list(Weights.problems(value))


def test_a_placement_elsewhere_than_asked_for_is_a_fallback():
    assert Placement("onnx", "cuda:0", "cpu", "CPUExecutionProvider", "fp32", "no driver").fallback
    assert not Placement("onnx", "cpu", "cpu", "CPUExecutionProvider", "fp32", "as requested").fallback


def test_the_interface_imports_no_runtime():
    import engines.base

    assert "onnxruntime" not in Path(engines.base.__file__).read_text()


def test_a_shipped_file_is_found_wherever_the_program_is_started(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert located("shipped:street_depth.onnx").is_file()
    assert list(Weights.problems("shipped:street_depth.onnx")) == []
    (problem,) = Weights.problems("shipped:street_dept.onnx")
    assert "street_depth.onnx'?" in problem


def test_a_path_may_begin_in_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert located("~/m.onnx") == tmp_path / "m.onnx"
