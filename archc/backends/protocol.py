"""What a backend is.

A backend either builds models (`Builder`), as those of torch and Keras do, or writes a file (`Emitter`). Both say which
operations they support, and what they lack becomes a diagnostic at the row that needs it.

Weights go in and out as a `State` (`archc.ir.state`): NumPy arrays by canonical name, in the IR's layouts. A backend
knows its own library's names and layouts, and nothing of files, checkpoints or other backends.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from archc.document.diagnostics import Diagnostic, Span, SpecError, fail
from archc.ir.graph import Graph, Region
from archc.ir.ops import Op
from archc.ir.quantization import Quantization
from archc.ir.state import State, problems
from archc.language.schema import Spec


class Backend(ABC):
    """What every backend has: a name, and the operations that it supports."""

    name: ClassVar[str]
    """As in `archc.build(…, backend=name)`."""

    @abstractmethod
    def supports(self, op: Op) -> bool:
        """Whether it can run this operation, with these attributes."""

    def covers(self, graph: Graph) -> Graph:
        """The part of a network that this backend makes: all of it, unless a backend says otherwise."""
        return graph

    def limits(self, graph: Graph) -> Iterator[Diagnostic]:
        """Why it cannot make this network although it supports every operation; by default, nothing."""
        return iter(())

    def unsupported(self, graph: Graph) -> tuple[Diagnostic, ...]:
        """Why this backend cannot make a network, each reason with its place; empty where it can."""
        return self.lacking(graph) or tuple(self.limits(graph))

    def lacking(self, graph: Graph) -> tuple[Diagnostic, ...]:
        """The operations of a network that this backend does not support, each at the row that needs it."""
        return tuple(
            Diagnostic(
                "unsupported-op",
                f"the {self.name} backend has no `{node.op.kind}`, which row `{region.name}` needs",
                span(graph, region),
                notes=(f"the operation is {node.op}",),
                help="build with another backend, or add a rule for the operation to this one",
            )
            for region in _regions(self.covers(graph))
            for node in {node.op: node for node in region.subgraph.nodes}.values()
            if not self.supports(node.op)
        )

    def require(self, graph: Graph) -> None:
        """Check that this backend can make a network.

        Raises:
            SpecError: it cannot; the diagnostics are those of `unsupported`.
        """
        if found := self.unsupported(graph):
            raise SpecError(found)


class Builder(Backend):
    """A backend that builds models in memory."""

    detects: ClassVar[bool] = False
    """Whether its model of a detector returns boxes; otherwise it is the plain network, with raw predictions."""

    @abstractmethod
    def build(
        self,
        graph: Graph,
        *,
        device: Any = None,
        dtype: Any = None,
        seed: int | None = None,
        state: State | None = None,
    ) -> Any:
        """Build the model of a graph. It knows its graph (`graph_of`).

        Args:
            graph: what to build.
            device: where it lives, in the library's words; None leaves that to the library.
            dtype: of its numbers, in the library's words; None is the library's default.
            seed: the initial weights depend on it alone; None draws from the library's global generator.
            state: the weights, all of them; nothing is drawn then.

        Raises:
            SpecError: `unsupported-op`: it cannot run the network.
            ValueError: a device or type that it does not take, or a state that does not fit the graph.
        """

    @abstractmethod
    def owns(self, model: Any) -> bool:
        """Whether a model belongs to this backend's library, whether archc built it or not."""

    @abstractmethod
    def unwrap(self, model: Any) -> Any:
        """The model that archc built, without the wrappers that its library may have put around it."""

    @abstractmethod
    def graph_of(self, model: Any) -> Graph | None:
        """The graph that a model was built from; None where archc did not build it. Wrappers do not matter."""

    @abstractmethod
    def read(self, model: Any, graph: Graph | None = None) -> State:
        """A copy of a model's weights, 32-bit floats where NumPy lacks the type; counters of batches too.

        Weights that the model does not have in the graph's shape are left out; `changed` names them.

        Args:
            model: a model of this backend.
            graph: the graph that its layers are named after, if the model does not know its own.

        Raises:
            ValueError: there is no graph, or there are no numbers, as on torch's meta device.
        """

    @abstractmethod
    def write(self, model: Any, state: State, graph: Graph | None = None) -> None:
        """Set the weights that a state holds; the others stay as they are. The model keeps its types and devices.

        Weights on torch's meta device are created on the CPU. Counters that a library does not have are skipped.

        Raises:
            ValueError: there is no graph, or a key or shape that is not the graph's or not the model's; then nothing
                was written.
        """

    @abstractmethod
    def changed(self, model: Any, graph: Graph, keys: Collection[str] | None = None) -> list[str]:
        """The tensors by which a model differs from its graph, by the model's own names: replaced, removed or added.

        Args:
            model: a model of this backend.
            graph: what the model should be.
            keys: the weights to compare, by canonical name; the layers of all others may differ. Default: all.
        """

    def paths(self, graph: Graph) -> Mapping[str, str]:
        """A model's own names of its weights, by canonical name; by default, they are the canonical ones."""
        return {key: key for key, _ in graph.tensors()}

    def dtypes(self, model: Any, graph: Graph) -> Mapping[str, str]:
        """The types of a model's weights, such as `float32`, by canonical name; those that the model has."""
        return {}

    def states(self, model: Any, graph: Graph) -> list[str]:
        """What a model holds that is no weight, by its own names: counters of batches, random generators' states."""
        return []

    def operations(self, model: Any) -> Mapping[str, Callable[..., Any]]:
        """What computes each operation of a model in its library, from the operation's inputs, by the operation's name.

        Operations with weights or settings are the model's own layers. A backend that cannot tell has none.
        """
        return {}

    def _known(self, model: Any, graph: Graph | None) -> Graph:
        """The graph that was passed, or the model's own."""
        known = graph or self.graph_of(model)
        if known is None:
            raise ValueError(f"this `{type(model).__name__}` was not built by archc: pass the graph that it follows")
        return known


