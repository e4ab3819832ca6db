"""Training steps on an NVIDIA GPU: fastnn and the peers that run there, in one process, in turn."""

from __future__ import annotations

from typing import Any

import pytest

from fastnn.backends import Backend
from fastnn.bench import training_steps

from ..problems import DTYPES, LEARNING_RATE
from ..recording import Claim, Record
from . import GPU_PEERS, contestants


@pytest.mark.parametrize("dtype", DTYPES)
def test_training_step(dtype: str, gpu: Backend, record: Record, problem: Any) -> None:
    p = problem("book", dtype)
    iterations = 3 if record.quick else 10_000
    gpu.warm_up(dtype)
    options = {"batch_size": p.size.batch, "learning_rate": LEARNING_RATE}
    ours = {"fastnn cupy": training_steps(p.network(gpu), p.x, p.t, iterations=iterations, **options)}
    peers = contestants(p, iterations, tuple(GPU_PEERS))
    rivals = tuple(name for name in peers if callable(peers[name]))
    record.compare(
        f"training step on the GPU beside the peers, {p.size}, mnist, {dtype}",
        ours | peers,
        [Claim("fastnn cupy", rivals, at_most=0.5)] if rivals and dtype == "float32" else [],
        unit="iteration",
        seconds=10,
    )
