"""The network of an estimator: it minimises what scikit-learn's does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from ..backends import Backend
from ..backends.base import Dataset, TrainingStep
from ..backends.datasets import WeightedTargets
from ..backends.steps import Update
from ..base_network import LayerDelta
from ..functions import one_hot
from ..functions.objectives import OBJECTIVES
from ..networks import TwoLayerNet
from ..validation import Array

#: The parameters, in the order in which scikit-learn draws them.
NAMES = "W1", "b1", "W2", "b2"

#: What scikit-learn calls an activation.
ACTIVATION = {"identity": "identity", "logistic": "sigmoid", "tanh": "tanh", "relu": "relu"}


class PenalizedNet(TwoLayerNet):
    """A network of two layers with an objective of :mod:`fastnn.functions.objectives`.

    Parameters
    ----------
    parameters : tuple of numpy.ndarray
        W1, b1, W2 and b2. A backend on the host works on these arrays themselves.
    activation, loss : str
        As of :class:`fastnn.TwoLayerNet`.
    alpha : float
        Of the penalty.

    Attributes
    ----------
    host : tuple of numpy.ndarray
        W1, b1, W2 and b2 on the host, as they were last asked for.
    """

    architecture: ClassVar[str | None] = "two_layer"

    def __init__(
        self,
        parameters: tuple[np.ndarray, ...],
        *,
        activation: str,
        loss: str,
        alpha: float,
        backend: str | Backend,
    ) -> None:
        W1, _, W2, _ = self.host = parameters
        self.alpha = alpha
        options: Any = {"activation": activation, "loss": loss, "backend": backend}
        super().__init__(W1.shape[0], W1.shape[1], W2.shape[1], dtype=W1.dtype, **options)

    def _initial(self, values: Callable[[str, tuple[int, ...]], np.ndarray]) -> dict[str, Array]:
        """Those of the estimator: nothing is drawn."""
        on_host = isinstance(self.backend.from_numpy(self.host[0]), np.ndarray)
        enter = np.asarray if on_host else self._parameter
        return dict(zip(NAMES, map(enter, self.host), strict=True))

    def parameters(self) -> tuple[np.ndarray, ...]:
        """W1, b1, W2 and b2 on the host, as they are now."""
        with self.backend.current():
            self.host = tuple(self.backend.to_numpy(self.params[name]) for name in NAMES)
        return self.host

    def outputs(self, x: Any) -> np.ndarray:
        """What comes out for checked samples, dense or sparse, on the host."""
        with self.backend.current(), np.errstate(invalid="ignore"):
            x = self.backend.sparse_samples(x, self.dtype) if hasattr(x, "tocsr") else x
            x = self.backend.asarray(x, self.dtype) if isinstance(x, np.ndarray) else x
            return self.backend.to_numpy(self._outputs_of(x))

    # -- a step over the operations ----------------------------------------------------------------

    def _loss_gradient(
        self, logits: Array, t: Array | WeightedTargets, out: Array | None = None
    ) -> tuple[Array, Array]:
        xp, total = self.backend.xp, self._weight(t, logits.shape[0])
        weights: Any = None
        if isinstance(t, WeightedTargets):
            weights, t = t.weights, t.t
        y = self.backend.output(logits, self.loss_name)
        t = one_hot(xp, t, y)
        losses = OBJECTIVES[self.loss_name](xp, y, t)
        y -= t
        if weights is None:
            y /= total
            return xp.sum(losses) / total, y
        y *= (weights / total)[:, None]
        return xp.sum(weights * losses) / total, y

    def _weight(self, t: Array | WeightedTargets, samples: int) -> Any:
        """What a batch weighs."""
        return self.backend.xp.sum(t.weights) if isinstance(t, WeightedTargets) else samples

    def descend(
        self, x: Array, t: Array | WeightedTargets, optimizer: Any, out: dict[str, Array]
    ) -> Array:
        value, layers = self._backward(x, t, out)
        share = self.alpha / self._weight(t, self._samples(layers))
        gradients = self._of_layers(layers)
        for name in ("W1", "W2"):
            W = self.params[name]
            value = value + share / 2 * self.backend.xp.sum(W * W)
            gradients[name] += share * W
        optimizer.update(self.params, gradients)
        return value

    @staticmethod
    def _samples(layers: list[LayerDelta]) -> int:
        return int(layers[0][-1].shape[0])

    def training_step(
        self,
        data: Dataset,
        operations: Callable[[Array, float], Array],
        *,
        gradient: str,
        update: Update,
        batch_size: int,
    ) -> TrainingStep | None:
        stated = super().training_step(
            data, operations, gradient=gradient, update=update, batch_size=batch_size
        )
        return None if stated is None else replace(stated, alpha=self.alpha)
