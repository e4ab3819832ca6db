"""What the generic path costs: the reference over any library, beside NumPy's own backend."""

from __future__ import annotations

from typing import Any

import array_api_strict
import numpy as np
import pytest

from fastnn import available_backends
from fastnn.backends import Backend, get_backend
from fastnn.backends.array_api import ArrayApiBackend
from fastnn.bench.timing import Contestant, repeat

from .problems import DTYPES, Problem, assert_close, tolerance
from .recording import Record
from .test_training import steps

pytestmark = pytest.mark.usefixtures("one_blas_thread")


class Reference(Backend):
    """The reference over NumPy, with nothing overridden."""

    name, xp = "reference over numpy", np


def backends() -> dict[str, Backend | str]:
    """NumPy's own backend, the reference over three libraries, and why one cannot run here."""
    torch = available_backends()["torch"]
    return {
        "fastnn numpy": get_backend("numpy"),
        "reference over numpy": Reference(),
        "reference over array-api-strict": ArrayApiBackend(array_api_strict),
        "reference over torch": get_backend("torch") if torch.available else torch.reason,
    }


@pytest.mark.parametrize("dtype", DTYPES)
def test_training_steps(dtype: str, record: Record, problem: Any) -> None:
    p = problem("book", dtype)
    contestants: dict[str, Contestant | str] = {
        name: backend if isinstance(backend, str) else steps(p, backend, 3 if record.quick else 100)
        for name, backend in backends().items()
    }
    record.compare(
        f"what the generic path costs: training step, {p.size}, {dtype}, one BLAS thread",
        contestants,
        unit="iteration",
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_numerical_gradients(dtype: str, record: Record, problem: Any) -> None:
    p: Problem = problem("book", dtype)
    rows = p.rows(1)[0]
    contestants: dict[str, Contestant | str] = {}
    expected = p.network("numpy").numerical_gradient(p.x[rows], p.t[rows])
    for name, backend in backends().items():
        if isinstance(backend, str):
            contestants[name] = backend
            continue
        network, x, t = p.network(backend), backend.asarray(p.x[rows]), backend.asarray(p.t[rows])
        for parameter, found in network.numerical_gradient(x, t).items():
            assert_close(backend.to_numpy(found), expected[parameter], tolerance(dtype), parameter)
        contestants[name] = repeat(
            lambda network=network, x=x, t=t: network.numerical_gradient(x, t)
        )
    record.compare(
        f"what the generic path costs: numerical gradient, {p.size}, {dtype}",
        contestants,
        unit="gradient",
    )
