"""Samples and targets, kept the way a backend likes them."""

from __future__ import annotations

from collections.abc import Iterator

from ..validation import Array
from .machine import Machine


class Dataset:
    """Samples and targets.

    Parameters
    ----------
    backend : Backend
    x : array, shape (samples, features)
    t : array, shape (samples,) of integer labels, or (samples, outputs)
        Both arrays of the backend, checked. They are kept as they are, not copied.
    """

    def __init__(self, backend: Machine, x: Array, t: Array) -> None:
        self.backend = backend
        self.x = x
        self.t = t

    def __len__(self) -> int:
        return self.t.shape[0]

    def batch(self, rows: Array, *, out: Array | None = None) -> tuple[Array, Array]:
        """Samples and targets of these rows, for its operations; `out` is for the samples."""
        take = self.backend.take
        return take(self.x, rows, out=out), take(self.t, rows)

    def buffer(self, size: int) -> Array | None:
        """An array for the samples of a batch, to hand to :meth:`batch`, if that can use one."""
        return self.backend.empty((size, self.x.shape[1]), self.backend.dtype_of(self.x))

    def chunks(self, size: int) -> Iterator[tuple[Array, Array]]:
        """All rows in order, `size` at a time."""
        for start in range(0, len(self), size):
            # The standard ends a slice within the array.
            some = slice(start, min(start + size, len(self)))
            yield self.x[some, ...], self.t[some, ...]
