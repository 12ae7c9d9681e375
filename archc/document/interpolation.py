"""`${name}`: values that refer to other values, resolved by OmegaConf; the plain case is resolved without it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from archc.document.diagnostics import Diagnostic, SpecError, did_you_mean, fail
from archc.document.tree import Map, Path, Scalar, Seq, Tree, dotted, find, from_plain, plain, replace_at

MAX_EXPANSION = 1_000
MAX_LENGTH = 1_000
RESOLVERS = ("oc.env", "oc.decode")
"""OmegaConf's own that a spec may call, its others being ways to compute references; and any that Python registers."""

_WHOLE = re.compile(r"\$\{([A-Za-z_]\w*(?:\.\w+)*)\}")
_OPENING = re.compile(r"(\\*)\$\{\s*([^{}]*?)\s*(?=[{}$]|$)")
_REFERENCE = re.compile(r"(\.*)(\w+(?:\.\w+|\[\w+\])*)")
_RESOLVER = re.compile(r"([A-Za-z_][\w.]*)\s*:")

Leaf = tuple[Path, Scalar]


def leaves(tree: Tree, path: Path = ()) -> list[Leaf]:
    """Every value that holds an interpolation."""
    if isinstance(tree, Scalar):
        return [(path, tree)] if isinstance(tree.value, str) and "${" in tree.value else []
    found: list[Leaf] = []
    children = tree.items.items() if isinstance(tree, Map) else enumerate(tree.items if isinstance(tree, Seq) else ())
    for key, node in children:
        found += leaves(node, (*path, key))
    return found


def resolve(tree: Map, pending: Sequence[Leaf], defaults: Map) -> Map:
    """The tree with its interpolations (`pending`, its `leaves`) replaced by their values.

    `defaults` stand in for keys that are not given.

    Raises:
        SpecError: listing every interpolation that names nothing, or itself, or that expands without bound.
    """
    resolved: Tree = tree
    computed: list[Leaf] = []
    for path, leaf in pending:
        value = _plain_reference(tree, leaf, defaults)
        if value is None:
            computed.append((path, leaf))
        else:
            resolved = replace_at(resolved, path, value)
    if computed:
        for path, value in _Computed(_with_defaults(tree, defaults)).values(computed):
            resolved = replace_at(resolved, path, value)
    assert isinstance(resolved, Map)
    return resolved


def _with_defaults(tree: Map, defaults: Map) -> Map:
    """The tree, with what its settings groups leave out; only mappings are joined."""
    items = dict(tree.items)
    for key, value in defaults.items.items():
        given = items.get(key, value)
        items[key] = _with_defaults(given, value) if isinstance(given, Map) and isinstance(value, Map) else given
    return Map(items, tree.span, tree.keys)


def referents(leaf: Leaf) -> list[Path]:
    """What the value refers to: paths from the top of the spec."""
    path, scalar = leaf
    found = []
    for inner in _inner(str(scalar.value)):
        if match := _REFERENCE.fullmatch(inner):
            keys = re.findall(r"\w+", match[2])
            base = path[: -len(match[1])] if match[1] else ()
            found.append((*base, *(int(key) if key.isdecimal() else key for key in keys)))
    return found


def _inner(text: str) -> Iterator[str]:
    """What stands between the braces of each interpolation; a backslash before the dollar makes it plain text."""
    for match in _OPENING.finditer(text):
        if len(match[1]) % 2 == 0:
            yield match[2]


def _plain_reference(tree: Map, leaf: Scalar, defaults: Map) -> Tree | None:
    """The value of a lone `${a.b}` that names a final value, or None."""
    match = _WHOLE.fullmatch(str(leaf.value))
    if match is None:
        return None
    path: Path = tuple(int(part) if part.isdecimal() else part for part in match[1].split("."))
    target = find(tree, path)
    if target is None:
        target = find(defaults, path)
    if isinstance(target, Scalar) and not (isinstance(target.value, str) and "${" in target.value):
        return Scalar(target.value, leaf.span)
    return None


