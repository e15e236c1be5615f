"""`bench` and `validate` from the command line, on the networks that come with the software."""

import json
from pathlib import Path
from typing import Any

import cv2
import pytest

from tests.faults.test_command_line import cauce

SMALL = ["command.size_px=352", "command.count=2"]
ENDS = [f"command.{name}.{end}" for name in ("single_stream", "offline", "paced") for end in ("count=12", "seconds=0")]
SHORT = [*SMALL, "command.warm_up.count=1", "command.warm_up.seconds=0", *ENDS]
QUICK = [*SMALL, "command.reference=onnx", "command.speed={count: 12, seconds: 0, warm_up: 1}"]
FAULTY = ["plugins=[tests]", "backend._target_=tests.measuring.engines.Faulty"]


def report(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


def test_bench_measures_both_models_and_writes_its_report(tmp_path):
    done = cauce("bench", *SHORT, "command.batches=[1,2]", "out=b", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = report(tmp_path / "b" / "bench.json")
    detector, depth = found["models"]
    assert (detector["name"], detector["provider"], detector["precision"]) == (
        "street_yolo12n", "CPUExecutionProvider", "fp32",
    )  # fmt: skip
    assert (depth["kind"], depth["name"], depth["device"]) == ("depth", "street_depth", "cpu")
    assert detector["artifact_bytes"] == Path(detector["artifact"]).stat().st_size
    assert detector["memory"]["peak_bytes"] > 50e6
    for m in found["models"]:
        parts = m["scenarios"]["single_stream"]["parts"]
        whole = sum(parts[name]["mean"] for name in ("pre", "engine", "post"))
        assert parts["end_to_end"]["mean"] == pytest.approx(whole)
        assert parts["engine"]["n"] == 12
        assert m["scenarios"]["paced"]["age"]["n"] == 12
        one, two = m["scenarios"]["batches"]
        assert one["per_s"] > 0
        assert two["batch"] == 2
    assert {"processor", "cores", "memory_bytes", "python", "packages", "date", "commit"} <= set(found["environment"])
    assert "street_depth, 256x256, fp32" in done.stdout
    assert [p.name for p in (tmp_path / "b").iterdir()] == ["bench.json"]


def test_a_model_that_is_off_and_a_scenario_that_is_off_are_left_out(tmp_path):
    words = ["depth=none", "command.paced=null", "command.offline=null", "command.frames=noise", "out=b"]
    done = cauce("bench", *(w for w in SHORT if "paced" not in w and "offline" not in w), *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (only,) = report(tmp_path / "b" / "bench.json")["models"]
    assert (only["kind"], list(only["scenarios"])) == ("detector", ["single_stream"])
    assert only["frames"] == {"of": "noise", "count": 2, "size_wh": [352, 352]}


def test_mistakes_are_told_before_anything_is_measured(tmp_path):
    wrong = ["command.count=0", "detector.weights=gone.onnx", "command.paced.fps=fast", "backend.device=gpu"]
    done = cauce("bench", *wrong, cwd=tmp_path)
    assert done.returncode == 1
    told = [line.strip() for line in done.stderr.splitlines()]
    assert told[0].startswith("error: the configuration has ")
    for start in ("command.count: is 0;", "command.paced.fps: is 'fast';", "detector.weights: there is no file",
                  "detector.engine.device: is 'gpu';", "depth.engine.device: is 'gpu';"):  # fmt: skip
        assert any(line.startswith(start) for line in told), start
    assert list(tmp_path.iterdir()) == []


def test_both_models_off_is_a_mistake(tmp_path):
    done = cauce("bench", "detector=none", "depth=none", cwd=tmp_path)
    assert "detector and depth are both off" in done.stderr
    assert done.returncode == 1


def test_a_sweep_ends_in_one_table_with_ratios_and_survives_a_job_that_fails(tmp_path):
    words = ["backend.precision=fp32,int8,null", "depth=none", "command.paced=null", "command.batches=[]", "out=s"]
    done = cauce("-m", "bench", *(w for w in SHORT if "paced" not in w), *words, cwd=tmp_path)
    assert done.returncode == 1
    rows = report(tmp_path / "s" / "comparison.json")["rows"]
    assert [row["job_words"] for row in rows] == [[f"backend.precision={p}"] for p in ("fp32", "int8", "null")]
    assert "precision int8 is asked for" in rows[1]["error"]
    assert [row["error"] for row in rows[::2]] == [None, None]
    assert (rows[0]["ratio"], rows[1]["ratio"]) == (1.0, None)
    assert rows[2]["ratio"] == pytest.approx(rows[2]["median_ms"] / rows[0]["median_ms"])
    table = done.stdout[done.stdout.rindex("comparison") - 4000 :]
    assert "FAILED" in table
    assert "#2 backend.precision=null" in table
    assert "error: street_yolo12n: precision int8" in done.stderr


def test_an_older_sweep_in_the_same_folder_does_not_come_into_the_table(tmp_path):
    quick = [*(w for w in SHORT if "paced" not in w), "depth=none", "command.paced=null", "command.batches=[]", "out=s"]
    assert cauce("-m", "bench", *quick, "backend.threads=1,2", cwd=tmp_path).returncode == 0
    assert cauce("-m", "bench", *quick, "backend.threads=2", cwd=tmp_path).returncode == 0
    assert len(report(tmp_path / "s" / "comparison.json")["rows"]) == 1


def test_validate_passes_what_is_right(tmp_path):
    done = cauce("validate", *QUICK, "out=v", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    detector, depth = report(tmp_path / "v" / "validate.json")["models"]
    assert (detector["verdict"], depth["verdict"]) == ("PASS", "PASS")
    assert detector["boxes"]["f1"] == 1
    assert detector["boxes"]["reference"] > 5
    assert detector["scores"]["loss"] == 0
    assert depth["depth"]["AbsRel"] == pytest.approx(0, abs=1e-6)
    assert 0 < depth["depth_truth"]["model"]["AbsRel"] < 0.5
    assert cv2.imread(str(tmp_path / "v" / "validate.png")).shape[1] == 1280
    assert done.stdout.count("PASS") == 2


def test_what_is_slow_but_right_passes(tmp_path):
    done = cauce("validate", *QUICK, *FAULTY, "+backend.fault=slow", "depth=none", "out=v", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (only,) = report(tmp_path / "v" / "validate.json")["models"]
    assert only["verdict"] == "PASS"
    assert only["speed"]["parts"]["engine"]["min"] >= 10


@pytest.mark.parametrize(
    ("fault", "detector", "depth"),
    [
        ("wrong", "box F1 against onnx is 0.", "depth differs by"),
        ("not_finite", "2 values of the outputs are not finite", "2 values of the outputs are not finite"),
        ("doubled", "box F1 against onnx is 0.", "depth differs by"),
    ],
)
def test_what_is_wrong_fails_with_exit_code_1_after_the_report(tmp_path, fault, detector, depth):
    done = cauce("validate", *QUICK, *FAULTY, f"+backend.fault={fault}", "out=v", cwd=tmp_path)
    assert done.returncode == 1
    models = report(tmp_path / "v" / "validate.json")["models"]
    assert [m["verdict"] for m in models] == ["FAIL", "FAIL"]
    for m, told in zip(models, (detector, depth), strict=True):
        assert any(v.startswith(told) for v in m["violations"]), m["violations"]
        assert told in done.stderr
    assert "error: validation failed:" in done.stderr
    assert done.stdout.count("FAIL") >= 2
    assert (tmp_path / "v" / "validate.png").is_file()


def test_layers_name_where_it_begins(tmp_path):
    words = [*QUICK, "detector=none", "command.layers=true", "out=v"]
    done = cauce("validate", *words, *FAULTY, "+backend.fault=doubled", cwd=tmp_path)
    (only,) = report(tmp_path / "v" / "validate.json")["models"]
    assert only["layers"]["first"] == only["layers"]["all"][0]
    assert only["layers"]["worst"]["relative_mse"] == pytest.approx(1)
    assert f"{only['layers']['first']['op_type']} {only['layers']['first']['name']}" in done.stdout


def test_a_reference_that_is_not_there_is_told_with_those_that_are(tmp_path):
    done = cauce("validate", "command.reference=tourch", cwd=tmp_path)
    assert done.returncode == 1
    assert "command.reference: is 'tourch'; " in done.stderr


def test_a_reference_that_cannot_load_names_another_file_as_the_remedy(tmp_path):
    words = ["command.references.onnx.precision=int8", "depth=none", "out=v"]
    done = cauce("validate", *QUICK, *words, cwd=tmp_path)
    assert done.returncode == 1
    assert "command.reference=onnx: street_yolo12n: precision int8 is asked for" in done.stderr
    assert "command.reference_weights.detector=FILE" in done.stderr


def test_validation_of_a_sweep_is_one_table_and_one_picture(tmp_path):
    words = [*QUICK, *FAULTY, "+backend.fault='',wrong", "depth=none", "out=s"]
    done = cauce("-m", "validate", *words, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    rows = report(tmp_path / "s" / "comparison.json")["rows"]
    assert [row["verdict"] for row in rows] == ["PASS", "FAIL"]
    single, both = (cv2.imread(str(tmp_path / "s" / p)) for p in ("1/validate.png", "validate.png"))
    assert len(both) > len(single)
