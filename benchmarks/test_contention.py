"""Training while others use the processors, and told to use more threads than processors.

The threads of a step wait for each other. Where one of them is not running, because another process
has its processor, those that wait must let it run. ``NUMBA_NUM_THREADS`` is often the number of the
machine's processors, not of those that a container has: fastnn starts no more threads than the
latter.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack

from fastnn.bench.timing import Contestant

from .recording import Claim, Record

#: Seconds of a training of the book's network, its kernels loaded.
TRAINING = """
import sys
import fastnn
(x, t), _ = fastnn.load_mnist()
network = fastnn.TwoLayerNet(784, 50, 10, backend="numba", rng=0)
options = {"evaluate_every": 0, "rng": 0, "iterations": int(sys.argv[1])}
print(fastnn.train(network, x, t, **options).seconds)
"""

#: A process that does nothing but use its processor.
BUSY = "while True: pass"

ALONE, BESIDE, MANY = "alone", "beside two busy processes", "NUMBA_NUM_THREADS=16"


def _training(iterations: int, threads: int, beside: int = 0) -> Contestant:
    def sample() -> float:
        with ExitStack() as exits:
            for _ in range(beside):
                process = subprocess.Popen([sys.executable, "-c", BUSY])
                exits.callback(process.wait)
                exits.callback(process.kill)
            done = subprocess.run(
                [sys.executable, "-c", TRAINING, str(iterations)],
                env=os.environ | {"NUMBA_NUM_THREADS": str(threads)},
                capture_output=True,
                text=True,
                check=True,
            )
        return float(done.stdout)

    return sample


def test_the_processors_are_shared(record: Record) -> None:
    """On two processors, whatever the machine has: they are what the claims are for."""
    iterations = 3 if record.quick else 10_000
    with ExitStack() as exits:
        if hasattr(os, "sched_setaffinity"):
            before = os.sched_getaffinity(0)
            os.sched_setaffinity(0, sorted(before)[:2])
            exits.callback(os.sched_setaffinity, 0, before)
        record.compare(
            "10,000 steps of 784-50-10 on two processors",
            {
                ALONE: _training(iterations, 2),
                BESIDE: _training(iterations, 2, beside=2),
                MANY: _training(iterations, 16),
            },
            [Claim(BESIDE, (ALONE,), at_most=2.2), Claim(MANY, (ALONE,), at_most=1.3)],
            unit="training",
            seconds=10,  # three times that at most, for five rounds of five seconds
            fewest=1 if record.quick else 5,
            most=5,
        )
