"""Numerical differentiation: the book's central difference over any function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .errors import DtypeError
from .validation import Array, get_array_module, real_array, real_number

#: The book's step.
DEFAULT_STEP = 1e-4


def numerical_gradient(f: Callable[[Array], Any], x: Array, *, h: float = DEFAULT_STEP) -> Array:
    """The gradient of a scalar function by central differences, one element of `x` at a time.

    Parameters
    ----------
    f : callable
        Maps `x` to a number. It may also ignore its argument and read the array `x` itself, as the book's functions do.
    x : array of float32 or float64, any number of dimensions
        Where to differentiate. Perturbed in place and restored to the last bit, also when `f` raises.
    h : float
        The step: (f(x + h) − f(x − h)) / 2h.

    Returns
    -------
    array of the shape and dtype of `x`

    Raises
    ------
    DtypeError
        If `x` holds integers: a step of `h` would be cut off, and the result would be nonsense.
    InputError
        If `h` is not a positive finite number.

    Examples
    --------
    >>> numerical_gradient(lambda x: (x * x).sum(), np.array([3.0, 4.0])).round(6)
    array([6., 8.])
    """
    h = real_number(h, "h", above=0)
    x = real_array(x, "x")
    if x.dtype.kind != "f":
        raise DtypeError(f"x is of dtype {x.dtype}, which cannot hold a step of {h}; pass x.astype(float)")
    gradient = get_array_module(x).zeros_like(x)
    for index in np.ndindex(*x.shape):
        value = x[index].copy()  # on a GPU, reading one element gives a view
        try:
            x[index] = value + h
            above = f(x)
            x[index] = value - h
            below = f(x)
        finally:
            x[index] = value
        gradient[index] = (above - below) / (2 * h)
    return gradient
