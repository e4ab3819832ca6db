"""Sizes: what no memory can hold is refused before anything is made of it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..errors import FastnnError, HostMemoryError, InputError
from .text import shown

#: Bytes that a process can address: the 47 bits that processors and systems leave to it.
ADDRESSABLE = 2**47


def check_size(shape: int | tuple[int, ...], dtype: Any, what: str = "empty") -> None:
    """Raise InputError unless an array of this shape is one that some memory could hold."""
    sizes = shape if isinstance(shape, tuple) else (shape,)
    if min(sizes, default=0) < 0:
        raise InputError(f"{what}: the shape {shown(shape)} is negative; give sizes from 0 on")
    if math.prod(map(int, sizes)) * np.dtype(dtype).itemsize > ADDRESSABLE:
        raise InputError(
            f"{what}: no memory can hold an array of shape {shown(shape)}; give smaller sizes"
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
