"""The engine on OpenVINO: CPUs, Intel GPUs and NPUs. Reads ONNX and OpenVINO's own files (.xml).

OpenVINO chooses a precision of its own where none is set (bf16 on a CPU that has it), and takes another one in silence
where the device lacks what was asked for. So the precision is always set, and read back from the steps that run.
"""

from __future__ import annotations

import re
import zipfile
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np

from engines.base import Array, EngineError, ModelSpec, Placement, Precision, Tensor
from engines.loading import Loader, refuse, word_problems
from engines.model import LoadedModel
from engines.sources import OnnxSource, Scheme, given, onnx_source

PRECISIONS = ("fp32", "fp16", "bf16", "int8")
TYPES: Mapping[str, Precision] = {"f32": "fp32", "f16": "fp16", "bf16": "bf16", "i8": "int8", "u8": "int8"}
HINTS = ("latency", "throughput")
HEAVY = ("Convolution", "Deconvolution", "FullyConnected", "MatMul", "GroupConvolution", "Inner_Product")
"""Kinds of steps whose precision is that of the model: they are nearly all of its work."""
REMEDY = "install the extra: uv sync --extra openvino"


class OpenVino(Loader):
    """Loads .onnx files, what can be exported to them, and .xml files.

    `device` is "cpu", "gpu:N" or "npu". `precision` is what the steps are computed in; int8 needs a file that was
    calibrated before. `hint` is "latency" (one call as soon as possible) or "throughput" (many calls beside each
    other, by `submit`). `threads` is the number of threads, None = OpenVINO's choice. `float_rest` is what the steps
    that an int8 file leaves in floating point are computed in. `warm_up` as for every engine.
    """

    scheme: Scheme = "nncf"

    def __init__(
        self,
        device: str = "cpu",
        precision: Precision = "fp32",
        *,
        hint: Literal["latency", "throughput"] = "latency",
        threads: int | None = None,
        float_rest: Literal["fp32", "fp16", "bf16"] = "fp32",
        warm_up: int = 2,
    ) -> None:
        params = {"device": device, "precision": precision, "hint": hint, "threads": threads, "warm_up": warm_up}
        refuse("engines.openvino.OpenVino", _problems(params | {"float_rest": float_rest}))
        super().__init__(device, precision, allow_fallback=False, warm_up=warm_up)
        self.hint, self.threads, self.float_rest = hint, threads, float_rest

    @classmethod
    def check(cls, params: Mapping[str, Any]) -> Iterable[str]:
        """Mistakes that the parameters show, and packages that are missing; imports nothing heavy."""
        yield from _problems(params)
        if not find_spec("openvino"):
            yield f"_target_: the package openvino is not installed; {REMEDY}"

    def _open(self, spec: ModelSpec) -> LoadedModel:
        ov = import_openvino()
        core, name = ov.Core(), self.device.upper().replace(":", ".")
        if name.partition(".")[0] not in {known.partition(".")[0] for known in core.available_devices}:
            known = ", ".join(d.lower().replace(".", ":") for d in core.available_devices)
            raise EngineError(f"device {self.device} is asked for, but OpenVINO finds only {known}; install its driver")
        source = self._source(spec)
        try:
            compiled = core.compile_model(_read(ov, core, source.path), name, self._options(ov))
        except Exception as e:
            raise EngineError(f"OpenVINO cannot load {source.path.name}: {plain(e)}") from e
        return OpenVinoModel(spec.name, compiled, placement=self._place(compiled, source), metadata=source.metadata)

    def _source(self, spec: ModelSpec) -> OnnxSource:
        if spec.weights.path and spec.weights.path.endswith(".xml"):
            path = given(spec).path
            assert path is not None
            return OnnxSource(path, None, _ir_metadata(path))
        # Whatever the steps are to be computed in, OpenVINO converts fp32 weights itself; only int8 is another file.
        return onnx_source(spec, "int8" if self.precision == "int8" else None, scheme=self.scheme)

    def _options(self, ov: Any) -> dict[str, Any]:
        wanted = self.float_rest if self.precision == "int8" else str(self.precision)
        types = {"fp32": ov.Type.f32, "fp16": ov.Type.f16, "bf16": ov.Type.bf16}
        options: dict[str, Any] = {"PERFORMANCE_HINT": self.hint.upper(), "INFERENCE_PRECISION_HINT": types[wanted]}
        if self.device == "cpu":
            # Threads that are bound to cores would share them badly with those of other nodes.
            options["ENABLE_CPU_PINNING"] = False
            if self.threads:
                options["INFERENCE_NUM_THREADS"] = self.threads
        return options

    def _place(self, compiled: Any, source: OnnxSource) -> Placement:
        """Where and in what the compiled model runs, read back from it."""
        devices = [
            str(d).partition("(")[0].lower().replace(".", ":") for d in compiled.get_property("EXECUTION_DEVICES")
        ]
        device = devices[0] if devices else "unknown"
        # "GPU" and "GPU.0" are the same device.
        device = self.device if self.device.removesuffix(":0") == device.removesuffix(":0") else device
        precision, share = computed_in(compiled)
        reason = f"as requested; {share}" if device == self.device else f"OpenVINO chose {device}"
        reason = f"{reason}; {source.story}" if source.story else reason
        return Placement("openvino", self.device, device, device.upper(), precision, reason, source.path)


