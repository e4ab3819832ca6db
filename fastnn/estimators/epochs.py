"""Epochs of a training, with the draws of scikit-learn's."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import stepping
from ..backends.base import Dataset
from .network import PenalizedNet
from .solvers import Solver


class Epochs:
    """Makes the steps of an epoch: with batches of one size, and with what remains.

    Parameters
    ----------
    network : PenalizedNet
    data : Dataset
        Of the network.
    weights : numpy.ndarray or None
        Of all of its samples.
    solver : Solver
    batch_size : int
    """

    def __init__(
        self,
        network: PenalizedNet,
        data: Dataset,
        weights: np.ndarray | None,
        solver: Solver,
        batch_size: int,
    ) -> None:
        self._network, self._data, self._weights = network, data, weights
        self._solver, self.batch_size = solver, batch_size
        self._runners: dict[int, Any] = {}

    def __call__(self, rows: np.ndarray) -> float:
        """Make a step with each batch of these rows in turn; the mean of their losses."""
        whole = len(rows) - len(rows) % self.batch_size
        total = 0.0
        for some in (rows[:whole].reshape(-1, self.batch_size), rows[whole:].reshape(1, -1)):
            if some.size:
                total += some.shape[1] * float(self._steps(some).sum(dtype=np.float64))
        return total / len(rows)

    def _steps(self, rows: np.ndarray) -> np.ndarray:
        """The losses of steps with batches of one size, shape (steps, batch)."""
        if self._weights is not None:  # nothing moves where nothing weighs anything
            rows = rows[self._weights[rows].any(axis=1)]
        backend, size = self._network.backend, rows.shape[1]
        if size not in self._runners:
            self._runners[size] = stepping.runner(
                self._network,
                self._data,
                gradient="backprop",
                batch_size=size,
                optimizer=self._solver.optimizer,
            )
        losses = backend.empty(len(rows), self._network.dtype)
        rates = np.full(len(rows), self._solver.rate)
        self._runners[size](backend.asarray(rows), losses, rates)
        return backend.to_numpy(losses)
