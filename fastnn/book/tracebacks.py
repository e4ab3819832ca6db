"""The reader's traceback: what an error shows of the reader's code, without what ran it."""

from __future__ import annotations

import os
from types import TracebackType

#: Where the code is that is left out.
_HERE = os.path.dirname(__file__) + os.sep  # noqa: PTH120


def without_our_frames(error: BaseException) -> None:
    """Take our frames, and those of importing, from an error and from those that led to it."""
    seen: set[int] = set()
    left: list[BaseException | None] = [error]
    while left:
        current = left.pop()
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        current.__traceback__ = _filtered(current.__traceback__)
        left += [current.__cause__, current.__context__]
        if isinstance(current, BaseExceptionGroup):
            left += current.exceptions


def _filtered(traceback: TracebackType | None) -> TracebackType | None:
    kept = []
    while traceback is not None:
        file = traceback.tb_frame.f_code.co_filename
        if not file.startswith((_HERE, "<frozen importlib")):
            kept.append(traceback)
        traceback = traceback.tb_next
    following = None
    for entry in reversed(kept):
        following = TracebackType(following, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    return following
