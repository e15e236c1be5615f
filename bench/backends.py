"""All backends of the CPU on YOLO12n and Depth-Anything-V2-Small, beside Ultralytics and transformers, taking turns.

python bench/backends.py --peers PYTHON     # one with torch, torchvision, ultralytics and transformers
python bench/backends.py --repeats 10       # a look; p99 wants 100

A whole node takes a frame of 1408x1408 and gives its message; the time inside its engine is noted in the same call.
All have the same weights: of the detector those that were trained on the computed street, so that it finds something,
of the depth random ones, unless files are given. A backend that differs from PyTorch by more than `validate` admits is
timed and told, but is no candidate for the fastest.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import yaml

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from bench import report
from engines.base import located
from graph.build import Builder, Recipe
from graph.errors import CauceError
from nodes.detector import names_in
from nodes.measuring import judge, pictures
from nodes.measuring.agreement import pairs
from nodes.measuring.comparison import Comparison
from nodes.measuring.subject import Kind, Subject
from nodes.messages import DepthMap, Detections, Frame

EAGER = "torch fp32, eager"
BACKENDS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    EAGER: ("torch", {}),
    "torch bf16, channels last": ("torch", {"precision": "bf16", "channels_last": True}),
    "onnx fp32": ("onnx", {}),
    "openvino fp32": ("openvino", {}),
    "openvino bf16": ("openvino", {"precision": "bf16"}),
    "openvino int8": ("openvino", {"precision": "int8"}),
    "openvino int8, rest in bf16": ("openvino", {"precision": "int8", "float_rest": "bf16"}),
}
MODELS: Mapping[Kind, str] = {"detector": "yolo12n", "depth": "depth_anything_v2_small"}
PEERS: Mapping[Kind, Sequence[str]] = {
    "detector": ("ultralytics", "ultralytics-all-threads"),
    "depth": ("transformers",),
}
PACKAGES = ("numpy", "opencv-python-headless", "torch", "onnxruntime", "openvino", "nncf")
JUDGED, CALIBRATED = 4, 16
REST_S = 0.01
"""Between two calls: threads of PyTorch and OpenVINO wait in a busy loop for some milliseconds after one."""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", default=sys.executable, help="the interpreter of the other programs")
    parser.add_argument("--repeats", type=int, default=100)
    parser.add_argument("--only", choices=[*MODELS], help="one of both models")
    parser.add_argument("--detector", type=Path, help="PyTorch weights of YOLO12n; without: those of the street")
    parser.add_argument("--depth", type=Path, help="PyTorch weights of Depth-Anything-V2-Small; without: random ones")
    return parser.parse_args()


@dataclass(frozen=True, slots=True)
class Weights:
    """What all programs load: a PyTorch file in the official form."""

    path: Path
    story: str
    class_names: Sequence[str] = ()


class Timed:
    """A node around an engine: what it takes in all, and in the engine, both in nanoseconds."""

    def __init__(self, subject: Subject, frame: Frame, *, refusal: str) -> None:
        self.subject, self.frame, self.refusal = subject, frame, refusal
        self.engine_ns: list[int] = []
        self.message: Any = None

    def __call__(self) -> None:
        self.message, _, call, _ = self.subject.process(self.frame)
        self.engine_ns.append(call.ended_ns - call.begun_ns)


class Peer:
    """Another program in its own process, see `bench/peer.py`. RuntimeError where it does not get ready."""

    def __init__(self, python: str, name: str, weights: Path, folder: Path) -> None:
        self.found, self.taken_ns = folder / f"{name}.npy", list[int]()
        self.errors = open(folder / f"{name}.txt", "w+")  # noqa: SIM115 (closed with the process)
        paths = (weights, folder / "frame.npy", self.found)
        words = [python, str(ROOT / "bench" / "peer.py"), name, *map(str, paths)]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": self.errors}
        self.process = subprocess.Popen(words, **pipes, text=True)
        ready = self._answer(first=True)
        self.versions, self.notes = ready["versions"], ready["notes"]

    def __call__(self) -> None:
        print(file=self.process.stdin, flush=True)
        self.taken_ns.append(self._answer())

    def _answer(self, *, first: bool = False) -> Any:
        assert self.process.stdout is not None
        if line := self.process.stdout.readline():
            return json.loads(line)
        self.close()
        self.errors.seek(0)
        told = self.errors.read().strip().splitlines()
        raise RuntimeError(f"{'does not start' if first else 'ended'}: {told[-1] if told else 'it says nothing'}")

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def recipe(kind: Kind, backend: str, weights: Weights, **options: Any) -> Recipe:
    """The application's own node with its own preset, on `backend`."""
    config: dict[str, Any] = {}
    for part in (f"node/{kind}", f"model/{MODELS[kind]}"):
        config |= yaml.safe_load((ROOT / "conf" / f"{part}.yaml").read_text())
    engine = yaml.safe_load((ROOT / "conf" / "backend" / f"{backend}.yaml").read_text()) | options
    named = {"class_names": weights.class_names} if weights.class_names else {}
    return Recipe(config | {"weights": str(weights.path), "engine": engine} | named, Builder())


