"""What TensorRT refuses, found in the ONNX graph before it is asked, with what to do about it.

Every refusal here was confirmed by TensorRT for RTX 1.7.1 itself (tests/engines/test_trt_check.py). What is not known
to be refused is left to the builder, whose own reason is then given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from engines.onnx_graph import BFLOAT16, FLOAT, FLOAT8, INT32, UINT8, Graph, Step, steps_of

MULTIPLICATIONS = ("MatMul", "Gemm", "Einsum")
SELECTIONS = ("NonMaxSuppression", "NonZero")
DYNAMIC = ("ConvInteger", "MatMulInteger", "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul")
QDQ = ("QuantizeLinear", "DequantizeLinear")
HOPPER = ("sm90", "sm100", "sm103")


def problems(
    graph: Graph,
    *,
    target: str,
    rtx: bool,
    free: Mapping[str, tuple[int | None, ...]],
    unsupported: Callable[[set[str]], list[str]],
) -> list[str]:
    """Everything that keeps `graph` from being built for `target` ("sm75"), each "what; what to do instead".

    `rtx` says whether TensorRT for RTX is to build it, `free` are the shapes of the inputs with what the node feeds
    filled in, `unsupported` names those of a set of standard operators that the parser does not know.
    """
    found = [*_dimensions(free), *_quantisation(graph), *_operators(graph, unsupported), *_uint8(graph)]
    if rtx:
        found += [*_selections(graph), *_target(graph, target)]
    return found


def target_problem(target: str, *, rtx: bool) -> str | None:
    """What is wrong with building for `target` at all; None where nothing is known to be."""
    if rtx and target in HOPPER:
        return (
            f"TensorRT for RTX does not build for {target}, a GPU of the data centre; install tensorrt in its place, "
            "or choose backend=torch or backend=onnx"
        )
    return None


def _target(graph: Graph, target: str) -> Iterator[str]:
    if problem := target_problem(target, rtx=True):
        yield problem
        return
    number = int(target[2:])
    if number < 80:
        yield from _turing(graph, target)
    if number < 89 and (names := [n for n, kind in graph.types.items() if kind in FLOAT8]):
        yield f"fp8 ({names[0]!r}) needs sm89 or newer, the target is {target}: export the model as fp16"


def _turing(graph: Graph, target: str) -> Iterator[str]:
    wide = [step for step in steps_of(graph, *MULTIPLICATIONS) if _computes_in(graph, step, FLOAT)]
    if wide:
        yield (
            f"FP32 GEMM is not supported on Turing ({target}) by TensorRT for RTX, and the model has {len(wide)}, "
            f"such as {wide[0].op} that gives {wide[0].outputs[0]!r}: set precision to fp16"
        )
    if any(kind == BFLOAT16 for kind in graph.types.values()):
        yield f"bf16 needs sm80 or newer, the target is {target} (Turing): set precision to fp16"


def _computes_in(graph: Graph, step: Step, kind: int) -> bool:
    return any(graph.type_of(name) == kind for name in step.inputs if name)


def _selections(graph: Graph) -> Iterator[str]:
    if names := sorted({step.op for step in steps_of(graph, *SELECTIONS)}):
        yield (
            f"the graph selects boxes itself ({', '.join(names)}), for which TensorRT for RTX has no kernel: export "
            "the model without NMS, which the detector does, or use one with an end-to-end head"
        )


def _quantisation(graph: Graph) -> Iterator[str]:
    for step in steps_of(graph, "DequantizeLinear"):
        if graph.type_of(step.inputs[0]) == INT32:
            yield (
                f"the bias {step.inputs[0]!r} is INT32 and dequantised in the graph, which TensorRT does not take: "
                "quantise the model with biases left in float (ONNX Runtime: QuantizeBias=False)"
            )
            break
    shifted = [s.inputs[2] for s in steps_of(graph, *QDQ) if len(s.inputs) > 2 and s.inputs[2] in graph.nonzero]
    if shifted:
        yield (
            f"the zero point {shifted[0]!r} is not 0, and TensorRT quantises symmetrically only: quantise activations "
            "as signed and symmetric INT8 (ONNX Runtime: QInt8, ActivationSymmetric=True)"
        )


def _operators(graph: Graph, unsupported: Callable[[set[str]], list[str]]) -> Iterator[str]:
    standard = {step.op for step in graph.steps if not step.domain}
    unknown = unsupported(standard)
    if integer := [op for op in unknown if op in DYNAMIC]:
        yield (
            f"the model is quantised with {', '.join(integer)}, which TensorRT does not know: quantise it with "
            "QuantizeLinear and DequantizeLinear (static, QDQ format)"
        )
    if rest := [op for op in unknown if op not in DYNAMIC]:
        yield f"TensorRT does not know {', '.join(rest)}: export the model without, or with another opset (17 or 18)"
    if foreign := sorted({f"{step.domain}.{step.op}" for step in graph.steps if step.domain}):
        yield (
            f"{', '.join(foreign)} is no standard operator: export the model again, without the optimisations of a "
            "particular runtime"
        )


def _uint8(graph: Graph) -> Iterator[str]:
    for step in steps_of(graph, "Transpose"):
        if graph.type_of(step.inputs[0]) == UINT8:
            yield f"{step.inputs[0]!r} is UINT8 and transposed, which TensorRT does not take: cast it to float first"
            return


def _dimensions(free: Mapping[str, tuple[int | None, ...]]) -> Iterator[str]:
    for name, shape in free.items():
        if None in shape[1:]:
            text = ", ".join("any" if n is None else str(n) for n in shape)
            yield (
                f"input {name!r} is ({text}): only the first size, the batch, may stay free; export the model at a "
                "fixed size, or use a node that gives size_wh"
            )
