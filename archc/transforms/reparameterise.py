"""Parallel linear branches become one convolution."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from archc.ir.graph import Graph
from archc.ir.ops import Add, BatchNorm, Conv, PadMode
from archc.ir.state import Array, State
from archc.transforms.arithmetic import centred, identity_kernel, kernel_and_bias, normalised
from archc.transforms.rewrite import Result, Rewriter, rewrite


def reparameterise(graph: Graph, state: State | None) -> Result:
    """Merge convolutions of one input whose outputs are summed, and the input itself, into one convolution.

    A branch is a convolution or the input itself, then any number of batch normalisations. MobileOne (Vasu et al. 2023,
    arXiv:2206.04040) and RepViT (Wang et al. 2024, arXiv:2307.09283) are trained with such branches and deployed
    without them. The result is exact in evaluation mode.

    Branches merge if they have the same stride and groups, the window of one encloses the others, and all windows have
    the same centre. Nothing may lie between them and the sum, and nothing else may read what they compute. The merged
    convolution keeps the name and the place of the one with the largest window.
    """
    return rewrite(graph, state, _merge_all)


class Branch(NamedTuple):
    """One addend of a sum: a convolution of `source`, or `source` itself, then norms. The sum reads `value`."""

    source: str
    conv: str | None
    norms: tuple[str, ...]
    value: str

    @property
    def weighted(self) -> tuple[str, ...]:
        """The operations that have weights."""
        return self.norms if self.conv is None else (self.conv, *self.norms)


class Merger(NamedTuple):
    """Branches of a sum that become one convolution, the largest window first. `rest` is added as before."""

    sum: str
    branches: tuple[Branch, ...]
    rest: tuple[str, ...]

    @property
    def conv(self) -> str:
        """The convolution that stays."""
        assert self.branches[0].conv is not None
        return self.branches[0].conv

    @property
    def weighted(self) -> list[str]:
        """All operations that have weights, in an order that is the same for equal mergers."""
        return [name for branch in self.branches for name in branch.weighted]


def _merge_all(net: Rewriter) -> None:
    merged = True
    while merged:  # a merged convolution may be a branch of another sum
        merged = any([_merge(net, alike) for alike in _found(net)])  # noqa: C419  (each of them, not only up to a first)


def _found(net: Rewriter) -> list[list[Merger]]:
    """All mergers, those that use the same weights together."""
    found: dict[tuple[str, ...], list[Merger]] = {}
    for node in net:
        if isinstance(node.op, Add) and not _is_addend(net, node.name):
            merger = _merger(net, node.name)
            if merger is not None:
                found.setdefault(tuple([net.owner(name) for name in merger.weighted]), []).append(merger)
    return list(found.values())


def _merger(net: Rewriter, sum: str) -> Merger | None:
    branches = [_branch(net, value) for value in _addends(net, sum)]
    largest_first = sorted((b for b in branches if b.conv is not None), key=lambda b: -math.prod(_conv(net, b).kernel))
    for main in largest_first:
        others = [branch for branch in branches if branch is not main and _fits(net, main, branch)]
        if others:
            rest = [b.value for b in branches if b is not main and not any(b is other for other in others)]
            return Merger(sum, (main, *others), tuple(rest))
    return None


def _is_addend(net: Rewriter, name: str) -> bool:
    """Whether a value is only part of a larger sum."""
    reader = net.only_reader(name)
    return reader is not None and isinstance(reader.op, Add)


def _addends(net: Rewriter, sum: str) -> Iterator[str]:
    """The values that a sum adds up; a sum that only this one reads is replaced by its own addends."""
    for value in net[sum].inputs:
        node = net.get(value)
        if node is not None and isinstance(node.op, Add) and net.only_reader(value) is not None:
            yield from _addends(net, value)
        else:
            yield value


def _branch(net: Rewriter, value: str) -> Branch:
    norms: list[str] = []
    at = value
    while (node := net.get(at)) is not None and net.only_reader(at) is not None:
        if isinstance(node.op, Conv):
            return Branch(node.inputs[0], at, tuple(norms), value)
        if not isinstance(node.op, BatchNorm):
            break
        norms.insert(0, at)
        at = node.inputs[0]
    return Branch(at, None, tuple(norms), value)


def _conv(net: Rewriter, branch: Branch) -> Conv:
    assert branch.conv is not None
    op = net[branch.conv].op
    assert isinstance(op, Conv)
    return op


def _fits(net: Rewriter, main: Branch, other: Branch) -> bool:
    """Whether the main branch's window can do the other branch's work, for inputs of every size."""
    op = _conv(net, main)
    if other.source != main.source:
        return False
    if other.conv is None:
        return op.stride == 1 and op.out == net.shape(main.source).channels and _is_centred(op)
    own = _conv(net, other)
    if (own.stride, own.groups, own.out) != (op.stride, op.groups, op.out):
        return False
    if own.kernel == op.kernel:
        return _padding(own) == _padding(op) and (own.dilation == op.dilation or own.kernel == (1, 1))
    encloses = all(small <= large for small, large in zip(own.kernel, op.kernel, strict=True))
    same_steps = own.dilation == op.dilation or own.kernel == (1, 1)
    return encloses and same_steps and _is_centred(own) and _is_centred(op)


def _is_centred(op: Conv) -> bool:
    """Whether the middle of the window lies on every `stride`-th pixel from the first, whatever the input's size."""
    return all(size % 2 for size in op.kernel) and _padding(op) == "symmetric"


