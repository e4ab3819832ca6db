"""The command ``python -m fastnn.book``."""

from __future__ import annotations

import click

from ..backends import get_backend
from ..errors import FastnnError
from .script import run_script


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("script", type=click.Path(exists=True, dir_okay=False))
@click.argument("arguments", nargs=-1)
@click.option(
    "--backend",
    default="numpy",
    show_default=True,
    help="What its TwoLayerNet runs on: a name that fastnn backends lists, or auto.",
)
def main(script: str, arguments: tuple[str, ...], backend: str) -> None:
    """Run SCRIPT, written for "Deep Learning from Scratch", with fastnn in place of its modules.

    ARGUMENTS go to the script; put them after -- if they start with a dash.
    """
    try:
        chosen = get_backend(backend)
    except FastnnError as error:
        raise click.ClickException(str(error)) from error
    run_script(script, backend=chosen, arguments=arguments)
