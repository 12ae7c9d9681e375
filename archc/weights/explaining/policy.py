"""What no tensor's shape shows: normalisation, padding, activations and the input, here and where weights are from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from archc.document.diagnostics import Diagnostic, SpecError
from archc.ir import ops
from archc.ir.graph import Graph
from archc.language.settings import Input as Preprocessing
from archc.transforms.provenance import GRAPH, spec_of, stated
from archc.weights.checkpoint import Checkpoint
from archc.weights.naming.partial import selects
from archc.weights.naming.schemes import ARCHC, Policy, Scheme, signs

_CLOSE = 0.01
"""Means and deviations nearer than this prepare the same images: 127/255 and 0.5 are both in use for one network."""


@dataclass(frozen=True)
class Discord:
    """One policy that differs. `structural` ones change what the weights compute, whatever image comes in."""

    what: str
    here: str
    there: str
    override: str
    structural: bool = False
    training_only: bool = False


def expectations(scheme: Scheme | None, checkpoint: Checkpoint) -> list[Policy]:
    """What a checkpoint may expect: what the network stated inside it does, or else what its library is known to do."""
    with suppress(SpecError, ValueError):
        saved = stated(checkpoint.metadata)
        if saved is not None:
            return [_stated(saved.before or saved)]
    if scheme is None:
        return [Policy(name=ARCHC)]
    names = "\n".join(checkpoint.tensors)
    policies = [policy for policy in scheme.policies if not policy.names or signs(policy.names, names)]
    known = [p for p in policies if p.names or any(fnmatchcase(checkpoint.file, name) for name in p.files)]
    return known or policies


def nearest(graph: Graph, policies: Sequence[Policy]) -> tuple[Policy, list[Discord]]:
    """The policy that is nearest to the graph's own, with what still differs."""
    compared = [(policy, list(_discords(graph, policy))) for policy in policies]
    return min(compared, key=lambda pair: sum(not discord.training_only for discord in pair[1]))


def warnings(
    graph: Graph, scheme: Scheme | None, checkpoint: Checkpoint, alone: Sequence[str] = ()
) -> tuple[Diagnostic, ...]:
    """A warning for every policy that differs from what the weights expect, in the rows that are not left alone."""
    loaded = [region for region in graph.regions if not selects(alone, region.name)]
    part = graph if len(loaded) == len(graph.regions) else replace(graph, regions=tuple(loaded))
    policy, discords = nearest(part, expectations(scheme, checkpoint))
    found = [_warning(graph, policy, discord) for discord in discords]
    return (*found, *_other_rows(part, checkpoint))


def _other_rows(graph: Graph, checkpoint: Checkpoint) -> Iterator[Diagnostic]:
    """A warning if the file states a graph of its own, whose rows compute otherwise than those of the same names."""
    if GRAPH not in checkpoint.metadata:
        return
    with suppress(SpecError, ValueError):
        theirs = stated(checkpoint.metadata)
        rows = {} if theirs is None else (theirs.before or theirs).region
        other = [r.name for r in graph.regions if r.name in rows and rows[r.name].subgraph != r.subgraph]
        if other:
            shown = ", ".join(f"`{name}`" for name in other[:5]) + (", …" if len(other) > 5 else "")
            yield Diagnostic(
                "weights-policy",
                f"{shown} compute otherwise in the network that {checkpoint.shown} states",
                help="it was rewritten by hand; `archc.transforms.provenance.stated` reads its graph from the metadata",
                severity="warning",
            )


def _stated(graph: Graph) -> Policy:
    """The policy that a graph itself follows."""
    norms = [node.op for node in graph.nodes if isinstance(node.op, ops.BatchNorm)]
    padding, preprocessing = _padding(graph), graph.preprocessing
    return Policy(
        name=f"`{graph.name}`",
        eps=sorted({op.eps for op in norms}),
        momentum=sorted({op.momentum for op in norms}),
        padding=padding[0] if len(padding) == 1 else None,
        mean=None if preprocessing is None else _channels(preprocessing.mean),
        std=None if preprocessing is None else _channels(preprocessing.std),
        channel_order=None if preprocessing is None else preprocessing.channel_order,
        activations=sorted(_activations(graph)),
    )


