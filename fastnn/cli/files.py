"""Files that a command reads and those that it writes, which must be different ones."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click

from ..data.paths import shown

Files = Mapping[str, Any]


def check_apart(read: Files, written: Files) -> None:
    """Raise click.UsageError if a file that is written is one that is read, or another one.

    Both are given by the names of the options, each with a path, several, or None. Two paths lead
    to one file through symbolic or hard links, too.
    """
    targets = [(name, path) for name, value in written.items() for path in _paths(value)]
    for i, (name, path) in enumerate(targets):
        for other, another in targets[:i]:
            _refuse_same(other, another, name, path)
        if os.path.lexists(path):  # no other file is one that is read
            for other, value in read.items():
                for another in _paths(value):
                    _refuse_same(other, another, name, path)


def _paths(value: Any) -> Iterable[str | os.PathLike[str]]:
    if value is None:
        return ()
    return (value,) if isinstance(value, str | os.PathLike) else value


def _refuse_same(one: str, path: Any, other: str, written: Any) -> None:
    if _same(path, written):
        raise click.UsageError(
            f"{one} and {other} are both {shown(Path(written))}; give another {other}."
        )


def _same(one: Any, other: Any) -> bool:
    try:
        return Path(one).samefile(other)
    except (OSError, ValueError):  # one of them is not there
        return os.path.normcase(os.path.realpath(one)) == os.path.normcase(os.path.realpath(other))
