"""bench/gpu.py on the CPU: does the script that is for a GPU work, and does it see what is wrong?"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(300)
ROOT = Path(__file__).parents[2]
SMALL = ["--device", "cpu", "--small"]
NO_GPU = {"workers", "launches", "transfers", "compile"}


def script(tmp_path, *words: str, before: str = "", modes: str = "") -> tuple[subprocess.CompletedProcess, dict]:
    """Run it in a process of its own, after the code `before`; what it said, and its gpu.json."""
    code = f"import sys\n{before}\nfrom bench import gpu\n{modes}\nsys.exit(gpu.main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", code, "--out", str(tmp_path), *SMALL, *words],
        *(), cwd=ROOT, capture_output=True, text=True, timeout=280, check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},  # threads that wait for each other are slow on a busy machine
    )  # fmt: skip
    assert (tmp_path / "gpu.json").is_file(), done.stdout + done.stderr
    return done, json.loads((tmp_path / "gpu.json").read_text())


@pytest.fixture(autouse=True)
def needs_torch():
    pytest.importorskip("torch")


def test_every_section_runs_on_a_cpu_or_says_why_not(tmp_path):
    done, found = script(tmp_path, "--minutes", "0.5")
    assert done.returncode == 0, done.stdout + done.stderr
    assert found["finished"]
    assert found["failures"] == []
    assert (found["device"], found["small"], found["minutes"]) == ("cpu", True, 0.5)
    sections = found["sections"]
    assert list(sections) == [
        *("environment", "parity", "safety", "speed", "full_graph", "together", "workers", "launches", "transfers"),
        *("processes", "exit", "onnx", "compile"),
    ]
    for name, section in sections.items():
        assert section["traceback"] == ""
        if name in NO_GPU:
            assert (section["status"], section["reason"]) == ("not run", "no GPU")
        else:
            assert (name, section["status"]) == (name, "ok") or section["reason"].startswith("no package")
    detector = sections["parity"]["checks"][0]
    assert detector["name"] == "yolo12n@64 fp32 eager b1"
    assert detector["is_right"]
    assert 0 <= detector["error"] <= detector["at_most"] < 1e-3
    assert {row["reason"] for row in sections["safety"]["not_run"]} >= {"no GPU"}
    row = sections["speed"]["rows"][0]
    assert 0 < row["numpy_ms"]["min"] <= row["numpy_ms"]["p50"] <= row["numpy_ms"]["max"]
    assert {"N=1", "N=3", "N=6"} <= {row["name"] for row in sections["full_graph"]["rows"]}
    assert sections["processes"]["rows"][0]["detector_beside"] > 0


def test_a_wrong_result_gives_exit_code_1(tmp_path):
    """The engine is made to answer with 1.5 times the detector's scores in half precision."""
    before = """
from engines.torch import model as torch_model
real = torch_model.TorchModel._run
def wrong(self, inputs):
    outputs = real(self, inputs)
    return tuple(1.5 * y for y in outputs) if self.placement.precision == "fp16" else outputs
torch_model.TorchModel._run = wrong
"""
    done, found = script(tmp_path, "--minutes", "1", "--only", "parity", before=before)
    assert done.returncode == 1
    assert "parity: yolo12n@64 fp16 eager b1" in found["failures"]
    assert not [name for name in found["failures"] if "fp16" not in name]
    assert "WRONG yolo12n@64 fp16 eager b1" in done.stdout


def test_an_output_that_changes_afterwards_is_found(tmp_path):
    before = """
from engines.torch import model as torch_model
real, kept = torch_model.TorchModel._run, {}
def wrong(self, inputs):
    outputs = real(self, inputs)
    for old, new in zip(kept.setdefault(id(self), outputs), outputs):
        if old.shape == new.shape:
            old[...] = new
    return kept[id(self)] if kept[id(self)][0].shape == outputs[0].shape else outputs
torch_model.TorchModel._run = wrong
"""
    done, found = script(tmp_path, "--minutes", "1", "--only", "safety", before=before)
    assert done.returncode == 1
    assert "safety: arrays stay as they are, eager" in found["failures"]


def test_a_section_that_breaks_loses_no_other(tmp_path):
    modes = """
def breaks(run):
    run.row("before", value=1)
    raise ValueError("planted")
gpu.SECTIONS = {"first": (breaks, 10, False), **{k: gpu.SECTIONS[k] for k in ("environment", "speed")}}
"""
    done, found = script(tmp_path, "--minutes", "0.2", modes=modes)
    assert done.returncode == 1
    first = found["sections"]["first"]
    assert (first["status"], first["reason"]) == ("failed", "ValueError: planted")
    assert "in breaks" in first["traceback"]
    assert first["rows"] == [{"name": "before", "value": 1}]
    assert found["sections"]["environment"]["status"] == found["sections"]["speed"]["status"] == "ok"
    assert found["failures"] == ["first"]


def test_the_engines_need_numpy_and_torch_only(tmp_path):
    """Importing them where the other packages are missing: a finder in front refuses those."""
    code = """
import sys
refused = {"cv2", "hydra", "omegaconf", "rich", "yaml", "onnx", "onnxruntime", "prometheus_client", "numba", "nodes",
           "graph", "openvino", "onnxslim", "transformers", "torchvision", "ultralytics", "scipy", "tqdm"}
class Refuses:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in refused:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Refuses())
import engines.torch, engines.onnx
from engines.base import ModelSpec, Weights
import numpy as np
spec = ModelSpec("tiny", Weights(random=True), {"": (None, 3, 64, 64)}, (1,), "yolov8n")
model = engines.torch.Torch().load(spec)
assert model(np.zeros((1, 3, 64, 64), np.float32))[0].shape == (1, 84, 84)
from bench import gpu
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
