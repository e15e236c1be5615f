"""int8 by calibration on frames of the user's own camera. Needs the extra `quant`; never done without being asked for.

Three kinds, since no file suits all: "u8s8" (unsigned activations: ONNX Runtime), "s8s8" (signed ones and no quantised
bias: all that TensorRT takes), both by ONNX Runtime's quantisation, and "nncf" (OpenVINO's own form, by NNCF: OpenVINO
reads the ONNX ones wrongly, docs/log.md). A detector's head stays in floating point: its coordinates want more than
eight bits.
"""

from __future__ import annotations

import contextlib
import io
import logging
import re
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from engines.base import Array, EngineError
from engines.convert import import_onnx, unpack
from engines.files import sha256_of

LEAST_SAMPLES = 8
HEAD = re.compile(r"/model\.(\d+)/")
"""Names of layers in exports of YOLO: the last number is the head."""
FIRST_HEAD = 4
"""A network of fewer layers is none of these."""


def code_digest() -> str:
    """Changes whenever this module does."""
    return sha256_of(Path(__file__))[:12]


def calibrate(source: Path, samples: Sequence[Array], scheme: str, to: Path, *, told: Callable[[int], None]) -> None:
    """Write the fp32 model at `source` to `to` in int8, with ranges from `samples`, inputs as the node feeds them.

    `told(n)` is called when n samples have been seen. Raises EngineError.
    """
    if len(samples) < LEAST_SAMPLES:
        raise EngineError(
            f"calibration wants {LEAST_SAMPLES} frames or more, {len(samples)} are given; some hundreds of your own "
            "camera are better, in the light and the places where it will be used"
        )
    onnx = import_onnx()
    with tempfile.TemporaryDirectory() as folder, _quiet():
        plain = Path(folder) / "plain.onnx"
        model = onnx.load(str(source))
        unpack(model)
        onnx.save(model, str(plain))
        try:
            if scheme == "nncf":
                _by_nncf(plain, model, samples, to, told)
            else:
                _by_onnxruntime(plain, model, samples, scheme, to, told)
        except (EngineError, OSError):
            raise
        except Exception as e:
            raise EngineError(f"{source.name} cannot be quantised: {type(e).__name__}: {e}") from e


def head_nodes(model: Any) -> list[str]:
    """Names of the steps that belong to a detector's head, in exports that number their layers; else none."""
    return [node.name for node in model.graph.node if any(prefix in node.name for prefix in _head_prefix(model))]


def _head_prefix(model: Any) -> list[str]:
    numbers = [int(found[1]) for node in model.graph.node if (found := HEAD.search(node.name))]
    return [f"/model.{max(numbers)}/"] if numbers and max(numbers) > FIRST_HEAD else []


def _by_onnxruntime(
    plain: Path, model: Any, samples: Sequence[Array], scheme: str, to: Path, told: Callable[[int], None]
) -> None:
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    name = _input_name(model)

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self._feeds = _told_feeds(samples, name, told)

        def get_next(self) -> Mapping[str, Array] | None:
            return next(self._feeds, None)

    shaped = plain.with_name("shaped.onnx")
    # Its symbolic shapes give up at a free batch; the plain ones tell all that quantising asks for.
    quant_pre_process(str(plain), str(shaped), skip_symbolic_shape=True)
    signed = scheme == "s8s8"
    quantize_static(
        *(str(shaped), str(to), Reader()),
        quant_format=QuantFormat.QDQ,
        activation_type=QuantType.QInt8 if signed else QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        per_channel=True,
        # Without instructions for it, sums of two products of eight bits each overflow.
        reduce_range=not signed and not _has_vnni(),
        op_types_to_quantize=["Conv", "MatMul"],
        nodes_to_exclude=head_nodes(import_onnx().load(str(shaped))),
        extra_options={"ActivationSymmetric": signed, "QuantizeBias": not signed},
    )
    _copy_metadata(model, to)


def _by_nncf(plain: Path, model: Any, samples: Sequence[Array], to: Path, told: Callable[[int], None]) -> None:
    try:
        import nncf
        import openvino as ov
    except ImportError as e:
        raise EngineError(f"{e.name} is not installed; install the extra: uv sync --extra quant") from e

    logging.getLogger("nncf").setLevel(logging.ERROR)
    feeds = [feed["x"] for feed in _told_feeds(samples, "x", told)]
    kinds = {node.op_type for node in model.graph.node}
    quantised = nncf.quantize(
        ov.Core().read_model(str(plain)),
        nncf.Dataset(feeds),
        subset_size=len(feeds),
        preset=nncf.QuantizationPreset.MIXED,
        model_type=nncf.ModelType.TRANSFORMER if "LayerNormalization" in kinds else None,
        # By patterns, since OpenVINO splits some steps and names the parts after the whole.
        ignored_scope=nncf.IgnoredScope(patterns=[f".*{found}.*" for found in _head_prefix(model)], validate=False),
    )
    pair = plain.with_name("int8.xml")
    ov.save_model(quantised, str(pair), compress_to_fp16=False)
    with zipfile.ZipFile(to, "w") as archive:
        for path in (pair, pair.with_suffix(".bin")):
            archive.write(path, path.name)


def _told_feeds(samples: Sequence[Array], name: str, told: Callable[[int], None]) -> Iterator[dict[str, Array]]:
    for number, sample in enumerate(samples, start=1):
        yield {name: sample}
        told(number)


def _input_name(model: Any) -> str:
    held = {w.name for w in model.graph.initializer}
    names = [value.name for value in model.graph.input if value.name not in held]
    if len(names) != 1:
        raise EngineError(f"calibration feeds one input, the model has {len(names)}: {names}")
    return str(names[0])


def _copy_metadata(model: Any, to: Path) -> None:
    onnx = import_onnx()
    made = onnx.load(str(to))
    del made.metadata_props[:]
    made.metadata_props.extend(model.metadata_props)
    onnx.save(made, str(to))


def _has_vnni() -> bool:
    info = Path("/proc/cpuinfo")
    return info.is_file() and bool(re.search(r"\b(avx512_vnni|avx_vnni)\b", info.read_text()))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """These tools print and warn of what is of use to their authors only."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        root.setLevel(level)
