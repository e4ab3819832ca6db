"""What the compiled kernels on disk depend on, who can write them, the removal of outdated ones.

Numba compiles a kernel anew when the file that it stands in has changed, but does not look at the
functions that it calls, most of which stand in other files, nor at constants from other modules. So
kernels are looked up by a digest of all of that. It is taken of the bytecode as Python loads it:
neither the time of a file nor its place matters, and a package in a zip archive has bytecode, too.

A process that still runs older code may write into the same folder at any time: what it writes has
its own digest, by which no other code looks for it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import marshal
import os
import pkgutil
import stat
import sys
import uuid
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from importlib.machinery import PathFinder
from pathlib import Path
from types import CodeType
from typing import Any


@cache
def digest() -> str:
    """Of the bytecode of all modules that kernels are compiled from."""
    found = hashlib.blake2b(digest_size=16)
    for name in sorted(_modules()):
        # Past pytest's import hook, which has no code to show: fastnn is a plugin of pytest.
        package = importlib.util.find_spec(name.rpartition(".")[0])
        spec = PathFinder.find_spec(name, package.submodule_search_locations if package else None)
        spec = spec or importlib.util.find_spec(name)  # of a frozen program
        code = _code(spec.loader, name) if spec and hasattr(spec.loader, "get_code") else None
        # Version 2: later ones also write how often an object is referred to, which changes.
        found.update(name.encode() + (marshal.dumps(_without_path(code), 2) if code else b""))
    return found.hexdigest()


def _code(loader: Any, name: str) -> CodeType | None:
    """The code of a module, also where a limit or a full disk has cut off its .pyc.

    Nothing is written here: Python does not see that a file was cut off, and would import that.
    """
    writes, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        code: CodeType | None = loader.get_code(name)
    except (EOFError, ImportError, ValueError):
        source = loader.get_source(name)
        code = None if source is None else compile(source, name, "exec", dont_inherit=True)
    finally:
        sys.dont_write_bytecode = writes
    return code


def _modules() -> Iterator[str]:
    fastnn = __package__.split(".", maxsplit=1)[0]
    # The first has constants that are compiled in.
    for package in (
        f"{fastnn}.functions",
        f"{__package__}.kernels",
    ):
        yield package
        spec = importlib.util.find_spec(package)
        for module in pkgutil.iter_modules((spec and spec.submodule_search_locations) or []):
            yield f"{package}.{module.name}"


def _without_path(code: CodeType) -> CodeType:
    constants = (_without_path(c) if isinstance(c, CodeType) else c for c in code.co_consts)
    return code.replace(co_filename="", co_consts=tuple(constants))


@cache
def open_to_others(folder: str) -> Path | None:
    """The folder, it or one above it, by which others can put files into this one; None if none.

    What is read from there is unpickled and executed. In a folder with the sticky bit, such as
    /tmp, nobody can replace what is another's. The owner of the code is trusted in any case.
    """
    if not hasattr(os, "getuid"):
        return None
    path, trusted = Path(folder).resolve(), {0, os.getuid()}
    with suppress(OSError):  # there is no file in a zip archive, and no name in a frozen program
        trusted.add(Path(globals().get("__file__", "")).stat().st_uid)
    with suppress(OSError):
        for place in (path, *path.parents):
            found = place.stat()
            foreign = place == path and found.st_uid not in trusted
            sticky = place != path and found.st_mode & stat.S_ISVTX
            if foreign or (found.st_mode & stat.S_IWOTH and not sticky):
                return place
    return None


@cache
def discard_outdated(folder: str) -> None:
    """Remove the kernels in this folder that other code was compiled to; looks once a process.

    They would not be found again, but stay. Other versions of Python have files of their own, and
    ``python -OO``, whose bytecode differs, leaves those of ``python`` alone.
    """
    stamp = Path(folder, f"fastnn-{sys.implementation.cache_tag}.stamp")
    with suppress(OSError):  # may be read-only, or another process is doing the same
        if sys.flags.optimize or (stamp.exists() and stamp.read_bytes() == digest().encode()):
            return
        python = f"py{sys.version_info[0]}{sys.version_info[1]}{getattr(sys, 'abiflags', '')}"
        for compiled in Path(folder).glob(f"*.{python}.*nb[ic]"):
            compiled.unlink(missing_ok=True)
        stamp.parent.mkdir(parents=True, exist_ok=True)
        written = stamp.with_suffix(f".{uuid.uuid4().hex}")
        written.write_text(digest())
        written.replace(stamp)
