"""The public doors: what a user hands in becomes a canonical array, or a clear error before anything has changed.

Canonical inside fastnn are: samples as a 2-D array (samples, features) of the network's dtype; targets either as a 1-D
array of ``intp`` labels or as a 2-D array (samples, classes) of the network's dtype. Every function here is written
for NumPy and CuPy arrays alike.
"""

from __future__ import annotations

import math
import numbers
import sys
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np

from .errors import DtypeError, ForeignArrayError, InputError

# An array of the backend at hand: NumPy's, CuPy's, or a plug-in's. Python cannot say this more precisely.
Array: TypeAlias = Any


def get_array_module(*arrays: Array) -> ModuleType:
    """NumPy or CuPy, whichever the arrays belong to.

    CuPy is not imported for this: while it is not loaded, no array can be one of its own.

    Raises
    ------
    ForeignArrayError
        If NumPy and CuPy arrays are mixed: nothing is copied between host and device silently.
    """
    cupy = sys.modules.get("cupy")
    if cupy is None or not hasattr(cupy, "ndarray") or not any(isinstance(a, cupy.ndarray) for a in arrays):
        return np
    for a in arrays:
        if isinstance(a, np.ndarray):
            raise ForeignArrayError(
                "NumPy and CuPy arrays are mixed in one call; move one of them yourself: cupy.asarray(a) puts an array on "
                "the GPU, cupy.asnumpy(a) brings it back"
            )
    return cupy


def float_dtype(dtype: Any) -> np.dtype:
    """`dtype` as float32 or float64, the two that parameters can have.

    Raises
    ------
    DtypeError
        For any other dtype: integers cannot hold a gradient step, and complex parameters have no meaning here.
    """
    try:
        result = np.dtype(dtype)
    except TypeError as error:
        raise DtypeError(f"dtype={dtype!r} is not a dtype; use 'float32' or 'float64'") from error
    if result not in (np.float32, np.float64):
        raise DtypeError(f"parameters cannot be of dtype {result}; use 'float32' or 'float64'")
    return result.newbyteorder("=")


