"""The `udprism` command: one module for each subcommand, imported when that one is asked for.

`udprism client` in a script starts in half the time, and `udprism serve` keeps 2 MiB less.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

import udprism

_MODULES: Final = {
    "serve": "serve",
    "server": "serve",
    "client": "client",
    "relay": "relay",
    "listen": "listen",
    "send": "send",
    "hub": "hub",
    "record": "record",
    "run": "scenario",
    "bench": "bench",
    "doctor": "doctor",
    "dissector": "dissector",
    "inspect": "inspect",
    "replay": "replay",
}
"""In which module of this room each subcommand is a function of the same name; in the order of the help."""


class _Commands(Mapping[str, Any]):
    """The subcommands by name, each made when it is asked for; the help asks for all of them."""

    def __getitem__(self, name: str) -> Any:
        module = import_module(f"udprism.cli.{_MODULES[name]}")
        alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
        alone.command(name)(getattr(module, name))
        return typer.main.get_command(alone)

    def __iter__(self) -> Iterator[str]:
        return iter(_MODULES)

    def __len__(self) -> int:
        return len(_MODULES)


class _Group(TyperGroup):
    """`udprism` itself."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = _Commands()  # type: ignore[assignment]  # nothing adds one later


app = typer.Typer(
    name="udprism",
    cls=_Group,
    help="The meter and the wind tunnel for UDP.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"udprism {udprism.__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """The meter and the wind tunnel for UDP: a colour server, hosted clients, and a page that shows every fate."""
