"""Paths that somebody hands in: what is one, and how a message names it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import DtypeError

if TYPE_CHECKING:
    from pathlib import Path

#: The longest that a path becomes in a message: what follows it has to fit on the line.
LONGEST = 140


def checked_path(value: Any, name: str) -> Path:
    """`value` as a Path; DtypeError for what is none."""
    from pathlib import Path

    try:
        return Path(value)
    except TypeError as error:
        kind = type(value).__name__
        raise DtypeError(f"{name} is a {kind}; give a path as a str or os.PathLike") from error


def shown(path: Path) -> str:
    """A path in a message: printable, and its end if it is long."""
    text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(path))
    return text if len(text) <= LONGEST else f"…{text[1 - LONGEST :]}"
