"""Training on a cluster: the time of a step as its batch grows, and where a second worker pays.

The workers are processes of this machine with one thread each, and so is the one without a cluster:
what is measured is what the messages cost, and how many rows outweigh them. A network between the
machines makes the messages dearer; the documentation has a projection.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from fastnn import train
from fastnn.backends import get_backend
from fastnn.bench.timing import Contestant

from .problems import LEARNING_RATE, Problem, Size
from .recording import Record

distributed = pytest.importorskip("distributed")
da = pytest.importorskip("dask.array")

#: In how many blocks the samples are: as many for each of two workers.
BLOCKS = 8

#: Rows of a batch, and how many steps of each are a sample.
BATCHES = {
    "backprop": {100: 40, 1000: 40, 10_000: 10, 60_000: 3},
    "numerical": {10: 20, 100: 20, 1000: 5, 4000: 2},
}


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """Of two workers with one thread each, reached directly."""
    options = {"threads_per_worker": 1, "memory_limit": 0, "silence_logs": logging.CRITICAL}
    with (
        distributed.LocalCluster(n_workers=2, dashboard_address=":0", **options) as cluster,
        distributed.Client(cluster, direct_to_workers=True) as client,
    ):
        yield client


@pytest.mark.parametrize("gradient", BATCHES)
def test_step(gradient: str, client: Any, record: Record) -> None:
    points = []
    batches = {10: 3, 50: 3} if record.quick else BATCHES[gradient]
    for batch, iterations in batches.items():
        size = Size(784, 50, batch)
        p = Problem(size.shrunk() if record.quick else size, "float32", quick=record.quick)
        options = {"iterations": iterations, "batch_size": batch, "gradient": gradient}
        running: dict[str, Contestant | str] = {
            "one machine": _alone(p, options),
            **{f"workers: {count}": _on(client, count, p, options) for count in (1, 2)},
        }
        timings = record.compare(
            f"{gradient} step on a cluster, batch {batch:,}", running, unit="step", seconds=2
        )
        points += [
            {"contestant": name, "x": batch}
            | {"median": timing.median, "low": timing.low, "high": timing.high}
            for name, timing in timings.items()
        ]
    title = f"{gradient} step on a cluster, 784-50-10, float32, {_cores()} cores"
    record.curve(title, "rows of a batch", "time of a step", points)
    for name in ("one machine", "workers: 1"):
        found = crossing(points, name, "workers: 2")
        share = ratio(points, name, "workers: 2")
        rows = "no batch that was tried" if found is None else f"batches of {found:,} rows"
        record.statement(
            f"where two workers pay, {gradient}",
            f"two workers take less time than {name} from {rows} on; of the largest, as a share",
            share,
            1.0,
        )


def crossing(points: list[dict[str, Any]], slow: str, fast: str) -> int | None:
    """The number of rows from which on the second contestant takes less time than the first."""
    of = {
        name: {p["x"]: p["median"] for p in points if p["contestant"] == name}
        for name in (slow, fast)
    }
    found = None
    for rows in sorted(of[slow], reverse=True):
        if of[fast][rows] >= of[slow][rows]:
            break
        found = rows
    return found


def ratio(points: list[dict[str, Any]], slow: str, fast: str) -> float:
    """The time of the second contestant as a share of that of the first, for the most rows."""
    most = max(p["x"] for p in points)
    of = {p["contestant"]: p["median"] for p in points if p["x"] == most}
    return of[fast] / of[slow]


def _alone(problem: Problem, options: dict[str, Any]) -> Contestant:
    """The loop of one machine with one thread, as each worker has."""
    network = problem.network(get_backend("numba", threads=1))
    fixed = {"evaluate_every": 0, "learning_rate": LEARNING_RATE, "rng": 2} | options

    def sample() -> float:
        history = train(network, problem.x, problem.t, **fixed)
        return history.seconds / len(history.loss)

    return sample


def _on(client: Any, count: int, problem: Problem, options: dict[str, Any]) -> Contestant:
    from fastnn.distributed import train as train_there

    network = problem.network(get_backend("numba", threads=1))
    rows = -(-len(problem.x) // BLOCKS)
    x = da.from_array(problem.x, chunks=(rows, -1))
    t = da.from_array(np.asarray(problem.t), chunks=rows)
    x, t = client.persist([x, t])  # so that they are sent once
    fixed = {"evaluate_every": 0, "learning_rate": LEARNING_RATE, "rng": 2} | options

    def sample() -> float:
        history = train_there(network, x, t, client=client, workers=range(count), **fixed)
        return history.seconds / len(history.loss)

    return sample


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
