"""Numba's cache on disk, without what is outdated.

Numba compiles a kernel anew when the file that it stands in has changed, but does not look at the functions that it calls, most of
which stand in other files. In a clone that is updated or edited, a kernel of the old code would go on being used beside the new.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

#: The files of this folder with functions that Numba compiles.
SOURCES = [path for path in Path(__file__).parent.glob("numba_*.py") if path.stem not in ("numba_backend", "numba_cache")]


def discard_outdated() -> None:
    """Remove the compiled kernels that are older than any of their sources."""
    from numba import config

    newest = max(path.stat().st_mtime for path in SOURCES)
    elsewhere = config.CACHE_DIR  # type: ignore[attr-defined]
    for folder in Path(elsewhere).glob("backends_*") if elsewhere else [Path(__file__).parent / "__pycache__"]:
        for compiled in folder.glob("numba_*.nb[ic]"):
            if compiled.stat().st_mtime < newest:
                with suppress(OSError):  # another process may have done so
                    compiled.unlink()
