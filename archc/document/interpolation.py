"""`${name}`: values that refer to other values.

Texts that hold nothing but plain references to single values are filled in here. OmegaConf computes all others, after
they have been checked.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from archc.document.diagnostics import Diagnostic, Span, SpecError, did_you_mean, fail
from archc.document.lazy import IMPORTING
from archc.document.tree import Map, Path, Scalar, Seq, Tree, dotted, find, replace_all

MAX_EXPANSION = 1_000
"""At most so many values may come from one interpolation."""
MAX_TOTAL = 50_000
"""At most so many values may come from all interpolations of a document."""
MAX_LENGTH = 1_000
MAX_CHAIN = 20
"""OmegaConf follows at most so many interpolations for one value. Each takes some 30 frames of Python's stack."""
MAX_HINTS = 100
"""At most so many problems get a suggestion."""
RESOLVERS = ("oc.env", "oc.decode")
"""OmegaConf's own functions that a document may call. Those that Python code registered may be called, too."""

_PLAIN = re.compile(r"\$\{([A-Za-z_]\w*(?:\.\w+)*)\}")
_OPENING = re.compile(r"(\\*)\$\{\s*([^{}]*?)\s*(?=[{}$]|$)")
_REFERENCE = re.compile(r"(\.*)(\w+(?:\.\w+|\[\w+\])*)")
_RESOLVER = re.compile(r"([A-Za-z_][\w.]*)\s*:")

Leaf = tuple[Path, Scalar]


@dataclass(frozen=True)
class Resolution:
    """A document with its interpolations resolved. Those that cannot be resolved stay as they are written."""

    tree: Map
    problems: list[Diagnostic]
    unresolved: frozenset[Span]
    """The places of the unresolved interpolations. Some only refer to another one that has a problem."""
    around: frozenset[Span]
    """The places of the mappings and lists around them."""


def leaves(tree: Tree, path: Path = ()) -> list[Leaf]:
    """Every value that holds an interpolation."""
    if isinstance(tree, Scalar):
        return [(path, tree)] if isinstance(tree.value, str) and "${" in tree.value else []
    found: list[Leaf] = []
    children = tree.items.items() if isinstance(tree, Map) else enumerate(tree.items if isinstance(tree, Seq) else ())
    for key, node in children:
        found += leaves(node, (*path, key))
    return found


def resolve(tree: Map, pending: Sequence[Leaf], defaults: Map, *, noun: str, resolvers: bool) -> Resolution:
    """Replace the interpolations of a tree (`pending`, its `leaves`) by their values.

    `defaults` stand in for keys that are not given. Messages call the document `noun`. Without `resolvers`, a text
    may call no function; the overrides laid over it may, as they are the user's own.

    Raises:
        SpecError: the interpolations expand without bound.
    """
    values: dict[Path, Tree] = {}
    computed: list[Leaf] = []
    templates = _Templates(tree, defaults)
    for path, leaf in pending:
        filled = templates.filled(leaf)
        if filled is None:
            computed.append((path, leaf))
        else:
            values[path] = Scalar(filled.value, leaf.span)
    if not computed:
        return Resolution(_replaced(tree, values), [], frozenset(), frozenset())
    work = _Computed(_with_defaults(tree, defaults), noun, resolvers)
    values |= work.values(computed)
    return Resolution(
        _replaced(tree, values),
        work.problems(),
        frozenset(leaf.span for leaf in work.unknown.values()),
        frozenset(span for path in work.unknown for span in _around(tree, path)),
    )


def _around(tree: Map, path: Path) -> Iterator[Span]:
    node: Tree | None = tree
    for key in path[:-1]:
        node = find(node, (key,)) if node is not None else None
        if node is not None:
            yield node.span


def _replaced(tree: Map, values: Mapping[Path, Tree]) -> Map:
    result = replace_all(tree, values)
    assert isinstance(result, Map)
    return result


def _with_defaults(tree: Map, defaults: Map) -> Map:
    """The tree with the defaults of keys that it leaves out, also inside mappings."""
    items = dict(tree.items)
    for key, value in defaults.items.items():
        given = items.get(key, value)
        items[key] = _with_defaults(given, value) if isinstance(given, Map) and isinstance(value, Map) else given
    return Map(items, tree.span, tree.keys)


def referents(leaf: Leaf) -> list[Path]:
    """The paths that a value refers to, from the top of the document."""
    path, scalar = leaf
    found = []
    for inner in _inner(str(scalar.value)):
        if match := _REFERENCE.fullmatch(inner):
            keys = re.findall(r"\w+", match[2])
            base = path[: -len(match[1])] if match[1] else ()
            found.append((*base, *(int(key) if key.isdecimal() else key for key in keys)))
    return found


