"""From PyTorch weights, or random ones, to an ONNX file: slimmed, checked, its output compared. Needs extra `export`.

The networks are those of `engines.architectures`. The batch stays free; height and width are fixed, since a free size
looks right in an export and is wrong (the size of the output is a constant of the tracing).
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import warnings
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from engines.base import EngineError, ModelSpec
from engines.convert import import_onnx

if TYPE_CHECKING:
    import torch

NEEDS = ("torch", "onnx", "onnxslim")
OPSET = 17
"""From 17 on LayerNormalization is one step; above 18 some runtimes lack kernels."""
PICTURES = 3
"""How many are in the example: one or two are taken for constants by some exporters."""
MOST_ERROR = {"fp32": 2e-2, "fp16": 5e-2}
"""How large the mean squared difference to PyTorch may be, relative to the variance of the output. A wrong export is
off by 1; random networks amplify rounding to 1e-4. What a real one may lose, `command=validate` judges."""


def code_digest() -> str:
    """Changes whenever the networks or this module do, so that what an older version exported is exported again."""
    here = Path(__file__)
    digest = hashlib.sha256(here.read_bytes())
    for path in sorted((here.parent / "architectures").glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def export_size(spec: ModelSpec, size_wh: tuple[int, int] | None) -> tuple[int, int]:
    """The size to export for; EngineError where it is not known."""
    if size_wh is None:
        raise EngineError("it is not known at which size to export; set size_wh")
    return size_wh


def network(spec: ModelSpec, path: Path | None, size_wh: tuple[int, int]) -> tuple[torch.nn.Module, dict[str, str]]:
    """The network of `spec` with the weights at `path`, random ones without, and its metadata; EngineError."""
    import_torch()
    from engines import architectures
    from engines.checkpoint import read

    if spec.architecture is None:
        what = path.name if path else "random weights"
        raise EngineError(f"{what}: it is not known which network they belong to; set architecture to its name")
    checkpoint = read(path) if path else None
    module = architectures.make(spec.architecture, checkpoint, size_wh=size_wh)
    metadata = dict(checkpoint.metadata) if checkpoint else {}
    counts = [layer.classes for layer in module.modules() if hasattr(layer, "classes")]
    if "names" not in metadata and counts:
        metadata["names"] = str({i: f"class {i}" for i in range(counts[-1])})
    return module, metadata


def to_onnx(
    spec: ModelSpec, weights: Path | None, size_wh: tuple[int, int], precision: Literal["fp32", "fp16"], to: Path
) -> None:
    """Write the network of `spec` to the ONNX file `to`; its inputs and outputs are fp32 in either precision.

    Raises EngineError, also where the file's output is not that of PyTorch.
    """
    if missing := [name for name in NEEDS if find_spec(name) is None]:
        raise EngineError(
            f"its export to ONNX needs the packages {', '.join(missing)}; install the extra: uv sync --extra export; "
            "or give an ONNX file"
        )
    onnx = import_onnx()
    import torch

    from engines import architectures

    module, metadata = network(spec, weights, size_wh)
    example = torch.rand((PICTURES, 3, size_wh[1], size_wh[0]), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = first(module(example)).numpy()
    exported = in_half(module) if precision == "fp16" else module
    model = traced(exported, example, to, output="output", metadata=metadata)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(to))
    # Rounding may change the order of objects that are found with as good as the same confidence.
    ordered = architectures.find(str(spec.architecture)).output == "end_to_end"
    compare(
        to, example.numpy(), expected, at_most=MOST_ERROR[precision], columns=slice(4, 5) if ordered else slice(None)
    )


def traced(
    module: torch.nn.Module,
    example: torch.Tensor,
    to: Path,
    *,
    output: str,
    metadata: Mapping[str, str],
) -> Any:
    """The onnx.ModelProto of `module`, its batch free, slimmed, with `metadata`; `to` holds its raw form."""
    onnx = import_onnx()
    import onnxslim
    import torch

    free = {"images": {0: "batch"}, output: {0: "batch"}}
    with torch.no_grad(), warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # the tracer's remarks on sizes, which are meant to be constants
        torch.onnx.export(
            *(module, (example,), str(to)),
            opset_version=OPSET,
            dynamo=False,
            input_names=["images"],
            output_names=[output],
            dynamic_axes=free,
        )
    model = onnxslim.slim(onnx.load(str(to)))
    del model.metadata_props[:]
    for key, value in metadata.items():
        model.metadata_props.add(key=key, value=value)
    return model


def in_half(module: torch.nn.Module) -> torch.nn.Module:
    """`module` computing in fp16, with fp32 inputs and outputs."""
    import torch

    class Half(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = module.half()

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return first(self.inner(images.half())).float()

    return Half().eval()


def first(output: Any) -> Any:
    """The first output of a network."""
    return output[0] if isinstance(output, list | tuple) else output


def compare(path: Path, example: Any, expected: Any, *, at_most: float, columns: slice = slice(None)) -> None:
    """EngineError where the file's output for `example`, also one picture at a time, is not `expected`.

    `columns` of the last dimension are compared.
    """
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    together = session.run(None, {name: example})[0]
    alone = session.run(None, {name: example[:1]})[0]
    for got, want in ((together, expected), (alone, expected[:1])):
        if got.shape != want.shape:
            raise EngineError(f"the exported file gives {got.shape}, PyTorch {want.shape}; this export is not used")
        got, want = got[..., columns], want[..., columns]
        error = float(np.mean((got - want) ** 2) / max(float(np.var(want)), 1e-12))
        if not error <= at_most:
            raise EngineError(
                f"the exported file differs from PyTorch: mean squared difference {error:.1e} of the variance, "
                f"at most {at_most:.0e} is admitted; this export is not used"
            )


def import_torch() -> Any:
    """PyTorch; EngineError where it is not installed."""
    try:
        import torch
    except ImportError as e:
        raise EngineError("the package torch is not installed; install the extra: uv sync --extra torch") from e
    return torch
