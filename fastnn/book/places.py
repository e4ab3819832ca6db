"""Where a reader's own files are: what is on Python's path and no library's."""

from __future__ import annotations

import os
import sys
import sysconfig
from pathlib import Path
from types import ModuleType

#: What the folders of installed libraries are called.
_LIBRARIES = {"site-packages", "dist-packages"}


class Places:
    """The folders in which a script finds modules of its reader's.

    Parameters
    ----------
    folder : Path or None
        Of the script. What a script adds to the path relative to the current directory, as the
        book's do with ``os.pardir``, is looked for relative to this, too: a script may be run from
        anywhere. None is for a session, which has the current directory alone.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        paths = sysconfig.get_paths()
        self._standard = {os.path.realpath(paths[name]) for name in ("stdlib", "platstdlib")}

    def entries(self) -> list[str]:
        """The folders, in the order of ``sys.path``."""
        found: dict[str, None] = {}
        for entry in sys.path:
            if not isinstance(entry, str):
                continue
            for place in self._meant(entry):
                if not self.is_library(place):
                    found[place] = None
        return list(found)

    def _meant(self, entry: str) -> list[str]:
        if os.path.isabs(entry):  # noqa: PTH117
            return [os.path.realpath(entry)]
        bases = [current_directory()]
        if entry and self._folder is not None:
            bases.append(str(self._folder))
        return [os.path.realpath(Path(base) / entry) for base in bases if base]

    def is_library(self, place: str) -> bool:
        """Whether a folder or file belongs to Python, or to what is installed."""
        if not _LIBRARIES.isdisjoint(Path(place).parts):
            return True
        return any(place == lib or place.startswith(lib + os.sep) for lib in self._standard)

    def holds(self, module: ModuleType, folders: list[str]) -> bool:
        """Whether a module was imported from below one of these folders, and is no library's."""
        file = getattr(module, "__file__", None)
        where = [file] if isinstance(file, str) else _search_path(module)
        real = [os.path.realpath(path) for path in where]
        return any(
            not self.is_library(path) and path.startswith(folder + os.sep)
            for path in real
            for folder in folders
        )


def _search_path(module: ModuleType) -> list[str]:
    """Of a package without a file."""
    try:
        return [path for path in module.__path__ if isinstance(path, str)]
    except Exception:  # a module may answer anything
        return []


def current_directory() -> str:
    """Its name; that of none, if it has been removed."""
    try:
        return os.getcwd()  # noqa: PTH109
    except OSError:
        return ""
