"""One element after another, changed in place and restored: the book's way.

It is the only one for a function that ignores its argument and reads the caller's array. A function
that changes this array would spoil the evaluations after it. It is found out by looking at the
element after each call, and at the whole array once at the end: each element is restored to what it
was when its turn came, so that a change made elsewhere stays until then.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import product
from typing import Any

import numpy as np

from ..errors import InputError
from ..validation import Array
from .points import copy
from .values import Function, Values

#: Of the native byte order: there is one such object in a process.
FLOAT64, FLOAT32 = np.dtype(np.float64), np.dtype(np.float32)


def in_turn(x: np.ndarray) -> tuple[Any, Iterable[Any]]:
    """The elements of `x` as Python's numbers, to be read and written, and the index of each.

    This is all that a gradient adds to the time of f, so it is done with what Python is fastest at:
    a memoryview, and one index for each element where memory is contiguous.
    """
    elements: Any = x
    indices: Iterable[Any]
    if x.ndim == 1:
        indices = range(x.shape[0])
    elif x.flags.c_contiguous:
        elements, indices = x.reshape(-1), range(x.size)
    else:
        indices = product(*map(range, x.shape))
    if x.dtype is FLOAT64 or x.dtype is FLOAT32:
        return memoryview(elements), indices
    return _Elements(elements), indices


class _Elements:
    """What a memoryview does, for the dtypes that it does not know."""

    def __init__(self, x: np.ndarray) -> None:
        self._x = x

    def __getitem__(self, index: Any) -> Any:
        return self._x.item(index)

    def __setitem__(self, index: Any, value: Any) -> None:
        self._x[index] = value


@contextmanager
def restored(x: np.ndarray) -> Iterator[None]:
    """Make `x` to the last bit what it was whatever happens; refuse a change that f has left."""
    before = x.tobytes()
    try:
        yield
    except BaseException:
        restore(x, before)
        raise
    check_unchanged(x, before)


def check_unchanged(x: np.ndarray, before: bytes) -> None:
    """Raise InputError if `x` differs from what its bytes were, which it is then again."""
    if x.tobytes() == before:
        return
    left = x.copy()
    restore(x, before)
    if not np.array_equal(left, x, equal_nan=True):  # a NaN may have become another one on its way
        raise changed()


def restore(x: np.ndarray, before: bytes) -> None:
    """Make the bytes of `x` what they were."""
    x[...] = np.frombuffer(before, x.dtype).reshape(x.shape)


def is_other(found: Any, written: Any) -> bool:
    """Whether two unequal numbers are not both NaN."""
    return bool(found == found or written == written)


def changed() -> InputError:
    """The error for an f that changes its argument."""
    return InputError(
        "f changed its argument, the array to differentiate at, which is restored; let f compute "
        "on a copy of it, or without assigning to it"
    )


def evaluate_in_place(xp: Any, f: Function, x: Array, points: Array, values: Values) -> Array:
    """The values of `f` with each element of `x` replaced by those at its place in `points`."""
    if xp is not np:
        return _on_any_array(xp, f, x, points, values)
    found = []
    with restored(x):
        for others in points.reshape(points.shape[0], -1).tolist():
            elements, indices = in_turn(x)
            for index, other in zip(indices, others, strict=True):
                original = elements[index]
                elements[index] = other
                value = f(x)
                found.append(value if isinstance(value, float) else values.number(value))
                if elements[index] != other and is_other(elements[index], other):
                    raise changed()
                elements[index] = original
    return np.array(found, values.wide).reshape(points.shape)


def _on_any_array(xp: Any, f: Function, x: Array, points: Array, values: Values) -> Array:
    """The same with nothing but indices of all axes, and without waiting for a device."""
    before, after = copy(xp, x), copy(xp, points)

    def numbers() -> Iterator[tuple[Any, Any]]:
        for k, *at in np.ndindex(points.shape):
            index = tuple(at)
            original = copy(xp, x[index])
            x[index] = points[(k, *index)]
            yield (k, *index), values.number(f(x))
            after[(k, *index)] = x[index]
            x[index] = original

    try:
        found = values.gathered(points, numbers())
        if bool(xp.any(_differ(xp, after, points))) or bool(xp.any(_differ(xp, x, before))):
            raise changed()
    except BaseException:
        x[...] = before
        raise
    return found


def _differ(xp: Any, a: Array, b: Array) -> Array:
    return (a != b) & ~(xp.isnan(a) & xp.isnan(b))
