"""Makes fp16 ONNX files of fp32 ones. Needs the extra `export`: the package onnx, and ONNX Runtime's own converter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engines.base import EngineError
from engines.files import sha256_of


def code_digest() -> str:
    """Changes whenever this module does, so that what an older one made is made again."""
    return sha256_of(Path(__file__))[:12]


def to_fp16(source: Path, to: Path) -> None:
    """Write the fp32 model at `source` to `to` with fp16 weights; its inputs and outputs stay fp32.

    What fp16 cannot do well stays fp32: operators such as Resize that the converter lists. Raises EngineError.
    """
    onnx = import_onnx()
    from onnxruntime.transformers.float16 import convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    try:
        model = onnx.load(str(source))
        unpack(model)
        halved = OnnxModel(convert_float_to_float16(model, keep_io_types=True))
        halved.topological_sort()  # the converter puts its casts at the end
        onnx.checker.check_model(halved.model)
        onnx.save(halved.model, str(to))
    except OSError:
        raise
    except Exception as e:
        raise EngineError(f"{source.name} cannot be converted to fp16: {e}; choose precision fp32") from e


def unpack(model: Any) -> None:
    """Turn weights of an onnx.ModelProto that are stored as fp16 and cast when they are used into plain fp32 ones."""
    import numpy as np
    from onnx import TensorProto, numpy_helper

    stored = {w.name: w for w in model.graph.initializer if w.data_type == TensorProto.FLOAT16}
    kept = []
    for node in model.graph.node:
        to = next((a.i for a in node.attribute if a.name == "to"), 0)
        if node.op_type == "Cast" and to == TensorProto.FLOAT and node.input[0] in stored:
            values = numpy_helper.to_array(stored[node.input[0]]).astype(np.float32)
            model.graph.initializer.append(numpy_helper.from_array(values, node.output[0]))
        else:
            kept.append(node)
    used = {name for node in kept for name in node.input}
    weights = [w for w in model.graph.initializer if w.name in used]
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend(kept)
    model.graph.initializer.extend(weights)


def import_onnx() -> Any:
    """The package onnx; EngineError where it is not installed."""
    try:
        import onnx
    except ImportError as e:
        raise EngineError("the package onnx is not installed; install the extra: uv sync --extra export") from e
    return onnx
