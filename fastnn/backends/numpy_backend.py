"""The NumPy backend: the reference as it is, on the BLAS that NumPy was built with."""

from __future__ import annotations

import os
import platform
import time
from contextlib import AbstractContextManager, nullcontext
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ..validation import Array
from .base import Availability, Backend

#: Below how many multiplications in its largest product a step runs on one BLAS thread, and from how many on all of them.
#: In between it depends on the machine, and on what else that does, whether several threads are faster.
SMALL, LARGE = 500_000, 16_000_000

#: Bytes on which arrays begin. Weights that do not begin at half a line at least cost a product on two threads of OpenBLAS up to
#: an eighth of its time.
CACHE_LINE = 64


@cache
def cpu_name() -> str:
    """The processor and how many of its cores this process may use, such as ``"AMD EPYC, 2 cores"``."""
    name = platform.processor() or platform.machine() or "CPU"
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():  # Linux: platform.processor() is empty or only names the architecture there
        lines = cpuinfo.read_text(errors="replace").splitlines()
        name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), name)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return f"{name}, {cores} core{'s' if cores != 1 else ''}"


class NumpyBackend(Backend):
    """Array operations of NumPy on the CPU."""

    name = "numpy"
    xp = np

    @classmethod
    def probe(cls) -> Availability:
        return Availability(True, cpu_name())

    def empty(self, shape: int | tuple[int, ...], dtype: Any) -> Array:
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        memory = np.empty(size + CACHE_LINE, np.uint8)
        start = -memory.ctypes.data % CACHE_LINE
        return memory[start : start + size].view(dtype).reshape(shape)

    def warm_up(self, dtype: Any = "float64") -> None:
        """Let the next training measure again how many BLAS threads pay, where that depends on what else the machine does."""
        _measured.clear()

    _product = staticmethod(np.dot)  # a call of which costs half a microsecond less

    def _gradient(self, x: Array, delta: Array, *, out: Array | None = None) -> tuple[Array, Array]:
        # A column by a row, the gradient of a single sample, takes matmul six times as long; with more of them it is dot that
        # loses time, because it clears `out` first. And BLAS adds up rows in a third of the time of sum.
        product = np.dot if len(x) == 1 else np.matmul
        return product(x.T, delta, out=out), _ones(len(delta), delta.dtype) @ delta

    def take(self, a: Array, rows: Array, *, out: Array | None = None) -> Array:
        return a.take(rows, axis=0, out=out, mode="clip")  # any mode that can raise copies through a second buffer

    def limit_threads(self, multiplications: int) -> AbstractContextManager[Any]:
        """One BLAS thread where several would spend more time waiting for each other than working."""
        if multiplications >= LARGE:
            return nullcontext()
        from threadpoolctl import ThreadpoolController  # looks at every library that is loaded, so only when needed

        blas = ThreadpoolController().select(user_api="blas")
        threads = max((library["num_threads"] for library in blas.info()), default=1)
        if threads == 1 or (multiplications >= SMALL and _threads_pay(multiplications.bit_length(), threads)):
            return nullcontext()
        return blas.limit(limits=1)


@lru_cache(maxsize=16)
def _ones(size: int, dtype: np.dtype) -> np.ndarray:
    ones = np.ones(size, dtype)
    ones.flags.writeable = False
    return ones


#: What was measured of products of so many bits on so many threads.
_measured: dict[tuple[int, int], bool] = {}


def _threads_pay(bits: int, threads: int) -> bool:
    """Whether products with numbers of multiplications of so many bits are faster on these BLAS threads than on one.

    Measured, in some hundredths of a second at most, once a process, or again after :meth:`NumpyBackend.warm_up`: the last bits of
    a product depend on the number of threads, and two runs from the same seed shall agree exactly, also if the machine has become
    busy in between.
    """
    pay = _measured.get((bits, threads))
    if pay is None:
        pay = _measured.setdefault((bits, threads), _measure(bits, threads))  # of several that measure at once, the first one's
    return pay


def _measure(bits: int, threads: int) -> bool:
    import logging

    from threadpoolctl import threadpool_limits

    side = round(2 ** ((bits - 0.5) / 3))
    a = np.ones((side, side), np.float32)
    out = np.empty_like(a)

    def duration(count: int) -> float:
        with threadpool_limits(count, user_api="blas"):
            np.matmul(a, a, out=out)
            started = time.perf_counter()
            for _ in range(5):
                np.matmul(a, a, out=out)
            return time.perf_counter() - started

    one, several = zip(*((duration(1), duration(threads)) for _ in range(7)), strict=True)
    pay = bool(np.median(several) < 0.9 * np.median(one))
    logging.getLogger("fastnn").debug("%d BLAS threads for products of some 2**%d multiplications", threads if pay else 1, bits)
    return pay
