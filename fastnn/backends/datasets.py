"""Samples and targets, kept the way a backend likes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from ..validation import Array
from .machine import Machine


class WeightedTargets(NamedTuple):
    """The targets of a batch in which samples weigh differently.

    Attributes
    ----------
    t : array
        The targets, as without weights.
    weights : array, shape (samples,)
        Of the backend and the dtype of the network.
    data : Dataset
    rows : array
        What the batch is, for :meth:`groups`.
    """

    t: Array
    weights: Array
    data: Dataset
    rows: Array

    def groups(self) -> Iterator[tuple[float, Array, Array]]:
        """Each weight that occurs, but 0, with the samples and targets that have it."""
        backend = self.data.backend
        rows, weights = backend.to_numpy(self.rows), backend.to_numpy(self.weights)
        for weight in np.unique(weights[weights > 0]):
            some = backend.asarray(rows[weights == weight])
            yield float(weight), *self.data.batch(some)


class Dataset:
    """Samples and targets.

    Parameters
    ----------
    backend : Backend
    x : array, shape (samples, features)
    t : array, shape (samples,) of integer labels, or (samples, outputs)
        Both arrays of the backend, checked. They are kept as they are, not copied.

    Attributes
    ----------
    weights : array, shape (samples,), or None
        How much each sample counts in training: floats of the backend, at least 0.
    """

    weights: Array | None = None

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

    def weighted_batch(
        self, rows: Array, *, out: Array | None = None
    ) -> tuple[Array, Array | WeightedTargets]:
        """The same with the weights among the targets, if there are any."""
        x, t = self.batch(rows, out=out)
        if self.weights is None:
            return x, t
        t = t.gathered() if hasattr(t, "gathered") else t
        return x, WeightedTargets(t, self.backend.take(self.weights, rows), self, rows)

    def runner(self, batch_size: int, make: Callable[[Dataset], Any]) -> Any:
        """What makes steps over this data, from what makes one over data in memory."""
        return make(self)

    def buffer(self, size: int) -> Array | None:
        """An array for the samples of a batch, to hand to :meth:`batch`, if that can use one."""
        return self.backend.empty((size, self.x.shape[1]), self.backend.dtype_of(self.x))

    def chunks(self, size: int) -> Iterator[tuple[Array, Array]]:
        """All rows in order, `size` at a time."""
        for start in range(0, len(self), size):
            # The standard ends a slice within the array.
            some = slice(start, min(start + size, len(self)))
            yield self.x[some, ...], self.t[some, ...]


class DistantDataset(Dataset):
    """Samples that lie in other processes, which compute there what a training asks of them.

    There is no `x` and no `t` here, and no batch can be taken. What is asked gets the network whose
    parameters it is about, and waits for the answer.
    """

    def __init__(self, backend: Machine) -> None:
        self.backend = backend

    def gradient(
        self, network: Any, rows: Array, method: str
    ) -> tuple[float, dict[str, Array] | None]:
        """The loss of a batch, and its gradient by a method that a training has a name for.

        The gradient is None where no sample weighs anything.
        """
        raise NotImplementedError

    def count_correct(self, network: Any) -> int:
        """How many of all samples are classified right."""
        raise NotImplementedError

    def accuracy_and_loss(self, network: Any) -> tuple[int, float]:
        """The same, and the loss of all samples."""
        raise NotImplementedError
