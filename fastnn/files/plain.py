"""What JSON holds, to the last bit and the same type; and arrays beside it, by reference."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import DtypeError, InputError, one_line
from ..validation import shown
from .faults import Fault

#: What a description may hold at most, so that it can be read wherever it was written.
MOST_BITS, MOST_NESTED = 2048, 100

#: The only key of what stands in place of an array.
ARRAY = "__array__"


def check_plain(value: Any, name: str, depth: int = 0) -> None:
    """Raise unless JSON gives the same value back, to the last bit and of its type.

    Raises
    ------
    DtypeError, InputError
    """
    if depth > MOST_NESTED:
        raise InputError(f"{_short(name)} is nested more than {MOST_NESTED} deep; make it flatter")
    if type(value) is dict:
        for key, entry in value.items():
            if type(key) is not str:
                raise DtypeError(
                    f"{_short(name)} has the key {shown(key)}; name its entries by a str"
                )
            check_plain(entry, f"{name}[{key!r}]", depth + 1)
    elif type(value) is list:
        for i, entry in enumerate(value):
            check_plain(entry, f"{name}[{i}]", depth + 1)
    elif type(value) is int and value.bit_length() > MOST_BITS:
        raise InputError(f"{_short(name)} is {shown(value)}; give it as an array, or as text")
    elif value is not None and type(value) not in (bool, int, float, str):
        raise DtypeError(
            f"{_short(name)} is {shown(value)}, a {type(value).__name__}; "
            "give a bool, int, float, str, None, or a list or dict of these"
        )


def _short(name: str) -> str:
    return one_line(name, 120)


def without_arrays(value: Any, arrays: dict[str, np.ndarray], depth: int = 0) -> Any:
    """The value with a reference in place of each array in it; the arrays go to `arrays`."""
    if depth > MOST_NESTED:
        return value  # which is for check_plain to refuse
    if isinstance(value, np.ndarray):
        number = str(len(arrays))
        arrays[number] = value
        return {ARRAY: number}
    if type(value) is list:
        return [without_arrays(entry, arrays, depth + 1) for entry in value]
    if type(value) is not dict:
        return value
    if ARRAY in value:
        raise InputError(f"the state has an entry of the name {ARRAY!r}; take another name")
    return {key: without_arrays(entry, arrays, depth + 1) for key, entry in value.items()}


def with_arrays(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    """What :func:`without_arrays` was given; Fault if it refers to an array that is not there."""
    if isinstance(value, list):
        return [with_arrays(v, arrays) for v in value]
    if not isinstance(value, dict):
        return value
    if ARRAY not in value:
        return {key: with_arrays(v, arrays) for key, v in value.items()}
    number = value[ARRAY]
    if len(value) > 1 or not isinstance(number, str) or number not in arrays:
        raise Fault(f"refers to the array {shown(number)}, which it does not hold")
    return arrays[number]
