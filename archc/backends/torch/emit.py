"""The forward of every scope, written as plain Python.

A scope of the graph (a stage, a block, a group in it) becomes a module. Where its parts simply follow one another it
is an `nn.Sequential`; otherwise its `forward` is written here, in the calls that a person would write.
"""

from __future__ import annotations

import keyword
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from torch import nn

from archc.backends.torch.layers import EXPRESSIONS
from archc.ir.graph import Graph, Node


@dataclass
class Scope:
    """A part of the graph that becomes a module. `inputs` and `outputs` are the values that cross its border."""

    path: str
    label: str
    items: dict[str, Scope | Node] = field(default_factory=dict)
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)

    def nodes(self) -> Iterator[Node]:
        """Every operation inside, in execution order."""
        for item in self.items.values():
            if isinstance(item, Scope):
                yield from item.nodes()
            else:
                yield item


def scope_tree(graph: Graph, label: str) -> Scope:
    """The graph as nested scopes, the whole network outermost."""
    root = Scope("", label)
    scopes = {"": root}
    for node in graph.nodes[1:]:
        parent, _, name = node.name.rpartition(".")
        _scope(parent, graph.scopes, scopes).items[name] = node
    consumers: dict[str, list[str]] = {}
    for node in graph.nodes:
        for name in node.inputs:
            consumers.setdefault(name, []).append(node.name)
    wanted = set(graph.outputs.values())
    for scope in scopes.values():
        inside = {node.name for node in scope.nodes()}
        used = dict.fromkeys(name for node in scope.nodes() for name in node.inputs)
        scope.inputs = [name for name in used if name not in inside]
        scope.outputs = [
            name for name in inside if name in wanted or any(user not in inside for user in consumers.get(name, []))
        ]
        order = {node.name: number for number, node in enumerate(scope.nodes())}
        scope.outputs.sort(key=order.__getitem__)
    root.outputs = list(dict.fromkeys(graph.outputs.values()))
    return root


def _scope(path: str, labels: Mapping[str, str], scopes: dict[str, Scope]) -> Scope:
    if path not in scopes:
        parent, _, name = path.rpartition(".")
        scopes[path] = Scope(path, labels[path])
        _scope(parent, labels, scopes).items[name] = scopes[path]
    return scopes[path]


def attribute(name: str) -> str:
    """The attribute that a part is kept under: its name, with `_` behind it where torch has taken the name."""
    return f"{name}_" if keyword.iskeyword(name) or hasattr(nn.Sequential, name) else name


def is_sequential(scope: Scope) -> bool:
    """Whether the scope's parts are modules that each take just what the one before gives."""
    if len(scope.inputs) != 1 or len(scope.outputs) != 1:
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


def forward_source(scope: Scope, returns: Mapping[str, str] | None = None) -> str:
    """The `forward` of a scope as source text; `returns` names the values of a mapping that it returns."""
    return _Writer(scope, returns).source()


class _Writer:
    """Writes one forward. A variable is used again once its value is dead, so that nothing is kept alive too long."""

    def __init__(self, scope: Scope, returns: Mapping[str, str] | None) -> None:
        self.scope = scope
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
            targets, call = self._statement(step, name, item)
            lines.append(f"    {', '.join(targets)} = {call}")
        result = self._result()
        target, _, call = lines[-1].strip().partition(" = ")
        if result == target:
            lines[-1] = f"    return {call}"
        else:
            lines.append(f"    return {result}")
        return "\n".join(lines) + "\n"

    def _statement(self, step: int, name: str, item: Scope | Node) -> tuple[list[str], str]:
        arguments = [self.variable[value] for value in item.inputs]
        free = [self.variable.pop(value) for value in dict.fromkeys(item.inputs) if self.last_use[value] == step]
        outputs = [item.name] if isinstance(item, Node) else item.outputs
        for output in outputs:
            self.variable[output] = free.pop(0) if free else self._fresh()
        targets = [self.variable[output] for output in outputs]
        if isinstance(item, Node) and type(item.op) in EXPRESSIONS:
            return targets, EXPRESSIONS[type(item.op)](arguments)
        return targets, f"{self._module(name)}({', '.join(arguments)})"

    def _module(self, name: str) -> str:
        if name.isdecimal():
            return f"self[{list(self.scope.items).index(name)}]"
        return f"self.{attribute(name)}"

    def _fresh(self) -> str:
        taken = {*self.variable.values(), *self.parameters}
        names = ["y", "z", "w", "v", "u", *(f"y{n}" for n in range(1, len(taken) + 2))]
        return next(name for name in names if name not in taken)

    def _result(self) -> str:
        if self.returns is not None:
            return f"{{{', '.join(f'{key!r}: {self.variable[value]}' for key, value in self.returns.items())}}}"
        return ", ".join(self.variable[value] for value in self.scope.outputs)


def single_users(graph: Graph) -> set[str]:
    """The values that exactly one operation reads and the network does not return."""
    counts: dict[str, int] = {}
    for node in graph.nodes:
        for name in node.inputs:
            counts[name] = counts.get(name, 0) + 1
    return {name for name, count in counts.items() if count == 1} - set(graph.outputs.values())


def module_names(items: Mapping[str, Scope | Node]) -> Sequence[tuple[str, Scope | Node]]:
    """The parts that are modules, by the attribute each is kept under."""
    return [
        (attribute(name), item)
        for name, item in items.items()
        if isinstance(item, Scope) or type(item.op) not in EXPRESSIONS
    ]
