"""Parameters that an optimizer is handed: arrays of any library, or the book's plain floats.

Of an array no more is asked than a dtype, a shape, arithmetic, and that it can be changed; its
namespace need not be known.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import memory
from ..errors import DtypeError, ForeignArrayError, InputError
from .arrays import Array, numpy_dtype
from .foreign import WITH_WAYS_OF_THEIR_OWN, refuse_gradient
from .text import kind, shown

#: Numbers that cannot be changed, but replaced.
NUMBERS = float, np.floating


def described(a: Any) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and dtype of an array or a number."""
    return ((), np.dtype(np.float64)) if type(a) is float else (tuple(a.shape), numpy_dtype(a))


def check_float(a: Any, name: str) -> None:
    """Raise DtypeError unless it is an array of a floating dtype, or a float."""
    if isinstance(a, NUMBERS):
        return
    if not (hasattr(a, "dtype") and hasattr(a, "shape")) or isinstance(a, WITH_WAYS_OF_THEIR_OWN):
        raise DtypeError(f"{name}={shown(a)} is a {kind(a)}; give an array of floats")
    if (dtype := numpy_dtype(a)).kind != "f":
        raise DtypeError(
            f"{name} is of dtype {dtype}, which holds no step; convert it: {name}.astype(float)"
        )
    refuse_gradient(a, name)


def check_updated(w: Any, g: Any, name: str, gradient: str) -> None:
    """Raise unless the parameter `w` can be moved by the gradient `g`; messages say their names."""
    check_float(w, name)
    check_float(g, gradient)
    check_same_library(w, g, name, gradient)
    (shape, dtype), (found, of) = described(w), described(g)
    if found != shape:
        raise InputError(f"{gradient} has shape {found}, but {name} {shape}; nothing is broadcast")
    if of != dtype and not isinstance(w, NUMBERS):
        raise DtypeError(
            f"{gradient} is of dtype {of}, but {name} of {dtype}; "
            f"convert it: {gradient}.astype({dtype.name!r})"
        )
    if not getattr(getattr(w, "flags", None), "writeable", True) and isinstance(w, np.ndarray):
        raise InputError(f"{name} is read-only; pass a copy: {name}.copy()")


def check_same_library(a: Any, b: Any, name: str, other: str) -> None:
    """Raise ForeignArrayError if two arrays are of two libraries."""
    hosts = [isinstance(array, np.ndarray | np.generic | float) for array in (a, b)]
    if hosts[0] != hosts[1] or not (hosts[0] or isinstance(b, type(a))):
        raise ForeignArrayError(
            f"{name} is a {kind(a)} and {other} a {kind(b)}; "
            "convert one of them yourself, so that both are of one library"
        )


# -- the little that a rule needs of an array ------------------------------------------------------


def root(a: Any) -> Any:
    """√a of an array of any library, or of a number."""
    return np.sqrt(a) if isinstance(a, np.ndarray | np.generic | float) else a**0.5


def zeros_like(a: Any) -> Array:
    """Zeros of the same shape and dtype, of the same library."""
    if type(a) is np.ndarray and a.flags.c_contiguous:
        return memory.zeros(a.shape, a.dtype)
    if isinstance(a, np.ndarray | np.generic | float):
        return np.zeros_like(a)
    zeros = a * 0
    zeros[...] = 0  # where there was no number
    return zeros


def copied(a: Any) -> Array:
    """A copy of an array of any library."""
    return np.array(a) if isinstance(a, np.ndarray | np.generic | float) else a * 1


def write(a: Array, values: Any, name: str) -> None:
    """Write values to an array in place."""
    try:
        a[...] = values
    except TypeError as error:
        raise DtypeError(
            f"{name} is a {kind(a)}, which cannot be changed in place; use NumPy's: "
            f"np.array({name})"
        ) from error
