"""Training on samples that stay in their file: a window of them at a time is in memory.

The rows of some steps are read into the window, an ordinary dataset of the backend, in one copy to
a GPU; the steps are then those that the backend makes of any data in memory, kernels and graphs
included. What is not compressed in memory, as Numba does with samples that are mostly zeros, is
so computed to the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from ..streams import Stream
from ..validation import Array
from .datasets import Dataset
from .machine import Machine
from .steps import Runner

#: Bytes of a window; one batch at least.
WINDOW = 2**25


class StreamedDataset(Dataset):
    """A stream of samples, and their targets, which are in memory.

    Parameters
    ----------
    backend : Backend
    x : Stream
        Checked.
    t : array
        As for :class:`Dataset`.
    dtype : numpy.dtype
        Of the network.
    """

    def __init__(self, backend: Machine, x: Stream, t: Array, dtype: np.dtype) -> None:
        super().__init__(backend, x, t)
        self.dtype = dtype

    def batch(self, rows: Array, *, out: Array | None = None) -> tuple[Array, Array]:
        host = self.x[self.backend.to_numpy(rows)].astype(self.dtype, copy=False)
        return self.backend.asarray(host), self.backend.take(self.t, rows)

    def buffer(self, size: int) -> None:
        return None

    def chunks(self, size: int) -> Iterator[tuple[Array, Array]]:
        for start in range(0, len(self), size):
            some = slice(start, min(start + size, len(self)))
            host = self.x[some].astype(self.dtype, copy=False)
            yield self.backend.asarray(host), self.t[some, ...]

    def runner(self, batch_size: int, make: Callable[[Dataset], Runner]) -> Runner:
        """One that fills the window for some steps at a time, and has those made there."""
        row = self.x.shape[1] * self.dtype.itemsize
        steps = max(WINDOW // (batch_size * row), 1)
        window = self._window(min(steps * batch_size, max(len(self), batch_size)))
        at_a_time = len(window) // batch_size
        run = make(window)
        numbers = np.arange(at_a_time * batch_size).reshape(at_a_time, batch_size)
        places = self.backend.asarray(numbers)

        def through(rows: Array, losses: Array, rates: np.ndarray) -> None:
            if rows.shape[1] != batch_size:
                run(rows, losses, rates)  # which refuses them
                return
            host = self.backend.to_numpy(rows)
            for start in range(0, len(host), at_a_time):
                end = min(start + at_a_time, len(host))
                self._fill(window, host[start:end].reshape(-1), rows[start:end, ...])
                run(places[: end - start, ...], losses[start:end, ...], rates[start:end])

        return through

    def _window(self, size: int) -> Dataset:
        """A dataset of so many rows, whose contents are to come."""
        backend = self.backend
        x = backend.empty((size, self.x.shape[1]), self.dtype)
        rows = backend.asarray(np.zeros(size, np.int64))
        window: Dataset = backend.dataset(x, backend.take(self.t, rows))  # type: ignore[attr-defined]
        if self.weights is not None:
            window.weights = backend.take(self.weights, rows)
        return window

    def _fill(self, window: Dataset, host: np.ndarray, rows: Array) -> None:
        backend, count = self.backend, len(host)
        if isinstance(window.x, np.ndarray):
            self.x.take(host, window.x[:count])
        else:
            read = self.x[host].astype(self.dtype, copy=False)
            window.x[:count, ...] = backend.asarray(read)
        numbers = backend.xp.reshape(rows, (-1,))
        window.t[:count, ...] = backend.take(self.t, numbers)
        if window.weights is not None:
            window.weights[:count, ...] = backend.take(self.weights, numbers)
