"""The part of interpolation that OmegaConf does: grammar, registered functions and values."""

from __future__ import annotations

from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import GrammarParseError, OmegaConfBaseException
from omegaconf.grammar_parser import parse

from archc.document.diagnostics import fail
from archc.document.interpolation import circular
from archc.document.tree import Map, Path, Scalar, Tree, from_plain, plain


def is_registered(name: str) -> bool:
    """Whether interpolations know a function of this name."""
    return bool(OmegaConf.has_resolver(name))


def check_syntax(leaf: Scalar) -> None:
    """Check that a text is whole.

    Raises:
        SpecError: a brace or a quote is not closed.
    """
    text = str(leaf.value)
    try:
        parse(text)
    except (GrammarParseError, RecursionError):
        raise fail(
            "interpolation",
            f"`{text[:60]}` is not a complete interpolation",
            leaf.span,
            help=r"write `${name}`; for a plain dollar and brace write `\${`",
        ) from None


class Config:
    """A document as OmegaConf sees it."""

    def __init__(self, tree: Map) -> None:
        values = {key: plain(value) for key, value in tree.items.items()}
        self._config = OmegaConf.create(values, flags={"allow_objects": True})  # the schema refuses odd objects later

    def value(self, path: Path, leaf: Scalar) -> Tree:
        """What the interpolation at a path stands for.

        Raises:
            SpecError: it refers to itself, or a function that it calls fails.
        """
        value: Any = self._config
        try:
            for key in path:
                value = value[key]
            if OmegaConf.is_config(value):
                value = OmegaConf.to_container(value, resolve=True)
        except RecursionError:
            raise circular(leaf) from None
        except (OmegaConfBaseException, ValueError, TypeError, KeyError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            if "recursi" in reason.lower():
                raise circular(leaf) from None
            message = f"cannot resolve `{str(leaf.value)[:80]}`: {reason[:1].lower() + reason[1:]}"
            raise fail("interpolation", message, leaf.span) from None
        return from_plain(value, leaf.span)
