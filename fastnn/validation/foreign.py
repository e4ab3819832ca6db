"""What looks like an array of numbers and is more, or less: refused by name, with the remedy.

Nothing is imported, and no library is known by name: sparse matrices, tensors with a gradient,
frames of columns and what is still to be computed are told by what they can do.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import DtypeError, InputError, one_line
from .text import LONGEST_VALUE, kind, shown

#: Arrays that compute otherwise than arrays do.
WITH_WAYS_OF_THEIR_OWN = np.matrix, np.ma.MaskedArray


#: What certainly is dense.
_DENSE = np.ndarray, np.generic, list, tuple


def is_sparse(a: Any) -> bool:
    """Whether `a` is a sparse matrix of any library, whose zeros are not stored."""
    if isinstance(a, _DENSE):
        return False
    if any(hasattr(type(a), name) for name in ("nnz", "nse")):
        return True
    # Not asked of the object itself: a frame has its columns for attributes.
    return hasattr(type(a), "layout") and "sparse" in str(a.layout)


def refuse_sparse(a: Any, name: str, detail: str = "") -> None:
    """Raise DtypeError for a sparse matrix; the message names what makes it dense."""
    if is_sparse(a):
        remedies = ("toarray", "todense", "to_dense")
        remedy = next((method for method in remedies if hasattr(a, method)), remedies[0])
        raise DtypeError(f"{name} is sparse, a {kind(a)}; make it dense: {name}.{remedy}(){detail}")


def refuse_gradient(a: Any, name: str) -> None:
    """Raise DtypeError for a tensor that keeps account of what is computed with it."""
    if hasattr(type(a), "requires_grad") and a.requires_grad is True:
        raise DtypeError(
            f"{name} is a {kind(a)} that requires a gradient; pass its values: {name}.detach()"
        )


def refuse_masked(a: Any, name: str) -> None:
    """Raise InputError where a value is masked; also for lists of arrays of which one is."""
    for row in _rows(a):
        if isinstance(row, np.ma.MaskedArray) and np.ma.is_masked(row):
            raise InputError(
                f"{name} holds masked values; put numbers in their place: {name}.filled(0), "
                "or drop their samples"
            )


def refuse_uncomputed(a: Any, name: str) -> None:
    """Raise DtypeError for what is still to be computed, as a dask.array; also for lists of them.

    To read it would compute all of it on this machine.
    """
    for row in _rows(a):
        if hasattr(type(row), "__dask_graph__") and row.__dask_graph__() is not None:
            raise DtypeError(
                f"{name} is a {kind(row)}, which is still to be computed; fetch it yourself, "
                f"{name}.compute(), or train on its cluster: fastnn.distributed.train"
            )


def _rows(a: Any) -> Any:
    return a if isinstance(a, list | tuple) else (a,)


def refuse_dtype(a: Any, name: str, dtype: np.dtype) -> None:
    """Raise DtypeError for what NumPy reads as no numbers; the message says what makes it some."""
    found = one_line(str(dtype), LONGEST_VALUE)
    raise DtypeError(f"{name} is of dtype {found}; give real numbers{_remedy(a, name)}")


def _remedy(a: Any, name: str) -> str:
    cls = type(a)
    if hasattr(cls, "collect"):  # a frame that is still to be computed
        return f": {name}.collect()"
    cast = f"{name}.{'cast' if hasattr(cls, 'cast') else 'astype'}(float)"
    if hasattr(cls, "columns"):
        for column in a.columns:
            values, where = np.asarray(a[column]), f"{name}[{shown(column)}]"
            if hasattr(a[column], "isna") and a[column].isna().any():
                return f"; {where} has missing values: {name}.fillna(0) or {name}.dropna()"
            if values.dtype.kind not in "fiub":
                return f"; {where} holds none: drop that column, or {_CODES.format(where)}"
        return f": {cast}"
    if not hasattr(cls, "__array__") or np.asarray(a).dtype.kind not in "OSUT":
        return ""
    if hasattr(cls, "isna") and a.isna().any():
        return f"; {name} has missing values: {name}.fillna(0) or {name}.dropna()"
    return f": {cast}, or {_CODES.format(name)}"


#: How names become numbers.
_CODES = "number what are names: np.unique({}, return_inverse=True)[1]"
