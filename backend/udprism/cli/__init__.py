"""The `udprism` command: one module for each subcommand."""

from __future__ import annotations

from typing import Annotated

import typer

import udprism
from udprism.cli import bench, client, dissector, doctor, inspect, relay, replay, scenario, serve

app = typer.Typer(
    name="udprism",
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


for _command in (
    serve.serve,
    serve.server,
    client.client,
    relay.relay,
    scenario.run,
    bench.bench,
    doctor.doctor,
    dissector.dissector,
    inspect.inspect,
    replay.replay,
):
    app.command()(_command)
