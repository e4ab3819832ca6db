"""The book's case, in Python's numbers alone.

To a cheap f of a few variables, as in the book's examples of gradient descent, any array operation
adds as much time as a call of f takes.
"""

from __future__ import annotations

import numpy as np

from ..validation import Array
from .compiled import is_compiled
from .in_place import FLOAT64, changed, check_unchanged, in_turn, is_other, restore
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


EPSILON64 = float(np.finfo(np.float64).eps)


def book_quotients(
    f: Function, x: np.ndarray, h: float, name: str = "x", values: Values | None = None
) -> tuple[list[float], bool, Values | None]:
    """(f(x + h) − f(x − h)) / 2h for each element of `x`, and what a warning may be due for.

    That is whether a step may be lost, and the values of f if there were any that are not float64.
    """
    if not x.flags.writeable:
        check_writeable(np, x, name)
    rounded = x.dtype is not FLOAT64
    limit = h / (epsilon_of(x.dtype) if rounded else EPSILON64)
    doubtful = limit <= 1 / NOISE_LIMIT
    width = 2 * h
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
                values = values or Values(np, x)
                above = float(values.number(above))  # now: it may be a view of x
            if elements[index] != written and is_other(elements[index], written):
                raise changed()
            elements[index] = written = original - h
            if rounded:
                written = elements[index]
            below = f(x)
            if not isinstance(below, float):
                values = values or Values(np, x)
                below = float(values.number(below))
            if elements[index] != written and is_other(elements[index], written):
                raise changed()
            elements[index] = original
            if not -limit < original < limit:
                doubtful = True
            # NumPy's numbers would warn of infinities.
            quotients.append((float(above) - float(below)) / width)
        if x.tobytes() != before:
            check_unchanged(x, before)
    except BaseException:
        restore(x, before)
        raise
    return quotients, doubtful, values


def warn_of_doubts(x: np.ndarray, h: float, doubtful: bool, values: Values | None) -> None:
    """Warn the caller of what is due indeed."""
    if doubtful:
        warn_of_rounding(np, x, h, "central")
    if values is not None:
        warn_of_coarse_values(x, h, values)
