"""The NumPy backend: the reference as it is, on the BLAS that NumPy was built with."""

from __future__ import annotations

import os
import platform
from functools import cache
from pathlib import Path

import numpy as np

from .base import Availability, Backend


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
