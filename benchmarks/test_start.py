"""Starting: what importing and compiling cost, and how soon a second process trains."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from fastnn.bench.timing import Contestant

from . import peak_memory
from .recording import Claim, Record


def _in_new_process(code: str) -> Contestant:
    """The contestant that runs this code, which prints seconds, in a fresh interpreter.

    It may keep its bytecode, as after an installation: otherwise the modules of a checkout are
    compiled at each start.
    """

    def sample() -> float:
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=_keeping_bytecode(),
            stdout=subprocess.PIPE,
            check=True,
        )
        return float(done.stdout)

    return sample


def _keeping_bytecode(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | more


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


@pytest.mark.skipif(sys.platform == "win32", reason="has no count of the memory in use")
def test_command(record: Record, tmp_path: Path) -> None:
    """The whole program, from its start to its end, and the memory that it takes."""
    used, sizes = tmp_path / "used", []
    name = "fastnn train --iterations 0"

    def sample() -> float:
        started = time.perf_counter()
        subprocess.run(
            [sys.executable, peak_memory.__file__, used, *name.split(), "--backend", "numba"],
            env=_keeping_bytecode(),
            stdout=subprocess.DEVNULL,
            check=True,
        )
        seconds = time.perf_counter() - started
        sizes.append(float(used.read_text()))
        return seconds

    timings = record.compare(
        "the command line", {name: sample}, unit="process", fewest=10, seconds=1
    )
    record.statement(name, "it takes at most 1.2 s", timings[name].median, 1.2)
    record.statement(name, "it takes at most 450 MiB of memory", max(sizes), 450)


@pytest.mark.parametrize(
    ("arguments", "bound"),
    [
        (["-m", "fastnn", "train", "--backend", "numba"], 10),
        (["-c", "import fastnn; fastnn.get_backend('numba').warm_up()"], 15),
    ],
    ids=["fastnn train", "warm_up()"],
)
def test_cold_cache(
    arguments: list[str], bound: float, record: Record, tmp_path: Path, request: Any
) -> None:
    """A process on a machine that has compiled nothing yet."""
    if record.quick:
        pytest.skip("compiling takes a minute")
    what = request.node.callspec.id

    def sample() -> float:
        cache = tmp_path / str(time.time_ns())
        started = time.perf_counter()
        subprocess.run(
            [sys.executable, *arguments],
            env=_keeping_bytecode(NUMBA_CACHE_DIR=str(cache)),
            stdout=subprocess.DEVNULL,
            check=True,
        )
        return time.perf_counter() - started

    name = f"{what} where nothing is compiled"
    timings = record.compare(name, {what: sample}, unit="process", fewest=3, most=3)
    record.statement(name, f"it takes at most {bound} s", timings[what].median, bound)
