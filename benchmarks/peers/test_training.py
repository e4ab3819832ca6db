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


#: The share of the fastest one's time that a step may take: in float64, and in float32.
BOUNDS = {
    ("book", "mnist"): {"float64": 0.32, "float32": 0.28},
    ("book", "dense"): {"float64": 0.4, "float32": 0.4},
    ("wide", "mnist"): {"float64": 0.5, "float32": 0.5},
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("size", "data", "iterations"),
    [("book", "mnist", 1000), ("book", "dense", 300), ("wide", "mnist", 6)],
)
def test_training_step(
    size: str, data: str, iterations: int, dtype: str, record: Record, problem: Any
) -> None:
    p = problem(size, dtype, data)
    iterations = 3 if record.quick else iterations
    peers = contestants(p, iterations)
    rivals = tuple(name for name in peers if name.startswith(RIVALS) and callable(peers[name]))
    record.compare(
        f"training step beside the peers, {p.size}, {data}, {dtype}",
        fastnn_steps(p, iterations) | peers,
        [Claim("fastnn numba", rivals, at_most=BOUNDS[size, data][dtype])] if rivals else [],
        unit="iteration",
        seconds=30,
        fewest=7,
    )
