"""The point of a derivative: what x may be, and copies of it."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from ..errors import DtypeError, InputError
from ..validation import Array, array_namespace, numpy_dtype, real_array, refuse_device_array


def float_array(x: Any, name: str = "x") -> Array:
    """`x` as an array of a floating dtype, not copied if it is one.

    An array of a library whose arrays cannot be changed becomes a read-only one of NumPy.
    """
    if type(x) is np.ndarray and x.dtype.kind == "f":
        return x
    x = real_array(x, name)
    xp = array_namespace(x)
    if not _can_be_changed(xp):
        refuse_device_array(x, name)
        x = np.asarray(x)
    elif xp is np:  # the memory of a matrix as an array, which one number indexes
        x = np.asarray(x)
    if (dtype := numpy_dtype(x)).kind != "f":
        raise DtypeError(
            f"{name} is of dtype {dtype}, which cannot hold a small step; pass {name}.astype(float)"
        )
    return x


@cache
def _can_be_changed(xp: Any) -> bool:
    try:
        xp.zeros(1)[0] = 1
    except Exception:  # the libraries do not agree on which
        return False
    return True


def check_writeable(xp: Any, x: Array, name: str) -> None:
    """Raise InputError if the elements of `x` cannot be replaced in place."""
    if xp is np and not x.flags.writeable:
        raise InputError(
            f"{name} is read-only, but its elements are changed in place and restored; "
            f"pass np.array({name})"
        )


def copy(xp: Any, x: Array) -> Array:
    """A copy of `x`, C-contiguous if it is of NumPy."""
    return x.copy() if xp is np else xp.astype(x, x.dtype)


def complex_copy(xp: Any, x: Array) -> Array:
    """A copy of `x` in the complex dtype of its precision."""
    dtype = xp.result_type(x.dtype, xp.complex64)
    return np.array(x, dtype, order="C") if xp is np else xp.astype(x, dtype)
