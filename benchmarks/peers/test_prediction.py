"""Predictions of many samples, beside a function that JAX has compiled."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastnn.bench.timing import repeat

from .. import plain
from ..problems import DTYPES, Problem, assert_close, tolerance
from ..recording import Claim, Record


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("data", ["mnist", "dense"])
def test_many_rows(data: str, dtype: str, record: Record, problem: Any) -> None:
    """10,000, as an array of NumPy for us, and for JAX as one of its own."""
    pytest.importorskip("jax")
    from .jax_numpy import jax, predict

    p: Problem = problem("book", dtype, data)
    x = np.ascontiguousarray(p.x[:10_000])
    networks = {f"fastnn {name}": p.network(name) for name in ("numpy", "numba")}
    compiled, given = jax.jit(predict), jax.device_put((p.params, x))
    expected = plain.predict(p.params, x)
    assert_close(np.asarray(compiled(*given)), expected, tolerance(dtype), "JAX")
    for name, network in networks.items():
        assert_close(network.predict(x), expected, tolerance(dtype), name)
    record.compare(
        f"predict of 10,000 rows beside JAX, 784-50-10, {data}, {dtype}",
        {name: repeat(lambda n=network: n.predict(x)) for name, network in networks.items()}
        | {"JAX": repeat(lambda: compiled(*given).block_until_ready())},
        [Claim("fastnn numba", ("JAX",), at_most=1)],
        unit="call",
    )
