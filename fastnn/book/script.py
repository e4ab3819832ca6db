"""Running one of the book's scripts in an interpreter as it expects it."""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
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
    argv, path, modules = sys.argv, sys.path[:], sys.modules.copy()
    directory = _current_directory()
    figures = os.environ.get(_MPLBACKEND)
    _forget(finder.packages)
    sys.argv = [str(script), *arguments]
    # As Python does for a script: where that is, and not the current directory.
    if sys.path and sys.path[0] in ("", directory):
        del sys.path[0]
    folder = script.parent.resolve()
    sys.path.insert(0, str(folder))
    sys.meta_path.insert(0, finder)
    if not _has_display():
        os.environ[_MPLBACKEND] = _FIGURES  # read by Matplotlib if the script imports it
    try:
        yield
    finally:
        with suppress(OSError):  # it may have been removed
            os.chdir(directory)
        _forget(finder.packages | _beside(folder, modules))
        sys.modules.update(modules)
        sys.argv, sys.path[:] = argv, path
        with suppress(ValueError):
            sys.meta_path.remove(finder)  # other finders are those of libraries that were loaded
        if figures is None:
            os.environ.pop(_MPLBACKEND, None)
        else:
            os.environ[_MPLBACKEND] = figures


def _current_directory() -> str:
    """Its name; that of none, if it has been removed."""
    try:
        return os.getcwd()  # noqa: PTH109
    except OSError:
        return ""


def _beside(folder: Path, before: dict[str, ModuleType]) -> set[str]:
    """The modules and packages that a script has imported from its own folder."""
    new = {name: sys.modules[name] for name in sys.modules.keys() - before.keys()}
    files = {name: getattr(module, "__file__", None) for name, module in new.items()}
    return {
        name.partition(".")[0]
        for name, file in files.items()
        if file and name.partition(".")[0] in new and _stands_in(Path(file).resolve(), folder)
    }


def _stands_in(file: Path, folder: Path) -> bool:
    return folder in (file.parent, file.parent.parent)


def _forget(packages: set[str]) -> None:
    """Have Python import these, and what is in them, anew."""
    for name in [name for name in sys.modules if name.partition(".")[0] in packages]:
        del sys.modules[name]


def _has_display() -> bool:
    if os.environ.get(_MPLBACKEND, "agg").lower() != "agg" or sys.platform in ("darwin", "win32"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
