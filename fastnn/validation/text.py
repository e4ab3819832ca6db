"""How a value stands in a message: in one short line, whatever it is."""

from __future__ import annotations

import reprlib
from typing import Any

from ..errors import one_line

#: The longest that one value may be.
LONGEST_VALUE = 60

_short = reprlib.Repr()
_short.maxstring = _short.maxother = _short.maxlong = LONGEST_VALUE
_short.fillvalue = "…"  # which Python 3.11 does not read


def shown(value: Any) -> str:
    """The ``repr`` of a value, cut where it is long, and its type where there is none.

    >>> shown("cupy"), len(shown(10**100)) <= LONGEST_VALUE
    ("'cupy'", True)
    """
    try:
        return one_line(_short.repr(value), LONGEST_VALUE)
    except Exception:  # a number of too many digits, or what somebody wrote for a class of theirs
        digits = f" of {value.bit_length()} bits" if isinstance(value, int) else ""
        return f"<{kind(value)}{digits}>"


def kind(value: Any) -> str:
    """The type of a value with the module that it comes from."""
    return one_line(f"{type(value).__module__}.{type(value).__qualname__}", LONGEST_VALUE)
