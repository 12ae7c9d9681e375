"""What commands share on the command line: specs and overrides in any order, options, and where output goes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import click

_NAMED = 5
"""The most files that one message names."""

_Command = TypeVar("_Command", bound=Callable[..., Any])


class Request(NamedTuple):
    """The positional arguments of a command, sorted."""

    specs: tuple[str, ...]
    overrides: tuple[str, ...]

    @property
    def spec(self) -> str:
        """The first spec."""
        return self.specs[0]


def split(arguments: Sequence[str]) -> Request:
    """Tell specs and overrides apart: an override has a `=`, or starts with `+` or `~`, and is no file."""
    overrides = tuple(argument for argument in arguments if _is_override(argument))
    return Request(tuple(argument for argument in arguments if not _is_override(argument)), overrides)


def _is_override(argument: str) -> bool:
    looks = "=" in argument or argument.startswith(("+", "~"))
    return looks and not (argument.endswith((".yaml", ".yml")) and Path(argument).is_file())


def request(fewest: int = 1, most: int | None = 1) -> Callable[[_Command], _Command]:
    """The decorator that gives a command its `request`: `fewest` to `most` specs, and any overrides."""
    metavar = "SPEC" if most == 1 else "SPEC..." if most is None else "SPEC [SPEC]"

    def parse(context: click.Context, _: click.Parameter, arguments: tuple[str, ...]) -> Request:
        found = split(arguments)
        if len(found.specs) < fewest:
            raise click.UsageError("Name a spec: a YAML file, or one of those that `archc list` shows.", context)
        if most is not None and len(found.specs) > most:
            surplus = found.specs[most]
            known = "an override is written KEY=VALUE" if not Path(surplus).exists() else "one command, one spec"
            raise click.UsageError(f"`{surplus}` is one spec too many; {known}.", context)
        return found

    argument = click.argument("request", nargs=-1, callback=parse, metavar=f"{metavar} [KEY=VALUE]...")
    return lambda command: argument(allow_blocks(command))


_ALLOWED = "archc.allowed"
"""The key under which click's context keeps the packages that `--allow-blocks` names."""


def allowed() -> tuple[str, ...]:
    """The packages that the command line allows specs to import blocks from."""
    context = click.get_current_context(silent=True)
    found: tuple[str, ...] = context.meta.get(_ALLOWED, ()) if context else ()
    return found


def _keep_allowed(context: click.Context, _: click.Parameter, packages: tuple[str, ...]) -> None:
    if packages:
        from archc.language.registry import check_package

        try:
            for package in packages:
                check_package(package)
        except ValueError as error:
            raise click.BadParameter(str(error)) from None
    context.meta[_ALLOWED] = packages


allow_blocks = click.option(
    "--allow-blocks",
    metavar="PACKAGE",
    multiple=True,
    expose_value=False,
    callback=_keep_allowed,
    help="Let specs name blocks of this package as `package.module:Class`. That runs the module's code. Repeatable.",
)


class OutputPath(click.Path):
    """The type of `-o`: a path that may not be empty, which Python would take for the current directory."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """As `click.Path`, but an empty path is an error."""
        if not os.fspath(value):
            self.fail("the path is empty", param, ctx)
        return super().convert(value, param, ctx)


def output_path(*, file: bool = True, directory: bool = True) -> OutputPath:
    """The type of `-o`, where the path may be a file, a directory, or either."""
    return OutputPath(file_okay=file, dir_okay=directory, path_type=Path)


force = click.option("--force", is_flag=True, help="Overwrite files that exist.")
"""The decorator for `--force`."""


def refuse_existing(files: Iterable[Path]) -> None:
    """Refuse to overwrite files. A symbolic link counts, even if it points nowhere.

    Raises:
        UsageError: some of them exist.
    """
    existing = [str(file) for file in files if os.path.lexists(file)]
    if existing:
        verb = "exists" if len(existing) == 1 else "exist"
        named = ", ".join(existing[:_NAMED]) + f" and {len(existing) - _NAMED:,} more" * (len(existing) > _NAMED)
        raise click.UsageError(f"{named} {verb} already; `--force` overwrites. Nothing was written.")


def refuse_sources(outputs: Iterable[Path], sources: Iterable[Path]) -> None:
    """Refuse to overwrite what a command reads, with or without `--force`.

    Raises:
        UsageError: an output is one of the sources.
    """
    read = {os.path.realpath(source) for source in sources}
    for output in outputs:
        if os.path.realpath(output) in read:
            raise click.UsageError(f"{output} is what this command reads; write to another place. Nothing was written.")


as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, and only JSON.")
"""The decorator for `--json`."""

counter = click.option(
    "--counter",
    type=click.Choice(["fvcore", "torch"]),
    help="Build the network, count it with this tool too, and explain every difference. Needs torch.",
)
"""The decorator for `--counter`."""

transforms = click.option(
    "--transform",
    "transforms",
    multiple=True,
    metavar="NAME",
    help="Rewrite the network with this transform, such as `inference`. Repeat it for several; they run in this order.",
)
"""The decorator for `--transform`."""
