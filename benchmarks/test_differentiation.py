"""Numerical gradients of any function, against the book's loop: plain, compiled and vectorized."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import pytest

from fastnn import numerical_gradient
from fastnn.bench.book_net import BOOK
from fastnn.bench.timing import Contestant, repeat
from fastnn.functions import cross_entropy_error, softmax

from .problems import STEP, assert_close
from .recording import Claim, Record


def book_gradient(f: Callable, x: np.ndarray, count: int | None = None) -> np.ndarray:
    """The book's loop, over all elements or over the first so many."""
    gradient = np.zeros_like(x)
    iterator = np.nditer(x, flags=["multi_index"], op_flags=["readwrite"])
    for _ in range(x.size if count is None else count):
        index = iterator.multi_index
        value = x[index]
        x[index] = float(value) + STEP
        above = f(x)
        x[index] = float(value) - STEP
        below = f(x)
        gradient[index] = (above - below) / (2 * STEP)
        x[index] = value
        iterator.iternext()
    return gradient


OURS = "fastnn.numerical_gradient"

#: How long to compare what takes about as long, f being the same: so that the noise does not
#: decide.
PARITY = 4

#: What is left of a vectorized gradient if nothing but f takes time: on points that are there
#: already, as many at a time.
F_ALONE = "f alone"


def compare(
    record: Record,
    name: str,
    x: np.ndarray,
    ours: Callable,
    theirs: Callable,
    count: int | None = None,
    *,
    times_faster: float | None = None,
    seconds: float = 1,
    **options: Any,
) -> None:
    """Check `ours` against the book's loop on `theirs`, over `count` elements, and time both.

    The loop's time is scaled to all elements.

    The claim is that ours is so many times faster; vectorized, that it takes little more than f.
    """
    count = x.size if count is None else min(count, x.size)
    expected = book_gradient(theirs, x, count).ravel()[:count]
    assert_close(
        numerical_gradient(ours, x, **options).ravel()[:count], expected, 1e-6, "the gradient"
    )

    loop = repeat(lambda: book_gradient(theirs, x, count))
    contestants: dict[str, Contestant] = {
        OURS: repeat(lambda: numerical_gradient(ours, x, **options)),
        BOOK: lambda: loop() * x.size / count,
    }
    claims = [] if times_faster is None else [Claim(OURS, (BOOK,), times_faster=times_faster)]
    if options.get("vectorized"):
        contestants[F_ALONE] = _f_alone(ours, x)
        claims.append(Claim(OURS, (F_ALONE,), at_most=1.25, plus=10e-6))
    record.compare(
        f"gradient of any function: {name}", contestants, claims, unit="gradient", seconds=seconds
    )


def _f_alone(f: Callable, x: np.ndarray) -> Contestant:
    calls = 0

    def counted(points: np.ndarray) -> Any:
        nonlocal calls, block
        calls, block = calls + 1, points.copy()
        return f(points)

    block = x
    numerical_gradient(counted, x, vectorized=True)
    return repeat(lambda: [f(block) for _ in range(calls)])


def sum_of_squares(x: np.ndarray) -> Any:
    return np.sum(x**2)


def test_plain_loss(record: Record) -> None:
    rng = np.random.default_rng(0)
    z, t, W = (
        rng.uniform(0, 1, (100, 50)),
        rng.integers(10, size=100),
        rng.standard_normal((50, 10)),
    )

    def f(_: np.ndarray) -> Any:
        return cross_entropy_error(softmax(z @ W), t)

    compare(
        record,
        "loss of an output layer, 100 samples, 50 × 10 weights",
        W,
        f,
        f,
        times_faster=1,
        seconds=PARITY,
    )


def first_two_squared(x: np.ndarray) -> Any:
    return x[0] ** 2 + x[1] ** 2


@pytest.mark.parametrize("size", [2, 10, 100, 1000])
@pytest.mark.parametrize("f", [first_two_squared, sum_of_squares])
def test_plain(f: Callable, size: int, record: Record) -> None:
    x = np.random.default_rng(0).standard_normal(size)
    compare(record, f"{f.__name__}, {size} variables", x, f, f, times_faster=1, seconds=PARITY)


@numba.njit
def compiled_rosenbrock(x: np.ndarray) -> float:
    total = 0.0
    for i in range(x.size - 1):
        total += 100 * (x[i + 1] - x[i] ** 2) ** 2 + (1 - x[i]) ** 2
    return total


def rosenbrock(x: np.ndarray) -> Any:
    return np.sum(100 * (x[..., 1:] - x[..., :-1] ** 2) ** 2 + (1 - x[..., :-1]) ** 2, axis=-1)


@pytest.mark.parametrize(
    ("what", "theirs", "count", "times_faster"),
    [
        ("the same without compiling", compiled_rosenbrock.py_func, 5, 50),
        ("the same in NumPy", rosenbrock, 500, None),
        ("the same compiled function", compiled_rosenbrock, 500, None),
    ],
)
def test_compiled(
    what: str, theirs: Callable, count: int, times_faster: float | None, record: Record
) -> None:
    x = np.random.default_rng(0).uniform(-1, 1, 100 if record.quick else 10_000)
    name = f"compiled Rosenbrock, {x.size:,} variables, against the loop on {what}"
    compare(record, name, x, compiled_rosenbrock, theirs, count, times_faster=times_faster)


def squares(x: np.ndarray) -> Any:
    return np.sum(x**2, axis=-1)


def logistic_map(x: np.ndarray) -> Any:
    """Where twenty steps of the chaotic map lead."""
    for _ in range(20):
        x = 3.2 * x * (1 - x)
    return np.sum(x, axis=-1)


def heat(x: np.ndarray) -> Any:
    """How uneven a temperature is after a hundred explicit steps of the heat equation."""
    x = x.copy()
    for _ in range(100):
        x[..., 1:-1] += 0.25 * (x[..., 2:] - 2 * x[..., 1:-1] + x[..., :-2])
    return np.sum(x**2, axis=-1)


@pytest.mark.parametrize(
    ("f", "size"),
    [
        (squares, 10),
        (squares, 100),
        (squares, 1000),
        (rosenbrock, 50),
        (rosenbrock, 1000),
        (logistic_map, 50),
        (heat, 50),
        (heat, 200),
    ],
)
def test_vectorized(f: Callable, size: int, record: Record) -> None:
    x = np.random.default_rng(0).uniform(0, 1, 5 if record.quick else size)
    compare(record, f"vectorized {f.__name__}, {size} variables", x, f, f, vectorized=True)
