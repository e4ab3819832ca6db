"""Samples and targets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from ..errors import DtypeError, InputError
from .arrays import Array, array_namespace, numpy_dtype, ones, real_array


def check_samples(x: Array, features: int | None, name: str = "x", *, xp: Any = None) -> Array:
    """`x` as a real 2-D array (samples, features) of its dtype; 1-D is one sample.

    Whether its values are finite is not looked at.
    """
    x = real_array(x, name) if xp is None else x
    xp = array_namespace(x) if xp is None else xp
    if x.ndim not in (1, 2):
        hint = f"; flatten each sample first: {name}.reshape(len({name}), -1)" if x.ndim > 2 else ""
        raise InputError(
            f"{name} has shape {tuple(x.shape)}; "
            f"give (samples, features), or (features,) for a single sample{hint}"
        )
    x = xp.reshape(x, (1, -1)) if x.ndim == 1 else x
    if x.shape[0] == 0 or x.shape[1] == 0:
        raise InputError(
            f"{name} has shape {tuple(x.shape)} and so holds nothing; "
            "give at least one sample with one feature"
        )
    if features is not None and x.shape[1] != features:
        raise InputError(f"{name} has {x.shape[1]} features, but the network takes {features}")
    return x


def check_targets(
    t: Array,
    samples: int,
    classes: int,
    name: str = "t",
    *,
    single: bool = False,
    values: bool = False,
    xp: Any = None,
) -> Array:
    """`t` as 1-D ``intp`` labels or as a real 2-D array (samples, classes).

    Parameters
    ----------
    t : array_like
        Labels, shape (samples,), of an integer dtype; or one-hot or soft targets, shape (samples,
        classes). With `single`, the targets of one sample: a scalar label, or a 1-D array of
        `classes` values.
    samples, classes : int
        What `t` must fit.
    values : bool
        The loss takes any values for targets, so that with a single output what is of shape
        (samples,) is these values, and no labels.
    xp : namespace, optional
        Of `t`, if it is an array of real numbers already.

    Whether its values are finite is not looked at.
    """
    t = real_array(t, name) if xp is None else t
    xp = array_namespace(t) if xp is None else xp
    values = values and classes == 1
    if values and (t.shape == (samples,) or (single and t.ndim == 0)):
        t = xp.reshape(t, (samples, 1))
    labels = numpy_dtype(t).kind in "iu"
    if single and (
        t.ndim == 0 or (t.ndim == 1 and t.shape[0] == classes and not (classes == 1 and labels))
    ):
        t = xp.reshape(t, (1, -1) if t.ndim else (1,))
    if t.ndim == 1 and not values:
        if t.shape[0] != samples:
            raise InputError(f"{name} holds {t.shape[0]} labels, but x holds {samples} samples")
        return check_labels(t, classes, name, xp=xp)
    if t.shape != (samples, classes):
        kinds = ("values", "the same") if values else ("labels", "one-hot or soft targets")
        raise InputError(
            f"{name} has shape {tuple(t.shape)}; give {kinds[0]} of shape ({samples},), "
            f"or {kinds[1]} of shape ({samples}, {classes})"
        )
    return t


def check_labels(t: Array, classes: int, name: str = "t", *, xp: Any = None) -> Array:
    """1-D labels as integers that index; refused unless integers from 0 to classes - 1."""
    if _index_at_once(t, classes):
        return t
    xp = array_namespace(t) if xp is None else xp
    dtype = numpy_dtype(t)
    if dtype.kind not in "iu":
        first = (float(t[i]) for i in range(min(t.shape[0], 1000)) if dtype.kind == "f")
        bad = next((v for v in first if not (v.is_integer() and 0 <= v < classes)), None)
        detail = (
            f"; convert with {name}.astype(int)"
            if bad is None
            else f" and {name} holds {bad}; other targets than labels are rows, one of {classes} "
            "values for each sample"
        )
        raise DtypeError(f"labels must be of an integer dtype, not {dtype}{detail}")
    low, high = int(xp.min(t)), int(xp.max(t))
    if low < 0 or high >= classes:
        bad = low if low < 0 else high
        raise InputError(
            f"{name} holds the label {bad}, "
            f"but the labels of {classes} classes are 0 to {classes - 1}"
        )
    return xp.astype(t, xp.int64, copy=False)


def _index_at_once(t: Array, classes: int) -> bool:
    """Whether labels are found at once to be such integers. False says nothing."""
    if type(t) is not np.ndarray or t.dtype.type is not np.int64 or not t.size:
        return False
    # Without a sign, those below 0 are the largest.
    return bool(np.maximum.reduce(t.view(np.uint64)) < classes)


#: How far from one the sum of a row of targets may be: what rounding makes of it in float32, and
#: what in the floating dtypes of 16 bits.
LARGEST_EXCESS, LARGEST_EXCESS_OF_HALVES = 1e-4, 1e-2

_any_sum: ContextVar[bool] = ContextVar("any_sum", default=False)


@contextmanager
def targets_of_any_sum() -> Iterator[None]:
    """Let :func:`check_sums` pass, for a caller that wants to see what becomes of such targets."""
    token = _any_sum.set(True)
    try:
        yield
    finally:
        _any_sum.reset(token)


def sums_are_one(t: Array) -> bool:
    """Whether each row of these targets is found at once to sum to one, and so to be finite.

    False says nothing.
    """
    if type(t) is not np.ndarray:
        return False
    excess = t.dot(ones(t.shape[1], t.dtype))  # NumPy takes short rows one by one
    excess -= 1
    return bool(np.maximum.reduce(np.abs(excess, out=excess)) <= LARGEST_EXCESS)


def check_sums(t: Array, given: Any, name: str = "t", *, xp: Any = None) -> None:
    """Raise InputError unless every row of floating targets sums to one.

    The gradient of the cross-entropy with the softmax is y − t only then. `given` is what the
    targets were made of, which may have been rounded more.
    """
    if _any_sum.get():
        return
    if sums_are_one(t):
        return
    xp = array_namespace(t) if xp is None else xp
    sums = xp.sum(t, axis=1)
    excess = xp.abs(sums - 1)
    off = excess > LARGEST_EXCESS
    if str(getattr(given, "dtype", "")).endswith("float16"):
        off = excess > LARGEST_EXCESS_OF_HALVES
    if bool(xp.any(off)):
        row = int(xp.nonzero(off)[0][0])
        raise InputError(
            f"{name}[{row}] sums to {float(sums[row]):g}, but the cross-entropy takes targets of "
            "which each row sums to one; divide by the sums, or use loss='mean_squared_error', or "
            "loss='binary_cross_entropy' for outputs that are true or not each by itself"
        )


def check_probabilities(t: Array, name: str = "t", *, xp: Any = None) -> None:
    """Raise InputError if a value of a 2-D array is below 0 or above 1; NaN passes."""
    xp = array_namespace(t) if xp is None else xp
    off = (t < 0) | (t > 1)
    if bool(xp.any(off)):
        row, column = (int(i[0]) for i in xp.nonzero(off))
        raise InputError(
            f"{name} holds {float(t[row, column]):g} for sample {row}, but the binary "
            "cross-entropy takes values from 0 to 1: of each output the probability that it is "
            "true; rescale them, or use loss='mean_squared_error'"
        )


def check_weights(weights: Array, samples: int, name: str, *, xp: Any) -> None:
    """Raise InputError unless there is a weight for each sample, none below 0, and not all 0."""
    if tuple(weights.shape) != (samples,):
        raise InputError(
            f"{name} has shape {tuple(weights.shape)}; give one for each of the {samples} samples"
        )
    if (least := float(xp.min(weights))) < 0:
        raise InputError(f"{name} holds {least:g}; a weight is 0, for a sample left out, or more")
    if not np.isfinite(total := float(xp.sum(weights))) or not total:
        raise InputError(f"{name} sums to {total:g}; give weights of which some are above 0")