Precision = Literal["f32", "f16", "int8"]


@dataclass(frozen=True)
class Form:
    """How a network is to be written into a file.

    The graph says what is computed: size of the image, type of the input, folded norms. The form says the rest.
    """

    precision: Precision = "f32"
    """The type of the numbers inside. Inputs and outputs are 32-bit floats, or pixels where the graph takes them."""
    batch: int | None = None
    """Images at a time; None leaves that to whoever runs the file."""
    any_size: bool = False
    """Whether the file takes images of any height and width that the network can take, not only of the graph's."""
    quantization: Quantization | None = None
    """For `int8`: which values are held in integers."""
    boxes: bool = False
    """For a detector: the file returns boxes, labels and scores rather than the raw predictions of the heads."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """What the file says about itself, by key."""


DEFAULT_FORM = Form()


class Emitter(Backend):
    """A backend that writes a network into a file."""

    suffix: ClassVar[str]
    """What the file's name ends in."""
    precisions: ClassVar[tuple[Precision, ...]] = ("f32",)
    """The precisions that it can write."""
    prefers_one_size: ClassVar[bool] = False
    """Whether files take images of any size only where that is asked for, since it has a price."""
    returns_boxes: ClassVar[bool] = False
    """Whether a detector's file can return boxes."""

    @abstractmethod
    def emit(self, graph: Graph, state: State, path: Path, form: Form = DEFAULT_FORM) -> None:
        """Write a network with its weights. The caller sees to it that `path` is written as a whole or not at all.

        The input is called `image`. The outputs have the names of `graph.outputs`.

        Raises:
            SpecError: `unsupported-op`: an operation that the target lacks, at its row; `unsupported-form`: the target
                cannot write the network in this form.
            ValueError: a state that does not fit the graph.
            OSError: the file cannot be written.
        """

    def any_size(self, graph: Graph) -> bool:
        """Whether a file for this network can take images of any height and width."""
        return False

    @property
    def file(self) -> str:
        """What messages call a file, with its article."""
        return f"a `{self.suffix}` file"

    def check_form(self, graph: Graph, form: Form) -> None:
        """Check what every target asks of a form: that the network's file can return boxes, or take any size, if asked.

        Raises:
            SpecError: `unsupported-form`.
        """
        if form.boxes and not self.returns_boxes:
            message = f"{self.file} returns a detector's raw predictions, and no boxes"
            raise fail("unsupported-form", message, help="leave out `nms`, or export to onnx")
        if form.any_size and not self.any_size(graph):
            message = f"{self.file} for `{graph.name}` takes images of one size only"
            raise fail("unsupported-form", message, help="leave the size out, or name one")


INPUT = "image"
"""The name of the input in every file."""


BOXES = ("boxes", "labels", "scores")
"""The outputs of a file with boxes, for the N objects in one image, the best first: corners x1, y1, x2, y2 in pixels of
the input ([N, 4], 32-bit floats), classes ([N], 64-bit integers) and scores ([N], 32-bit floats)."""

ANCHORS = "anchors"
"""The output of an SSD's raw file that holds all default boxes: [K, 4], corners in pixels of the input.

They stand level by level. With A boxes at one position of a level of H×W, the box `a` at row `y` and column `x` is the
level's number `(y·W + x)·A + a`. Channels `a·C` to `a·C + C - 1` of a prediction at that position are for it; of a
joint head's, the first four are the changes of x, y, width and height.
"""


def check(state: State, graph: Graph) -> None:
    """Check that a state has all weights of a graph, and no others.

    Raises:
        ValueError: it does not; the message names the first of them.
    """
    if found := problems(state, graph):
        more = f", and {len(found) - 3} more" if len(found) > 3 else ""
        raise ValueError(f"the state does not fit `{graph.name}`: {', '.join(found[:3])}{more}")


def not_made(backend: str, graph: Graph, wrong: Sequence[str]) -> SpecError:
    """The error for a new model in which the tensors `wrong` differ from the graph; the caller raises it."""
    return fail(
        "unsupported-op",
        f"the {backend} backend does not make the tensors that `{graph.name}` states: `{wrong[0]}` differs"
        f"{f', and {len(wrong) - 1} more' if len(wrong) > 1 else ''}",
        help="the rule of an operation must make a layer with the weights that the operation states, and no others",
    )


def raw(graph: Graph) -> Graph:
    """A detector's plain network: an image in, the predictions of all heads on levels out.

    What runs on proposals is not in it. For other networks it is the graph itself.
    """
    before = None if graph.before is None else raw(graph.before)
    return replace(graph, detector=None, calls=(), before=before) if graph.detector or graph.calls else graph


def _regions(graph: Graph) -> Iterator[Region]:
    yield from graph.regions
    for call in graph.calls:
        yield from call.graph.regions


def span(graph: Graph, region: Region) -> Span | None:
    """Where a row is written, if the graph still knows its spec; a detector's own heads stand under `detector`."""
    if not isinstance(graph.spec, Spec):
        return None
    stage, row = region.source
    return graph.spec.span("stages", stage, row) if stage in graph.spec.stages else graph.spec.span("detector")
