"""Training steps on an NVIDIA GPU: fastnn and the peers that run there, in one process, in turn."""

from __future__ import annotations

from typing import Any

import pytest

from fastnn.backends import Backend

from ..plain_cupy import plain_steps
from ..problems import DTYPES
from ..recording import Claim, Record
from ..test_training import steps
from . import GPU_PEERS, contestants


@pytest.mark.parametrize("dtype", DTYPES)
def test_training_step(dtype: str, gpu: Backend, record: Record, problem: Any) -> None:
    p = problem("book", dtype)
    iterations = 3 if record.quick else 10_000
    peers = contestants(p, iterations, tuple(GPU_PEERS))
    peers["plain CuPy"] = plain_steps(gpu, p, min(iterations, 1000))
    rivals = tuple(name for name in peers if callable(peers[name]))
    record.compare(
        f"training step on the GPU beside the peers, {p.size}, mnist, {dtype}",
        {"fastnn cupy": steps(p, gpu, iterations)} | peers,
        [Claim("fastnn cupy", rivals, at_most=0.5)] if rivals and dtype == "float32" else [],
        unit="iteration",
        seconds=10,
    )
