"""Arguments that are not arrays: numbers, names, dtypes and seeds."""

from __future__ import annotations

import math
import numbers
import warnings
from typing import Any

import numpy as np

from ..errors import DtypeError, InputError
from .text import kind, shown


def float_dtype(dtype: Any) -> np.dtype:
    """`dtype` as float32 or float64, the two that parameters can have.

    Raises
    ------
    DtypeError
        For any other dtype: integers cannot hold a gradient step, and complex parameters have no
        meaning here.
    """
    try:
        with warnings.catch_warnings():  # of old names, none of which is one of the two
            warnings.simplefilter("ignore", DeprecationWarning)
            result = np.dtype(dtype)
    except Exception as error:  # NumPy reads strings, and fails in many ways
        raise DtypeError(
            f"dtype={shown(dtype)} is not a dtype; use 'float32' or 'float64'"
        ) from error
    if result not in (np.float32, np.float64):
        raise DtypeError(
            f"parameters cannot be of dtype {shown(str(result))[1:-1]}; use 'float32' or 'float64'"
        )
    return result.newbyteorder("=")


def positive_int(value: Any, name: str, minimum: int = 1) -> int:
    """`value` as an int of at least `minimum`; booleans and fractions are refused."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Integral):
        raise DtypeError(
            f"{name}={shown(value)} is a {type(value).__name__}; "
            f"give an integer of at least {minimum}"
        )
    result = int(value)
    if result < minimum:
        raise InputError(
            f"{name}={shown(value)} is too small; give an integer of at least {minimum}"
        )
    return result


def real_number(
    value: Any, name: str, *, minimum: float = -math.inf, above: float | None = None
) -> float:
    """`value` as a finite float, at least `minimum` and, if given, greater than `above`."""
    if not isinstance(value, float) and (
        isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real)
    ):
        raise DtypeError(f"{name}={shown(value)} is a {type(value).__name__}; give a number")
    try:
        result = float(value)
    except OverflowError:
        result = math.inf
    if not math.isfinite(result):
        raise InputError(f"{name}={shown(value)} is not finite; give a finite number")
    if result < minimum:
        raise InputError(f"{name}={shown(value)} is too small; give at least {minimum:g}")
    if above is not None and result <= above:
        raise InputError(
            f"{name}={shown(value)} is too small; give a number greater than {above:g}"
        )
    return result


def function(value: Any, name: str = "f") -> None:
    """Raise DtypeError unless `value` can be called."""
    if not callable(value):
        raise DtypeError(f"{name}={shown(value)} is a {kind(value)}; give a function")


def choice(value: Any, name: str, choices: Any) -> str:
    """`value` if it is one of `choices`, else an error that lists them."""
    if not isinstance(value, str) or value not in choices:
        raise InputError(
            f"{name}={shown(value)} is not known; choose one of {', '.join(map(repr, choices))}"
        )
    return value


def generator(rng: Any) -> np.random.Generator:
    """A NumPy Generator from None (fresh entropy), a seed, or a Generator, used as it is."""
    if isinstance(rng, np.random.Generator):
        return rng
    if rng is None or (
        isinstance(rng, numbers.Integral) and not isinstance(rng, bool) and int(rng) >= 0
    ):
        return np.random.default_rng(rng if rng is None else int(rng))
    raise InputError(
        f"rng={shown(rng)} is neither a numpy.random.Generator nor a non-negative integer seed"
    )