def _padding(op: Conv) -> PadMode:
    """The padding, `symmetric` where another rule comes to the same."""
    if op.kernel == (1, 1):
        return "symmetric"
    if op.padding == "same" and op.stride == 1 and all(size % 2 for size in op.kernel):
        return "symmetric"
    return op.padding


def _merge(net: Rewriter, alike: list[Merger]) -> bool:
    """Merge the branches of every sum that uses the same weights, if all that use them are here and are the same."""
    first = alike[0]
    for number, name in enumerate(first.weighted):
        names = [merger.weighted[number] for merger in alike]
        if set(names) != set(net.sharing(name)) or any(net[other].op != net[name].op for other in names):
            return False
    if any(_form(merger) != _form(first) for merger in alike):
        return False
    bias = any(_has_bias(net, branch) for branch in first.branches)
    if net.state is not None:
        _sum_weights(net, first, bias)
    for merger in alike:
        _merge_one(net, merger, bias)
    return True


def _form(merger: Merger) -> list[tuple[bool, int]]:
    """Whether each branch has a convolution, and how many norms."""
    return [(branch.conv is not None, len(branch.norms)) for branch in merger.branches]


def _sum_weights(net: Rewriter, merger: Merger, bias: bool) -> None:
    import numpy as np

    dtype = net.weights(merger.conv)["weight"].dtype
    kernels, biases = zip(*[_kernel_and_bias(net, merger, branch) for branch in merger.branches], strict=True)
    net.set_weights(merger.conv, {"weight": np.sum(kernels, axis=0).astype(dtype)})
    if bias:
        net.set_weights(merger.conv, {"bias": np.sum(biases, axis=0).astype(dtype)})


def _has_bias(net: Rewriter, branch: Branch) -> bool:
    return bool(branch.norms) or (branch.conv is not None and _conv(net, branch).bias)


def _kernel_and_bias(net: Rewriter, merger: Merger, branch: Branch) -> tuple[Array, Array]:
    """What a branch adds to the merged convolution's kernel and bias."""
    import numpy as np

    op = _conv(net, merger.branches[0])
    if branch.conv is None:
        kernel, bias = identity_kernel(op.out, op.groups), np.zeros(op.out)
    else:
        kernel, bias = kernel_and_bias(net.weights(branch.conv))
    for name in branch.norms:
        norm = net[name].op
        assert isinstance(norm, BatchNorm)
        kernel, bias = normalised(kernel, bias, norm, net.weights(name))
    return centred(kernel, op.kernel), bias


def _merge_one(net: Rewriter, merger: Merger, bias: bool) -> None:
    main = merger.branches[0]
    net.replace(merger.conv, replace(_conv(net, main), bias=bias))
    for norm in main.norms:
        net.bypass(norm)
    added = net[merger.sum].inputs
    if merger.rest:
        net.replace(merger.sum, Add(), (merger.conv, *map(net.current, merger.rest)))
    else:
        net.bypass(merger.sum, merger.conv)
    for value in added:
        net.remove_unread(value)
