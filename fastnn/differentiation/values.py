"""What f returns: checked, and taken out of f's memory, where it may write in its next call."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, TypeAlias

import numpy as np

from ..errors import DtypeError, InputError
from ..validation import Array, numpy_dtype, refuse_device_array

#: Maps a point to a number or, vectorized, an array of points to an array of as many numbers.
Function: TypeAlias = Callable[[Array], Any]

#: The kinds of dtypes that are numbers.
_KINDS = "fiubc"


class Values:
    """The values of f around one point: each is checked, and f's precision is kept in mind.

    Parameters
    ----------
    xp : namespace
    x : array
        The point as f gets it, so complex for a complex step.

    Attributes
    ----------
    dtype : dtype of any library
        The coarsest floating dtype that f has returned, if that is not the dtype of `x`.
    epsilon : float
        Its ε; 0 if there is none.
    """

    def __init__(self, xp: Any, x: Array) -> None:
        self.xp = xp
        self.complex = numpy_dtype(x).kind == "c"
        self.wide = at_least_double(x.dtype) if xp is np else x.dtype
        self.epsilon, self.dtype = 0.0, x.dtype
        self._array_type = type(x)
        self._noted: Any = x.dtype

    def number(self, value: Any) -> Any:
        """One number: Python's, NumPy's scalar, or an array of `xp`, which may be f's own."""
        a = value if _has_shape(value) else _numpy_array(value)
        if math.prod(a.shape) != 1:
            raise InputError(
                f"f returned an array of shape {tuple(a.shape)}, but only one number has a "
                "gradient: reduce it, for example by its sum; numerical_diff differentiates "
                "elementwise, numerical_gradient_rows each row as a point by itself"
            )
        a = self._array(a)
        self._check(a, value)
        if self.xp is np:
            return a.reshape(())[()]
        return self.xp.reshape(a, ()) if self._own(a) else a.item()

    def block(self, value: Any, points: Array) -> Array:
        """One number for each of `points`: a new array, with NumPy of double precision at least."""
        return self._copied(self.of_block(value, points), value)

    def of_block(self, value: Any, points: Array) -> Array:
        """The same as `f` returned it, perhaps in memory of its own."""
        count = (points.shape[0],)
        if type(value) is np.ndarray and value.dtype is self.wide and value.shape == count:
            return value
        a = self._array(value)
        if tuple(a.shape) != count or numpy_dtype(a).kind not in _KINDS:
            raise InputError(
                f"f returned shape {tuple(a.shape)} of {a.dtype} for {count[0]} points of shape "
                f"{tuple(points.shape[1:])}; with vectorized=True it must return one number for "
                f"each, shape {count}: reduce all axes but the first"
            )
        self._check(a, value)
        return a

    def elementwise(self, value: Any, x: Array) -> Array:
        """One number for each element of `x`: a new array of its shape."""
        if self.xp is np and isinstance(value, float) and x.shape == ():
            return np.float64(value)
        a = self._array(value)
        if a.shape != x.shape and tuple(a.shape) != tuple(x.shape):
            raise InputError(
                f"f returned shape {tuple(a.shape)} for an x of shape {tuple(x.shape)}; "
                "numerical_diff takes a function that works elementwise, numerical_gradient one "
                "that maps the whole array to a number"
            )
        return self._copied(a, value)

    def gathered(self, like: Array, numbers: Iterable[tuple[Any, Any]]) -> Array:
        """Pairs of an index and what :meth:`number` gave, as an array of the shape of `like`.

        They stay on the device of `like`: nothing waits for them.
        """
        xp, result, dtype = self.xp, None, self.wide
        for index, value in numbers:
            if result is None:
                if self._own(value) and numpy_dtype(value).kind in "fc":
                    dtype = xp.result_type(dtype, value.dtype)
                result = xp.zeros_like(like, dtype=dtype)
            result[index] = xp.astype(value, dtype, copy=False) if self._own(value) else value
        return result

    def note(self, dtype: Any) -> None:
        """Keep `dtype` in mind if it is the coarsest so far."""
        if dtype is not self._noted:
            self._noted = dtype
            if (epsilon := epsilon_of(dtype)) > self.epsilon:
                self.epsilon, self.dtype = epsilon, dtype

    def _own(self, a: Any) -> bool:
        return self.xp is not np and isinstance(a, self._array_type)

    def _array(self, value: Any) -> Array:
        """`value` as an array of `xp`, if it is one, and of NumPy otherwise; not copied."""
        if type(value) is np.ndarray and self.xp is np and value.dtype.kind != "V":
            return value
        return value if self._own(value) else _numpy_array(value)

    def _copied(self, a: Array, value: Any) -> Array:
        if self.xp is np and a.dtype is self.wide:
            return a.copy()
        self._check(a, value)
        if self.xp is np:
            return a.astype(self.wide)
        if self._own(a) and numpy_dtype(a).kind in "fc":
            return self.xp.astype(a, a.dtype)
        return self.xp.astype(a if self._own(a) else self.xp.asarray(a), self.wide)

    def _check(self, a: Array, value: Any) -> None:
        """Check the kind of the values, and note their dtype."""
        kind = numpy_dtype(a).kind
        if kind not in _KINDS:
            raise _no_number(value)
        if self.complex and kind != "c":
            raise InputError(
                f"f returned {a.dtype} at a complex point: scheme='complex' takes a function that "
                "computes with its argument, without abs, comparisons or casts to float; "
                "use scheme='central'"
            )
        if not self.complex and kind == "c":
            raise InputError(
                f"f returned {a.dtype}, but only a real function has a gradient; return its real "
                "part"
            )
        if (dtype := getattr(value, "dtype", None)) is not None:
            self.note(dtype)


