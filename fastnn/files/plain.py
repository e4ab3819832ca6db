"""What JSON holds, to the last bit and the same type."""

from __future__ import annotations

from typing import Any

from ..errors import DtypeError, InputError, one_line
from ..validation import shown

#: What a description may hold at most, so that it can be read wherever it was written.
MOST_BITS, MOST_NESTED = 2048, 100


def check_plain(value: Any, name: str, depth: int = 0) -> None:
    """Raise unless JSON gives the same value back, to the last bit and of its type.

    Raises
    ------
    DtypeError, InputError
    """
    where = one_line(name, 120)
    if depth > MOST_NESTED:
        raise InputError(f"{where} is nested more than {MOST_NESTED} deep; make it flatter")
    if type(value) is dict:
        for key, entry in value.items():
            if type(key) is not str:
                raise DtypeError(f"{where} has the key {shown(key)}; name its entries by a str")
            check_plain(entry, f"{name}[{shown(key)}]", depth + 1)
    elif type(value) is list:
        for i, entry in enumerate(value):
            check_plain(entry, f"{name}[{i}]", depth + 1)
    elif type(value) is int and value.bit_length() > MOST_BITS:
        raise InputError(f"{where} is {shown(value)}; give it as an array, or as text")
    elif value is not None and type(value) not in (bool, int, float, str):
        raise DtypeError(
            f"{where} is {shown(value)}, a {type(value).__name__}; "
            "give a bool, int, float, str, None, or a list or dict of these"
        )
