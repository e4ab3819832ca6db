"""The book's network and loops in plain NumPy: what the speed of fastnn is compared with."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..functions import LOG_GUARD

#: What the book's loop is called in every table.
BOOK = "book's loop"

#: On how many parameters the book's numerical gradient is timed: all of them take minutes, and each
#: costs the same.
BOOK_PARAMETERS = 500


class BookNet:
    """The book's network as its readers write it; targets are one-hot.

    It starts from given initial weights and shares no code with fastnn.
    """

    def __init__(self, params: Mapping[str, np.ndarray]) -> None:
        self.params = {name: parameter.copy() for name, parameter in params.items()}

    def _forward(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        z1 = 1 / (1 + np.exp(-(np.dot(x, self.params["W1"]) + self.params["b1"])))
        a2 = np.dot(z1, self.params["W2"]) + self.params["b2"]
        exp = np.exp(a2 - np.max(a2, axis=1, keepdims=True))
        return z1, exp / np.sum(exp, axis=1, keepdims=True)

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Class probabilities."""
        return self._forward(x)[1]

    def loss(self, x: np.ndarray, t: np.ndarray) -> float:
        """Cross-entropy with its guard."""
        return -np.sum(t * np.log(self.predict(x) + LOG_GUARD)) / len(x)

    def gradient(self, x: np.ndarray, t: np.ndarray) -> dict[str, np.ndarray]:
        """Backpropagation."""
        z1, y = self._forward(x)
        dy = (y - t) / len(x)
        da1 = np.dot(dy, self.params["W2"].T) * z1 * (1 - z1)
        return {
            "W1": np.dot(x.T, da1),
            "b1": np.sum(da1, axis=0),
            "W2": np.dot(z1.T, dy),
            "b2": np.sum(dy, axis=0),
        }

    def numerical_gradient(
        self,
        x: np.ndarray,
        t: np.ndarray,
        parameters: int,
        h: float = 1e-4,
    ) -> np.ndarray:
        """Central differences for so many entries of W1, spread over it.

        Each takes two losses of all samples.
        """
        W1 = self.params["W1"]
        gradient = []
        for index in sampled_indices(W1, parameters):
            value = W1[index]
            W1[index] = value + h
            above = self.loss(x, t)
            W1[index] = value - h
            below = self.loss(x, t)
            gradient.append((above - below) / (2 * h))
            W1[index] = value
        return np.array(gradient)

    def train(
        self,
        x: np.ndarray,
        t: np.ndarray,
        rows: np.ndarray,
        learning_rate: float = 0.1,
    ) -> list[float]:
        """One iteration for each row of `rows`, the numbers of its samples.

        The loss is evaluated after the update.
        """
        losses = []
        for batch in rows:
            x_batch, t_batch = x[batch], t[batch]
            gradient = self.gradient(x_batch, t_batch)
            for name in self.params:
                self.params[name] -= learning_rate * gradient[name]
            losses.append(self.loss(x_batch, t_batch))
        return losses


def sampled_indices(a: np.ndarray, count: int) -> list[tuple[int, ...]]:
    """The indices of `count` entries, or of all if there are fewer, evenly spread over `a`."""
    flat = np.linspace(0, a.size - 1, min(count, a.size)).round().astype(int)
    return [tuple(map(int, index)) for index in zip(*np.unravel_index(flat, a.shape), strict=True)]
