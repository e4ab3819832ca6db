"""Vectors in compiled code, against the same in NumPy."""

import ctypes
import mmap

import numpy as np
import pytest
from numba import njit
from numba.core.errors import TypingError

from fastnn.backends.numba.kernels.vectors import READING, WIDE, convert, lanes, load, store

read, read_like, write = READING["first"]


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


@pytest.mark.parametrize("width", [64, 96, 128, 160, 192, 200, 224, 256])
@pytest.mark.parametrize("target", ["float32", "float64"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_wider_vectors_of_any_width(dtype, target, width):
    @njit
    def of_width(a, b, x, number, out):
        v = load(a, 1, width)
        store(out, 2, convert(x * v * load(b, 0, width) + v - x, number))

    count = width // np.dtype(dtype).itemsize
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(2, count + 3)).astype(dtype)
    x, out = np.dtype(dtype).type(1.5), np.full(count + 5, 7, target)
    of_width(a, b, x, out[0], out)
    v, w = a[1 : count + 1], b[:count]
    tolerance = np.finfo("float32" if "float32" in (dtype, target) else dtype).eps
    np.testing.assert_allclose(out[2:-3], x * v * w + v - x, rtol=8 * tolerance, atol=tolerance)
    assert (out[[0, 1, -3, -2, -1]] == 7).all()


@njit
def some_doubled(a, out, count):
    v = read(a, 1, WIDE, count)
    write(out, 1, v + read_like(a, 1, v, count), count)


@njit
def all_read(a, out, count):
    store(out, 0, read(a, 0, WIDE, count))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("count", [0, 1, 3, 7, 8, 15, 16])
def test_the_first_numbers_of_a_vector(dtype, count):
    n = WIDE // np.dtype(dtype).itemsize
    count = min(count, n)
    a, out = np.arange(1, n + 3, dtype=dtype), np.full(n + 2, -1, dtype)
    some_doubled(a, out, count)
    expected = np.full(n + 2, -1, dtype)
    expected[1 : 1 + count] = 2 * a[1 : 1 + count]
    assert np.array_equal(out, expected)
    all_read(a, out, count)
    assert np.array_equal(out[:n], np.where(np.arange(n) < count, a[:n], 0))


def test_what_is_not_meant_is_not_read():
    """A vector may begin at the end of a page, behind which there is no memory."""
    page = mmap.PAGESIZE
    memory = mmap.mmap(-1, 2 * page)
    whole = np.frombuffer(memory, np.float64)
    last = whole[page // 8 - 3 : page // 8]
    last[:] = 1, 2, 3
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mprotect(ctypes.c_void_p(whole.ctypes.data + page), page, 0):
        pytest.skip("the system does not let a page be protected")
    try:
        out = np.zeros(8)
        all_read(last, out, 3)
        assert out.tolist() == [1, 2, 3, 0, 0, 0, 0, 0]
    finally:
        libc.mprotect(ctypes.c_void_p(whole.ctypes.data + page), page, 3)


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
