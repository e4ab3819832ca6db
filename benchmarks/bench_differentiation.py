"""Numerical gradients of any function, against the book's loop.

    python -m pytest -s -o python_functions="bench_*" benchmarks/bench_differentiation.py

Each case first compares its result with that of the book's loop, then times both in turn, round after round, and prints the
ratio of the medians: how many times as fast as the book's loop fastnn is.
"""

from statistics import median
from time import perf_counter

import numba
import numpy as np
import pytest

from fastnn import numerical_gradient
from fastnn.functions import cross_entropy_error, softmax


def book_gradient(f, x, indices=None):
    """The book's loop, over all elements or over some."""
    h = 1e-4
    gradient = np.zeros_like(x)
    it = np.nditer(x, flags=["multi_index"], op_flags=["readwrite"])
    while not it.finished:
        index = it.multi_index
        if indices is not None and index not in indices:
            break
        original = x[index]
        x[index] = float(original) + h
        above = f(x)
        x[index] = original - h
        below = f(x)
        gradient[index] = (above - below) / (2 * h)
        x[index] = original
        it.iternext()
    return gradient


def seconds(run):
    start = perf_counter()
    run()
    return perf_counter() - start


def compare(benchmark, label, ours, book, *, rounds, scale=1.0):
    """Time both in turn; `scale` is by how much the whole of the book's loop is longer than what `book` runs."""
    ours(), book()  # compiled and warm
    pairs = [(seconds(ours), seconds(book) * scale) for _ in range(rounds)]
    fast, slow = (median(times) for times in zip(*pairs, strict=True))
    benchmark.extra_info["times the book's loop"] = slow / fast
    print(f"\n{label}: {slow / fast:.2f} × the book's loop ({fast * 1e3:.3g} ms against {slow * 1e3:.3g} ms)")
    benchmark.pedantic(ours, rounds=3)


# -- the plain loop ----------------------------------------------------------------------------------------------------


def sum_of_squares(x):
    return np.sum(x**2)


def bench_plain_loop_of_a_network(benchmark):
    rng = np.random.default_rng(0)
    z, t, W = rng.uniform(0, 1, (100, 50)), rng.integers(10, size=100), rng.standard_normal((50, 10))

    def f(_):
        return cross_entropy_error(softmax(z @ W), t)

    np.testing.assert_array_equal(numerical_gradient(f, W), book_gradient(f, W))
    label = "plain, loss of an output layer on 100 samples, shape (50, 10)"
    compare(benchmark, label, lambda: numerical_gradient(f, W), lambda: book_gradient(f, W), rounds=9)


@pytest.mark.parametrize("shape", [(2,), (100,), (1000,), (50, 10)], ids=str)
def bench_plain_loop(benchmark, shape):
    x = np.random.default_rng(0).standard_normal(shape)
    np.testing.assert_array_equal(numerical_gradient(sum_of_squares, x), book_gradient(sum_of_squares, x))
    repeat = max(2000 // x.size, 1)

    def ours():
        for _ in range(repeat):
            numerical_gradient(sum_of_squares, x)

    def book():
        for _ in range(repeat):
            book_gradient(sum_of_squares, x)

    compare(benchmark, f"plain, sum of squares, shape {shape}, {repeat} times", ours, book, rounds=51)


# -- compiled functions ------------------------------------------------------------------------------------------------


@numba.njit
def compiled_rosenbrock(x):
    total = 0.0
    for i in range(x.size - 1):
        total += 100 * (x[i + 1] - x[i] ** 2) ** 2 + (1 - x[i]) ** 2
    return total


def rosenbrock(x):
    return np.sum(100 * (x[..., 1:] - x[..., :-1] ** 2) ** 2 + (1 - x[..., :-1]) ** 2, axis=-1)


#: What the book's loop gets in place of the compiled function, and how many of its elements are timed.
UNCOMPILED = {
    "the same function, not compiled": (compiled_rosenbrock.py_func, 10),
    "the function in NumPy": (rosenbrock, 1000),
    "the compiled function": (compiled_rosenbrock, 1000),
}


@pytest.mark.parametrize("reference", UNCOMPILED)
def bench_compiled(benchmark, reference):
    f, count = UNCOMPILED[reference]
    x = np.random.default_rng(0).uniform(-1, 1, 10_000)
    indices = {(i,) for i in range(count)}
    expected = book_gradient(f, x, indices)[:count]
    np.testing.assert_allclose(numerical_gradient(compiled_rosenbrock, x)[:count], expected, rtol=1e-5, atol=1e-4)
    compare(
        benchmark,
        f"compiled Rosenbrock, 10,000 variables, against {reference} ({count} elements timed)",
        lambda: numerical_gradient(compiled_rosenbrock, x),
        lambda: book_gradient(f, x, indices),
        rounds=7,
        scale=x.size / count,
    )


# -- vectorized functions ----------------------------------------------------------------------------------------------


def log_sum_exp(x):
    highest = np.max(x, axis=-1, keepdims=True)
    return np.log(np.sum(np.exp(x - highest), axis=-1)) + highest[..., 0]


def heat(x):
    """How uneven a temperature is after a hundred explicit steps of the heat equation, from the initial temperature."""
    x = x.copy()
    for _ in range(100):
        x[..., 1:-1] += 0.25 * (x[..., 2:] - 2 * x[..., 1:-1] + x[..., :-2])
    return np.sum(x**2, axis=-1)


@pytest.mark.parametrize(("f", "size"), [(rosenbrock, 50), (log_sum_exp, 50), (heat, 50), (heat, 200)])
def bench_vectorized(benchmark, f, size):
    x = np.random.default_rng(0).uniform(-1, 1, size)
    np.testing.assert_allclose(numerical_gradient(f, x, vectorized=True), book_gradient(f, x), rtol=1e-6, atol=1e-6)
    compare(
        benchmark,
        f"vectorized {f.__name__}, {size} variables",
        lambda: numerical_gradient(f, x, vectorized=True),
        lambda: book_gradient(f, x),
        rounds=15,
    )
