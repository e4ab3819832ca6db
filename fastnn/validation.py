"""The public doors: input becomes a canonical array, or a clear error before anything changes.

Canonical inside fastnn are: samples as a 2-D array (samples, features) of the network's dtype;
targets either as a 1-D array of ``intp`` labels or as a 2-D array (samples, classes) of the
network's dtype. Every function here takes arrays of any library that keeps the array API standard;
`xp` is its namespace, and is asked of the array where it is not given.
"""

from __future__ import annotations

import math
import numbers
import sys
from typing import Any, TypeAlias

import numpy as np

from .errors import DtypeError, ForeignArrayError, InputError

# An array of the backend at hand. Python cannot say this more precisely.
Array: TypeAlias = Any


def array_namespace(*arrays: Any) -> Any:
    """The array API namespace of the arrays: NumPy's, unless one of them says otherwise.

    An array says so with ``__array_namespace__``, as the standard has it, or by its type's coming
    from a library that is such a namespace itself. Nothing is imported, and no library is known by
    name. Numbers and lists have no say.

    Raises
    ------
    ForeignArrayError
        If arrays of two libraries are mixed: nothing is copied between host and device silently.

    Examples
    --------
    >>> array_namespace(np.ones(3), [1, 2]).__name__
    'numpy'
    """
    found = None
    for a in arrays:
        xp = np if type(a) is np.ndarray else _namespace_of(a)
        if xp is None or xp is found:
            continue
        if found is not None:
            raise ForeignArrayError(
                f"arrays of {found.__name__} and of {xp.__name__} are mixed in one call; "
                "convert one of them yourself, so that all are of one library"
            )
        found = xp
    return np if found is None else found


def _namespace_of(a: Any) -> Any:
    if hasattr(type(a), "__array_namespace__"):
        return a.__array_namespace__()
    library = sys.modules.get(type(a).__module__.partition(".")[0])
    return (
        library
        if all(hasattr(library, name) for name in ("asarray", "astype", "isdtype"))
        else None
    )


def numpy_dtype(a: Array) -> np.dtype:
    """The dtype of an array of any library, as NumPy's."""
    dtype = a.dtype
    if isinstance(dtype, np.dtype):
        return dtype
    try:
        return np.dtype(str(dtype).rpartition(".")[2])
    except TypeError as error:
        raise DtypeError(
            f"dtype {dtype} is none that fastnn knows; convert to float32 or float64"
        ) from error


#: The kinds of devices whose memory the host can read, as DLPack numbers them: CPU, pinned by CUDA,
#: pinned by ROCm.
_HOST_DEVICES = (1, 3, 11)


def refuse_device_array(a: Any, name: str) -> None:
    """Raise ForeignArrayError for an array on a device: copying it is the caller's to ask for."""
    if type(a) is np.ndarray:
        return
    try:
        if hasattr(type(a), "__dlpack_device__"):
            on_device = int(a.__dlpack_device__()[0]) not in _HOST_DEVICES
        else:
            on_device = hasattr(type(a), "__cuda_array_interface__") and hasattr(
                a, "__cuda_array_interface__"
            )
    except Exception:  # some libraries raise here for arrays that are on the host
        on_device = False
    if on_device:
        kind = f"{type(a).__module__}.{type(a).__qualname__}"
        raise ForeignArrayError(
            f"{name} is a {kind} in the memory of a device, and is needed on the host; "
            f"copy it there yourself, with what {kind} has for that, "
            "or use the backend of that library"
        )


def float_dtype(dtype: Any) -> np.dtype:
    """`dtype` as float32 or float64, the two that parameters can have.

    Raises
    ------
    DtypeError
        For any other dtype: integers cannot hold a gradient step, and complex parameters have no
        meaning here.
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
        raise DtypeError(
            f"{name}={value!r} is a {type(value).__name__}; give an integer of at least {minimum}"
        )
    result = int(value)
    if result < minimum:
        raise InputError(f"{name}={value!r} is too small; give an integer of at least {minimum}")
    return result


def real_number(
    value: Any, name: str, *, minimum: float = -math.inf, above: float | None = None
) -> float:
    """`value` as a finite float, at least `minimum` and, if given, greater than `above`."""
    if not isinstance(value, float) and (
        isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real)
    ):
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
        raise InputError(
            f"{name}={value!r} is not known; choose one of {', '.join(map(repr, choices))}"
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
        f"rng={rng!r} is neither a numpy.random.Generator nor a non-negative integer seed"
    )


def real_array(a: Array, name: str) -> Array:
    """`a` as an array of real numbers (integers, floats or bools), not copied if it is one.

    Arrays of other libraries stay what they are; what is no array becomes one of NumPy.
    """
    if not isinstance(a, np.ndarray | np.generic) and _namespace_of(a) is None:
        refuse_device_array(a, name)
        try:
            a = np.asarray(a)
        except ValueError as error:
            raise InputError(f"{name} is not a rectangular array: {error}") from error
        except Exception as error:  # what another library has against being read by NumPy
            kind = f"{type(a).__module__}.{type(a).__qualname__}"
            raise DtypeError(
                f"{name} is a {kind} that does not convert to a NumPy array: {error}"
            ) from error
    elif isinstance(a, np.generic):
        a = np.asarray(a)
    check_real(a, name)
    return a


def check_real(a: Array, name: str) -> None:
    """Raise DtypeError unless an array holds real numbers: of any integer, float or bool dtype."""
    dtype = numpy_dtype(a)
    if dtype.kind not in "fiub":
        raise DtypeError(f"{name} is of dtype {dtype}; give real numbers")


def all_finite(a: Array, xp: Any = None) -> bool:
    """Whether `a` holds no NaN and no infinity."""
    xp = array_namespace(a) if xp is None else xp
    return numpy_dtype(a).kind != "f" or bool(xp.all(xp.isfinite(a)))


def check_finite(a: Array, name: str, xp: Any = None) -> None:
    """Raise InputError if `a` holds NaN or infinity; the message names the first place."""
    xp = array_namespace(a) if xp is None else xp
    if all_finite(a, xp):
        return
    where = tuple(int(i[0]) for i in xp.nonzero(~xp.isfinite(a))) if a.ndim else ()
    at = f"[{', '.join(map(str, where))}]" if where else ""
    raise InputError(
        f"{name}{at} is {float(a[where])}; remove or replace NaN and infinity before they enter"
    )


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