class _Computed:
    """Resolves the values that are more than one plain reference."""

    def __init__(self, tree: Map) -> None:
        self.tree = tree
        self.sizes: dict[int, int] = {}
        self.refused: dict[Path, tuple[Scalar, Diagnostic]] = {}

    def values(self, pending: Sequence[Leaf]) -> Iterator[tuple[Path, Tree]]:
        """Every value.

        Raises:
            SpecError: listing the ones that cannot be resolved, without those that only refer to another of them.
        """
        for leaf in pending:
            self._guard(leaf, self._check)
        config = self._config()
        found: list[tuple[Path, Tree]] = []
        for leaf in pending:
            if leaf[0] not in self.refused:
                self._guard(leaf, lambda leaf: found.append((leaf[0], _by_omegaconf(config, leaf))))
        if self.refused:
            raise SpecError(
                problem for path, (leaf, problem) in self.refused.items() if not self._is_echo((path, leaf))
            )
        yield from found

    def _guard(self, leaf: Leaf, step: Any) -> None:
        try:
            step(leaf)
        except SpecError as error:
            self.refused[leaf[0]] = leaf[1], error.diagnostics[0]

    def _check(self, leaf: Leaf) -> None:
        text, span = str(leaf[1].value), leaf[1].span
        if len(text) > MAX_LENGTH:
            raise fail("too-large", f"a text with interpolations of more than {MAX_LENGTH:,} characters", span)
        for inner in _inner(text):
            if resolver := _RESOLVER.match(inner):
                _check_resolver(resolver[1], text, leaf)
            elif not _REFERENCE.fullmatch(inner):
                raise fail(
                    "interpolation",
                    f"`{text[:60]}` is not a reference such as `${{dropout}}`",
                    span,
                    help=r"a reference names its value word for word; for a plain dollar and brace write `\${`",
                )
        for path in referents(leaf):
            self._check_exists(path, leaf)
        if self._size(leaf[1], leaf[0], 0) > MAX_EXPANSION:
            raise fail("interpolation", f"`{text[:60]}` expands to more than {MAX_EXPANSION:,} values", span)
        _parse(text, leaf)

    def _check_exists(self, path: Path, leaf: Leaf) -> None:
        node: Tree = self.tree
        for depth, key in enumerate(path):
            below = find(node, (key,))
            if below is None:
                if isinstance(node, Scalar) and isinstance(node.value, str) and "${" in node.value:
                    return  # it lies inside what another interpolation stands for
                owner = f"`{dotted(path[:depth])}`" if depth else "the spec"
                hint = did_you_mean(key, node.items) if isinstance(node, Map) else ""
                message = f"`{leaf[1].value}` names nothing: {owner} has no `{key}`"
                raise fail("interpolation", message, leaf[1].span, label=hint)
            node = below

    def _size(self, node: Tree | None, path: Path, depth: int) -> int:
        """How much an interpolation expands to; a cycle counts as one, OmegaConf reports it."""
        if node is None or depth > 50:
            return 1
        if id(node) not in self.sizes:
            self.sizes[id(node)] = 1
            total = _weight(node)
            for leaf in leaves(node, path):
                for target in referents(leaf):
                    total += self._size(find(self.tree, target), target, depth + 1)
            self.sizes[id(node)] = total
        return self.sizes[id(node)]

    def _config(self) -> Any:
        from omegaconf import OmegaConf

        tree: Any = self.tree
        for path, (leaf, _) in self.refused.items():
            tree = replace_at(tree, path, Scalar(None, leaf.span))
        values = {key: plain(value) for key, value in tree.items.items()}
        return OmegaConf.create(values, flags={"allow_objects": True})  # the schema refuses them, where it finds them

    def _is_echo(self, leaf: Leaf) -> bool:
        """Whether the value fails only because it refers to another that fails."""
        for target in referents(leaf):
            broken = self.refused.get(target)
            if broken and target != leaf[0] and not self._reaches((target, broken[0]), leaf[0], set()):
                return True
        return False

    def _reaches(self, leaf: Leaf, goal: Path, seen: set[Path]) -> bool:
        seen.add(leaf[0])
        for target in referents(leaf):
            if target == goal:
                return True
            broken = self.refused.get(target)
            if broken and target not in seen and self._reaches((target, broken[0]), goal, seen):
                return True
        return False


def _weight(node: Tree) -> int:
    if isinstance(node, Map | Seq):
        return 1 + sum(map(_weight, node.items.values() if isinstance(node, Map) else node.items))
    return 1 + (len(node.value) // 100 if isinstance(node, Scalar) and isinstance(node.value, str) else 0)


def _check_resolver(name: str, text: str, leaf: Leaf) -> None:
    from omegaconf import OmegaConf

    if name in RESOLVERS or (not name.startswith("oc.") and OmegaConf.has_resolver(name)):
        return
    raise fail(
        "interpolation",
        f"`{text[:60]}` calls `{name}`, which a spec does not know",
        leaf[1].span,
        help="write a reference such as `${dropout}`, or an environment variable as `${oc.env:NAME}`",
    )


def _parse(text: str, leaf: Leaf) -> None:
    from omegaconf.errors import GrammarParseError
    from omegaconf.grammar_parser import parse

    try:
        parse(text)
    except (GrammarParseError, RecursionError):
        raise fail(
            "interpolation",
            f"`{text[:60]}` is not a complete interpolation",
            leaf[1].span,
            help=r"write `${name}`; for a plain dollar and brace write `\${`",
        ) from None


def _by_omegaconf(config: Any, leaf: Leaf) -> Tree:
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    path, scalar = leaf
    value = config
    try:
        for key in path:
            value = value[key]
        if OmegaConf.is_config(value):
            value = OmegaConf.to_container(value, resolve=True)
    except RecursionError:
        raise _cyclic(scalar) from None
    except (OmegaConfBaseException, ValueError, TypeError, KeyError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        if "recursi" in reason.lower():
            raise _cyclic(scalar) from None
        message = f"cannot resolve `{str(scalar.value)[:80]}`: {reason[:1].lower() + reason[1:]}"
        raise fail("interpolation", message, scalar.span) from None
    return from_plain(value, scalar.span)


def _cyclic(scalar: Scalar) -> SpecError:
    return fail("interpolation", f"`{str(scalar.value)[:80]}` refers, at last, to itself", scalar.span)


def echoes(found: Sequence[Diagnostic], pending: Sequence[Leaf], tree: Map) -> list[Diagnostic]:
    """Complaints about a value that is only a reference to another value with a complaint of its own."""
    by_span: Mapping[object, Diagnostic] = {problem.span: problem for problem in found if problem.id == "invalid-value"}
    repeated = []
    for path, leaf in pending:
        problem = by_span.get(leaf.span)
        targets = (find(tree, target) for target in referents((path, leaf)))
        if problem and any(target and target.span != leaf.span and target.span in by_span for target in targets):
            repeated.append(problem)
    return repeated
