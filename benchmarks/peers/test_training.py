"""Training steps: fastnn's backends and every peer, in one process, in turn."""

from __future__ import annotations

from typing import Any

import pytest

from ..problems import DTYPES
from ..recording import Claim, Record
from ..test_training import fastnn_steps
from . import contestants

#: The peers that fastnn is to be faster than.
RIVALS = ("PyTorch", "JAX")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("size", "data", "bound", "iterations"),
    [("book", "mnist", 0.5, 1000), ("book", "dense", 0.9, 300), ("wide", "mnist", 1.0, 6)],
)
def test_training_step(
    size: str, data: str, bound: float, iterations: int, dtype: str, record: Record, problem: Any
) -> None:
    p = problem(size, dtype, data)
    iterations = 3 if record.quick else iterations
    peers = contestants(p, iterations)
    rivals = tuple(name for name in peers if name.startswith(RIVALS) and callable(peers[name]))
    record.compare(
        f"training step beside the peers, {p.size}, {data}, {dtype}",
        fastnn_steps(p, iterations) | peers,
        [Claim("fastnn numba", rivals, at_most=bound)] if rivals else [],
        unit="iteration",
        seconds=30,
        fewest=7,
    )
