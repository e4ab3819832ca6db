"""Numba's cache on disk, without what is outdated.

Numba compiles a kernel anew when the file that it stands in has changed, but does not look at the functions that it calls, most of
which stand in other files. In a clone that is updated or edited, a kernel of the old code would go on being used beside the new.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

#: The files of this folder with functions that Numba compiles.
SOURCES = sorted((Path(__file__).parent / "kernels").glob("*.py"))


def discard_outdated(folder: str | None) -> None:
    """Remove the compiled kernels in this folder, Numba's cache if it has one, that are older than any of their sources."""
    if folder is None:
        return
    newest = max(path.stat().st_mtime for path in SOURCES)
    for compiled in Path(folder).glob("*.nb[ic]"):
        with suppress(OSError):  # another process may have removed it
            if compiled.stat().st_mtime < newest:
                compiled.unlink()
