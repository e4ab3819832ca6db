"""How large the numbers of an array are, in one pass."""

from __future__ import annotations

from typing import Any

from .elementary import bits, from_bits
from .jit import kernel


@kernel
def largest(a: Any) -> float:
    """The largest absolute value of a 1-D array of at least one; NaN if there is one.

    Without their sign, floats are in the order of their bits as integers, with infinity above what
    is finite and NaN above infinity; and LLVM vectorises the maximum of integers.
    """
    most = bits(abs(a[0]))
    for i in range(1, a.size):
        most = max(most, bits(abs(a[i])))
    return from_bits(most)
