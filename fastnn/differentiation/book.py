"""The book's case, in Python's numbers alone.

To a cheap f of a few variables, as in the book's examples of gradient descent, any array operation
adds as much time as a call of f takes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..validation import Array
from .compiled import is_compiled
from .in_place import changed, check_unchanged, in_turn, is_other, restore
from .points import check_writeable
from .steps import NOISE_LIMIT, warn_of_coarse_values, warn_of_rounding
from .values import Function, Values, epsilon_of


def is_books_case(f: Function, x: Array, h: float | str, scheme: str) -> bool:
    """Whether this is a central difference of a given step, in place on an array of NumPy."""
    return (
        scheme == "central"
        and not isinstance(h, str)
        and type(x) is np.ndarray
        and x.itemsize <= 8  # a Python float holds its elements
        and not is_compiled(f)
    )


class Doubt:
    """What a warning may be due for: a step lost in an element, an f in a coarser dtype."""

    def __init__(self) -> None:
        self.of_step = False
        self.values: Values | None = None

    def number(self, value: Any, x: np.ndarray) -> float:
        """What f returned, if it is no float, as one."""
        if self.values is None:
            self.values = Values(np, x)
        return float(self.values.number(value))

    def warn(self, x: np.ndarray, h: float) -> None:
        """Warn the caller of what is due indeed."""
        if self.of_step:
            warn_of_rounding(np, x, h, "central")
        if self.values is not None:
            warn_of_coarse_values(x, h, self.values)


def book_quotients(
    f: Function, x: np.ndarray, h: float, doubt: Doubt, name: str = "x"
) -> list[float]:
    """(f(x + h) − f(x − h)) / 2h for each element of `x`."""
    check_writeable(np, x, name)
    limit = h / epsilon_of(x.dtype)
    if limit <= 1 / NOISE_LIMIT:
        doubt.of_step = True
    width = 2 * h
    rounded = x.dtype != np.float64
    before = x.tobytes()
    elements, indices = in_turn(x)
    quotients = []
    try:
        for index in indices:
            original = elements[index]
            elements[index] = written = original + h
            if rounded:
                written = elements[index]
            above = f(x)
            if not isinstance(above, float):
                above = doubt.number(above, x)  # now: it may be a view of x
            if elements[index] != written and is_other(elements[index], written):
                raise changed()
            elements[index] = written = original - h
            if rounded:
                written = elements[index]
            below = f(x)
            if not isinstance(below, float):
                below = doubt.number(below, x)
            if elements[index] != written and is_other(elements[index], written):
                raise changed()
            elements[index] = original
            if not -limit < original < limit:
                doubt.of_step = True
            # NumPy's numbers would warn of infinities.
            quotients.append((float(above) - float(below)) / width)
    except BaseException:
        restore(x, before)
        raise
    check_unchanged(x, before)
    return quotients