def positive_int(value: Any, name: str, minimum: int = 1) -> int:
    """`value` as an int of at least `minimum`; booleans and fractions are refused."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Integral):
        raise DtypeError(f"{name}={value!r} is a {type(value).__name__}; give an integer of at least {minimum}")
    result = int(value)
    if result < minimum:
        raise InputError(f"{name}={value!r} is too small; give an integer of at least {minimum}")
    return result


def real_number(value: Any, name: str, *, minimum: float = -math.inf, above: float | None = None) -> float:
    """`value` as a finite float, at least `minimum` and, if given, greater than `above`."""
    if not isinstance(value, float) and (isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real)):
        raise DtypeError(f"{name}={value!r} is a {type(value).__name__}; give a number")
    try:
        result = float(value)
    except OverflowError:
        result = math.inf
    if not math.isfinite(result):
        raise InputError(f"{name}={value!r} is not finite; give a finite number")
    if result < minimum:
        raise InputError(f"{name}={value!r} is too small; give at least {minimum:g}")
    if above is not None and result <= above:
        raise InputError(f"{name}={value!r} is too small; give a number greater than {above:g}")
    return result


def choice(value: Any, name: str, choices: Any) -> str:
    """`value` if it is one of `choices`, else an error that lists them."""
    if not isinstance(value, str) or value not in choices:
        raise InputError(f"{name}={value!r} is not known; choose one of {', '.join(map(repr, choices))}")
    return value


def generator(rng: Any) -> np.random.Generator:
    """A NumPy Generator from None (fresh entropy), a seed, or a Generator, which is used as it is."""
    if isinstance(rng, np.random.Generator):
        return rng
    if rng is None or (isinstance(rng, numbers.Integral) and not isinstance(rng, bool) and int(rng) >= 0):
        return np.random.default_rng(rng if rng is None else int(rng))
    raise InputError(f"rng={rng!r} is neither a numpy.random.Generator nor a non-negative integer seed")


def real_array(a: Array, name: str) -> Array:
    """`a` as an array of real numbers (any integer, float or bool dtype), not copied if it is one already."""
    if not isinstance(a, np.ndarray) and not isinstance(a, np.generic) and get_array_module(a) is np:
        try:
            a = np.asarray(a)
        except ValueError as error:
            raise InputError(f"{name} is not a rectangular array: {error}") from error
    if a.dtype.kind not in "fiub":
        raise DtypeError(f"{name} is of dtype {a.dtype}; give real numbers")
    return a


def all_finite(a: Array) -> bool:
    """Whether `a` holds no NaN and no infinity."""
    return a.dtype.kind != "f" or bool(get_array_module(a).isfinite(a).all())


def check_finite(a: Array, name: str) -> None:
    """Raise InputError if `a` holds NaN or infinity; the message names the first place."""
    if all_finite(a):
        return
    xp = get_array_module(a)
    where = tuple(int(i[0]) for i in xp.nonzero(~xp.isfinite(a)))
    at = f"[{', '.join(map(str, where))}]" if where else ""
    raise InputError(f"{name}{at} is {float(a[where])}; remove or replace NaN and infinity before they enter")


def check_samples(x: Array, features: int | None, name: str = "x") -> Array:
    """`x` as a real 2-D array (samples, features); a 1-D array is one sample. Values are checked, dtype is kept."""
    x = real_array(x, name)
    if x.ndim not in (1, 2):
        hint = f"; flatten each sample first: {name}.reshape(len({name}), -1)" if x.ndim > 2 else ""
        raise InputError(f"{name} has shape {x.shape}; give (samples, features), or (features,) for a single sample{hint}")
    x = x.reshape(1, -1) if x.ndim == 1 else x
    if x.shape[0] == 0 or x.shape[1] == 0:
        raise InputError(f"{name} has shape {x.shape} and so holds nothing; give at least one sample with one feature")
    if features is not None and x.shape[1] != features:
        raise InputError(f"{name} has {x.shape[1]} features, but the network takes {features}")
    check_finite(x, name)
    return x


def check_targets(t: Array, samples: int, classes: int, name: str = "t", *, single: bool = False) -> Array:
    """`t` as 1-D ``intp`` labels or as a real 2-D array (samples, classes).

    Parameters
    ----------
    t : array_like
        Labels, shape (samples,), of an integer dtype; or one-hot or soft targets, shape (samples, classes).
        With `single`, the targets of one sample: a scalar label, or a 1-D array of `classes` values.
    samples, classes : int
        What `t` must fit.
    """
    t = real_array(t, name)
    if single and (t.ndim == 0 or (t.ndim == 1 and t.shape[0] == classes and not (classes == 1 and t.dtype.kind in "iu"))):
        t = t.reshape(1, -1) if t.ndim else t.reshape(1)
    if t.ndim == 1:
        if t.shape[0] != samples:
            raise InputError(f"{name} holds {t.shape[0]} labels, but x holds {samples} samples")
        return check_labels(t, classes, name)
    if t.shape != (samples, classes):
        raise InputError(
            f"{name} has shape {t.shape}; give labels of shape ({samples},), or one-hot or soft targets of shape "
            f"({samples}, {classes})"
        )
    check_finite(t, name)
    return t


def check_labels(t: Array, classes: int, name: str = "t") -> Array:
    """1-D labels as ``intp``; refused unless of an integer dtype and within 0 … classes - 1."""
    if t.dtype.kind not in "iu":
        fractional = [v for v in t[:1000].tolist() if v != v or v % 1 != 0] if t.dtype.kind == "f" else []
        detail = f" and {name} holds {fractional[0]}" if fractional else f"; convert with {name}.astype(int)"
        raise DtypeError(f"labels must be of an integer dtype, not {t.dtype}{detail}")
    low, high = int(t.min()), int(t.max())
    if low < 0 or high >= classes:
        bad = low if low < 0 else high
        raise InputError(f"{name} holds the label {bad}, but the labels of {classes} classes are 0 to {classes - 1}")
    return t.astype(np.intp, copy=False)
