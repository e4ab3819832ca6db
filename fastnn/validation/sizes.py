"""Sizes: what no memory can hold is refused before anything is made of it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import FastnnError, HostMemoryError, InputError
from .text import shown

#: Bytes that a process can address: the 47 bits that processors and systems leave to it.
ADDRESSABLE = 2**47


@cache
def host_memory() -> int:
    """The bytes that this machine's memory and swap hold, where a system promises more.

    A Linux may: it finds out when the array is filled, and ends the process, or whatever else it
    chooses.
    """
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        sizes = {name: int(rest.split()[0]) for name, _, rest in (s.partition(":") for s in lines)}
        return 1024 * (sizes["MemTotal"] + sizes["SwapTotal"])
    except (OSError, ValueError, LookupError):
        return ADDRESSABLE


def check_size(
    shape: int | tuple[int, ...], dtype: Any, what: str = "empty", *, on_host: bool = True
) -> None:
    """Raise InputError unless an array of this shape is one that some memory could hold.

    And HostMemoryError unless it is one that this machine could, where it is to lie `on_host`.
    """
    sizes = shape if isinstance(shape, tuple) else (shape,)
    if min(sizes, default=0) < 0:
        raise InputError(f"{what}: the shape {shown(shape)} is negative; give sizes from 0 on")
    size = math.prod(map(int, sizes)) * np.dtype(dtype).itemsize
    if size > ADDRESSABLE:
        raise InputError(
            f"{what}: no memory can hold an array of shape {shown(shape)}; give smaller sizes"
        )
    if on_host and size > host_memory():
        raise HostMemoryError(
            f"{what}: an array of shape {shown(shape)} takes {size:,} bytes of memory, and this "
            f"machine has {host_memory():,}; give smaller sizes"
        )


@contextmanager
def room_for(what: str) -> Iterator[None]:
    """Say what there was no memory for, if there was none, with HostMemoryError."""
    try:
        yield
    except FastnnError:
        raise
    except Exception as error:
        # Some libraries have no MemoryError for it.
        if not isinstance(error, MemoryError) and "memory" not in str(error).lower():
            raise
        reason = f" ({error})" if str(error) else ""
        raise HostMemoryError(
            f"there is not enough memory for {what}{reason}; give smaller sizes"
        ) from error
