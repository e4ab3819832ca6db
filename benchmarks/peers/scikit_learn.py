"""scikit-learn's MLPClassifier, set to what the book trains.

That is sigmoid, plain SGD, no penalty, and no shuffling of its own.
"""

from __future__ import annotations

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from ..problems import LEARNING_RATE, OUTPUTS, Problem


class PartialFit:
    """`partial_fit`, once a batch."""

    def __init__(self, problem: Problem) -> None:
        self._x, self._t = problem.x, problem.t
        self._model = MLPClassifier(
            hidden_layer_sizes=(problem.size.hidden,),
            activation="logistic",
            solver="sgd",
            alpha=0,
            batch_size=problem.size.batch,
            learning_rate_init=LEARNING_RATE,
            momentum=0,
            nesterovs_momentum=False,
            shuffle=False,
            max_iter=1,
        )
        # One call on something makes it allocate everything; then its weights become those that all
        # contestants start from.
        first = slice(problem.size.batch)
        self._model.partial_fit(self._x[first], self._t[first], classes=np.arange(OUTPUTS))
        params = problem.params
        for own, name in zip(
            self._model.coefs_ + self._model.intercepts_, ("W1", "W2", "b1", "b2"), strict=True
        ):
            own[...] = params[name]

    def run(self, rows: np.ndarray) -> None:
        for batch in rows:
            self._model.partial_fit(self._x[batch], self._t[batch])

    def params(self) -> dict[str, np.ndarray]:
        return dict(
            zip(("W1", "W2", "b1", "b2"), self._model.coefs_ + self._model.intercepts_, strict=True)
        )


class Fit(PartialFit):
    """`fit` on all batches laid out one after the other, for one pass over them."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        # Go on from the weights that are there; every call must see every label.
        self._model.set_params(warm_start=True)

    def run(self, rows: np.ndarray) -> None:
        samples = rows.ravel()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # one pass is what was asked for
            self._model.fit(self._x[samples], self._t[samples])
