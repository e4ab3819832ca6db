"""The command ``python -m fastnn.book``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from .. import console
from ..backends import Backend, get_backend
from .script import run_script

NAME = "python -m fastnn.book"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("script", type=click.Path(exists=True, dir_okay=False))
@click.argument("arguments", nargs=-1)
@click.option(
    "--backend",
    default="numpy",
    show_default=True,
    help="What its TwoLayerNet runs on: a name that fastnn backends lists, or auto.",
)
def command(
    script: str, arguments: tuple[str, ...], backend: str
) -> tuple[str, tuple[str, ...], Backend]:
    """Run SCRIPT, written for "Deep Learning from Scratch", with fastnn in place of its modules.

    ARGUMENTS go to the script; put them after -- if they start with a dash.
    """
    return script, arguments, get_backend(backend)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; what a script raises is shown by Python, and the exit code is Python's."""
    script, given, backend = console.run(command, NAME, arguments)
    try:
        run_script(script, backend=backend, arguments=given)
    except KeyboardInterrupt:
        console.fail(NAME, "interrupted", 130)
    except Exception as error:
        traceback = error.__traceback__
        while traceback and Path(traceback.tb_frame.f_code.co_filename) != Path(script):
            traceback = traceback.tb_next
        sys.excepthook(type(error), error.with_traceback(traceback), traceback)
        sys.exit(1)
