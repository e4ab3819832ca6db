"""A digest of data: whether two trainings have seen the same."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from ..backends import Backend
from ..errors import DtypeError
from ..streams import Stream
from ..validation import is_sparse, kind, refuse_uncomputed, shown

#: How a digest begins that is of the blocks of data on a cluster, and not of the whole.
OF_BLOCKS = "dask:"

#: Bytes that are copied at a time, of arrays that do not lie in order.
CHUNK = 2**22


def digest_of(*data: Any, backend: Backend | None = None) -> str:
    """The SHA-256 of arrays, in hexadecimal digits: of their dtypes, shapes and values, in order.

    How they lie in memory, or on the disk, and in which byte order, is no part of it; nothing is
    copied but a piece at a time, and a memory map is read once.

    Parameters
    ----------
    *data : array_like, sparse matrix or None
        Of SciPy's sparse matrices in any format, whose entries count in any order.
    backend : Backend, optional
        Whose arrays may be among them.

    Raises
    ------
    DtypeError
        If something is no array of numbers, or still to be computed.

    Examples
    --------
    >>> x = np.arange(6.0).reshape(2, 3)
    >>> digest_of(x) == digest_of(np.asfortranarray(x)) == digest_of(x.tolist())
    True
    >>> digest_of(x) == digest_of(x.T)
    False
    """
    total = hashlib.sha256()
    for item in data:
        if item is None:
            total.update(b"None;")
        elif isinstance(item, Stream):
            _update_stream(total, item)
        elif is_sparse(item):
            _update_sparse(total, item)
        else:
            _update(total, _on_host(item, backend))
    return total.hexdigest()


def _update(total: Any, a: np.ndarray) -> None:
    if a.dtype.kind not in "fiub":
        raise DtypeError(f"data of dtype {shown(str(a.dtype))} has no digest; give real numbers")
    stored = a.dtype.newbyteorder("<")
    total.update(f"{stored.str}{a.shape};".encode())
    if not a.size:
        return
    a = a.reshape(1) if a.ndim == 0 else a
    if a.flags.c_contiguous and a.dtype == stored:
        total.update(a.reshape(-1).view(np.uint8).data)
        return
    rows = max(CHUNK // max(a.nbytes // len(a), 1), 1)
    for first in range(0, len(a), rows):
        piece = np.asarray(a[first : first + rows]).astype(stored, order="C")
        total.update(piece.reshape(-1).view(np.uint8).data)


def _update_stream(total: Any, x: Stream) -> None:
    """As of the same samples in memory."""
    stored = x.dtype.newbyteorder("<")
    total.update(f"{stored.str}{x.shape};".encode())
    for piece in x.pieces():
        total.update(piece.astype(stored, order="C", copy=False).reshape(-1).view(np.uint8).data)


def _update_sparse(total: Any, a: Any) -> None:
    if not hasattr(a, "tocsr"):
        raise DtypeError(f"data that is a {kind(a)} has no digest; give a sparse matrix of SciPy's")
    rows = a.tocsr()
    if not rows.has_canonical_format:
        rows = rows.copy() if rows is a else rows
        rows.sum_duplicates()  # and sorts
    total.update(f"sparse{tuple(map(int, rows.shape))};".encode())
    # In one type, whatever size was enough for them.
    for part in (rows.indptr.astype(np.int64), rows.indices.astype(np.int64), rows.data):
        _update(total, part)


def _on_host(a: Any, backend: Backend | None) -> np.ndarray:
    refuse_uncomputed(a, "data")
    try:
        return np.asarray(a)
    except Exception as error:  # each library has an error of its own for it
        if backend is not None and isinstance(a, backend.array_type):
            return np.asarray(backend.to_numpy(a))
        raise DtypeError(f"data that is a {kind(a)} has no digest; give an array") from error
