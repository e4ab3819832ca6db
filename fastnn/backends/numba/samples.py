"""Samples of which most features are zero, as MNIST's are: only the others are kept (CSR).

Only they are read, and only they cost anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from ...errors import DtypeError, InputError
from ...functions import one_hot
from ...validation import Array, kind, refuse_sparse, shown
from ..datasets import Dataset
from ..machine import Machine


def index_dtype(features: int) -> type[np.unsignedinteger[Any]]:
    """Of the numbers of so many features: 16 bits where they will do, a quarter less to be read.

    Unsigned: a signed number might be negative, and the kernels would have to ask.
    """
    return np.uint16 if features <= 2**16 else np.uint32


class SparseRows(NamedTuple):
    """A batch of sparse samples: which rows of which compressed samples.

    Nothing is gathered until an operation reads it.

    Attributes
    ----------
    samples : (indptr, indices, values)
        Row r has the values ``values[indptr[r]:indptr[r + 1]]`` in the columns
        ``indices[indptr[r]:indptr[r + 1]]``, in order.
    rows : array of int64
    features : int
        How many columns there are.
    """

    samples: tuple[Array, Array, Array]
    rows: Array
    features: int

    @property
    def shape(self) -> tuple[int, int]:
        """How many rows there are, and columns."""
        return len(self.rows), self.features

    def gathered(self) -> Array:
        """The rows as a dense array of shape (rows, features), of the dtype of the values."""
        indptr, indices, values = self.samples
        dense = np.zeros((len(self.rows), self.features), values.dtype)
        begins = indptr[self.rows]
        counts = indptr[self.rows + 1] - begins
        steps = np.arange(counts.sum()) - np.repeat(counts.cumsum() - counts, counts)
        positions = np.repeat(begins, counts) + steps
        dense[np.repeat(np.arange(len(self.rows)), counts), indices[positions]] = values[positions]
        return dense


class SparseDataset(Dataset):
    """Samples kept as compressed rows, and their targets.

    Parameters
    ----------
    backend : Backend
    samples : SparseRows
        All of them.
    t : array
        Targets, as for :class:`Dataset`.
    """

    def __init__(self, backend: Machine, samples: SparseRows, t: Array) -> None:
        super().__init__(backend, samples.samples, t)
        self.features = samples.features
        self._rows = samples.rows

    def __len__(self) -> int:
        return len(self.t)

    def batch(self, rows: Array, *, out: Array | None = None) -> tuple[SparseRows, Array]:
        return SparseRows(self.x, rows, self.features), self.backend.take(self.t, rows)

    def buffer(self, size: int) -> None:
        return None

    def chunks(self, size: int) -> Iterator[tuple[SparseRows, Array]]:
        for start in range(0, len(self), size):
            yield (
                SparseRows(self.x, self._rows[start : start + size], self.features),
                self.t[start : start + size],
            )


def sparse_rows(matrix: Any, dtype: np.dtype, name: str) -> SparseRows:
    """A sparse matrix, as SciPy has them, as samples; values are copied only to be changed.

    Kernels index by what is stored in it, so that this is copied and checked first: another thread,
    or another library, may have left anything there.
    """
    if not hasattr(matrix, "tocsr"):
        refuse_sparse(matrix, name)
    csr = matrix.tocsr()
    shape = tuple(map(int, csr.shape))
    rows, features = shape if len(shape) == 2 else (1, *shape)
    if not rows or not features:
        raise InputError(
            f"{name} has shape {shape} and so holds nothing; "
            "give at least one sample with one feature"
        )
    indptr, indices, values = csr.indptr, csr.indices, csr.data
    indptr, indices = np.array(indptr, np.int64), np.array(indices, np.int64)
    values = np.asarray(values)
    if values.dtype.kind not in "fiub":
        raise DtypeError(f"{name} is of dtype {shown(str(values.dtype))}; give real numbers")
    if not _is_whole(indptr, indices, values, rows, features):
        raise InputError(f"{name} is a damaged {kind(csr)}: its indices do not fit its shape")
    indices, values = indices[: indptr[-1]], values[: indptr[-1]]
    values = values.astype(values.dtype.newbyteorder("="), copy=False)
    if not _is_canonical(indptr, indices):
        indptr, indices, values = _summed(indptr, indices, values)
    if not np.isfinite(values).all():
        at = int(np.isfinite(values).argmin())
        place = f"{name}[{np.searchsorted(indptr, at, side='right') - 1}, {indices[at]}]"
        raise InputError(
            f"{place} is {float(values[at])}; remove or replace NaN and infinity before they enter"
        )
    with np.errstate(over="ignore"):
        converted = np.require(values, dtype, ["C", "A", "W"])
    if not np.isfinite(converted).all():
        raise InputError(
            f"{name} holds values beyond the range of {dtype}; "
            "scale them, or use a network of dtype 'float64'"
        )
    kept = converted != 0
    if not kept.all():
        before = np.concatenate(([0], kept.cumsum()))
        indptr, indices, converted = before[indptr], indices[kept], converted[kept]
    samples = indptr.astype(np.intp), indices.astype(index_dtype(features)), converted
    return SparseRows(samples, np.arange(rows), features)


def with_all_values(x: Array) -> SparseRows:
    """Dense samples, C-contiguous, as if they were compressed: their values are not copied."""
    rows, features = x.shape
    places = _kept(_every_place, x.size)(rows, features)
    return SparseRows((*places, x.reshape(-1)), np.arange(rows), features)


#: Up to how many numbers of one array are kept for the next call.
KEPT = 2**20


def _kept(make: Any, size: int) -> Any:
    """A cached function; where what it makes is too large to be kept, the function alone."""
    return make if size <= KEPT else make.__wrapped__


@lru_cache(maxsize=2)
def _every_place(rows: int, features: int) -> tuple[Array, Array]:
    """Where each row begins, and the numbers of the columns, of rows with all their values."""
    numbers = np.arange(features, dtype=index_dtype(features))
    return np.arange(rows + 1) * features, np.tile(numbers, rows)


def _is_whole(indptr: Array, indices: Array, values: Array, rows: int, features: int) -> bool:
    """Whether every row's part lies within what is stored, and every index within the columns."""
    return bool(
        len(indptr) == rows + 1
        and indptr[0] == 0
        and (np.diff(indptr) >= 0).all()
        and indptr[-1] <= min(len(indices), len(values))
        and ((indices >= 0) & (indices < features))[: indptr[-1]].all()
    )


