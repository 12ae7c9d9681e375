"""Batch normalisations become part of the layer before them."""

from __future__ import annotations

from dataclasses import replace

from archc.ir.graph import Graph, Node
from archc.ir.ops import BatchNorm, Conv, Linear
from archc.ir.state import State
from archc.transforms.arithmetic import kernel_and_bias, normalised
from archc.transforms.rewrite import Result, Rewriter, rewrite


def fold_norms(graph: Graph, state: State | None) -> Result:
    """Fold every batch normalisation, frozen ones too, into the convolution or linear layer directly before it.

    That is exact in evaluation mode. It is done only where the norm alone reads the layer's output. The layer keeps
    its name and gains a bias if it had none. New numbers are computed in float64 and have the old kernel's type.
    """
    return rewrite(graph, state, _fold)


def _fold(net: Rewriter) -> None:
    for norm in net:
        if isinstance(norm.op, BatchNorm) and norm.name in net:
            _fold_one(net, net.sharing(norm.name), norm.op)


def _fold_one(net: Rewriter, norms: tuple[str, ...], op: BatchNorm) -> None:
    """Fold the norms that use one set of weights, if the layers before them do so, too."""
    layers = [layer for layer in (_foldable(net, name, op) for name in norms) if layer is not None]
    if len(layers) < len(norms) or {layer.name for layer in layers} != set(net.sharing(layers[0].name)):
        return
    if net.state is not None:
        weights = net.weights(layers[0].name)
        kernel, bias = normalised(*kernel_and_bias(weights), op, net.weights(norms[0]))
        dtype = weights["weight"].dtype
        net.set_weights(layers[0].name, {"weight": kernel.astype(dtype), "bias": bias.astype(dtype)})
    for layer, norm in zip(layers, norms, strict=True):
        assert isinstance(layer.op, Conv | Linear)
        net.replace(layer.name, replace(layer.op, bias=True))
        net.bypass(norm)


def _foldable(net: Rewriter, name: str, op: BatchNorm) -> Node | None:
    """The layer that a norm can be folded into."""
    norm = net[name]
    layer = net.get(norm.inputs[0])
    if norm.op != op or layer is None or not isinstance(layer.op, Conv | Linear):
        return None
    return layer if net.only_reader(layer.name) is not None else None
