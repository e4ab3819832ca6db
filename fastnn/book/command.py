"""The command ``python -m fastnn.book``."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import click

from .. import console
from ..backends import Backend, get_backend
from ..notebooks import show_compilation
from .choices import Choices
from .modules import book_modules
from .reading import to_standard_error
from .script import STANDARD_INPUT, run_script
from .tracebacks import without_our_frames

NAME = "python -m fastnn.book"


@click.command(
    context_settings={"help_option_names": ["-h", "--help"], "allow_interspersed_args": True}
)
@click.argument("script", type=click.Path())
@click.argument("arguments", nargs=-1)
@click.option(
    "--backend",
    default="numpy",
    show_default=True,
    help="What its TwoLayerNet runs on: a name that fastnn backends lists, or auto.",
)
@click.option(
    "--own",
    multiple=True,
    metavar="NAME",
    help="Take this module of yours, such as two_layer_net, as it is; may be repeated.",
)
@click.option(
    "--ours",
    multiple=True,
    metavar="NAME",
    help="Take fastnn's module of this name, whatever lies beside the script; may be repeated.",
)
@click.option("--explain", is_flag=True, help="Say more about each module.")
def command(
    script: str,
    arguments: tuple[str, ...],
    backend: str,
    own: tuple[str, ...],
    ours: tuple[str, ...],
    explain: bool,
) -> tuple[str, dict[str, Any]]:
    """Run SCRIPT, written for "Deep Learning from Scratch", over fastnn.

    Your own files beside the script come first. Where your TwoLayerNet computes what fastnn's does,
    it runs on the backend; modules of the book that you do not have are fastnn's. One line on
    standard error says so for each module.

    ARGUMENTS go to the script; put them after -- if they start with a dash.
    """
    chosen: Backend = get_backend(backend)
    Choices(own, ours, book_modules(chosen))  # says what is wrong with them
    options = {"own": own, "ours": ours, "explain": explain}
    return script, {"arguments": arguments, "backend": chosen, **options}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; what a script raises is shown by Python, and the exit code is Python's."""
    if sys.stderr is not None and sys.stderr.isatty():
        show_compilation()
    with _no_collections():
        script, options = console.run(command, NAME, arguments)
        _check_file(script)
    try:
        run_script(script, **options)
    except KeyboardInterrupt:
        console.fail(NAME, "interrupted", 130)
    except Exception as error:
        without_our_frames(error)
        sys.excepthook(type(error), error, error.__traceback__)
        if isinstance(error, OSError) and _raised_in(error, "dataset", "mnist.py"):
            to_standard_error(
                f"{NAME}: fastnn has MNIST: --ours dataset.mnist takes it in place of yours"
            )
        sys.exit(1)


@contextmanager
def _no_collections() -> Iterator[None]:
    """Load what lives until the end: it is not searched for cycles now, nor ever after."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if collects:
            gc.enable()


def _raised_in(error: BaseException, folder: str, file: str) -> bool:
    """Whether an error came through a file of this name, which may have gone to look elsewhere."""
    traceback = error.__traceback__
    while traceback is not None:
        path = Path(traceback.tb_frame.f_code.co_filename)
        if (path.parent.name, path.name) == (folder, file):
            return True
        traceback = traceback.tb_next
    return False


def _check_file(script: str) -> None:
    """End as Python does if there is no such script."""
    if script == STANDARD_INPUT:
        return
    path = Path(script)
    try:
        if path.is_dir():
            if not (path / "__main__.py").exists():
                _end(f"can't find '__main__' module in {str(path.absolute())!r}", 1)
            return
        with path.open("rb"):
            pass
    except (OSError, ValueError) as error:
        number = f"[Errno {error.errno}] {error.strerror}" if isinstance(error, OSError) else error
        _end(f"can't open file {str(path.absolute())!r}: {number}", 2)


def _end(message: str, code: int) -> NoReturn:
    console.fail(NAME, message, code)
