"""Training steps with Adam: fastnn and every peer, in one process, in turn."""

from __future__ import annotations

from typing import Any

import pytest

from ..problems import DTYPES
from ..recording import Claim, Record
from ..test_optimizers import optimizer_steps
from .adam import contestants


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("data", ["mnist", "dense"])
def test_adam(data: str, dtype: str, record: Record, problem: Any) -> None:
    p = problem("book", dtype, data)
    iterations = 3 if record.quick else 300
    peers = contestants(p, iterations)
    rivals = tuple(name for name in peers if callable(peers[name]))
    ours = {
        f"fastnn {name}": optimizer_steps(p, name, "adam", iterations)
        for name in ("numba", "numpy")
    }
    record.compare(
        f"Adam beside the peers, {p.size}, {data}, {dtype}",
        ours | peers,
        [Claim("fastnn numba", rivals, at_most=1 / 1.5)] if rivals else [],
        unit="iteration",
        seconds=8,
        fewest=7,
    )
