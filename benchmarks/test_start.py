"""Starting: what importing costs, and how soon a second process trains."""

from __future__ import annotations

import os
import subprocess
import sys

from fastnn.bench.timing import Contestant

from .recording import Claim, Record


def _in_new_process(code: str) -> Contestant:
    """The contestant that runs this code, which prints seconds, in a fresh interpreter.

    It may keep its bytecode, as after an installation: otherwise the modules of a checkout are
    compiled at each start.
    """
    variables = {
        name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"
    }

    def sample() -> float:
        done = subprocess.run(
            [sys.executable, "-c", code], env=variables, capture_output=True, text=True, check=True
        )
        return float(done.stdout)

    return sample


def _timed(statement: str) -> Contestant:
    return _in_new_process(
        f"import time; start = time.perf_counter(); {statement}; print(time.perf_counter() - start)"
    )


def test_import(record: Record) -> None:
    record.compare(
        "importing",
        {"import fastnn": _timed("import fastnn"), "import numpy": _timed("import numpy")},
        [Claim("import fastnn", at_most=1.3)],
        unit="process",
        fewest=15,
    )


def test_first_iteration(record: Record) -> None:
    """From the import to the end of the first iteration, with Numba's cache on disk, data apart."""
    code = """
import time
import numpy as np
x, t = np.ones((100, 784)), np.zeros(100, int)
start = time.perf_counter()
import fastnn
fastnn.train(fastnn.TwoLayerNet(784, 50, 10, backend="{}", rng=0), x, t, iterations=1, rng=0)
print(time.perf_counter() - start)
"""
    timings = record.compare(
        "from the import to the first iteration",
        {f"fastnn {name}": _in_new_process(code.format(name)) for name in ("numpy", "numba")},
        unit="process",
        fewest=5,
        seconds=1,
    )
    text = "a second process with Numba takes at most 1.5 s from the import to the first iteration"
    record.statement("starting", text, timings["fastnn numba"].median, 1.5)