def _has_shape(value: Any) -> bool:
    """Whether it is an array of some library; the class of arrays has only a descriptor."""
    return hasattr(value, "shape") and not isinstance(value, type)


def _numpy_array(value: Any) -> np.ndarray:
    """A value of f, of whatever library, as an array of NumPy."""
    if isinstance(value, np.ndarray | np.generic):
        a = np.asarray(value)
    else:
        shape = value.shape if _has_shape(value) else None
        if shape is not None and math.prod(shape) != 1:
            refuse_device_array(value, "what f returned")
        try:
            if shape is None and hasattr(type(value), "__float__"):
                value = float(value)
            elif shape is not None and math.prod(shape) == 1 and hasattr(value, "item"):
                # The one way that also tensors with a gradient and arrays on a device have.
                return np.asarray(value.item()).reshape(shape)
            elif hasattr(value, "toarray"):  # sparse
                value = value.toarray()
            a = np.asarray(value)
        except Exception as error:  # what another library has against being read by NumPy
            raise _no_number(value, f" that does not convert to one: {error}") from error
    if a.dtype.kind == "V":  # a floating dtype that NumPy does not have itself, as bfloat16
        try:
            a = a.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise _no_number(value) from error
    return a


def _no_number(value: Any, why: str = "") -> DtypeError:
    return DtypeError(f"f returned a {type(value).__name__}{why}; it must return a number")


@cache
def at_least_double(dtype: np.dtype) -> np.dtype:
    """`dtype`, or float64 or complex128 if that is more precise."""
    return np.result_type(dtype, np.float64)


def epsilon_of(dtype: Any) -> float:
    """ε of a floating or complex dtype of any library; 0 for others, which are exact."""
    if isinstance(dtype, np.dtype):
        return _epsilon(dtype)
    return _epsilon(str(dtype).rpartition(".")[2].lower())  # torch.float32; Float32 of pandas


@cache
def _epsilon(dtype: np.dtype | str) -> float:
    if str(dtype) == "bfloat16":
        return 2.0**-7
    try:
        return float(np.finfo(dtype).eps)
    except (TypeError, ValueError):
        return 0.0
