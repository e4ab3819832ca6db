"""Vectors in compiled code, against the same in NumPy."""

import numpy as np
import pytest
from numba import njit
from numba.core.errors import TypingError

from fastnn.backends.numba.kernels.vectors import WIDE, convert, lanes, load, store


@njit
def polynomial(a, x, out):
    """x·a² + a − x at the even rows of `a`, by vectors at odd positions: none is aligned."""
    for i in range(0, a.shape[0], 2):
        for j in range(1, a.shape[1] - lanes(a, WIDE) + 1, lanes(a, WIDE)):
            v = load(a, (i, j), WIDE)
            store(out, (i, j), x * v * v + v - x)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_arithmetic(dtype):
    a = np.random.default_rng(0).normal(size=(4, 101)).astype(dtype)
    x, out = np.dtype(dtype).type(1.5), np.zeros_like(a)
    polynomial(a, x, out)
    n = WIDE // a.itemsize
    last = 1 + 100 // n * n
    expected = np.zeros_like(a)
    expected[::2, 1:last] = (x * a * a + a - x)[::2, 1:last]
    assert np.array_equal(out, expected)


@njit
def converted(a, number, out, width):
    for j in range(0, a.size, lanes(a, width)):
        store(out, j, convert(load(a, j, WIDE), number))


@pytest.mark.parametrize("target", ["float32", "float64"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_conversion_keeps_the_number_of_elements(dtype, target):
    a = np.random.default_rng(1).normal(size=64).astype(dtype)
    out = np.zeros(64, target)
    converted(a, out[0], out, WIDE)
    assert np.array_equal(out, a.astype(target))


@njit
def halves(a, out):
    for j in range(0, a.size, lanes(a, 32)):
        store(out, j, load(a, j, 32) + load(a, 0, 32))


def test_narrower_vectors():
    a = np.arange(8.0)
    out = np.zeros(8)
    halves(a, out)
    assert np.array_equal(out, a + np.tile(a[:4], 2))


@njit
def mixed(a, b, out):
    store(out, 0, load(a, 0, WIDE) + load(b, 0, WIDE))


def test_dtypes_do_not_mix():
    with pytest.raises(TypingError, match="No implementation"):
        mixed(np.ones(16, "float32"), np.ones(16), np.ones(16))


def test_arrays_with_gaps_are_refused():
    a = np.ones((16, 16))
    with pytest.raises(TypingError, match="not C-contiguous"):
        halves(a[:, 0], np.ones(16))