def random_weights(to: Path) -> Weights:
    """The random weights that the engines would take for Depth-Anything, in the form of the official file."""
    import torch

    from engines.architectures import find, loading

    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        torch.save(loading._random(find(MODELS["depth"]), (378, 378)).state_dict(), to)
    return Weights(to, "random")


def street_weights(to: Path) -> Weights:
    """The weights of the shipped YOLO12n, which is an ONNX file, as a PyTorch file that was written after fusing."""
    import onnx
    import torch

    from engines.architectures import find

    model = onnx.load(str(located("shipped:street_yolo12n.onnx")))
    held = {w.name.removesuffix("_fp16"): onnx.numpy_helper.to_array(w) for w in model.graph.initializer}
    names = names_in({p.key: p.value for p in model.metadata_props})
    with torch.no_grad():
        network = find(MODELS["detector"]).build((640, 640), len(names))
        network.fuse()
    state = network.state_dict()
    state |= {name: torch.from_numpy(held[name].astype(np.float32)) for name in state if name in held}
    network.load_state_dict(state)
    torch.save(state, to)
    return Weights(to, "of the shipped street_yolo12n", names)


def calibrate(eager: Subject, engine: Any, found: Sequence[pictures.Picture]) -> None:
    """Make the int8 file of the eager model's weights, on what its node feeds it with."""
    samples = []
    for picture in found:
        eager.process(picture.frame())
        samples.append(eager.node.tensor.first(1).copy())
    engine.prepare(eager.engine.spec, precision="int8", samples=samples, origin="the computed street")


def refusal(subject: Subject, eager: Subject, found: Sequence[pictures.Picture]) -> str:
    """Why `validate` would not admit it, compared with PyTorch; empty where it would."""
    limits = yaml.safe_load((ROOT / "conf/command/validate.yaml").read_text())["limits"]
    compared = Comparison(subject, eager, min_conf=0.25, iou=0.9)
    usual = getattr(eager.node, "min_conf", None)
    figures = {**subject.facts(), **compared.over(found, lambda *_: None, needs_labels=False)}
    if usual is not None:
        # Average precision wants all candidates; what is timed is the usual.
        subject.node.min_conf = eager.node.min_conf = usual
    chosen = limits.get(figures["precision"]) or limits["fp32"]
    return "; ".join(judge.violations(figures, judge.Limits(**chosen)))


def knows_bf16() -> bool:
    """Whether the processor has instructions for bf16 (avx512_bf16, amx_bf16, bf16); without, it is many times slower.

    OpenVINO's own answer is asked as well: it takes fp32 in silence, and the engine then refuses.
    """
    info = Path("/proc/cpuinfo")
    return not info.is_file() or "bf16" in info.read_text()


@contextmanager
def ours(kind: Kind, weights: Weights, frame: Frame, found: Sequence[pictures.Picture]) -> Iterator[dict[str, Timed]]:
    """Every backend that works here, judged and ready; what does not work is told."""
    timed: dict[str, Timed] = {}
    with ExitStack() as stack:
        eager = Subject(kind, recipe(kind, "torch", weights), looks=True)
        stack.callback(eager.close)
        is_calibrated = False
        for name, (backend, options) in BACKENDS.items():
            made = recipe(kind, backend, weights, **options)
            try:
                if "bf16" in options.values() and name != "openvino bf16" and not knows_bf16():
                    raise CauceError("this processor has no instructions for bf16")
                if problems := list(made.problems(kind)):
                    raise CauceError("; ".join(problems))
                if options.get("precision") == "int8" and not is_calibrated:
                    calibrate(eager, made.part("engine").build(), found[JUDGED:])
                    is_calibrated = True
                subject = eager if name == EAGER else Subject(kind, made, looks=True)
            except (CauceError, RuntimeError) as e:
                print(f"{name}: left out: {e}")
                continue
            if subject is not eager:
                stack.callback(subject.close)
            why = "" if subject is eager else refusal(subject, eager, found[:JUDGED])
            timed[name] = Timed(subject, frame, refusal=why)
            at = subject.model.placement
            verdict = "the reference" if subject is eager else f"NOT ADMITTED: {why}" if why else "admitted"
            print(f"{name}: {at.precision} as read back ({at.reason}); {verdict}")
        for each in timed.values():
            each.subject.model.looks = False
        yield timed


