"""The book's own loop, and the same training written in NumPy with care."""

from __future__ import annotations

import numpy as np

from fastnn.bench.book_net import BookNet

from ..problems import LEARNING_RATE, Problem


class Book:
    """The loop and network of the book."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._network = BookNet(problem.params)

    def run(self, rows: np.ndarray) -> None:
        self._network.train(self._problem.x, self._problem.targets, rows, LEARNING_RATE)

    def params(self) -> dict[str, np.ndarray]:
        return self._network.params


class Lean:
    """Array calls that write to arrays allocated once, and nothing computed twice."""

    def __init__(self, problem: Problem) -> None:
        self._params = problem.params
        self._x, self._t = problem.x, problem.t
        batch, i, j = problem.size.batch, problem.size.inputs, problem.size.hidden
        k = self._params["b2"].size
        self._range = np.arange(batch)
        shapes = {
            "x": (batch, i),
            "z1": (batch, j),
            "y": (batch, k),
            "delta1": (batch, j),
            "slope": (batch, j),
        }
        shapes |= {"row": (batch, 1), "dW1": (i, j), "db1": (j,), "dW2": (j, k), "db2": (k,)}
        self._buffers = {name: np.empty(shape, problem.dtype) for name, shape in shapes.items()}

    def run(self, rows: np.ndarray) -> None:
        W1, b1, W2, b2 = self._params.values()
        x, z1, y, delta1, slope, row, dW1, db1, dW2, db2 = self._buffers.values()
        losses = []
        for batch in rows:
            np.take(self._x, batch, axis=0, out=x, mode="clip")
            t = self._t[batch]
            np.matmul(x, W1, out=z1)
            z1 += b1
            np.negative(z1, out=z1)
            np.exp(z1, out=z1)
            z1 += 1
            np.reciprocal(z1, out=z1)
            np.matmul(z1, W2, out=y)
            y += b2
            y -= y.max(axis=1, keepdims=True, out=row)
            np.exp(y, out=y)
            y /= y.sum(axis=1, keepdims=True, out=row)
            losses.append(-np.log(y[self._range, t] + 1e-7).sum() / len(batch))
            y[self._range, t] -= 1
            y /= len(batch)
            np.matmul(y, W2.T, out=delta1)
            delta1 *= z1
            np.subtract(1, z1, out=slope)
            delta1 *= slope
            for W, b, entering, delta, dW, db in (
                (W1, b1, x, delta1, dW1, db1),
                (W2, b2, z1, y, dW2, db2),
            ):
                np.matmul(entering.T, delta, out=dW)
                dW *= LEARNING_RATE
                W -= dW
                delta.sum(axis=0, out=db)
                db *= LEARNING_RATE
                b -= db

    def params(self) -> dict[str, np.ndarray]:
        return self._params
