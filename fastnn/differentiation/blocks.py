"""Many points in one call, for a vectorized f.

NumPy's blocks are made once and only what differs is written: into diagonals, which are slices of
their memory, and f gets read-only views of them. Other libraries promise neither such memory nor
views that cannot be written to: there a block is selected from two arrays, and is a new one for
each call.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np

from ..validation import Array, numpy_dtype
from .points import copy
from .values import Function, Values

#: Bytes of copies that a vectorized function gets in one call. On a GPU, enough to keep it busy. On
#: a processor, what stays in its cache, and in arrays below 128 KiB: for larger temporary arrays of
#: f, the C library may ask the system for memory each time and give it back, and the page faults
#: may take longer than the arithmetic.
HOST_BLOCK_BYTES = 124 * 2**10
DEVICE_BLOCK_BYTES = 2**26


def evaluate_in_blocks(xp: Any, f: Function, x: Array, points: Array, values: Values) -> Array:
    """The values of `f`, called with many copies of `x` at a time, an element of each replaced.

    All calls are of the same shape, for the sake of functions that a compiler specializes on it:
    the last one repeats a few elements of the one before if it has to.
    """
    replacements = xp.reshape(points, (points.shape[0], -1))
    count, size = replacements.shape
    limit = HOST_BLOCK_BYTES if xp is np else DEVICE_BLOCK_BYTES
    most = max(limit // (count * size * numpy_dtype(x).itemsize), 1)
    length = -(-size // -(-size // most))  # as many blocks as it takes, about equal
    evaluate = _in_one_block_rewritten if xp is np else _in_new_blocks
    return xp.reshape(evaluate(xp, f, x, replacements, length, values), points.shape)


def _in_one_block_rewritten(
    xp: Any, f: Function, x: np.ndarray, replacements: np.ndarray, length: int, values: Values
) -> np.ndarray:
    count, size = replacements.shape
    block = np.empty((count, length * size), x.dtype)
    block.reshape(count, length, size)[...] = originals = x.reshape(-1)
    points = _unwritable(xp, block.reshape(count * length, *x.shape))
    found = np.empty(replacements.shape, values.wide)
    for start in (*range(0, size - length, length), size - length):
        part = slice(start, start + length)
        diagonals = block[
            :, start :: size + 1
        ]  # for each replacement, element start + i of point i
        diagonals[...] = replacements[:, part]
        values_of_block = values.block(f(points), points).reshape(count, length)
        found[:, part] = values_of_block
        diagonals[...] = originals[part]
    return found


def _in_new_blocks(
    xp: Any, f: Function, x: Array, replacements: Array, length: int, values: Values
) -> Array:
    count, size = replacements.shape
    originals = xp.reshape(x, (1, 1, size))
    numbers = xp.nonzero(xp.ones_like(originals))[2]  # 0, 1, … on the device of x
    found: list[Array] = []
    for start in (*range(0, size - length, length), size - length):
        part = slice(start, start + length)
        replaced = numbers[part, None] == numbers[None, :]
        points = xp.where(replaced[None, ...], replacements[:, part, None], originals)
        points = xp.reshape(points, (count * length, *x.shape))
        values_of_block = xp.reshape(values.block(f(points), points), (count, length))
        found.append(values_of_block[:, len(found) * length - start :])  # what is not repeated
    return xp.concat(found, axis=1)


def evaluate_columns(xp: Any, f: Function, X: Array, points: Array, values: Values) -> Array:
    """The same element replaced in every row at once: one call for each column and replacement."""
    perturbed = copy(xp, X)

    def columns() -> Iterator[tuple[Any, Any]]:
        for k, *at in product(range(points.shape[0]), *map(range, X.shape[1:])):
            column = (slice(None), *at)
            perturbed[column] = points[(k, *column)]
            given = _unwritable(xp, perturbed)
            yield (k, *column), values.block(f(given), given)
            perturbed[column] = X[column]

    return values.gathered(points, columns())


def _unwritable(xp: Any, x: Array) -> Array:
    """`x` for an f that must not change it: a read-only view, or a copy."""
    if xp is not np:
        return copy(xp, x)
    x = x.view()
    x.setflags(write=False)
    return x
