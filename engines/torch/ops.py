"""The operators of ONNX (domain ai.onnx, opset 9 to 20) in PyTorch: each takes its attributes and its inputs.

Source: the operator specifications of ONNX, https://onnx.ai/onnx/operators/. Inputs that say *how* (shapes, axes,
borders) come as Python lists and numbers; those that are left out come as None. Imported with PyTorch only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.nn import functional as F

Attributes = Mapping[str, Any]
Operator = Callable[..., Any]

OPERATORS: dict[str, Operator] = {}
HOW: dict[str, tuple[int, ...]] = {}
"""Positions of the inputs that come as lists or numbers, by operator."""


def operator(*names: str, how: tuple[int, ...] = ()) -> Callable[[Operator], Operator]:
    """Enters a function as the operators `names`."""

    def enter(function: Operator) -> Operator:
        for name in names:
            OPERATORS[name], HOW[name] = function, how
        return function

    return enter


def _enter_plain(functions: Mapping[str, Callable[..., Any]]) -> None:
    for name, function in functions.items():
        operator(name)(lambda a, *x, function=function: function(*x))


_enter_plain(
    {
        "Add": torch.add,
        "Sub": torch.sub,
        "Mul": torch.mul,
        "Equal": torch.eq,
        "Less": torch.lt,
        "LessOrEqual": torch.le,
        "Greater": torch.gt,
        "GreaterOrEqual": torch.ge,
        "And": torch.logical_and,
        "Or": torch.logical_or,
        "Xor": torch.logical_xor,
        "Not": torch.logical_not,
        "Neg": torch.neg,
        "Abs": torch.abs,
        "Sign": torch.sign,
        "Exp": torch.exp,
        "Log": torch.log,
        "Sqrt": torch.sqrt,
        "Reciprocal": torch.reciprocal,
        "Erf": torch.erf,
        "Sin": torch.sin,
        "Cos": torch.cos,
        "Tanh": torch.tanh,
        "Sigmoid": torch.sigmoid,
        "Relu": F.relu,
        "Softplus": F.softplus,
        "HardSwish": F.hardswish,
        "Floor": torch.floor,
        "Ceil": torch.ceil,
        "Round": torch.round,
        "IsNaN": torch.isnan,
        "MatMul": torch.matmul,
        "Identity": lambda x: x,
        "Where": lambda condition, x, y: torch.where(condition, x, y),
        "GlobalAveragePool": lambda x: x.mean(dim=tuple(range(2, x.ndim)), keepdim=True),
        "GlobalMaxPool": lambda x: x.amax(dim=tuple(range(2, x.ndim)), keepdim=True),
    }
)


@operator("Div")
def _div(a: Attributes, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return torch.div(x, y) if x.is_floating_point() else torch.div(x, y, rounding_mode="trunc")


@operator("Mod")
def _mod(a: Attributes, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return torch.fmod(x, y) if a.get("fmod") else torch.remainder(x, y)


@operator("Pow")
def _pow(a: Attributes, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return torch.pow(x, y).to(x.dtype)


@operator("Max")
def _max(a: Attributes, first: torch.Tensor, *others: torch.Tensor) -> torch.Tensor:
    for other in others:
        first = torch.maximum(first, other)
    return first


@operator("Min")
def _min(a: Attributes, first: torch.Tensor, *others: torch.Tensor) -> torch.Tensor:
    for other in others:
        first = torch.minimum(first, other)
    return first


@operator("LeakyRelu")
def _leaky_relu(a: Attributes, x: torch.Tensor) -> torch.Tensor:
    return F.leaky_relu(x, a.get("alpha", 0.01))


@operator("Elu")
def _elu(a: Attributes, x: torch.Tensor) -> torch.Tensor:
    return F.elu(x, a.get("alpha", 1.0))


@operator("PRelu")
def _prelu(a: Attributes, x: torch.Tensor, slope: torch.Tensor) -> torch.Tensor:
    return torch.where(x < 0, x * slope, x)


@operator("HardSigmoid")
def _hard_sigmoid(a: Attributes, x: torch.Tensor) -> torch.Tensor:
    return torch.clamp(x * a.get("alpha", 0.2) + a.get("beta", 0.5), 0, 1)


@operator("Gelu")
def _gelu(a: Attributes, x: torch.Tensor) -> torch.Tensor:
    return F.gelu(x, approximate=a.get("approximate", b"none").decode())


@operator("Clip", how=(1, 2))
def _clip(a: Attributes, x: torch.Tensor, low: float | None = None, high: float | None = None) -> torch.Tensor:
    low, high = _number(a.get("min", low)), _number(a.get("max", high))
    return x if low is None and high is None else torch.clamp(x, low, high)


def _number(value: Any) -> Any:
    return value[0] if isinstance(value, list) else value


@operator("Softmax")
def _softmax(a: Attributes, x: torch.Tensor) -> torch.Tensor:
    if a["opset"] >= 13:
        return F.softmax(x, a.get("axis", -1))
    axis = a.get("axis", 1) % x.ndim
    return F.softmax(x.flatten(axis), axis).reshape(x.shape)


@operator("Conv")
def _conv(a: Attributes, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    count = x.ndim - 2
    dilations, strides = a.get("dilations", [1] * count), a.get("strides", [1] * count)
    spans = [(k - 1) * d + 1 for k, d in zip(weight.shape[2:], dilations, strict=True)]
    x, pads = _padded(a, x, spans, strides, value=0.0)
    convolve = (F.conv1d, F.conv2d, F.conv3d)[count - 1]
    return convolve(x, weight, bias, tuple(strides), tuple(pads), tuple(dilations), a.get("group", 1))


@operator("ConvTranspose")
def _conv_transpose(
    a: Attributes, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None
) -> torch.Tensor:
    count = x.ndim - 2
    if a.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID") or "output_shape" in a:
        raise NotImplementedError("ConvTranspose with auto_pad or output_shape")
    pads = a.get("pads", [0] * 2 * count)
    if pads[:count] != pads[count:]:
        raise NotImplementedError(f"ConvTranspose with pads {pads}, which differ from side to side")
    convolve = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[count - 1]
    strides, extra = a.get("strides", [1] * count), a.get("output_padding", [0] * count)
    dilations = tuple(a.get("dilations", [1] * count))
    return convolve(x, weight, bias, tuple(strides), tuple(pads[:count]), tuple(extra), a.get("group", 1), dilations)


@operator("MaxPool")
def _max_pool(a: Attributes, x: torch.Tensor) -> torch.Tensor:
    count, kernel = x.ndim - 2, a["kernel_shape"]
    strides, dilations = a.get("strides", [1] * count), a.get("dilations", [1] * count)
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    x, pads = _padded(a, x, spans, strides, value=-math.inf)
    pool = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[count - 1]
    if any(2 * p > k for p, k in zip(pads, kernel, strict=True)):
        x, pads = F.pad(x, [p for p in reversed(pads) for _ in (0, 1)], value=-math.inf), [0] * count
    ceil = bool(a.get("ceil_mode"))
    return pool(x, tuple(kernel), tuple(strides), tuple(pads), tuple(dilations), ceil_mode=ceil)


@operator("AveragePool")
def _average_pool(a: Attributes, x: torch.Tensor) -> torch.Tensor:
    count, kernel = x.ndim - 2, a["kernel_shape"]
    strides, include = a.get("strides", [1] * count), bool(a.get("count_include_pad"))
    pads = a.get("pads", [0] * 2 * count)
    if pads[:count] != pads[count:] and not include:
        raise NotImplementedError(f"AveragePool with pads {pads}, which differ from side to side")
    x, pads = _padded(a, x, kernel, strides, value=0.0)
    pool = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[count - 1]
    return pool(x, tuple(kernel), tuple(strides), tuple(pads), bool(a.get("ceil_mode")), include)


def _padded(
    a: Attributes, x: torch.Tensor, spans: Sequence[int], strides: Sequence[int], *, value: float
) -> tuple[torch.Tensor, Sequence[int]]:
    """`x` padded where PyTorch's own padding, equal on both sides, will not do; and what is left for that."""
    count, kind = len(spans), a.get("auto_pad", b"NOTSET")
    if kind in (b"NOTSET", b"VALID"):
        pads = a.get("pads", [0] * 2 * count) if kind == b"NOTSET" else [0] * 2 * count
        begin, end = list(pads[:count]), list(pads[count:])
    else:
        begin, end = [], []
        for size, span, stride in zip(x.shape[2:], spans, strides, strict=True):
            missing = max((math.ceil(size / stride) - 1) * stride + span - size, 0)
            low = missing // 2 if kind == b"SAME_UPPER" else missing - missing // 2
            begin.append(low)
            end.append(missing - low)
    if begin == end:
        return x, begin
    both = [side for pair in zip(reversed(begin), reversed(end), strict=True) for side in pair]
    return F.pad(x, both, value=value), [0] * count


