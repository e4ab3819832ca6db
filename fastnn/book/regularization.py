"""The layers of the book's chapter 6: batch normalization and dropout."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..validation import Array

#: What is added to the variance before its root is taken.
_EPSILON = 1e-6


class BatchNormalization:
    """Each feature with mean 0 and variance 1 over the batch, then times `gamma`, plus `beta`.

    Parameters
    ----------
    gamma, beta : array, shape (features,)
    momentum : float
        How much of the running mean and variance is kept at each batch.
    running_mean, running_var : array, shape (features,), optional
        Those that take the place of the batch's outside training; they start at zero.

    Attributes
    ----------
    dgamma, dbeta : array
        The gradients of the two, after :meth:`backward`.

    Notes
    -----
    Ioffe and Szegedy 2015, arXiv:1502.03167. The variance is that of the batch, without Bessel's
    correction, plus 1e-6.
    """

    def __init__(
        self,
        gamma: Array,
        beta: Array,
        momentum: float = 0.9,
        running_mean: Array | None = None,
        running_var: Array | None = None,
    ) -> None:
        self.gamma = gamma
        self.beta = beta
        self.momentum = momentum
        self.running_mean = running_mean
        self.running_var = running_var
        self.dgamma: Any = None
        self.dbeta: Any = None

    def forward(self, x: Array, train_flg: bool = True) -> Array:
        """The result for `x`, shape (samples, ...), of that shape."""
        self.shape = x.shape
        flat = x.reshape(len(x), -1)
        if self.running_mean is None or self.running_var is None:
            self.running_mean = np.zeros(flat.shape[1])
            self.running_var = np.zeros(flat.shape[1])
        if train_flg:
            mean = flat.mean(axis=0)
            centered = flat - mean
            variance = (centered**2).mean(axis=0)
            kept, new = self.momentum, 1 - self.momentum
            self.running_mean = kept * self.running_mean + new * mean
            self.running_var = kept * self.running_var + new * variance
            self.std = np.sqrt(variance + _EPSILON)
            self.xn = centered / self.std
        else:
            self.xn = (flat - self.running_mean) / np.sqrt(self.running_var + _EPSILON)
        return (self.gamma * self.xn + self.beta).reshape(self.shape)

    def backward(self, dout: Array) -> Array:
        """The derivative with respect to `x`, of its shape; sets `dgamma` and `dbeta`."""
        flat = dout.reshape(len(dout), -1)
        self.dbeta = flat.sum(axis=0)
        self.dgamma = (self.xn * flat).sum(axis=0)
        dxn = self.gamma * flat
        # What changes the mean and the variance of the batch does not change the result.
        dx = dxn - dxn.mean(axis=0) - self.xn * (self.xn * dxn).mean(axis=0)
        return (dx / self.std).reshape(self.shape)


class Dropout:
    """Each value zero with the probability `dropout_ratio` in training; scaled by 1 − it after.

    It draws from NumPy's global state, as the book does. Srivastava et al. 2014, JMLR 15.
    """

    def __init__(self, dropout_ratio: float = 0.5) -> None:
        self.dropout_ratio = dropout_ratio
        self.mask: Any = None

    def forward(self, x: Array, train_flg: bool = True) -> Array:
        """The result for `x`, of its shape."""
        if not train_flg:
            return x * (1.0 - self.dropout_ratio)
        self.mask = np.random.rand(*x.shape) > self.dropout_ratio  # noqa: NPY002
        return x * self.mask

    def backward(self, dout: Array) -> Array:
        """The derivative with respect to `x`, of its shape."""
        return dout * self.mask
