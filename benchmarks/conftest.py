"""Fixtures of the benchmarks, the summary at their end, and the file of results."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pytest

from fastnn.backends import Backend, available_backends, get_backend
from fastnn.bench.timing import blas_threads

from . import store
from .problems import SIZES, Problem
from .recording import Record

_RECORD = pytest.StashKey[Record]()

#: Libraries beside fastnn's own whose versions belong to the results, where they are installed.
_PEERS = ("torch", "jax", "scikit-learn", "scipy", "numdifftools", "distributed")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--results", type=Path, metavar="FILE", help="write what was measured to this JSON file"
    )
    parser.addoption(
        "--record",
        metavar="SESSION",
        help="write it to this session's part of a file in benchmarks/results",
    )


def pytest_configure(config: pytest.Config) -> None:
    # With --benchmark-disable everything is run once, on small data, to see that it runs.
    config.stash[_RECORD] = Record(quick=config.getoption("benchmark_disable"))


def pytest_sessionfinish(session: pytest.Session) -> None:
    path, name = session.config.getoption("results"), session.config.getoption("record")
    if not (path or name) or session.testsfailed:
        return
    versions = {}
    for package in _PEERS:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    results = session.config.stash[_RECORD].content(versions)
    if path:
        path.write_text(store.text(results), encoding="utf-8")
    if name:
        store.save(results, name)


@pytest.hookimpl(trylast=True)  # after pytest-benchmark's tables
def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    record = config.stash[_RECORD]
    if not record.quick and record.lines():
        terminalreporter.section("what was compared: medians of interleaved rounds [quartiles]")
        for line in record.lines():
            terminalreporter.write_line(line)


@pytest.fixture
def record(pytestconfig: pytest.Config) -> Record:
    return pytestconfig.stash[_RECORD]


@pytest.fixture(params=[*available_backends()])
def backend(request: pytest.FixtureRequest) -> Backend:
    """Each registered backend; those that cannot run here are skipped with their reason.

    Numba gets one thread: what two achieve depends on how busy the machine is, and test_scale.py
    shows what they are good for.
    """
    found = available_backends()[request.param]
    if not found.available:
        pytest.skip(f"{request.param}: {found.reason}; {found.remedy}")
    if request.param == "numba":
        from fastnn.backends.numba.backend import NumbaBackend

        return NumbaBackend(threads=1)
    return get_backend(request.param)


@pytest.fixture
def gpu() -> Backend:
    """CuPy, where there is a GPU."""
    found = available_backends()["cupy"]
    if not found.available:
        pytest.skip(f"{found.reason}; {found.remedy}")
    return get_backend("cupy")


@pytest.fixture(params=["float64", "float32"])
def dtype(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def one_blas_thread() -> Iterator[None]:
    """What sets no number of threads itself, and what it is compared with, runs with one.

    The training loop sets the number; what is called outside it does not.
    """
    with blas_threads(1):
        yield


@pytest.fixture
def problem(record: Record) -> Any:
    """A function (size, dtype, data="mnist") → Problem; small when nothing is timed."""

    def make(size: str, dtype: str, data: str = "mnist") -> Problem:
        return Problem(
            SIZES[size].shrunk() if record.quick else SIZES[size], dtype, data, record.quick
        )

    return make
