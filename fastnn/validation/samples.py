"""Samples and targets."""

from __future__ import annotations

from typing import Any

from ..errors import DtypeError, InputError
from .arrays import Array, array_namespace, check_finite, numpy_dtype, real_array


def check_samples(x: Array, features: int | None, name: str = "x", *, xp: Any = None) -> Array:
    """`x` as a real, checked 2-D array (samples, features) of its dtype; 1-D is one sample."""
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
    check_finite(x, name, xp)
    return x


def check_targets(
    t: Array, samples: int, classes: int, name: str = "t", *, single: bool = False, xp: Any = None
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
    xp : namespace, optional
        Of `t`, if it is an array of real numbers already.
    """
    t = real_array(t, name) if xp is None else t
    xp = array_namespace(t) if xp is None else xp
    labels = numpy_dtype(t).kind in "iu"
    if single and (
        t.ndim == 0 or (t.ndim == 1 and t.shape[0] == classes and not (classes == 1 and labels))
    ):
        t = xp.reshape(t, (1, -1) if t.ndim else (1,))
    if t.ndim == 1:
        if t.shape[0] != samples:
            raise InputError(f"{name} holds {t.shape[0]} labels, but x holds {samples} samples")
        return check_labels(t, classes, name, xp=xp)
    if t.shape != (samples, classes):
        raise InputError(
            f"{name} has shape {tuple(t.shape)}; give labels of shape ({samples},), "
            f"or one-hot or soft targets of shape ({samples}, {classes})"
        )
    check_finite(t, name, xp)
    return t


def check_labels(t: Array, classes: int, name: str = "t", *, xp: Any = None) -> Array:
    """1-D labels as integers that index; refused unless integers from 0 to classes - 1."""
    xp = array_namespace(t) if xp is None else xp
    dtype = numpy_dtype(t)
    if dtype.kind not in "iu":
        first = (float(t[i]) for i in range(min(t.shape[0], 1000)) if dtype.kind == "f")
        fractional = next((v for v in first if not v.is_integer()), None)
        detail = (
            f"; convert with {name}.astype(int)"
            if fractional is None
            else f" and {name} holds {fractional}"
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
