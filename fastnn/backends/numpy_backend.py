"""The NumPy backend: the reference as it is, on the BLAS that NumPy was built with."""

from __future__ import annotations

import os
import platform
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from .base import Availability, Backend

#: Below how many multiplications in its largest product a step runs on one BLAS thread.
SMALL = 16_000_000


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

    def limit_threads(self, multiplications: int) -> AbstractContextManager[Any]:
        """One BLAS thread for small matrices: two of them spend more time waiting for each other than working."""
        if multiplications >= SMALL:
            return nullcontext()
        from threadpoolctl import threadpool_limits  # looks at every library that is loaded, so only when needed

        return threadpool_limits(1, user_api="blas")
