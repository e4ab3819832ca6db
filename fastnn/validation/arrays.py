"""Arrays of any library: their namespace and dtype, where they are, and what they hold."""

from __future__ import annotations

import sys
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np

from ..errors import DtypeError, ForeignArrayError, InputError
from .foreign import refuse_dtype, refuse_gradient, refuse_masked, refuse_sparse, refuse_uncomputed
from .text import kind, shown

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
            f"dtype {shown(dtype)} is none that fastnn knows; convert to float32 or float64"
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
        raise ForeignArrayError(
            f"{name} is a {kind(a)} in the memory of a device, and is needed on the host; "
            f"copy it there yourself, with what {kind(a)} has for that, "
            "or use the backend of that library"
        )


def real_array(a: Array, name: str) -> Array:
    """`a` as an array of real numbers (integers, floats or bools), not copied if it is one.

    Arrays of other libraries stay what they are; what is no array becomes one of NumPy, and so
    does, in the byte order of the machine, what is more than one, such as a matrix.
    """
    array = a
    if type(a) is np.ndarray:
        if a.dtype.kind in "fiub" and a.dtype.isnative:  # as nearly always, and in no time
            return a
    else:
        refuse_masked(a, name)
        refuse_uncomputed(a, name)
        refuse_sparse(a, name)
        refuse_gradient(a, name)
        array = _numpy_array(a, name) if _namespace_of(a) in (None, np) else a
    check_real(array, name, a)
    if isinstance(array, np.ndarray) and not array.dtype.isnative:
        return array.astype(array.dtype.newbyteorder("="))
    return array


def _numpy_array(a: Any, name: str) -> np.ndarray:
    if not isinstance(a, np.ndarray | np.generic):
        refuse_device_array(a, name)
    try:
        return np.asarray(a)
    except ValueError as error:
        raise InputError(f"{name} is not a rectangular array: {error}") from error
    except Exception as error:  # what another library has against being read by NumPy
        raise DtypeError(
            f"{name} is a {kind(a)} that does not convert to a NumPy array: {error}"
        ) from error


@lru_cache(maxsize=16)
def ones(size: int, dtype: np.dtype) -> np.ndarray:
    """A vector of ones, read-only: BLAS adds up rows by it in a third of the time of a sum."""
    made = np.ones(size, dtype)
    made.flags.writeable = False
    return made


def check_real(a: Array, name: str, given: Any = None) -> None:
    """Raise DtypeError unless an array holds real numbers: of any integer, float or bool dtype.

    `given` is what it was made of, for the message.
    """
    dtype = numpy_dtype(a)
    if dtype.kind not in "fiub":
        refuse_dtype(a if given is None else given, name, dtype)
    refuse_gradient(a, name)


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
