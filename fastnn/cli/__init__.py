"""The command line: ``fastnn``, and the same as ``python -m fastnn``. One file a command."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from .. import __version__
from ..errors import FastnnError
from . import backends, bench, gradcheck, train

_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@click.group(invoke_without_command=True, context_settings=_SETTINGS)
@click.version_option(__version__, prog_name="fastnn")
@click.pass_context
def cli(context: click.Context) -> None:
    """Train the two-layer network of "Deep Learning from Scratch" on the hardware at hand."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


for module in (train, backends, bench, gradcheck):
    cli.add_command(module.command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; an error is one line on standard error and exit code 2."""
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    if sys.stderr is not None and sys.stderr.isatty():
        logging.getLogger("fastnn.compilation").setLevel(logging.INFO)
    try:
        code = cli.main(args=arguments, prog_name="fastnn", standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()  # so that a full disk or a closed pipe shows here
    except click.ClickException as error:
        _fail(error.format_message())
    except (click.Abort, KeyboardInterrupt):
        _fail("interrupted", 130)
    except MemoryError as error:
        _fail(f"not enough memory: {error}")
    except FastnnError as error:
        _fail(str(error))
    except OSError as error:
        # What could not be written must not be tried again when Python exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        _fail(f"the output cannot be written: {error.strerror or error}")
    sys.exit(code if isinstance(code, int) else 0)


def _fail(message: str, code: int = 2) -> NoReturn:
    click.echo(f"fastnn: error: {' '.join(message.split())}", err=True)
    sys.exit(code)
