"""Ending a training where it no longer gets better, with the parameters that were best."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .backends import Backend
from .callbacks import Callback
from .errors import InputError
from .validation import Array, choice, positive_int, real_number, shown

if TYPE_CHECKING:
    from .training_state import TrainingState

#: What can be watched, and whether more of it is better.
MONITORS = {
    "validation_loss": False,
    "validation_accuracy": True,
    "train_loss": False,
    "train_accuracy": True,
}


class EarlyStopping(Callback):
    """Stop after `patience` evaluations without an improvement, and restore the best parameters.

    An evaluation is an improvement if it is the first one, or better than the best one before by
    more than `min_delta`. Whatever ends the training, the parameters are those of the best
    evaluation, unless it is interrupted, so that it can go on.

    Parameters
    ----------
    patience : int
        At least 1.
    min_delta : float
    monitor : {"validation_loss", "validation_accuracy", "train_loss", "train_accuracy"}
        "train_loss" is the mean of the losses of the batches since the evaluation before.

    Raises
    ------
    InputError, DtypeError
        For an impossible argument.

    Examples
    --------
    >>> from fastnn import TwoLayerNet, train
    >>> rng = np.random.default_rng(0)
    >>> x, t = rng.random((60, 4)), rng.integers(2, size=60)
    >>> stopping = EarlyStopping(patience=3)
    >>> history = train(
    ...     TwoLayerNet(4, 20, 2, rng=0), x, t, epochs=1000, batch_size=10, learning_rate=2.0,
    ...     validation=0.5, early_stopping=stopping, rng=0,
    ... )
    >>> history.stopped, len(history.validation_loss) < 1000
    ('early stopping', True)
    >>> history.best_iteration == history.iterations[-4]
    True
    """

    name = "early stopping"

    def __init__(
        self, patience: int = 10, min_delta: float = 0.0, monitor: str = "validation_loss"
    ) -> None:
        self.patience = positive_int(patience, "patience")
        self.min_delta = real_number(min_delta, "min_delta", minimum=0)
        self.monitor = choice(monitor, "monitor", MONITORS)
        self._loaded: dict[str, Any] | None = None
        self._backend: Backend | None = None
        self._forget()

    def __repr__(self) -> str:
        arguments = f"patience={self.patience}, min_delta={self.min_delta}"
        return f"EarlyStopping({arguments}, monitor={self.monitor!r})"

    def _forget(self) -> None:
        self.best: float | None = None
        self.best_iteration: int | None = None
        self.waited = 0
        self._seen = 0  # how many losses the evaluations before have had
        self._weights: dict[str, Array] = {}

    # -- what the loop calls -----------------------------------------------------------------------

    def on_begin(self, state: TrainingState) -> None:
        loaded, self._loaded = self._loaded, None
        self._forget()
        self._seen, self._backend = state.iteration, state.network.backend
        if loaded is None:
            return
        network = state.network
        for name in network.params if loaded["best"] is not None else ():
            value: Any = loaded.get(f"weights.{name}")
            shape = tuple(network.params[name].shape)
            found = 0 if value is None else np.size(value)
            if found != np.prod(shape, dtype=int):
                raise InputError(
                    f"the best weights of {name!r} are {found} numbers; "
                    f"the network's have the shape {shape}"
                )
            host = network.backend.asarray(np.reshape(value, shape), network.dtype)
            kept = self._weights[name] = network.backend.empty(shape, network.dtype)
            kept[...] = host
        self.best, self.best_iteration = loaded["best"], loaded["best_iteration"]
        self.waited, self._seen = loaded["waited"], loaded["seen"]

    def on_evaluation(self, state: TrainingState) -> None:
        value = self._value(state)
        improvement = 0.0
        if self.best is not None:
            improvement = value - self.best if MONITORS[self.monitor] else self.best - value
        if self.best is not None and not improvement > self.min_delta:
            self.waited += 1
            return
        self.best, self.waited = value, 0
        self.best_iteration = state.history.best_iteration = state.iteration - 1
        backend = state.network.backend
        for name, parameter in state.network.params.items():
            kept = self._weights.get(name)
            if kept is None or tuple(kept.shape) != tuple(parameter.shape):
                kept = self._weights[name] = backend.empty(parameter.shape, state.network.dtype)
            kept[...] = parameter

    def _value(self, state: TrainingState) -> float:
        if self.monitor != "train_loss":
            return getattr(state.history, self.monitor)[-1]
        since, self._seen = self._seen, state.iteration
        return float(state.history.loss[since : state.iteration].mean(dtype=np.float64))

    def should_stop(self, state: TrainingState) -> bool:
        return self.waited >= self.patience

    def on_end(self, state: TrainingState) -> None:
        if state.stopped != "interrupted":
            for name, best in self._weights.items():
                state.network.params[name][...] = best

    # -- for checkpoints ---------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Where it is in its training: numbers that JSON has, and arrays of one dimension.

        The arrays, copies on the host, are the best parameters, as ``weights.W1``.
        """
        state = {
            "best": self.best,
            "best_iteration": self.best_iteration,
            "waited": self.waited,
            "seen": self._seen,
        }
        if self._backend is None:  # it has not begun
            return state
        to_numpy = self._backend.to_numpy
        return state | {
            f"weights.{name}": to_numpy(w).ravel().copy() for name, w in self._weights.items()
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state_dict` gave, in the training that begins next.

        Raises
        ------
        InputError
            If it gave something else.
        """
        best, at = state.get("best"), state.get("best_iteration")
        counts = state.get("waited"), state.get("seen")
        if not (
            isinstance(best, float | None)
            and isinstance(at, int | None)
            and all(isinstance(n, int) and n >= 0 for n in counts)
        ):
            raise InputError(f"{shown(dict(state))} is no state of an EarlyStopping")
        self._loaded = dict(state)
