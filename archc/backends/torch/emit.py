"""The forward of every scope, written as plain Python.

A scope of the graph (a stage, a block, a group in it) becomes a module. Where its parts simply follow one another it
is an `nn.Sequential`; otherwise its `forward` is written here, in the calls that a person would write.
"""

from __future__ import annotations

import keyword
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

from torch import nn

from archc.backends.torch.layers import EXPRESSIONS
from archc.ir import ops
from archc.ir.graph import Graph, Node, Region


@dataclass
class Scope:
    """A part of the graph that becomes a module. `inputs` and `outputs` are the values that cross its border.

    An item in `shared` has no module of its own: it calls that of the item named there.
    """

    path: str
    label: str
    items: dict[str, Scope | Node] = field(default_factory=dict)
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    shared: dict[str, str] = field(default_factory=dict)

    def holds(self, name: str) -> bool:
        """Whether an operation lies in this scope."""
        return not self.path or name.startswith(self.path + ".")


def scope_tree(graph: Graph, label: str) -> Scope:
    """The graph as nested scopes, the whole network outermost."""
    root = Scope("", label)
    scopes = {"": root}
    for node in graph.nodes[1:]:
        parent, _, name = node.name.rpartition(".")
        _scope(parent, graph.scopes, scopes).items[name] = node
    for node in graph.nodes:
        for name in node.inputs:
            for scope in _around(node.name, scopes):
                if not scope.holds(name) or name == graph.input.name:
                    scope.inputs.append(name)
            for scope in _around(name, scopes):
                if not scope.holds(node.name):
                    scope.outputs.append(name)
    for name in graph.outputs.values():
        for scope in _around(name, scopes):
            scope.outputs.append(name)
    order = {node.name: number for number, node in enumerate(graph.nodes)}
    for scope in scopes.values():
        scope.inputs = list(dict.fromkeys(scope.inputs))
        scope.outputs = sorted(set(scope.outputs), key=order.__getitem__)
    root.inputs = [graph.input.name]
    for region in graph.regions:
        if region.shares:
            _share(region, graph.region[region.shares], scopes, order)
    return root


def _share(region: Region, owner: Region, scopes: Mapping[str, Scope], order: Mapping[str, int]) -> None:
    """Let a row call the module of the row whose weights it uses: what either needs of it, it returns."""
    scopes[region.stage].shared[str(region.row)] = str(owner.row)
    if region.name not in scopes:
        return  # a single operation, whose module is a layer
    own, twin = scopes[owner.name], scopes[region.name]
    twin.inputs = [region.inputs[owner.inputs.index(name)] for name in own.inputs]
    for local in [name.removeprefix(f"{region.name}.") for name in twin.outputs]:
        name = owner.full(local)
        for scope in _around(name, scopes):
            scope.outputs = sorted({*scope.outputs, name}, key=order.__getitem__)
            if scope is own:
                break
    twin.outputs = [region.full(name.removeprefix(f"{owner.name}.")) for name in own.outputs]


def _around(name: str, scopes: Mapping[str, Scope]) -> Iterator[Scope]:
    """The scopes that an operation lies in, the whole network last."""
    while name:
        name = name.rpartition(".")[0]
        if name in scopes:
            yield scopes[name]


def _scope(path: str, labels: Mapping[str, str], scopes: dict[str, Scope]) -> Scope:
    if path not in scopes:
        parent, _, name = path.rpartition(".")
        scopes[path] = Scope(path, labels[path])
        _scope(parent, labels, scopes).items[name] = scopes[path]
    return scopes[path]


@cache
def attribute(name: str) -> str:
    """The attribute that a part is kept under: its name, with `_` behind it where torch has taken the name."""
    return f"{name}_" if keyword.iskeyword(name) or hasattr(nn.Sequential, name) else name


@cache
def module_path(name: str) -> str:
    """Where the module of an operation lives: its name, as attributes can spell it."""
    return ".".join(attribute(part) for part in name.split("."))


def is_sequential(scope: Scope) -> bool:
    """Whether the scope's parts are modules that each take just what the one before gives."""
    if len(scope.inputs) != 1 or len(scope.outputs) != 1 or scope.shared:
        return False
    current = scope.inputs[0]
    for item in scope.items.values():
        if isinstance(item, Node):
            inputs, outputs = list(item.inputs), [item.name]
            if type(item.op) in EXPRESSIONS:
                return False
        else:
            inputs, outputs = item.inputs, item.outputs
        if inputs != [current] or len(outputs) != 1:
            return False
        current = outputs[0]
    return current == scope.outputs[0]


