"""Samples of which most features are zero, as MNIST's are: only the others are kept (CSR).

Only they are read, and only they cost anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ...validation import Array
from ..datasets import Dataset
from ..machine import Machine


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
    samples : (indptr, indices, values)
    t : array
        Targets, as for :class:`Dataset`.
    features : int
    """

    def __init__(
        self, backend: Machine, samples: tuple[Array, Array, Array], t: Array, features: int
    ) -> None:
        super().__init__(backend, samples, t)
        self.features = features
        self._rows = np.arange(len(t))

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
