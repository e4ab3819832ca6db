"""What a notebook shows: objects at the end of a cell, and that something takes its time."""

from __future__ import annotations

import html
import logging
import sys
from collections.abc import Iterable, Sequence


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    return "ipykernel" in sys.modules


def show_compilation() -> None:
    """Say on standard error when kernels are compiled, unless logging has been set up for that."""
    log = logging.getLogger("fastnn.compilation")
    if log.level == logging.NOTSET and not log.hasHandlers():
        log.setLevel(logging.INFO)
        log.addHandler(logging.StreamHandler())


def table(title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A line of text and a table under it, as HTML.

    Examples
    --------
    >>> table("a < b", ["x"], [["1"]])[:21]
    '<p>a &lt; b</p><table'
    """
    columns = "".join(f"<th>{html.escape(name)}</th>" for name in head)
    body = "".join(
        f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in rows
    )
    return (
        f"<p>{html.escape(title)}</p><table><thead><tr>{columns}</tr></thead>"
        f"<tbody>{body}</tbody></table>"
    )