def may_reach(key: str, leaf: Scalar) -> bool:
    """Whether an interpolation may depend on a top-level key. One that calls a function may read anything."""
    text = str(leaf.value)
    return key in text or any(_RESOLVER.match(inner) for inner in _inner(text))


def _inner(text: str) -> Iterator[str]:
    """The text between the braces of each interpolation; a backslash before the dollar makes it plain text."""
    for match in _OPENING.finditer(text):
        if len(match[1]) % 2 == 0:
            yield match[2]


class _Templates:
    """Fills in texts of plain references, `${a.b}` or `x${a}`, whose ends are single values.

    OmegaConf would say the same, but takes a hundred times longer, and a frame of the stack for each step of a chain.
    """

    def __init__(self, tree: Map, defaults: Map) -> None:
        self.tree, self.defaults = tree, defaults
        self.known: dict[int, Scalar | None] = {}

    def filled(self, leaf: Scalar) -> Scalar | None:
        """The text filled in. None if it holds or leads to anything but plain references, or refers to itself."""
        stack = [leaf]
        while stack:
            here = stack[-1]
            targets = self._targets(here)
            open_ = [target for target in targets or () if _is_interpolation(target) and id(target) not in self.known]
            if id(here) not in self.known and open_ and targets is not None:
                self.known[id(here)] = None  # until its targets are known; for good, where it is one of them
                stack += open_
                continue
            stack.pop()
            self.known[id(here)] = self._fill(here, targets) if targets is not None else None
        return self.known[id(leaf)]

    def _targets(self, leaf: Scalar) -> list[Scalar] | None:
        """The single values that a text refers to. None if the text is no template, or refers to anything else."""
        text = str(leaf.value)
        if len(text) > MAX_LENGTH or not _is_plain(text):
            return None
        found: list[Scalar] = []
        for match in _PLAIN.finditer(text):
            path: Path = tuple(int(part) if part.isdecimal() else part for part in match[1].split("."))
            target = find(self.tree, path)
            target = find(self.defaults, path) if target is None else target
            if not isinstance(target, Scalar):
                return None
            found.append(target)
        return found

    def _fill(self, leaf: Scalar, targets: Sequence[Scalar]) -> Scalar | None:
        ends = [self.known[id(target)] if _is_interpolation(target) else target for target in targets]
        values = [end.value for end in ends if end is not None]
        if len(values) < len(ends):
            return None
        text = str(leaf.value)
        if _PLAIN.fullmatch(text):
            return Scalar(values[0], leaf.span)
        words = iter(values)
        filled = _PLAIN.sub(lambda _: str(next(words)), text)
        return Scalar(filled, leaf.span) if len(filled) <= MAX_LENGTH else None


def _is_plain(text: str) -> bool:
    """Whether all dollars in a text belong to plain references, so that OmegaConf's grammar is not needed."""
    return "\\" not in text and "$" not in _PLAIN.sub("", text)


def _is_interpolation(node: object) -> bool:
    return isinstance(node, Scalar) and isinstance(node.value, str) and "${" in node.value


class _LongChainError(Exception):
    """Interpolations refer to each other through more than `MAX_CHAIN` steps."""


