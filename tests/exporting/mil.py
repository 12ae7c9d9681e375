"""An interpreter for the MIL programs of `.mlpackage` files, by what coremltools' reference says of each operation.

Core ML itself runs on macOS only. The file is read back, weights and all, and every operation is done by torch's or
NumPy's own function of that name, so that what archc wrote is run from the file alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from archc.extras import quiet_logs
from archc.ir.state import Array

with quiet_logs():
    import coremltools as ct
    from coremltools.converters.mil.frontend.milproto.load import load

Tensor = torch.Tensor


def program(path: Path) -> Any:
    """The program in a package, with its weights."""
    spec = ct.utils.load_spec(str(path))
    weights = path / "Data" / "com.apple.CoreML" / "weights"
    return load(spec, spec.specificationVersion, str(weights)).functions["main"]


def constants(function: Any) -> dict[str, Array]:
    """The arrays in a program by their names."""
    return {op.outputs[0].name: op.outputs[0].val for op in function.operations if op.op_type == "const"}


def run(function: Any, images: Array) -> dict[str, Array]:
    """What a program returns for images, by output; numbers of 16 bits are computed in 16 bits."""
    (name,) = function.inputs
    values: dict[str, Any] = {name: torch.from_numpy(images).float()}
    for op in function.operations:
        if op.op_type == "const":
            values[op.outputs[0].name] = _const(op.outputs[0].val)
            continue
        given = {key: _value(values, var) for key, var in op.inputs.items() if var is not None}
        found = OPERATIONS[op.op_type](**given)
        for var, value in zip(op.outputs, found if isinstance(found, tuple) else (found,), strict=True):
            stated = [size if isinstance(size, int | np.integer) else None for size in var.shape]
            assert all(a in (None, b) for a, b in zip(stated, value.shape, strict=True)), (op.name, value.shape)
            values[var.name] = value
    return {var.name: values[var.name].float().numpy() for var in function.outputs}


def _value(values: Mapping[str, Any], var: Any) -> Any:
    if isinstance(var, list | tuple):
        return [_value(values, one) for one in var]
    return values[var.name]


def _const(value: Any) -> Any:
    """Numbers to compute with as tensors; sizes and words as they are."""
    return torch.from_numpy(np.array(value)) if getattr(value, "dtype", np.dtype(int)).kind == "f" else value


def _pads(x: Tensor, sizes: Any, strides: Any, pad_type: str, pad: Any, dilations: Any = (1, 1)) -> list[int]:
    """Left, right, top and bottom, as torch's `pad` takes them."""
    if pad_type == "valid":
        return [0, 0, 0, 0]
    if pad_type == "custom":
        top, bottom, left, right = (int(size) for size in pad)
        return [left, right, top, bottom]
    assert pad_type == "same"  # "d_out = ceil(d_in / stride)", and of an odd total the smaller half first
    found: list[int] = []
    for size, kernel, stride, dilation in zip(x.shape[2:], sizes, strides, dilations, strict=True):
        total = max((-(-size // int(stride)) - 1) * int(stride) + (int(kernel) - 1) * int(dilation) + 1 - size, 0)
        found = [total // 2, total - total // 2, *found]
    return found


def _conv(
    x: Tensor,
    weight: Tensor,
    strides: Any,
    pad_type: str,
    dilations: Any,
    groups: Any,
    bias: Tensor | None = None,
    pad: Any = None,
) -> Tensor:
    x = F.pad(x, _pads(x, weight.shape[2:], strides, pad_type, pad, dilations))
    return F.conv2d(x, weight, bias, tuple(strides.tolist()), 0, tuple(dilations.tolist()), int(groups))


def _max_pool(x: Tensor, kernel_sizes: Any, strides: Any, pad_type: str, ceil_mode: Any, pad: Any = None) -> Tensor:
    assert not ceil_mode
    x = F.pad(x, _pads(x, kernel_sizes, strides, pad_type, pad), value=-torch.inf)
    return F.max_pool2d(x, tuple(kernel_sizes.tolist()), tuple(strides.tolist()))


def _avg_pool(
    x: Tensor,
    kernel_sizes: Any,
    strides: Any,
    pad_type: str,
    ceil_mode: Any,
    exclude_padding_from_average: Any,
    pad: Any = None,
) -> Tensor:
    assert not ceil_mode
    pads = _pads(x, kernel_sizes, strides, pad_type, pad)

    def mean(y: Tensor) -> Tensor:
        return F.avg_pool2d(F.pad(y, pads), tuple(kernel_sizes.tolist()), tuple(strides.tolist()))

    return mean(x) / mean(torch.ones_like(x)) if exclude_padding_from_average else mean(x)


def _batch_norm(x: Tensor, mean: Tensor, variance: Tensor, gamma: Tensor, beta: Tensor, epsilon: Any) -> Tensor:
    return F.batch_norm(x, mean, variance, gamma, beta, False, 0.0, float(epsilon))


def _layer_norm(x: Tensor, axes: Any, gamma: Tensor, beta: Tensor, epsilon: Any) -> Tensor:
    assert axes.tolist() in ([-1], [x.ndim - 1])
    return F.layer_norm(x, x.shape[-1:], gamma, beta, float(epsilon))


def _resize_bilinear(x: Tensor, target_size_height: Any, target_size_width: Any, sampling_mode: str) -> Tensor:
    """`UNALIGN_CORNERS`: from the formula in coremltools' reference, and not by torch's function."""
    assert sampling_mode == "UNALIGN_CORNERS"
    for axis, target in ((2, int(target_size_height)), (3, int(target_size_width))):
        size = x.shape[axis]
        spacing = size / target
        places = np.clip(np.arange(target) * spacing + 0.5 * spacing - 0.5, 0, size - 1)
        low = np.floor(places).astype(int)
        share = torch.from_numpy((places - low).astype(np.float32)).reshape([-1 if a == axis else 1 for a in range(4)])
        first, second = (x.index_select(axis, torch.from_numpy(i)) for i in (low, np.minimum(low + 1, size - 1)))
        x = first + (second - first) * share
    return x


def _split(x: Tensor, num_splits: Any, axis: Any) -> tuple[Tensor, ...]:
    return x.chunk(int(num_splits), int(axis))


def _matmul(x: Tensor, y: Tensor, transpose_x: Any, transpose_y: Any) -> Tensor:
    return (x.mT if transpose_x else x) @ (y.mT if transpose_y else y)


def _gather(x: Tensor, indices: Any, axis: Any, batch_dims: Any = 0, validate_indices: Any = False) -> Tensor:
    assert not batch_dims
    return x.index_select(int(axis), torch.from_numpy(np.asarray(indices).astype(np.int64)))


def _gelu(x: Tensor, mode: str) -> Tensor:
    return F.gelu(x, approximate={"EXACT": "none"}[mode])


def _cast(x: Tensor, dtype: str) -> Tensor:
    return x.to({"fp16": torch.float16, "fp32": torch.float32}[dtype])


def _unary(function: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
    return lambda x: function(x)


OPERATIONS: Mapping[str, Callable[..., Any]] = {
    "conv": _conv,
    "linear": lambda x, weight, bias=None: F.linear(x, weight, bias),
    "batch_norm": _batch_norm,
    "layer_norm": _layer_norm,
    "relu": _unary(F.relu),
    "relu6": _unary(F.relu6),
    "sigmoid": _unary(torch.sigmoid),
    "sigmoid_hard": lambda x, alpha, beta: (float(alpha) * x + float(beta)).clamp(0, 1),
    "silu": _unary(F.silu),
    "gelu": _gelu,
    "tanh": _unary(torch.tanh),
    "softplus": _unary(F.softplus),
    "leaky_relu": lambda x, alpha: F.leaky_relu(x, float(alpha)),
    "elu": lambda x, alpha: F.elu(x, float(alpha)),
    "softmax": lambda x, axis: x.softmax(int(axis)),
    "add": lambda x, y: x + y,
    "sub": lambda x, y: x - y,
    "mul": lambda x, y: x * y,
    "concat": lambda values, axis, interleave: torch.cat(values, int(axis)),
    "max_pool": _max_pool,
    "avg_pool": _avg_pool,
    "reduce_mean": lambda x, axes, keep_dims: x.mean(axes.tolist(), bool(keep_dims)),
    "reshape": lambda x, shape: x.reshape(shape.tolist()),
    "transpose": lambda x, perm: x.permute(perm.tolist()),
    "reverse": lambda x, axes: x.flip(axes.tolist()),
    "split": _split,
    "matmul": _matmul,
    "gather": _gather,
    "resize_bilinear": _resize_bilinear,
    "identity": lambda x: x,
    "cast": _cast,
}
