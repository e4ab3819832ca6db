"""Training on a cluster: the time of a step as its batch grows, and where a second worker pays.

The workers are processes of this machine with one thread each, and so is the one without a cluster:
what is measured is what the messages cost, and how many rows outweigh them. A network between the
machines makes the messages dearer; the documentation has a projection.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from fastnn import train
from fastnn.backends import get_backend
from fastnn.backends.processor import cores
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
    "numerical": {10: 20, 100: 20, 1000: 5, 10_000: 2},
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
    title = f"{gradient} step on a cluster, 784-50-10, float32, {cores()} cores"
    record.curve(title, "rows of a batch", "time of a step", points)
    shares = [share for name in ("one machine", "workers: 1") for share in _shares(points, name)]
    record.curve(
        f"where two workers pay, {gradient}", "rows of a batch", "share of the time of", shares
    )


def _shares(points: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """What two workers take as a share of the time of a contestant, by rows.

    The last point, "from", has the number of rows from which on that is less than one, if it is.
    """
    ours, theirs = (
        {p["x"]: p["median"] for p in points if p["contestant"] == one}
        for one in ("workers: 2", name)
    )
    shares = {rows: ours[rows] / theirs[rows] for rows in sorted(ours)}
    found = [{"contestant": name, "x": rows, "ratio": r} for rows, r in shares.items()]
    paying = [rows for rows in shares if all(r < 1 for n, r in shares.items() if n >= rows)]
    if paying:
        found.append({"contestant": f"{name}, from", "x": paying[0], "ratio": shares[paying[0]]})
    return found


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