def forward_source(scope: Scope, spare: frozenset[str], returns: Mapping[str, str] | None = None) -> str:
    """The `forward` of a scope as source text.

    `spare` are the `overwritable` values; `returns` names the values of a mapping that it returns.
    """
    return _Writer(scope, spare, returns).source()


class _Writer:
    """Writes one forward. A variable is used again once its value is dead, so that nothing is kept alive too long."""

    def __init__(self, scope: Scope, spare: frozenset[str], returns: Mapping[str, str] | None) -> None:
        self.scope = scope
        self.spare = spare
        self.returns = returns
        self.parameters = ["x"] if len(scope.inputs) == 1 else [f"x{n}" for n in range(len(scope.inputs))]
        self.variable = dict(zip(scope.inputs, self.parameters, strict=True))
        self.last_use: dict[str, int] = {}
        for step, item in enumerate(scope.items.values()):
            for name in item.inputs:
                self.last_use[name] = step
        self.last_use |= dict.fromkeys(scope.outputs, len(scope.items))

    def source(self) -> str:
        lines = [f"def forward(self, {', '.join(self.parameters)}):"]
        for step, (name, item) in enumerate(self.scope.items.items()):
            lines.append(f"    {self._statement(step, name, item)}")
        result = self._result()
        target, _, call = lines[-1].strip().partition(" = ")
        if result == target:
            lines[-1] = f"    return {call}"
        else:
            lines.append(f"    return {result}")
        return "\n".join(lines) + "\n"

    def _statement(self, step: int, name: str, item: Scope | Node) -> str:
        arguments = [self.variable[value] for value in item.inputs]
        free = [self.variable.pop(value) for value in dict.fromkeys(item.inputs) if self.last_use[value] == step]
        outputs = [item.name] if isinstance(item, Node) else item.outputs
        for output in outputs:
            self.variable[output] = free.pop(0) if free else self._fresh()
        targets = ", ".join(self.variable[output] for output in outputs)
        if not isinstance(item, Node) or type(item.op) not in EXPRESSIONS:
            return f"{targets} = {self._module(name)}({', '.join(arguments)})"
        if isinstance(item.op, ops.Add) and item.inputs[0] in self.spare and len(arguments) == 2:
            return f"{targets} += {arguments[1]}"
        return f"{targets} = {EXPRESSIONS[type(item.op)](arguments)}"

    def _module(self, name: str) -> str:
        name = self.scope.shared.get(name, name)
        if name.isdecimal():
            return f"self[{[item for item, _ in module_names(self.scope)].index(name)}]"
        return f"self.{attribute(name)}"

    def _fresh(self) -> str:
        taken = {*self.variable.values(), *self.parameters}
        names = ["y", "z", "w", "v", "u", *(f"y{n}" for n in range(1, len(taken) + 2))]
        return next(name for name in names if name not in taken)

    def _result(self) -> str:
        if self.returns is not None:
            return f"{{{', '.join(f'{key!r}: {self.variable[value]}' for key, value in self.returns.items())}}}"
        return ", ".join(self.variable[value] for value in self.scope.outputs)


# Operations whose gradient does not need their own output.
_OVERWRITABLE = (ops.Conv, ops.Linear, ops.BatchNorm, ops.Add)


def overwritable(graph: Graph) -> frozenset[str]:
    """The values that their one reader may overwrite: nothing else reads them, not even the backward pass."""
    counts: dict[str, int] = {}
    for node in graph.nodes:
        for name in node.inputs:
            counts[name] = counts.get(name, 0) + 1
    spare = {node.name for node in graph.nodes if isinstance(node.op, _OVERWRITABLE) and counts.get(node.name) == 1}
    spare -= set(graph.outputs.values())
    for region in graph.regions:
        if region.shares:
            _keep_for_all(region, graph.region[region.shares], spare)
    return frozenset(spare)


def _keep_for_all(region: Region, owner: Region, spare: set[str]) -> None:
    """Rows that share a module share what it overwrites, too: only what all of them may."""
    own = {node.name: node for node in owner.nodes()}
    for node in region.nodes():
        twin = own[owner.full(node.name.removeprefix(region.name).removeprefix("."))]
        if node.inputs[0] not in spare:
            spare.discard(twin.inputs[0])


def module_names(scope: Scope) -> Sequence[tuple[str, Scope | Node]]:
    """The parts that are modules of their own, by the attribute each is kept under."""
    return [
        (attribute(name), item)
        for name, item in scope.items.items()
        if name not in scope.shared and (isinstance(item, Scope) or type(item.op) not in EXPRESSIONS)
    ]
