"""What a block is: a row model with a lowering."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from archc.ir import ops
from archc.ir.graph import Builder, Node
from archc.language.row import Row
from archc.language.schema import Spec
from archc.language.settings import Init, Norm, count_of
from archc.language.values import Count, OutActivation, Padding


class Net(Builder):
    """The graph being built, with the spec-wide settings that rows fall back on."""

    def __init__(self, spec: Spec, init: Init | None = None) -> None:
        super().__init__(spec.init.overlaid(init))
        self.spec = spec

    def act(self, own: OutActivation | None) -> str:
        """A row's own activation, or the spec's where it states none or says `spec`."""
        return self.spec.act if own in (None, "spec") else own

    def padding(self, own: Padding | None) -> Padding:
        """A row's own padding, or the spec's."""
        return self.spec.padding if own is None else own

    def norm(self, own: Norm | None) -> Norm:
        """The spec's normalisation, changed by what the row's own states."""
        return self.spec.norm.overlaid(own)

    def init(self, own: Init | None) -> Init:
        """The spec's initialisation, changed by what the row's own states."""
        return self.spec.init.overlaid(own)

    def count(self, count: Count, channels: int) -> int:
        """A count as written, or a ratio of `channels`."""
        return count_of(count, channels, self.spec.rounding)


class Block(Row):
    """Base of all blocks. Subclass it with the row's columns as fields, and lower them to primitive operations.

    Channel columns are annotated `Channels` or `Expansion` so that `width_mult` and `reduced_tail` find them.
    A column named `stride`, `dilation`, `kernel`, `residual` or `drop_path` takes part in the passes of that name; one
    named `init` overlays the spec's initialisation.
    """

    ports: ClassVar[tuple[str, ...] | None] = ("x",)
    """The inputs that `from` can name; None for any number of unnamed ones."""
    is_head: ClassVar[bool] = False
    """Whether the row belongs to the head of a task, which a backbone's checkpoint does not have."""

    @classmethod
    def label(cls) -> str:
        """The class name of the compiled module."""
        return cls.__name__

    @abstractmethod
    def lower(self, net: Net, *inputs: Node) -> Node:
        """Add the row's operations to `net` and return the last.

        Inputs come in the order of `ports`, then of the fields annotated `Reference`.

        Raises:
            ShapeError: the inputs do not fit.
        """
        raise NotImplementedError


def channels(node: Node) -> int:
    """The channels of an operation's output."""
    return node.shape.channels


def image(node: Node) -> ops.Image | None:
    """The output's shape if it is an image."""
    return node.shape if isinstance(node.shape, ops.Image) else None


def activate(net: Net, x: Node, act: str, name: str = "act") -> Node:
    """Add an activation, unless it is `none`."""
    return x if act == "none" else net.add(name, ops.Activation(act), x)