class _Computed:
    """Resolves all interpolations that are not templates of plain references."""

    def __init__(self, tree: Map, noun: str, resolvers: bool) -> None:
        self.tree, self.noun, self.resolvers = tree, noun, resolvers
        self.sizes: dict[int, tuple[int, int]] = {}
        self.refused: dict[Path, tuple[Scalar, Diagnostic]] = {}
        self.unknown: dict[Path, Scalar] = {}

    def values(self, pending: Sequence[Leaf]) -> dict[Path, Tree]:
        """Every value that can be resolved; `unknown` are the others, and `refused` those with a mistake of their own.

        Raises:
            SpecError: all of them together expand to too much.
        """
        with IMPORTING:
            from archc.document import omegaconf_values

        for path_and_leaf in pending:
            self._guard(path_and_leaf, self._check)
        self._refuse_circles(pending)
        self.unknown = self._dependent_on_refused(pending)
        total = 0
        for path, leaf in pending:
            total += self._size(leaf, path, 0)[0] if path not in self.unknown else 0
            if total > MAX_TOTAL:
                message = f"the interpolations expand to more than {MAX_TOTAL:,} values together"
                raise fail("too-large", message, leaf.span)
        if all(path in self.unknown for path, _ in pending):
            return {}
        blanks = {path: Scalar(None, leaf.span) for path, leaf in self.unknown.items()}
        config = omegaconf_values.Config(_replaced(self.tree, blanks))
        found: dict[Path, Tree] = {}

        def compute(leaf: Leaf) -> None:
            found[leaf[0]] = config.value(*leaf)

        for path_and_leaf in pending:
            if path_and_leaf[0] not in self.unknown:
                self._guard(path_and_leaf, compute)
        self.unknown |= {path: leaf for path, (leaf, _) in self.refused.items()}
        return found

    def _refuse_circles(self, pending: Sequence[Leaf]) -> None:
        """Refuse every value that refers to itself, directly or through others."""
        leaves_at = {path: leaf for path, leaf in pending if path not in self.refused}
        edges = {path: [to for to in referents((path, leaf)) if to in leaves_at] for path, leaf in leaves_at.items()}
        circle = _circles(edges)
        size = Counter(circle.values())
        for path, leaf in leaves_at.items():
            if size[circle[path]] > 1 or path in edges[path]:
                self.refused[path] = leaf, circular(leaf).diagnostics[0]

    def _dependent_on_refused(self, pending: Sequence[Leaf]) -> dict[Path, Scalar]:
        """The refused values, and those that refer to one of them, so that they cannot be known either."""
        exactly: dict[Path, list[Leaf]] = {}
        through: dict[Path, list[Leaf]] = {}
        for user in pending:
            for target in referents(user):
                exactly.setdefault(target, []).append(user)
                for length in range(1, len(target)):
                    through.setdefault(target[:length], []).append(user)
        unknown = {path: leaf for path, (leaf, _) in self.refused.items()}
        todo = list(unknown)
        visited: set[Path] = set()
        while todo:
            path = todo.pop()
            for length in range(1, len(path) + 1):
                part = path[:length]
                dependents = exactly.get(part, []) if part not in visited else []
                visited.add(part)
                for other, leaf in dependents + (through.get(path, []) if length == len(path) else []):
                    if other not in unknown:
                        unknown[other] = leaf
                        todo.append(other)
        return unknown

    def _guard(self, leaf: Leaf, step: Callable[[Leaf], None]) -> None:
        try:
            step(leaf)
        except SpecError as error:
            self.refused[leaf[0]] = leaf[1], error.diagnostics[0]

    def _check(self, leaf: Leaf) -> None:
        with IMPORTING:
            from archc.document import omegaconf_values

        text, span = str(leaf[1].value), leaf[1].span
        if len(text) > MAX_LENGTH:
            raise fail("too-large", f"a text with interpolations of more than {MAX_LENGTH:,} characters", span)
        for inner in _inner(text):
            if resolver := _RESOLVER.match(inner):
                self._check_resolver(resolver[1], leaf, omegaconf_values.is_registered)
            elif not _REFERENCE.fullmatch(inner):
                raise fail(
                    "interpolation",
                    f"`{text[:60]}` is not a reference such as `${{dropout}}`",
                    span,
                    help=r"a reference names its value word for word; for a plain dollar and brace write `\${`",
                )
        for path in referents(leaf):
            self._check_exists(path, leaf)
        try:
            size, _ = self._size(leaf[1], leaf[0], 0)
        except _LongChainError:
            message = f"`{text[:60]}` leads through more than {MAX_CHAIN} other interpolations"
            raise fail("interpolation", message, span) from None
        if size > MAX_EXPANSION:
            raise fail("interpolation", f"`{text[:60]}` expands to more than {MAX_EXPANSION:,} values", span)
        if not _is_plain(text):
            omegaconf_values.check_syntax(leaf[1])

    def _check_resolver(self, name: str, leaf: Leaf, is_registered: Callable[[str], bool]) -> None:
        text, span = f"`{str(leaf[1].value)[:60]}`", leaf[1].span
        if not self.resolvers and span.source.kind == "file":
            message = f"{text} calls a resolver; a {self.noun} that comes with weights cannot"
            help = f"where you trust it, name the {self.noun} itself: {self.noun.upper()} --weights FILE"
            raise fail("interpolation", message, span, help=help)
        if name not in RESOLVERS and (name.startswith("oc.") or not is_registered(name)):
            help = "write a reference such as `${dropout}`, or an environment variable as `${oc.env:NAME}`"
            raise fail("interpolation", f"{text} calls `{name}`, which a {self.noun} does not know", span, help=help)

    def _check_exists(self, path: Path, leaf: Leaf) -> None:
        node: Tree = self.tree
        for depth, key in enumerate(path):
            below = find(node, (key,))
            if below is None:
                if _is_interpolation(node):
                    return  # it lies inside what another interpolation stands for
                owner = f"`{dotted(path[:depth])}`" if depth else f"the {self.noun}"
                hint = did_you_mean(key, node.items) if isinstance(node, Map) and len(self.refused) < MAX_HINTS else ""
                message = f"`{leaf[1].value}` names nothing: {owner} has no `{key}`"
                raise fail("interpolation", message, leaf[1].span, label=hint)
            node = below

    def _size(self, node: Tree | None, path: Path, depth: int) -> tuple[int, int]:
        """How many values a node expands to, and by how long a chain. A circle counts as one; OmegaConf reports it.

        Raises:
            _LongChainError: the chain is too long.
        """
        if node is None:
            return 1, 0
        if id(node) in self.sizes:
            return self.sizes[id(node)]
        if depth > MAX_CHAIN:
            raise _LongChainError
        self.sizes[id(node)] = 1, 0
        total, longest = _weight(node), 0
        try:
            for leaf in leaves(node, path):
                for target in referents(leaf):
                    size, chain = self._size(find(self.tree, target), target, depth + 1)
                    total, longest = total + size, max(longest, chain + 1)
                if longest > MAX_CHAIN:
                    raise _LongChainError
        except _LongChainError:
            del self.sizes[id(node)]
            raise
        self.sizes[id(node)] = total, longest
        return total, longest

    def problems(self) -> list[Diagnostic]:
        """The problems, except those of values that refer to another refused value."""
        targets = {path: _broken(path, leaf, self.refused) for path, (leaf, _) in self.refused.items()}
        circle = _circles(targets)
        return [
            problem
            for path, (_, problem) in self.refused.items()
            if all(circle[target] == circle[path] for target in targets[path])
        ]