@contextmanager
def others(kind: Kind, python: str, weights: Weights, folder: Path) -> Iterator[dict[str, Peer]]:
    """The other programs that start; those that do not are told."""
    peers: dict[str, Peer] = {}
    try:
        for name in PEERS[kind]:
            try:
                peers[name] = Peer(python, name, weights.path, folder)
            except (RuntimeError, OSError) as e:
                print(f"{name}: left out: {e}")
                continue
            versions = ", ".join(f"{package} {number}" for package, number in peers[name].versions.items())
            print(f"{name}: {'; '.join([versions, *peers[name].notes])}")
        yield peers
    finally:
        for peer in peers.values():
            peer.close()


def agreement(message: Detections | DepthMap, theirs: Any) -> str:
    """How alike the eager node and another program see the frame: the proof that both do the same work."""
    if isinstance(message, DepthMap):
        import cv2

        theirs = cv2.resize(theirs, message.values.shape[::-1])
        return f"correlation with our depth {np.corrcoef(message.values.ravel(), theirs.ravel())[0, 1]:.4f}"
    boxes = Detections(
        theirs[:, :4].astype(np.float32), theirs[:, 4].astype(np.float32), theirs[:, 5].astype(np.int32),
        message.class_names, message.size_wh,
    )  # fmt: skip
    both = pairs(boxes, message, 0.8)
    return f"{len(boxes)} boxes, {len(message)} of ours, {both} of them the same (overlap of 0.8)"


def measure(kind: Kind, given: argparse.Namespace, frame: Frame, found: Sequence[pictures.Picture]) -> bool:
    """Time one model everywhere; whether the fastest backend that is admitted is faster than all that it should be."""
    with tempfile.TemporaryDirectory() as folder:
        make = street_weights if kind == "detector" else random_weights
        file = getattr(given, kind)
        weights = Weights(file, str(file)) if file else make(Path(folder) / "weights.pth")
        np.save(Path(folder) / "frame.npy", frame.pixels)
        width, height = recipe(kind, "torch", weights).config["size_wh"]
        print(f"\n{MODELS[kind]} at {width}x{height}, weights: {weights.story}")
        with ours(kind, weights, frame, found) as timed, others(kind, given.peers, weights, Path(folder)) as peers:
            tasks: dict[str, Callable[[], None]] = {**timed, **peers}
            samples = report.interleaved(tasks, repeats=given.repeats, warm_up=3, rest_s=REST_S)
            print()
            medians: dict[str, float] = {}
            for each, one in timed.items():
                report.row(f"{each}: engine", one.engine_ns[-given.repeats :])
                medians[each] = report.row(f"{each}: node", samples[each])
            for each, peer in peers.items():
                medians[each] = report.row(each, peer.taken_ns[-given.repeats :])
                print(f"{'':<4}{agreement(timed[EAGER].message, np.load(peer.found))}")
    admitted = {each: medians[each] for each, one in timed.items() if not one.refusal}
    best = min(admitted, key=lambda each: admitted[each])
    print(f"the fastest that is admitted, end to end: {best}")
    rivals = [each for each in medians if each == EAGER or each in peers]
    within = [report.ratio(f"to {rival}", medians[best] / medians[rival], at_most=0.99) for rival in rivals]
    return all(within)


def main() -> int:
    given = arguments()
    if missing := [name for name in ("torch", "onnx", "onnxslim") if find_spec(name) is None]:
        raise SystemExit(f"{', '.join(missing)}: not installed; all backends get their weights from PyTorch")
    report.header("backends on the CPU: engine and whole node, beside others, taking turns", packages=PACKAGES)
    with tempfile.TemporaryDirectory() as cache:
        # What is exported and calibrated here is for these frames and weights only.
        os.environ["XDG_CACHE_HOME"] = cache
        frame = Frame(pictures.street(1, 1408)[0].frame().pixels)
        found = pictures.street(JUDGED + CALIBRATED, 704)
        kinds = [kind for kind in MODELS if given.only in (None, kind)]
        within = [measure(kind, given, frame, found) for kind in kinds]
    return 0 if all(within) else 1


if __name__ == "__main__":
    sys.exit(main())
