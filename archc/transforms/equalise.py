"""Channels of a value are scaled to like sizes, so that one scale for all of them loses little in int8.

M. Nagel, M. van Baalen, T. Blankevoort, M. Welling: Data-Free Quantization Through Weight Equalization and Bias
Correction, ICCV 2019, arXiv:1906.04721, section 4.1. There a value has one layer before it and one behind it. Here it
may be a sum that several layers write and read, such as the residual values of linear bottlenecks.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field

from archc.ir.graph import Graph, Node
from archc.ir.ops import (
    Activation,
    Add,
    BatchNorm,
    Conv,
    Dropout,
    DropPath,
    Flatten,
    Gate,
    GlobalPool,
    Image,
    Linear,
    Op,
    Pool,
    Resize,
    ResizeToMultiple,
)
from archc.ir.state import Array, State
from archc.transforms.rewrite import Result, Rewriter, rewrite

HOMOGENEOUS = ("relu", "leaky_relu")
"""Activations that a positive factor passes through: f(s · x) = s · f(x)."""

_ROUNDS = 20
_CLOSE = 1e-3
"""Equalising ends when no factor is farther than this from 1."""


@dataclass
class Channels:
    """Values whose channels can be divided by one set of factors: `writers` give them, `readers` take them.

    Writers and readers are convolutions, linear layers and norms, which make up for the factors. `capped` are
    activations among the values that a factor passes through only as long as they do not cut.
    """

    values: list[str] = field(default_factory=list)
    writers: list[str] = field(default_factory=list)
    readers: list[str] = field(default_factory=list)
    capped: list[str] = field(default_factory=list)
    fixed: bool = False


def equalise(graph: Graph, state: State | None) -> Result:
    """Give every channel of a value the factor by which the kernels before and behind it have like largest numbers.

    The network computes the same. A value is scaled where all that writes and reads it can make up for that:
    convolutions, linear layers and batch normalisations, with sums, pools, resizing, gates and positively homogeneous
    activations (ReLU, leaky ReLU) between them. ReLU6 and hard-swish are not homogeneous, so their values stay, as do
    the network's inputs and outputs and whatever rows with shared weights touch. Use it after `inference`: a norm
    that is not folded hides the sizes of its layer's channels.

    Only numbers change, so that without a state nothing is done.
    """
    return rewrite(graph, state, _equalise) if state is not None else (graph, None)


def _equalise(net: Rewriter) -> None:
    groups = [group for group in channel_groups(net) if group.writers and group.readers]
    for _ in range(_ROUNDS):
        farthest = 0.0
        for group in groups:
            factors = balancing(_largest(net, group.writers, written), _largest(net, group.readers, read))
            scale(net, group, factors)
            farthest = max(farthest, float(abs(factors - 1).max()))
        if farthest < _CLOSE:
            return


def balancing(sizes: Array, others: Array, share: float = 0.5) -> Array:
    """The factor to divide each channel by, from the channels' sizes before it and those of what reads them.

    With `share` 0.5 both have like sizes after it; with 1, the sizes before it become 1. The factors have the
    geometric mean 1. A channel that is 0 on either side keeps its factor at that mean.
    """
    import numpy as np

    alive = (sizes > 0) & (others > 0) & np.isfinite(sizes) & np.isfinite(others)
    factors = np.ones(len(sizes))
    if alive.any():
        found = share * np.log(sizes[alive]) - (1 - share) * np.log(others[alive])
        factors[alive] = np.exp(found - found.mean())
    return factors


def channel_groups(net: Rewriter, capped: Collection[str] = ()) -> list[Channels]:
    """The groups of values whose channels can be scaled, in order.

    Args:
        net: the network.
        capped: activations to pass factors through although they are not homogeneous; see `Channels.capped`.
    """
    return [group for group in _Finder(net, capped).groups() if not group.fixed]


def scale(net: Rewriter, group: Channels, factors: Array) -> None:
    """Divide the channels of a group's values by factors; its writers and readers make up for that."""
    for name in group.writers:
        weights = net.weights(name)
        net.set_weights(name, {key: _divided(weights[key], factors) for key in ("weight", "bias") if key in weights})
    for name in group.readers:
        op, weights = net[name].op, net.weights(name)
        if isinstance(op, BatchNorm):
            new = {"weight": _divided(weights["weight"], 1 / factors)}
            net.set_weights(name, {**new, "running_mean": _divided(weights["running_mean"], factors)})
        else:
            by_input = factors.reshape(_groups(op), 1, -1)
            kernel = weights["weight"]
            parts = kernel.reshape(_groups(op), kernel.shape[0] // _groups(op), by_input.shape[2], -1)
            scaled = (parts * by_input[..., None]).reshape(kernel.shape)
            net.set_weights(name, {"weight": scaled.astype(kernel.dtype)})


def written(op: Op, weights: Mapping[str, Array]) -> Array:
    """The largest number of each output channel of a layer's kernel."""
    found: Array = abs(weights["weight"].reshape(len(weights["weight"]), -1)).max(axis=1)
    return found


def read(op: Op, weights: Mapping[str, Array]) -> Array:
    """The largest number of each input channel of a layer's kernel."""
    import numpy as np

    kernel = np.abs(weights["weight"])
    if isinstance(op, BatchNorm):
        return kernel
    parts = kernel.reshape(_groups(op), kernel.shape[0] // _groups(op), kernel.shape[1], -1)
    found: Array = parts.max(axis=(1, 3)).reshape(-1)
    return found


def _largest(net: Rewriter, names: list[str], measure: Callable[[Op, Mapping[str, Array]], Array]) -> Array:
    import numpy as np

    found: Array = np.max([measure(net[name].op, net.weights(name)) for name in names], axis=0)
    return found.astype(np.float64)


def _groups(op: Op) -> int:
    return op.groups if isinstance(op, Conv) else 1


def _divided(value: Array, factors: Array) -> Array:
    by_channel = factors.reshape(-1, *[1] * (value.ndim - 1))
    divided: Array = (value / by_channel).astype(value.dtype)
    return divided


class _Finder:
    """Joins the values that need the same factors."""

    def __init__(self, net: Rewriter, capped: Collection[str]) -> None:
        self.net = net
        self.capped = capped
        self.of: dict[str, Channels] = {}
        graph = net.graph
        self._fix(graph.input.name)
        for node in net:
            self._visit(node)
        for name in (*graph.outputs.values(), *graph.levels.values()):
            self._fix(name)

    def groups(self) -> Iterator[Channels]:
        """Every group once."""
        yield from {id(group): group for group in self.of.values()}.values()

    def _visit(self, node: Node) -> None:
        if isinstance(node.op, Conv | Linear | BatchNorm):
            source, result = self._group(node.inputs[0]), self._group(node.name)
            source.readers.append(node.name)
            result.writers.append(node.name)
            if len(self.net.sharing(node.name)) > 1:
                source.fixed = result.fixed = True
        elif isinstance(node.op, Add):
            self._join(node.name, *node.inputs)
        elif self._passes(node):
            self._join(node.name, node.inputs[0])
            for name in node.inputs[1:]:
                if not isinstance(node.op, Resize):  # which takes only the size of the second
                    self._fix(name)
        else:
            self._fix(node.name, *node.inputs)

    def _passes(self, node: Node) -> bool:
        """Whether a factor for each channel of the first input passes through to the output."""
        op = node.op
        if isinstance(op, Activation):
            if op.function in self.capped:
                self._group(node.name).capped.append(node.name)
            return op.function in HOMOGENEOUS or op.function in self.capped
        if isinstance(op, Flatten):
            shape = self.net.shape(node.inputs[0])
            return isinstance(shape, Image) and shape.height == shape.width == 1
        return isinstance(op, Pool | GlobalPool | Dropout | DropPath | Resize | ResizeToMultiple | Gate)

    def _group(self, name: str) -> Channels:
        return self.of.setdefault(name, Channels([name]))

    def _fix(self, *names: str) -> None:
        for name in names:
            self._group(name).fixed = True

    def _join(self, *names: str) -> None:
        first = self._group(names[0])
        for name in names[1:]:
            other = self._group(name)
            if other is not first:
                first.values += other.values
                first.writers += other.writers
                first.readers += other.readers
                first.capped += other.capped
                first.fixed = first.fixed or other.fixed
                self.of.update(dict.fromkeys(other.values, first))
