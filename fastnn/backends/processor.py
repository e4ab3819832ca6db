"""The processor, and how many threads of the BLAS behind NumPy pay on it."""

from __future__ import annotations

import math
import os
import platform
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import cache
from pathlib import Path

import numpy as np

from .turns import TURNS, Turn, blas

#: Below how many multiplications in its largest product a step runs on one BLAS thread, and from
#: how many on all of them. In between it depends on the machine, and on what else that does,
#: whether several threads are faster.
SMALL, LARGE = 500_000, 16_000_000


@cache
def cpu_name() -> str:
    """The processor and how many cores this process may use, such as ``"AMD EPYC, 2 cores"``."""
    name = platform.processor() or platform.machine() or "CPU"
    cpuinfo = Path("/proc/cpuinfo")
    # Linux: platform.processor() is empty or only names the architecture there.
    if cpuinfo.is_file():
        lines = cpuinfo.read_text(errors="replace").splitlines()
        models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
        name = next(models, name)
    count = cores()
    return f"{name}, {count} core{'s' if count != 1 else ''}"


#: Where Linux says which time on processors a container has in which time, in µs: of the second
#: version of control groups, and of the first.
_CONTROL = Path("/sys/fs/cgroup")
_QUOTAS = ("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")


def cores() -> int:
    """How many this process may use: those that it is bound to, or as many as its container has.

    A container is mostly bound to all of the machine's and stopped for a while when it has used the
    time of a few: of more threads, some would wait for others that are stopped.
    """
    bound = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    quota = _quota()
    return bound if quota >= bound else max(1, math.ceil(quota))


def _quota() -> float:
    """How many processors' time the container of this process has."""
    for files in _QUOTAS:
        with suppress(OSError, ValueError, OverflowError):  # none says so, or that it is "max"
            text = " ".join((_CONTROL / file).read_text() for file in files)
            used, period = map(int, text.split())
            if used > 0 and period > 0:  # -1 is no limit, too
                return used / period
    return math.inf


def threads_that_pay(multiplications: int) -> AbstractContextManager[Turn]:
    """One BLAS thread in this context, if steps of so many multiplications are slower on more."""
    if multiplications >= LARGE or TURNS.is_mine:
        return Turn(None)
    threads = TURNS.available()
    if threads == 1 or (
        multiplications >= SMALL and _threads_pay(multiplications.bit_length(), threads)
    ):
        return Turn(None)
    return Turn(1)


def blas_threads(count: int) -> AbstractContextManager[Turn]:
    """Give the BLAS so many threads until the context is left."""
    return Turn(count)


#: The variables by which somebody says how many threads the BLAS shall have.
_SAID = "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS"


@contextmanager
def limited_to_one_thread() -> Iterator[None]:
    """One BLAS thread for code that is not ours, unless the environment says how many.

    It is no turn: such code may start threads that train, and wait for them.
    """
    if any(os.environ.get(name) for name in _SAID):
        yield
        return
    with blas().limit(limits=1):
        yield


#: What was measured of products of so many bits on so many threads.
_measured: dict[tuple[int, int], bool] = {}


def forget_measurements() -> None:
    """Measure again the next time."""
    _measured.clear()


def _threads_pay(bits: int, threads: int) -> bool:
    """Whether products of a size are faster on these BLAS threads than on one.

    The size is the number of bits of the number of multiplications.

    Measured, in some hundredths of a second at most, once a process, or again after
    :func:`forget_measurements`: the last bits of a product depend on the number of threads, and two
    runs from the same seed shall agree exactly, also if the machine has become busy in between.
    """
    pay = _measured.get((bits, threads))
    if pay is None:
        # Of several that measure at once, the first one's.
        pay = _measured.setdefault((bits, threads), _measure(bits, threads))
    return pay


def _measure(bits: int, threads: int) -> bool:
    import logging

    side = round(2 ** ((bits - 0.5) / 3))
    a = np.ones((side, side), np.float32)
    out = np.empty_like(a)

    def duration(count: int) -> float:
        with blas().limit(limits=count):
            np.matmul(a, a, out=out)
            started = time.perf_counter()
            for _ in range(5):
                np.matmul(a, a, out=out)
            return time.perf_counter() - started

    TURNS.enter(object())  # alone
    try:
        one, several = zip(*((duration(1), duration(threads)) for _ in range(7)), strict=True)
    finally:
        TURNS.leave()
    pay = bool(np.median(several) < 0.9 * np.median(one))
    logging.getLogger("fastnn").debug(
        "%d BLAS threads for products of some 2**%d multiplications", threads if pay else 1, bits
    )
    return pay
