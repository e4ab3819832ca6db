"""What a measurement must be read with: the machine and the versions."""

from __future__ import annotations

import os
import platform
import re
import sys
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

from ..backends import available_backends

#: Requirements, extras among them, that compute nothing: their versions say nothing of a time.
COMPUTE_NOTHING = {"click", "hypothesis", "matplotlib", "pytest", "threadpoolctl", "tqdm"}


def machine() -> dict[str, Any]:
    """Processor, memory, devices, threads and versions, as plain data."""
    from threadpoolctl import threadpool_info

    backends = available_backends()
    numba = sys.modules.get("numba")
    return {
        "cpu": backends["numpy"].device,
        "memory_gb": _memory_gb(),
        "system": f"{platform.system()} {platform.machine()}",
        "devices": {name: found.device for name, found in backends.items() if found.available},
        "nvidia_driver": _nvidia_driver(),
        "blas": [_described(pool) for pool in threadpool_info() if pool["user_api"] == "blas"],
        "numba_threads": numba.config.NUMBA_NUM_THREADS if numba else None,
        "versions": _versions(),
    }


def _versions() -> dict[str, str]:
    """Of Python, of fastnn, and of the libraries that it or an extra of it computes with."""
    versions = {"python": platform.python_version()}
    for package in ("fastnn", *_requirements()):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions


def _requirements() -> list[str]:
    try:
        required = requires("fastnn") or []
    except PackageNotFoundError:  # imported from a checkout that is not installed
        return []
    names = [re.split(r"[^\w.-]", requirement, maxsplit=1)[0] for requirement in required]
    return [name for name in dict.fromkeys(names) if name not in COMPUTE_NOTHING]


def _described(pool: dict[str, Any]) -> str:
    library = f"{pool['internal_api']} {pool['version']} for {pool.get('architecture', '?')}"
    return f"{library}, {pool['num_threads']} threads"


def _memory_gb() -> int | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30)
    except (AttributeError, ValueError):  # not on Windows
        return None


def _nvidia_driver() -> str | None:
    """The version of the NVIDIA driver; None where there is none, or no Linux to tell."""
    file = Path("/proc/driver/nvidia/version")
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    found = re.search(r"\d+\.\d+(\.\d+)?", text)
    return found[0] if found else None
