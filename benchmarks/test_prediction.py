"""Predictions of a single sample, where calls and checks take longer than what they are for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastnn.bench.timing import repeat

from . import plain
from .problems import DTYPES, Problem, assert_close, tolerance
from .recording import Record

pytestmark = pytest.mark.usefixtures("one_blas_thread")


@pytest.mark.parametrize("dtype", DTYPES)
def test_one_row(dtype: str, record: Record, problem: Any) -> None:
    """Of MNIST, through `predict`; beside it, the product of that row that NumPy makes first."""
    p: Problem = problem("book", dtype, "mnist")
    x, W1 = np.ascontiguousarray(p.x[:1]), p.params["W1"]
    networks = {f"fastnn {name}": p.network(name) for name in ("numpy", "numba")}
    for name, network in networks.items():
        assert_close(network.predict(x), plain.predict(p.params, x), tolerance(dtype), name)
    timings = record.compare(
        f"predict of one row, 784-50-10, {dtype}",
        {name: repeat(lambda n=network: n.predict(x)) for name, network in networks.items()}
        | {"its product with W1 alone, NumPy": repeat(lambda: np.dot(x, W1))},
        unit="call",
    )
    for name in networks:
        text = f"{name} takes at most 12 µs"
        microseconds = 1e6 * timings[name].median
        record.statement(f"predict of one row, {dtype}, in µs", text, microseconds, 12)