@operator("Gemm")
def _gemm(a: Attributes, x: torch.Tensor, y: torch.Tensor, z: torch.Tensor | None = None) -> torch.Tensor:
    x, y = x.T if a.get("transA") else x, y.T if a.get("transB") else y
    product = x @ y if a.get("alpha", 1.0) == 1.0 else a["alpha"] * (x @ y)
    return product if z is None else product + a.get("beta", 1.0) * z


@operator("BatchNormalization")
def _batch_norm(a: Attributes, x: torch.Tensor, *of: torch.Tensor) -> torch.Tensor:
    scale, bias, mean, variance = of
    return F.batch_norm(x, mean, variance, scale, bias, training=False, eps=a.get("epsilon", 1e-5))


@operator("InstanceNormalization")
def _instance_norm(a: Attributes, x: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    return F.instance_norm(x, weight=scale, bias=bias, eps=a.get("epsilon", 1e-5))


@operator("LayerNormalization")
def _layer_norm(a: Attributes, x: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    axis = a.get("axis", -1) % x.ndim
    shape = tuple(x.shape[axis:])
    bias = None if bias is None else bias.expand(shape)
    return F.layer_norm(x, shape, scale.expand(shape), bias, eps=a.get("epsilon", 1e-5))


@operator("Resize", how=(1, 2, 3))
def _resize(a: Attributes, x: torch.Tensor, roi: Any = None, scales: Any = None, sizes: Any = None) -> torch.Tensor:
    mode = a.get("mode", b"nearest").decode()
    where = a.get("coordinate_transformation_mode", b"half_pixel").decode()
    if not sizes:
        sizes = [math.floor(n * s) for n, s in zip(x.shape, scales, strict=True)]
    if "axes" in a or list(sizes[:2]) != list(x.shape[:2]):
        raise NotImplementedError("Resize of other axes than height and width")
    size = tuple(sizes[2:])
    if mode == "nearest":
        rounding = a.get("nearest_mode", b"round_prefer_floor").decode()
        return _nearest(x, size, where, rounding)
    if a.get("antialias") or where not in ("half_pixel", "pytorch_half_pixel", "align_corners"):
        raise NotImplementedError(f"Resize in mode {mode} with {where}")
    kind = {"linear": ("linear", "bilinear", "trilinear")[len(size) - 1], "cubic": "bicubic"}[mode]
    if kind == "bicubic" and a.get("cubic_coeff_a", -0.75) != -0.75:
        raise NotImplementedError("Resize in mode cubic with another coefficient than -0.75")
    return F.interpolate(x, size, mode=kind, align_corners=where == "align_corners")


def _nearest(x: torch.Tensor, size: Sequence[int], where: str, rounding: str) -> torch.Tensor:
    whole = all(out % n == 0 for n, out in zip(x.shape[2:], size, strict=True))
    if whole and (where, rounding) in (("asymmetric", "floor"), ("half_pixel", "round_prefer_floor")):
        return F.interpolate(x, size, mode="nearest")
    for axis, out in enumerate(size, start=2):
        n = x.shape[axis]
        if n != out:
            x = x.index_select(axis, _nearest_index(n, out, where, rounding, x.device))
    return x


def _nearest_index(n: int, out: int, where: str, rounding: str, device: torch.device) -> torch.Tensor:
    # Made on the device: a CUDA graph can hold no copy from ordinary memory of the host.
    at, scale = torch.arange(out, dtype=torch.float64, device=device), n / out
    places = {
        "asymmetric": lambda: at * scale,
        "half_pixel": lambda: (at + 0.5) * scale - 0.5,
        "pytorch_half_pixel": lambda: (at + 0.5) * scale - 0.5 if out > 1 else at * 0,
        "align_corners": lambda: at * ((n - 1) / (out - 1)) if out > 1 else at * 0,
    }
    if where not in places:
        raise NotImplementedError(f"Resize in mode nearest with {where}")
    place = places[where]()
    rounded = {
        "floor": torch.floor,
        "ceil": torch.ceil,
        "round_prefer_floor": lambda x: torch.ceil(x - 0.5),
        "round_prefer_ceil": lambda x: torch.floor(x + 0.5),
    }[rounding](place)
    return rounded.clamp(0, n - 1).long()


@operator("Reshape", how=(1,))
def _reshape(a: Attributes, x: torch.Tensor, shape: list[int]) -> torch.Tensor:
    kept = shape if a.get("allowzero") else [x.shape[i] if n == 0 else n for i, n in enumerate(shape)]
    return x.reshape(kept)


@operator("Transpose")
def _transpose(a: Attributes, x: torch.Tensor) -> torch.Tensor:
    return x.permute(a.get("perm", list(range(x.ndim))[::-1]))


@operator("Flatten")
def _flatten(a: Attributes, x: torch.Tensor) -> torch.Tensor:
    axis = a.get("axis", 1)
    axis = axis + x.ndim if axis < 0 else axis
    return x.reshape(math.prod(x.shape[:axis]), -1)


@operator("Concat")
def _concat(a: Attributes, *x: torch.Tensor) -> torch.Tensor:
    return torch.cat(x, dim=a["axis"])


@operator("Split", how=(1,))
def _split(a: Attributes, x: torch.Tensor, sizes: list[int] | None = None) -> tuple[torch.Tensor, ...]:
    axis, count = a.get("axis", 0), a["output_count"]
    sizes = sizes or a.get("split")
    if sizes is None:
        each = math.ceil(x.shape[axis] / count)
        sizes = [*[each] * (count - 1), x.shape[axis] - each * (count - 1)]
    return tuple(x.split(sizes, dim=axis))


@operator("Slice", how=(1, 2, 3, 4))
def _slice(
    a: Attributes, x: torch.Tensor, starts: Any = None, ends: Any = None, axes: Any = None, steps: Any = None
) -> torch.Tensor:
    starts, ends, axes = a.get("starts", starts), a.get("ends", ends), a.get("axes", axes)
    axes = axes or list(range(len(starts)))
    for start, end, axis, step in zip(starts, ends, axes, steps or [1] * len(starts), strict=True):
        n = x.shape[axis]
        if step > 0:
            at = slice(start, end, step).indices(n)
            x = x[(slice(None),) * (axis % x.ndim) + (slice(*at),)]
        else:
            # Backwards: the same places from the lowest on, and then turned round.
            places = range(*slice(start, None if end < -n else end, step).indices(n))[::-1]
            up = slice(places.start, places.stop, places.step) if places else slice(0, 0)
            x = x[(slice(None),) * (axis % x.ndim) + (up,)].flip(axis)
    return x


@operator("Gather")
def _gather(a: Attributes, x: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
    axis = a.get("axis", 0) % x.ndim
    indices = torch.where(indices < 0, indices + x.shape[axis], indices).to(x.device)
    if indices.ndim == 0:
        return x.index_select(axis, indices.reshape(1)).squeeze(axis)
    shape = (*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])
    return x.index_select(axis, indices.reshape(-1)).reshape(shape)


@operator("GatherElements")
def _gather_elements(a: Attributes, x: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
    axis = a.get("axis", 0)
    return torch.gather(x, axis, torch.where(indices < 0, indices + x.shape[axis], indices))


@operator("GatherND")
def _gather_nd(a: Attributes, x: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
    if a.get("batch_dims"):
        raise NotImplementedError("GatherND with batch_dims")
    return x[tuple(indices.movedim(-1, 0))]


@operator("Squeeze", how=(1,))
def _squeeze(a: Attributes, x: torch.Tensor, axes: list[int] | None = None) -> torch.Tensor:
    axes = a.get("axes", axes)
    return x.squeeze() if axes is None else x.squeeze(tuple(axes))


@operator("Unsqueeze", how=(1,))
def _unsqueeze(a: Attributes, x: torch.Tensor, axes: list[int] | None = None) -> torch.Tensor:
    axes = a.get("axes", axes)
    for axis in sorted(n % (x.ndim + len(axes)) for n in axes):
        x = x.unsqueeze(axis)
    return x


@operator("Expand", how=(1,))
def _expand(a: Attributes, x: torch.Tensor, shape: list[int]) -> torch.Tensor:
    return x.expand(torch.broadcast_shapes(tuple(x.shape), tuple(shape)))


@operator("Tile", how=(1,))
def _tile(a: Attributes, x: torch.Tensor, repeats: list[int]) -> torch.Tensor:
    return x.repeat(*repeats)


@operator("Pad", how=(1, 2, 3))
def _pad(a: Attributes, x: torch.Tensor, pads: Any = None, value: Any = None, axes: Any = None) -> torch.Tensor:
    pads, value = a.get("pads", pads), a.get("value", value) or 0.0
    axes = [n % x.ndim for n in axes] if axes else list(range(x.ndim))
    begin, end = dict(zip(axes, pads, strict=False)), dict(zip(axes, pads[len(axes) :], strict=True))
    both = [side for axis in reversed(range(x.ndim)) for side in (begin.get(axis, 0), end.get(axis, 0))]
    mode = {"constant": "constant", "reflect": "reflect", "edge": "replicate"}[a.get("mode", b"constant").decode()]
    if mode == "constant":
        return F.pad(x, both, value=value)
    return F.pad(x, both[: 2 * (x.ndim - 2)], mode=mode)


@operator("Shape")
def _shape(a: Attributes, x: torch.Tensor) -> torch.Tensor:
    return torch.tensor(list(x.shape)[a.get("start", 0) : a.get("end")], dtype=torch.int64)


@operator("ConstantOfShape", how=(0,))
def _constant_of_shape(a: Attributes, shape: list[int]) -> torch.Tensor:
    value = a.get("value", torch.zeros(1))
    return value.expand(shape) if shape else value.reshape(())


@operator("Range", how=(0, 1, 2))
def _range(a: Attributes, start: float, limit: float, delta: float) -> torch.Tensor:
    return torch.arange(start, limit, delta)


@operator("Cast")
def _cast(a: Attributes, x: torch.Tensor) -> torch.Tensor:
    return x.to(a["to"])


@operator("TopK", how=(1,))
def _top_k(a: Attributes, x: torch.Tensor, k: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    values, indices = torch.topk(x, k[0], dim=a.get("axis", -1), largest=bool(a.get("largest", 1)), sorted=True)
    return values, indices


@operator("ArgMax")
def _arg_max(a: Attributes, x: torch.Tensor) -> torch.Tensor:
    return torch.argmax(x, dim=a.get("axis", 0), keepdim=bool(a.get("keepdims", 1)))


@operator("CumSum", how=(1,))
def _cum_sum(a: Attributes, x: torch.Tensor, axis: int) -> torch.Tensor:
    return torch.cumsum(x, axis)


def _reduction(reduce: Callable[..., torch.Tensor]) -> Operator:
    def operate(a: Attributes, x: torch.Tensor, axes: list[int] | None = None) -> torch.Tensor:
        axes = a.get("axes", axes)
        if not axes:
            if a.get("noop_with_empty_axes"):
                return x
            axes = list(range(x.ndim))
        return reduce(x, tuple(axes), bool(a.get("keepdims", 1)))

    return operate


for _name, _reduce in {
    "ReduceMean": lambda x, axes, keep: x.mean(axes, keepdim=keep),
    "ReduceSum": lambda x, axes, keep: x.sum(axes, keepdim=keep),
    "ReduceMax": lambda x, axes, keep: x.amax(axes, keepdim=keep),
    "ReduceMin": lambda x, axes, keep: x.amin(axes, keepdim=keep),
    "ReduceL2": lambda x, axes, keep: torch.linalg.vector_norm(x, dim=axes, keepdim=keep),
}.items():
    operator(_name, how=(1,))(_reduction(_reduce))


@operator("DepthToSpace")
def _depth_to_space(a: Attributes, x: torch.Tensor) -> torch.Tensor:
    if a.get("mode", b"DCR") == b"CRD":
        return F.pixel_shuffle(x, a["blocksize"])
    n, channels, height, width = x.shape
    b = a["blocksize"]
    x = x.reshape(n, b, b, channels // (b * b), height, width).permute(0, 3, 4, 1, 5, 2)
    return x.reshape(n, channels // (b * b), height * b, width * b)


@operator("Einsum")
def _einsum(a: Attributes, *x: torch.Tensor) -> torch.Tensor:
    return torch.einsum(a["equation"].decode(), *x)


@operator("QuantizeLinear")
def _quantize(a: Attributes, x: torch.Tensor, scale: torch.Tensor, zero: torch.Tensor | None = None) -> torch.Tensor:
    kind = torch.uint8 if zero is None else zero.dtype
    scale, shift = _along(a, x, scale), 0 if zero is None else _along(a, x, zero).float()
    limits = torch.iinfo(kind)
    return (torch.round(x.float() / scale) + shift).clamp(limits.min, limits.max).to(kind)


@operator("DequantizeLinear")
def _dequantize(a: Attributes, x: torch.Tensor, scale: torch.Tensor, zero: torch.Tensor | None = None) -> torch.Tensor:
    shifted = x.to(scale.dtype) if zero is None else x.to(scale.dtype) - _along(a, x, zero).to(scale.dtype)
    return shifted * _along(a, x, scale)


def _along(a: Attributes, x: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Values per channel in the shape that goes with `x`."""
    if values.numel() == 1:
        return values.reshape(())
    axis = a.get("axis", 1) % x.ndim
    return values.reshape([-1 if i == axis else 1 for i in range(x.ndim)])


@operator("DynamicQuantizeLinear")
def _dynamic_quantize(a: Attributes, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    low, high = x.amin().clamp(max=0), x.amax().clamp(min=0)
    scale = (high - low) / 255
    zero = torch.round(-low / scale).clamp(0, 255)
    return (torch.round(x / scale) + zero).clamp(0, 255).to(torch.uint8), scale, zero.to(torch.uint8)


@operator("ConvInteger")
def _conv_integer(
    a: Attributes, x: torch.Tensor, weight: torch.Tensor, x_zero: Any = None, weight_zero: Any = None
) -> torch.Tensor:
    # Sums of products of bytes are exact in 53 bits.
    wide = x.double() if x_zero is None else x.double() - x_zero.double()
    factors = weight.double()
    if weight_zero is not None:
        factors = factors - weight_zero.double().reshape(-1, *[1] * (weight.ndim - 1))
    return _conv(a, wide, factors).to(torch.int32)


@operator("MatMulInteger")
def _matmul_integer(a: Attributes, x: torch.Tensor, y: torch.Tensor, x_zero: Any = None, y_zero: Any = None) -> Any:
    left = x.double() if x_zero is None else x.double() - x_zero.double()
    right = y.double() if y_zero is None else y.double() - y_zero.double()
    return (left @ right).to(torch.int32)