def _warning(graph: Graph, policy: Policy, discord: Discord) -> Diagnostic:
    spec = spec_of(graph)
    key = discord.override.partition("=")[0]
    there = f"{discord.there} in {policy.name}, whose weights these seem"
    training = "; it matters in further training only" if discord.training_only else ""
    return Diagnostic(
        "weights-policy",
        f"{discord.what} is {discord.here} here, and {there}{training}",
        spec.span(*key.split(".")) if spec is not None and key else None,
        help=f"`{discord.override}` does as {policy.name} does" if discord.override else "",
        severity="warning",
    )


def _discords(graph: Graph, policy: Policy) -> Iterator[Discord]:
    norms = [node.op for node in graph.nodes if isinstance(node.op, ops.BatchNorm)]
    eps, momentum = sorted({op.eps for op in norms}), sorted({op.momentum for op in norms if not op.frozen})
    if policy.eps is not None and norms and eps != policy.eps:
        override = _single("norm.eps", policy.eps)
        yield Discord("the batch norms' eps", _numbers(eps), _numbers(policy.eps), override, structural=True)
    padding = _padding(graph)
    if policy.padding is not None and padding and padding != [policy.padding]:
        override = f"padding={policy.padding}"
        yield Discord("the padding", " and ".join(padding), policy.padding, override, structural=True)
    if policy.activations is not None and (here := _activations(graph)) != set(policy.activations):
        yield Discord("the set of activations", _words(here), _words(policy.activations), "", structural=True)
    if graph.preprocessing is not None:
        yield from _input_discords(graph.preprocessing, policy)
    if policy.momentum is not None and momentum and momentum != policy.momentum:
        override = _single("norm.momentum", policy.momentum)
        here_, there = _numbers(momentum), _numbers(policy.momentum)
        yield Discord("the batch norms' momentum", here_, there, override, training_only=True)


def _input_discords(preprocessing: Preprocessing, policy: Policy) -> Iterator[Discord]:
    for name in ("mean", "std"):
        here, there = _channels(getattr(preprocessing, name)), getattr(policy, name)
        if there is None:
            continue
        wanted = _channels(tuple(there) if isinstance(there, list) else there)
        pairs = zip(here * 3 if len(here) == 1 else here, wanted * 3 if len(wanted) == 1 else wanted, strict=False)
        if any(abs(a - b) > _CLOSE for a, b in pairs):
            value = f"[{','.join(f'{v:g}' for v in wanted)}]" if len(wanted) > 1 else f"{wanted[0]:g}"
            yield Discord(f"the input's {name}", _numbers(here), _numbers(wanted), f"input.{name}={value}")
    if policy.channel_order not in (None, preprocessing.channel_order):
        order = f"input.channel_order={policy.channel_order}"
        yield Discord(
            "the order of the input's channels", preprocessing.channel_order, str(policy.channel_order), order
        )


def _padding(graph: Graph) -> list[ops.PadMode]:
    """How windows that stride are padded; `same` and `symmetric` are equal without a stride."""
    convolutions = (node.op for node in graph.nodes if isinstance(node.op, ops.Conv))
    return sorted({op.padding for op in convolutions if op.stride > 1 and max(op.kernel) > 1})


def _activations(graph: Graph) -> set[str]:
    return {node.op.function for node in graph.nodes if isinstance(node.op, ops.Activation)}


def _channels(value: float | Sequence[float]) -> list[float]:
    return [value] if isinstance(value, int | float) else list(value)


def _single(key: str, values: Sequence[float]) -> str:
    return f"{key}={values[0]:g}" if len(values) == 1 else ""


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def _words(values: Sequence[str] | set[str]) -> str:
    return ", ".join(sorted(values)) or "none"