def _is_canonical(indptr: Array, indices: Array) -> bool:
    """Whether the indices of each row rise, so that none comes twice."""
    rises = indices[1:] > indices[:-1]
    starts = indptr[1:-1]
    rises[starts[(starts > 0) & (starts < len(indices))] - 1] = True
    return bool(rises.all())


def _summed(indptr: Array, indices: Array, values: Array) -> tuple[Array, Array, Array]:
    """New arrays in which the indices of each row rise, and values of one place are added up."""
    row = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    order = np.lexsort((indices, row))
    row, column, values = row[order], indices[order], values[order]
    first = np.ones(len(row), bool)
    first[1:] = (row[1:] != row[:-1]) | (column[1:] != column[:-1])
    begins = np.flatnonzero(first)
    values = np.add.reduceat(values, begins, dtype=values.dtype)
    return np.searchsorted(row[begins], np.arange(len(indptr))), column[begins], values


def nonzero_targets(
    t: Array, outputs: int, cross_entropy: bool
) -> tuple[tuple[Array, Array, Array], Array]:
    """Non-zero targets by sample, (start, classes, weights), and for the squared error all."""
    if not cross_entropy:
        return nonzero_targets(np.zeros(0, np.intp), outputs, True)[0], one_hot(
            np, t, np.empty((1, outputs))
        ).astype(np.float64)
    none = np.empty((0, 0))
    if t.ndim == 1:
        # A copy in range, whatever another thread does: the kernels index with it. Negative labels
        # are large without a sign.
        classes = np.minimum(t.view(np.uintp), np.uintp(outputs - 1)).view(np.intp)
        begins, ones = _kept(_one_each, len(t))(len(t))
        return (begins, classes, ones), none
    rows, classes = np.nonzero(t)
    return (
        np.searchsorted(rows, np.arange(len(t) + 1)),
        np.ascontiguousarray(classes),  # for strided ones the kernels would be compiled once more
        t[rows, classes].astype(np.float64),
    ), none


@lru_cache(maxsize=2)
def _one_each(samples: int) -> tuple[Array, Array]:
    """Where the targets of each sample begin, and the weights of them, if each has a label."""
    return np.arange(samples + 1), np.ones(samples)
