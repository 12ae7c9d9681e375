"""Squeeze-and-excitation, as other blocks use it."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator

from archc.blocks.base import Net, activate, channels
from archc.document.values import Expected
from archc.ir import ops
from archc.ir.graph import Node
from archc.language.settings import Squeeze, squeeze_width


def _parse_squeeze(value: Any) -> Any:
    return {"ratio": value} if isinstance(value, int | float) and not isinstance(value, bool) else value


SqueezeColumn = Annotated[
    bool | Squeeze,
    BeforeValidator(_parse_squeeze, json_schema_input_type=bool | float | Squeeze),
    Expected("true, false, a ratio such as 0.25, or a mapping of differences"),
]
"""`true` for the spec's `squeeze`, a number for another ratio, a mapping for what else differs."""


def squeeze_excite(net: Net, name: str, x: Node, own: bool | Squeeze, block_input: int) -> Node:
    """Gate `x` by its own squeeze (Hu et al. 2018, arXiv:1709.01507); `block_input` is the block's input channels."""
    squeeze = net.spec.squeeze
    if isinstance(own, Squeeze):
        squeeze = squeeze.overlaid(own)
    basis = channels(x) if squeeze.of == "expanded" else block_input
    width = squeeze_width(squeeze, net.spec.rounding, basis)
    with net.scope(name, "SqueezeExcite"):
        y = net.add("pool", ops.GlobalPool(), x)
        y = net.add("reduce", ops.Conv(width, bias=True), y)
        y = activate(net, y, squeeze.act)
        y = net.add("expand", ops.Conv(channels(x), bias=True), y)
        y = activate(net, y, squeeze.gate, "gate")
        return net.add("scale", ops.Gate(), x, y)