def _broken(path: Path, leaf: Scalar, refused: Mapping[Path, object]) -> list[Path]:
    return [target for target in referents((path, leaf)) if target in refused]


def _circles(edges: Mapping[Path, Sequence[Path]]) -> dict[Path, int]:
    """A number for every node, the same for nodes that reach each other (Kosaraju's algorithm, without recursion)."""
    finished: list[Path] = []
    seen: set[Path] = set()
    for start in edges:
        stack = [(start, iter(edges[start]))] if start not in seen else []
        seen.add(start)
        while stack:
            node, below = stack[-1]
            fresh = next((other for other in below if other not in seen), None)
            if fresh is None:
                finished.append(node)
                stack.pop()
            else:
                seen.add(fresh)
                stack.append((fresh, iter(edges[fresh])))
    back: dict[Path, list[Path]] = {node: [] for node in edges}
    for node, targets in edges.items():
        for target in targets:
            back[target].append(node)
    number: dict[Path, int] = {}
    for count, start in enumerate(reversed(finished)):
        todo = [start] if start not in number else []
        while todo:
            node = todo.pop()
            if node not in number:
                number[node] = count
                todo += back[node]
    return number


def circular(leaf: Scalar) -> SpecError:
    """The error for a value that refers to itself."""
    return fail("interpolation", f"`{str(leaf.value)[:80]}` refers, at last, to itself", leaf.span)


def _weight(node: Tree) -> int:
    if isinstance(node, Map | Seq):
        return 1 + sum(map(_weight, node.items.values() if isinstance(node, Map) else node.items))
    return 1 + (len(node.value) // 100 if isinstance(node, Scalar) and isinstance(node.value, str) else 0)


def echoes(found: Sequence[Diagnostic], pending: Sequence[Leaf], tree: Map, resolution: Resolution) -> set[int]:
    """The `id` of each complaint that says nothing new.

    It is about a value that could not be resolved, so that nobody knows it, or about what holds such a value; or it is
    about a value that is only a reference to another value with a complaint of its own.
    """
    own = set(map(id, resolution.problems))
    others = [problem for problem in found if id(problem) not in own]
    repeated = {id(problem) for problem in others if problem.span in resolution.unresolved}
    by_span = {problem.span: problem for problem in others if problem.id == "invalid-value"}
    repeated |= {id(problem) for span, problem in by_span.items() if span in resolution.around}
    for path, leaf in pending:
        problem = by_span.get(leaf.span)
        if problem is not None:
            targets = (find(tree, target) for target in referents((path, leaf)))
            if any(target and target.span != leaf.span and target.span in by_span for target in targets):
                repeated.add(id(problem))
    return repeated
