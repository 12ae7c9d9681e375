"""A user's own block, as it would stand in a user's package."""

from __future__ import annotations

from archc.blocks import Block, Channels, Kernel, Net, Node, channels, conv_norm_act, ops


class Ghost(Block):
    """A ghost module (Han et al. 2020, arXiv:1911.11907): half the channels are made cheaply from the other half."""

    out: Channels
    """Output channels."""
    kernel: Kernel = (3, 3)

    def lower(self, net: Net, *inputs: Node) -> Node:
        (x,) = inputs
        half = net.count(self.out, channels(x)) // 2
        norm, act = net.norm(None), net.act(None)
        primary = conv_norm_act(net, x, half, name="primary", act=act, norm=norm)
        cheap = conv_norm_act(
            net, primary, half, name="cheap", kernel=self.kernel, groups="depthwise", act=act, norm=norm
        )
        return net.add("concat", ops.Concat(), primary, cheap)


class NotABlock:
    """What `block: …:NotABlock` must be refused for."""