class OpenVinoModel(LoadedModel):
    """A model that OpenVINO has compiled. Not for calls from several threads at once."""

    def __init__(self, name: str, compiled: Any, *, placement: Placement, metadata: Mapping[str, str]) -> None:
        super().__init__(name, placement, [*_tensors(compiled.inputs)], [*_tensors(compiled.outputs)], metadata)
        count = int(compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
        self._compiled: Any = compiled
        self._idle: deque[Any] = deque(compiled.create_infer_request() for _ in range(max(count, 1)))
        self._running: deque[Callable[[], tuple[Array, ...]]] = deque()
        self._indices = range(len(self.outputs))

    def _run(self, inputs: tuple[Array, ...]) -> tuple[Array, ...]:
        request = self._idle[0]
        # The inputs are read where they are; the outputs are copied out of the request's memory, which is used again.
        results = request.infer(dict(enumerate(inputs)), share_inputs=True, share_outputs=False)
        found: tuple[Array, ...] = results.to_tuple()
        return found

    def submit(self, *inputs: Array) -> Callable[[], tuple[Array, ...]]:
        """See `engines.base.Submits`: begins a call, as many at a time as the hint makes OpenVINO want."""
        self._check(inputs)
        while not self._idle:
            self._running[0]()
        request = self._idle.popleft()
        request.start_async(dict(enumerate(inputs)), share_inputs=True)
        done: list[tuple[Array, ...]] = []

        def result() -> tuple[Array, ...]:
            if not done:
                try:
                    request.wait()
                    done.append(tuple(np.array(request.get_output_tensor(i).data) for i in self._indices))
                except Exception as e:
                    raise self._failure(e, inputs) from e
                finally:
                    self._running.remove(result)
                    self._idle.append(request)
            return done[0]

        self._running.append(result)
        return result

    def _release(self) -> None:
        while self._running:
            self._running[0]()
        self._idle.clear()
        self._compiled = None

    def _plain(self, error: Exception) -> str:
        return plain(error)


def _read(ov: Any, core: Any, path: Path) -> Any:
    """The model in a file of any form; an int8 artifact holds the two files of OpenVINO's own form."""
    if path.suffix != ".zip":
        return core.read_model(str(path))
    with zipfile.ZipFile(path) as archive:
        xml, weights = archive.read("int8.xml"), np.frombuffer(archive.read("int8.bin"), np.uint8)
        return core.read_model(xml, ov.Tensor(weights))


def computed_in(compiled: Any) -> tuple[Precision | Literal["unknown"], str]:
    """What most of the heavy steps of a compiled model are computed in, and how many of them that are."""
    counts: Counter[str] = Counter()
    for step in compiled.get_runtime_model().get_ops():
        info = step.get_rt_info()
        if "layerType" in info and "runtimePrecision" in info and _text(info["layerType"]) in HEAVY:
            counts[_text(info["runtimePrecision"])] += 1
    by_precision: Counter[Precision] = Counter()
    for kind, count in counts.items():
        if kind in TYPES:
            by_precision[TYPES[kind]] += count
    if not by_precision:
        return "unknown", "no step that tells its precision"
    ((precision, count),) = by_precision.most_common(1)
    return precision, f"{count} of {sum(counts.values())} heavy steps in {precision}"


def import_openvino() -> Any:
    """OpenVINO; EngineError where it is not installed."""
    try:
        import openvino
    except ImportError as e:
        raise EngineError(f"the package openvino is not installed; {REMEDY}") from e
    return openvino


def plain(error: Exception) -> str:
    """OpenVINO's message without its own source positions."""
    lines = [line.strip() for line in str(error).splitlines()]
    told = [line for line in lines if line and not re.match(r"Exception from \S+:\d+|Check '.*' failed at", line)]
    return re.sub(r"\s+", " ", " ".join(told)).strip(" .:") or type(error).__name__


def _problems(params: Mapping[str, Any]) -> Iterator[str]:
    device = params.get("device", "cpu")
    if not re.fullmatch(r"cpu|npu|gpu:\d+", str(device)):
        yield f"device: is {device!r}; expected 'cpu', 'npu', or 'gpu:N', such as 'gpu:0'"
    for key, known in (("hint", HINTS), ("float_rest", PRECISIONS[:3])):
        if params.get(key, known[0]) not in known:
            yield f"{key}: is {params[key]!r}; expected {', '.join(known)}"
    yield from word_problems(params, precisions=PRECISIONS)


def _tensors(ports: Iterable[Any]) -> Iterator[Tensor]:
    for number, port in enumerate(ports):
        names = sorted(port.get_names())
        shape = tuple(int(d.get_length()) if d.is_static else None for d in port.get_partial_shape())
        yield Tensor(names[0] if names else str(number), shape, np.dtype(port.get_element_type().to_dtype()))


def _text(value: Any) -> str:
    return str(value.astype(str)) if hasattr(value, "astype") else str(value)


def _ir_metadata(path: Path) -> dict[str, str]:
    """Class names that Ultralytics writes into the model's runtime information, or into metadata.yaml beside it."""
    import yaml

    beside = path.with_name("metadata.yaml")
    if not beside.is_file():
        return {}
    content = yaml.safe_load(beside.read_text(encoding="utf-8"))
    return {str(k): str(v) for k, v in content.items()} if isinstance(content, dict) else {}
