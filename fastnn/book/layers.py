"""The layers of the book's chapter 5, as far as its two-layer network needs them.

They are for scripts that build their own network. Each has ``forward`` and ``backward`` and
remembers between them what the derivative needs. They work on the arrays that they are given.
"""

from __future__ import annotations

from typing import Any

from ..functions import LOSSES, cross_entropy_error, one_hot, relu, sigmoid, softmax
from ..validation import Array, array_namespace, check_targets


def softmax_loss(X: Array, t: Array) -> Array:
    """The cross-entropy of the softmax of the logits `X` against `t`."""
    return cross_entropy_error(softmax(X), t)


class Relu:
    """max(x, 0)."""

    def forward(self, x: Array) -> Array:
        """The result for `x`, of its shape."""
        self.mask = x <= 0
        return relu(x)

    def backward(self, dout: Array) -> Array:
        """The derivative with respect to `x` from that with respect to the result."""
        dx = dout.copy()
        dx[self.mask] = 0
        return dx


class Sigmoid:
    """1 / (1 + exp(−x))."""

    def forward(self, x: Array) -> Array:
        """The result for `x`, of its shape."""
        self.out = sigmoid(x)
        return self.out

    def backward(self, dout: Array) -> Array:
        """The derivative with respect to `x` from that with respect to the result."""
        return dout * self.out * (1 - self.out)


class Affine:
    """x·W + b, for samples of any shape that flattens to the rows of `W`.

    Attributes
    ----------
    W : array, shape (i, j)
    b : array, shape (j,)
    dW, db : array
        The gradients of the two, after :meth:`backward`.
    """

    def __init__(self, W: Array, b: Array) -> None:
        self.W = W
        self.b = b
        self.dW: Any = None
        self.db: Any = None

    def forward(self, x: Array) -> Array:
        """The result for `x`, shape (samples, ...) or (i,): shape (samples, j)."""
        self.shape = x.shape
        self.x = x.reshape(x.shape[0] if x.ndim > 1 else 1, -1)
        return self.x @ self.W + self.b

    def backward(self, dout: Array) -> Array:
        """The derivative with respect to `x`, of its shape; sets `dW` and `db`."""
        self.dW = self.x.T @ dout
        self.db = dout.sum(axis=0)
        return (dout @ self.W.T).reshape(self.shape)


class SoftmaxWithLoss:
    """The cross-entropy of the softmax of the logits, a network's last layer."""

    def forward(self, x: Array, t: Array) -> Array:
        """The loss of the logits `x`, shape (samples, classes), against the targets `t`.

        These are labels or one-hot rows.
        """
        self.y = softmax(x)
        self.t = t
        self.loss = cross_entropy_error(self.y, t)
        return self.loss

    def backward(self, dout: float = 1) -> Array:
        """The derivative with respect to the logits, (y − t) / samples, times `dout`."""
        xp = array_namespace(self.y)
        t = check_targets(self.t, *self.y.shape)
        gradient = LOSSES["cross_entropy"].gradient
        return dout * gradient(xp, xp.astype(self.y, self.y.dtype), one_hot(xp, t, self.y))
