"""Running one of the book's scripts in an interpreter as it expects it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from ..backends import Backend
from ..backends.processor import limited_to_one_thread
from .finder import BookFinder
from .places import Places, current_directory
from .reading import Report, reading

#: The variable that tells Matplotlib its backend, and ours for where there is no display.
_MPLBACKEND = "MPLBACKEND"
_FIGURES = "module://fastnn.book.figures"

#: The script that stands for standard input, as for Python.
STANDARD_INPUT = "-"


def run_script(
    script: str | os.PathLike[str],
    *,
    backend: str | Backend = "numpy",
    arguments: Sequence[str] = (),
    own: Sequence[str] = (),
    ours: Sequence[str] = (),
    explain: bool = False,
    report: Report | None = None,
) -> dict[str, Any]:
    """Run a script of the book's on a backend.

    Parameters
    ----------
    script : path
        Of a file, of a folder with a ``__main__.py``, or ``"-"`` for standard input.
    backend : str or Backend
        What the script's ``TwoLayerNet`` runs on, as for :func:`fastnn.get_backend`.
    arguments : sequence of str
        What the script finds in ``sys.argv`` after its own name.
    own, ours : sequence of str
        Modules of the book's that shall be the reader's own, as they are, or fastnn's, whatever
        lies beside the script.
    explain : bool
        Say more about each module.
    report : callable, optional
        Takes each line that is said; by default it goes to standard error.

    Returns
    -------
    dict
        The script's global names.

    Raises
    ------
    OSError
        If the script cannot be read.
    ImportError
        If it imports one of the book's modules that neither lies beside it nor is provided.
    InputError
        If `own` and `ours` name the same module, or `ours` one that there is not.
    """
    code, file, folder = _read(os.fspath(script))
    finder, definitions = reading(
        Places(folder), backend=backend, own=own, ours=ours, explain=explain, report=report
    )
    main = _main_module(file)
    definitions.start()
    try:
        argv = [os.fspath(script), *arguments]
        with _prepared(finder, folder, argv, main), limited_to_one_thread():
            exec(code, vars(main))
    finally:
        definitions.stop()
    return vars(main)


def _read(script: str) -> tuple[CodeType, str | None, Path]:
    """The code of a script, its file, and the folder that it imports from, as for Python."""
    if script == STANDARD_INPUT:
        source = sys.stdin.buffer.read()
        return compile(source, "<stdin>", "exec", dont_inherit=True), None, Path().absolute()
    place = os.path.join(current_directory(), script)  # noqa: PTH118
    if os.path.isdir(place):  # noqa: PTH112
        script = place = os.path.join(place, "__main__.py")  # noqa: PTH118
    source = Path(script).read_bytes()
    folder = Path(os.path.realpath(place)).parent
    return compile(source, place, "exec", dont_inherit=True), place, folder


def _main_module(file: str | None) -> ModuleType:
    """What the script is for those who look: the module ``__main__``."""
    main = ModuleType("__main__")
    main.__dict__["__builtins__"] = __builtins__
    if file is not None:
        main.__file__ = file
        main.__dict__["__cached__"] = None
        main.__loader__ = SourceFileLoader("__main__", file)
    return main


@contextmanager
def _prepared(
    finder: BookFinder, folder: Path, argv: list[str], main: ModuleType
) -> Iterator[None]:
    """The interpreter as the script expects it, and as it was afterwards."""
    before = sys.argv, sys.path[:], sys.modules.copy()
    directory = current_directory()
    figures = os.environ.get(_MPLBACKEND)
    forget(finder.packages | _shadowed(folder))
    sys.argv = argv
    # As Python does for a script: where that is, and not the current directory.
    if sys.path and sys.path[0] in ("", directory):
        del sys.path[0]
    sys.path.insert(0, str(folder))
    sys.meta_path.insert(0, finder)
    sys.modules["__main__"] = main
    if _has_no_display():
        os.environ[_MPLBACKEND] = _FIGURES  # read by Matplotlib if the script imports it
    try:
        yield
    finally:
        with suppress(OSError):  # it may have been removed
            os.chdir(directory)
        sys.argv, path, modules = before
        new = [name for name in sys.modules if name not in modules]
        folders = [str(folder), *(e for e in finder.places.entries() if e not in path)]
        forget(finder.packages)
        for name in new:
            if name in sys.modules and finder.places.holds(sys.modules[name], folders):
                del sys.modules[name]
        sys.modules.update(modules)
        sys.path[:] = path
        with suppress(ValueError):
            sys.meta_path.remove(finder)  # other finders are those of libraries that were loaded
        if figures is None:
            os.environ.pop(_MPLBACKEND, None)
        else:
            os.environ[_MPLBACKEND] = figures


def _shadowed(folder: Path) -> set[str]:
    """The modules of the caller's that have the name of a file of the script's.

    What belongs to a library stays: NumPy cannot be imported twice.
    """
    places = Places(folder)
    try:
        beside = {entry.name.partition(".")[0] for entry in folder.iterdir()}
    except OSError:
        return set()
    return {
        name
        for name, module in list(sys.modules.items())
        if name in beside and name not in ("__main__", "fastnn") and _is_file(module)
        if not places.is_library(os.path.realpath(str(module.__file__)))
    }


def _is_file(module: Any) -> bool:
    return isinstance(getattr(module, "__file__", None), str)


def forget(packages: set[str]) -> None:
    """Have Python import these, and what is in them, anew."""
    for name in [name for name in sys.modules if name.partition(".")[0] in packages]:
        del sys.modules[name]


def _has_no_display() -> bool:
    """Whether a figure that is shown would be seen nowhere."""
    chosen = os.environ.get(_MPLBACKEND, "agg").lower()
    # A process that a notebook starts inherits what draws into the notebook, and cannot do that.
    inline = "inline" in chosen and "ipykernel" not in sys.modules
    if not inline and (chosen != "agg" or sys.platform in ("darwin", "win32")):
        return False
    return inline or not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
