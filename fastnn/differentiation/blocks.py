"""Many points in one call, for a vectorized f.

NumPy's blocks are made once and only what differs is written: into diagonals, which are slices of
their memory, and f gets read-only views of them. Other libraries promise neither such memory nor
views that cannot be written to: there a block is selected from two arrays, and is a new one for
each call.
"""

from __future__ import annotations

import math
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
    if xp is np:
        size, replacements = x.size, points.reshape(len(points), -1)
        if points.nbytes * size <= HOST_BLOCK_BYTES:
            return _in_one_block(f, x, replacements, values).reshape(points.shape)
        length = _length(HOST_BLOCK_BYTES, size, points.nbytes)
        found = _in_one_block_rewritten(f, x, replacements, length, values)
        return found.reshape(points.shape)
    size = math.prod(x.shape)
    nbytes = points.shape[0] * size * numpy_dtype(x).itemsize
    return _in_new_blocks(xp, f, x, points, _length(DEVICE_BLOCK_BYTES, size, nbytes), values)


def _length(limit: int, size: int, nbytes: int) -> int:
    """How many elements are replaced in a block: as many blocks as it takes, about equal."""
    most = max(limit // nbytes, 1)
    return -(-size // -(-size // most))


def _in_one_block(
    f: Function, x: np.ndarray, replacements: np.ndarray, values: Values
) -> np.ndarray:
    count, size = replacements.shape
    memory, given = _copies(x, count, size)
    memory[:, :: size + 1] = replacements
    return values.block(f(given), given)


def _in_one_block_rewritten(
    f: Function, x: np.ndarray, replacements: np.ndarray, length: int, values: Values
) -> np.ndarray:
    count, size = replacements.shape
    memory, given = _copies(x, count, length)
    found = np.empty((count, size), values.wide)
    # For each replacement, element start + i of point i.
    diagonals = _windows(memory, length, size + 1)
    replacements, originals = (_windows(a, length) for a in (replacements, x.reshape(1, size)))
    by_start = _windows(found, length)
    for start in (*range(0, size - length, length), size - length):
        diagonals[start] = replacements[start]
        by_start[start] = values.of_block(f(given), given).reshape(count, length)
        diagonals[start] = originals[start]
    return found


def _copies(x: np.ndarray, count: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """`count` times `length` copies of `x`: their memory, to write to, and what f gets of it."""
    given = np.empty((count * length, *x.shape), x.dtype)
    given[...] = x
    memory = given.reshape(count, length * x.size)
    given.setflags(write=False)
    return memory, given


def _windows(a: np.ndarray, length: int, apart: int = 1) -> np.ndarray:
    """What has a[k, start + apart · i] in [start, k, i]: to take one is faster than a slice."""
    a = np.ascontiguousarray(a)
    between, step = a.strides
    shape = a.shape[1] - apart * (length - 1), len(a), length
    return np.ndarray(shape, a.dtype, a, strides=(step, between, apart * step))


def _in_new_blocks(
    xp: Any, f: Function, x: Array, points: Array, length: int, values: Values
) -> Array:
    count, size = points.shape[0], math.prod(x.shape)
    replacements = xp.reshape(points, (count, size))
    originals = xp.reshape(x, (1, 1, size))
    numbers = xp.nonzero(xp.ones_like(originals))[2]  # 0, 1, … on the device of x
    found: Any = None
    for start in (*range(0, size - length, length), size - length):
        part = slice(start, start + length)
        replaced = numbers[part, None] == numbers[None, :]
        given = xp.where(replaced[None, ...], replacements[:, part, None], originals)
        given = xp.reshape(given, (count * length, *x.shape))
        of_block = values.block(f(given), given)
        if found is None:
            found = xp.zeros_like(replacements, dtype=of_block.dtype)
        found[:, part] = xp.reshape(of_block, (count, length))
    return xp.reshape(found, points.shape)


def evaluate_columns(xp: Any, f: Function, X: Array, points: Array, values: Values) -> Array:
    """The same element replaced in every row at once: one call for each column and replacement."""
    perturbed = copy(xp, X)
    found = np.empty(points.shape, values.wide) if xp is np else None
    for k, *at in product(range(points.shape[0]), *map(range, X.shape[1:])):
        column: Any = (slice(None), *at)
        perturbed[column] = points[(k, *column)]
        given = _unwritable(xp, perturbed)
        of_column = values.block(f(given), given)
        if found is None:
            found = xp.zeros_like(points, dtype=of_column.dtype)
        found[(k, *column)] = of_column
        perturbed[column] = X[column]
    return found


def _unwritable(xp: Any, x: Array) -> Array:
    """`x` for an f that must not change it: a read-only view, or a copy."""
    if xp is not np:
        return copy(xp, x)
    x = x.view()
    x.setflags(write=False)
    return x
