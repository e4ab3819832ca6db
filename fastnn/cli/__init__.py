"""The command line: ``fastnn``, and the same as ``python -m fastnn``. One file a command."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence

import click

from .. import __version__, console
from . import backends, bench, evaluate, export, gradcheck, inspect, predict, serve, train

_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@click.group(invoke_without_command=True, context_settings=_SETTINGS)
@click.version_option(__version__, prog_name="fastnn")
@click.pass_context
def cli(context: click.Context) -> None:
    """Train the two-layer network of "Deep Learning from Scratch" on the hardware at hand."""
    if context.invoked_subcommand is None:
        console.write(context.get_help())


for module in (train, predict, evaluate, inspect, export, serve, backends, bench, gradcheck):
    cli.add_command(module.command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; an error is one line on standard error and exit code 2."""
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    if sys.stderr is not None and sys.stderr.isatty():
        logging.getLogger("fastnn.compilation").setLevel(logging.INFO)
    code = console.run(cli, "fastnn", arguments)
    sys.exit(code if isinstance(code, int) else 0)
