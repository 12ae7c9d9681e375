"""MobileViT's block: convolutions for local features, a transformer for global ones."""

from __future__ import annotations

from archc.blocks.base import Block, Net, activate, channels
from archc.blocks.conv import conv_norm_act
from archc.ir import ops
from archc.ir.graph import Node
from archc.language.settings import Init
from archc.language.values import Activation, Channels, Dilation, Epsilon, Kernel, Padding, Positive, Probability


class MobileVit(Block):
    """The MobileViT block (Mehta & Rastegari 2021, arXiv:2110.02178, section 3.1), with the details of ml-cvnets'
    `mobilevit_block.py`: a final layer norm, the input concatenated first, images that the patch does not divide
    resized bilinearly and back.
    """

    attends = True

    dim: Channels
    """The transformer's width."""
    depth: Positive
    """The number of transformer layers."""
    heads: Positive = 4
    ffn: Channels
    """The feed-forward width: a count, or a ratio of `dim`."""
    patch: Kernel = (2, 2)
    """The patch size in pixels."""
    kernel: Kernel = (3, 3)
    """The window of the first and the last convolution."""
    out: Channels | None = None
    """Output channels; default: the input's."""
    act: Activation | None = None
    """Default: the spec's `act`."""
    dilation: Dilation = 1
    """Dilation of the first convolution."""
    padding: Padding | None = None
    """Default: the spec's `padding`."""
    dropout: Probability = 0.0
    """After attention and after the feed-forward layers."""
    attn_dropout: Probability = 0.0
    """Of the attention weights."""
    ffn_dropout: Probability = 0.0
    """Between the feed-forward layers."""
    layer_norm_eps: Epsilon = 1e-5
    init: Init | None = None
    """Differences from the spec's `init`."""

    @classmethod
    def label(cls) -> str:
        return "MobileVitBlock"

    def lower(self, net: Net, *inputs: Node) -> Node:
        (x,) = inputs
        norm, act, padding = net.norm(None), net.act(self.act), net.padding(self.padding)
        width = net.count(self.dim, channels(x))
        out = channels(x) if self.out is None else net.count(self.out, channels(x))

        y = conv_norm_act(
            net, x, channels(x), name="conv_kxk", kernel=self.kernel, dilation=self.dilation, act=act, norm=norm,
            padding=padding,
        )  # fmt: skip
        local = net.add("conv_1x1", ops.Conv(width), y)
        tiled = net.add("tile", ops.ResizeToMultiple(self.patch), local)
        y = net.add("unfold", ops.Unfold(self.patch), tiled)
        with net.scope("transformer", "Transformer"):
            for number in range(self.depth):
                with net.scope(str(number), "TransformerLayer"):
                    y = self._layer(net, y, width)
        y = net.add("norm", ops.LayerNorm(self.layer_norm_eps), y)
        y = net.add("fold", ops.Fold(self.patch), y, tiled)
        y = net.add("untile", ops.Resize(), y, local)
        y = conv_norm_act(net, y, channels(x), name="conv_proj", act=act, norm=norm)
        y = net.add("concat", ops.Concat(), x, y)
        return conv_norm_act(
            net, y, out, name="conv_fusion", kernel=self.kernel, act=act, norm=norm, padding=padding
        )  # fmt: skip

    def _layer(self, net: Net, x: Node, width: int) -> Node:
        y = net.add("norm1", ops.LayerNorm(self.layer_norm_eps), x)
        with net.scope("attention", "SelfAttention"):
            y = net.add("qkv", ops.Linear(3 * width), y)
            y = net.add("attend", ops.Attention(self.heads, self.attn_dropout), y)
            y = net.add("proj", ops.Linear(width), y)
            y = _dropout(net, "dropout", self.dropout, y)
        x = net.add("add1", ops.Add(), x, y)
        y = net.add("norm2", ops.LayerNorm(self.layer_norm_eps), x)
        with net.scope("mlp", "Mlp"):
            y = net.add("fc1", ops.Linear(net.count(self.ffn, width)), y)
            y = activate(net, y, net.act(self.act))
            y = _dropout(net, "dropout1", self.ffn_dropout, y)
            y = net.add("fc2", ops.Linear(width), y)
            y = _dropout(net, "dropout2", self.dropout, y)
        return net.add("add2", ops.Add(), x, y)


def _dropout(net: Net, name: str, rate: float, x: Node) -> Node:
    return net.add(name, ops.Dropout(rate), x) if rate else x
