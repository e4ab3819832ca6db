"""Running one of the book's scripts in an interpreter as it expects it."""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..backends import Backend, get_backend
from .finder import BookFinder
from .modules import book_modules

#: The variable that tells Matplotlib its backend, and ours for where there is no display.
_MPLBACKEND = "MPLBACKEND"
_FIGURES = "module://fastnn.book.figures"


def run_script(
    script: str | os.PathLike[str],
    *,
    backend: str | Backend = "numpy",
    arguments: Sequence[str] = (),
) -> dict[str, Any]:
    """Run a script of the book's on a backend.

    Parameters
    ----------
    script : path
    backend : str or Backend
        What the script's ``TwoLayerNet`` runs on, as for :func:`fastnn.get_backend`.
    arguments : sequence of str
        What the script finds in ``sys.argv`` after its own name.

    Returns
    -------
    dict
        The script's global names.

    Raises
    ------
    ImportError
        If the script imports from one of the book's modules what is not provided; the message lists
        what is.
    """
    path = Path(script)
    with _prepared(path, arguments, get_backend(backend)):
        return runpy.run_path(str(path), run_name="__main__")


@contextmanager
def _prepared(script: Path, arguments: Sequence[str], backend: Backend) -> Iterator[None]:
    """The interpreter as the script expects it, and as it was afterwards."""
    finder = BookFinder(book_modules(backend))
    argv, path, meta_path = sys.argv, sys.path[:], sys.meta_path[:]
    figures = os.environ.get(_MPLBACKEND)
    _forget(finder.packages)
    sys.argv = [str(script), *arguments]
    sys.path.insert(0, str(script.parent))  # as Python does for a script
    sys.meta_path.insert(0, finder)
    if not _has_display():
        os.environ[_MPLBACKEND] = _FIGURES  # read by Matplotlib if the script imports it
    try:
        yield
    finally:
        _forget(finder.packages)
        sys.argv, sys.path[:], sys.meta_path[:] = argv, path, meta_path
        if figures is None:
            os.environ.pop(_MPLBACKEND, None)
        else:
            os.environ[_MPLBACKEND] = figures


def _forget(packages: set[str]) -> None:
    """Have Python import these, and what is in them, anew."""
    for name in [name for name in sys.modules if name.partition(".")[0] in packages]:
        del sys.modules[name]


def _has_display() -> bool:
    if os.environ.get(_MPLBACKEND, "agg").lower() != "agg" or sys.platform in ("darwin", "win32"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
