"""Epochs of a training, with the draws of scikit-learn's."""

from __future__ import annotations

from contextlib import ExitStack
from types import TracebackType
from typing import Any

import numpy as np

from .. import stepping
from ..backends.base import Dataset
from ..backends.steps import KeepingRunner
from .network import PenalizedNet
from .solvers import Solver


class Epochs:
    """Makes the steps of an epoch: with batches of one size, and with what remains.

    A context, at whose end the parameters of the network are what has been made of them.

    Parameters
    ----------
    network : PenalizedNet
    data : Dataset
        Of the network.
    weights : numpy.ndarray or None
        Of all of its samples.
    solver : Solver
    batch_size : int
    samples : int
        In an epoch.

    Attributes
    ----------
    made : int
        How many epochs are complete.
    """

    def __init__(
        self,
        network: PenalizedNet,
        data: Dataset,
        weights: np.ndarray | None,
        solver: Solver,
        batch_size: int,
        samples: int,
    ) -> None:
        self._network, self._data, self._weights = network, data, weights
        self._solver, self.batch_size, self.made = solver, batch_size, 0
        self._sizes = {batch_size, samples % batch_size or batch_size}
        self._runners: dict[int, Any] = {}
        self._kept: KeepingRunner | None = None
        self._contexts = ExitStack()

    def __enter__(self) -> Epochs:
        options: Any = {"gradient": "backprop", "optimizer": self._solver.optimizer}
        self._runners = stepping.runners(self._network, self._data, self._sizes, **options)
        first, *others = set(self._runners.values())
        # Of several each would work on parameters of its own.
        if not others and isinstance(first, KeepingRunner):
            self._kept = first
            self._contexts.enter_context(first.keeping())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._contexts.close()

    def bring(self) -> None:
        """Bring the parameters of the network up to date meanwhile."""
        if self._kept is not None:
            self._kept.bring()

    def __call__(self, rows: np.ndarray) -> float:
        """Make a step with each batch of these rows in turn; the mean of their losses."""
        whole = len(rows) - len(rows) % self.batch_size
        total = 0.0
        for some in (rows[:whole].reshape(-1, self.batch_size), rows[whole:].reshape(1, -1)):
            if some.size:
                total += some.shape[1] * float(self._steps(some).sum(dtype=np.float64))
        self.made += 1
        return total / len(rows)

    def _steps(self, rows: np.ndarray) -> np.ndarray:
        """The losses of steps with batches of one size, shape (steps, batch)."""
        if self._weights is not None:  # nothing moves where nothing weighs anything
            rows = rows[self._weights[rows].any(axis=1)]
        backend = self._network.backend
        losses = backend.empty(len(rows), self._network.dtype)
        rates = np.full(len(rows), self._solver.rate)
        self._runners[rows.shape[1]](backend.asarray(rows), losses, rates)
        return backend.to_numpy(losses)
