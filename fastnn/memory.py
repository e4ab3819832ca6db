"""Memory for large arrays, in huge pages where the system has them.

Of what the C library has kept from before, or asks the system for in pages of 4 KiB, the first
write to each page takes longer than what is written there, in a virtual machine several times as
long; and the processor fetches nothing ahead across the end of a page.
"""

from __future__ import annotations

import math
import mmap
from contextlib import suppress
from typing import Any

import numpy as np

#: From how many bytes on, and the size of a huge page, whose multiples the system puts on its
#: boundaries.
LARGE, HUGE_PAGE = 4 * 2**20, 2 * 2**20


def zeros(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Zeros that the system has: what is never touched takes no memory."""
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    if size >= LARGE and hasattr(mmap, "MADV_HUGEPAGE"):
        with suppress(OSError):  # NumPy says what it is that does not fit
            return np.ndarray(shape, dtype, _mapped(-(-size // HUGE_PAGE) * HUGE_PAGE))
    return np.zeros(shape, dtype)


def _mapped(size: int) -> mmap.mmap:
    """Zeros of this process alone, which end with the last array in them."""
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(OSError):  # a kernel without huge pages
        memory.madvise(mmap.MADV_HUGEPAGE)
    return memory
