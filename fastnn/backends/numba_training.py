"""Many steps of gradient descent on a two-layer network in one compiled call: what training on sparse samples spends its time on.

Called operation by operation, a step of the book's network spends time between the operations, and each of these is too short for a
second thread to wake up. Here the threads stay, and wait for one another at the end of each stage of a step.

The hidden units are cut into panels. A thread that comes to a stage takes the panel that it had before, if it still can, so that
the weights into the panel's units stay in the cache of one processor, where a step finds them as the one before left them. They are
a copy, with rows of whole vectors at addresses where vectors begin, so that no vector lies across two lines of a cache.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ..functions import LOG_GUARD
from .numba_atomics import increase, wait_for
from .numba_kernels import (
    apply_activation,
    inner,
    kernel,
    multiply_row_by_derivative,
    prefetch_row,
    softmax_row,
    subtract_outer_product,
    weighted_rows,
)
from .numba_math import like
from .numba_vectors import WIDE


class Panels(NamedTuple):
    """The parameters and intermediate results, by panels of hidden units; units that only pad a panel have no weights."""

    W1: np.ndarray  # (panels, features, padded units)
    b1: np.ndarray  # (panels, padded units)
    W2: np.ndarray  # (panels, padded units, outputs)
    W2T: np.ndarray  # (panels, outputs, padded units)
    b2: np.ndarray  # (outputs,)
    z1: np.ndarray  # (panels, batch, padded units)
    delta1: np.ndarray  # likewise
    delta2: np.ndarray  # (batch, outputs)
    zeros: np.ndarray  # (padded units,)
    units: np.ndarray  # 0, 1, …
    used: np.ndarray  # how many units of each panel are not padding
    losses: np.ndarray  # of each sample


def allocate(panels: int, batch: int, features: int, units: int, outputs: int, dtype: np.dtype) -> Panels:
    """Memory for as many panels of about as many units each."""
    used = np.array([end - first for first, end in _bounds(panels, units)])
    vector = WIDE // dtype.itemsize
    width = -(-int(used.max()) // vector) * vector
    return Panels(
        W1=_aligned((panels, features, width), dtype),
        b1=_aligned((panels, width), dtype),
        W2=_aligned((panels, width, outputs), dtype),
        W2T=_aligned((panels, outputs, width), dtype),
        b2=np.zeros(outputs, dtype),
        z1=_aligned((panels, batch, width), dtype),
        delta1=_aligned((panels, batch, width), dtype),
        delta2=np.zeros((batch, outputs), dtype),
        zeros=np.zeros(width, dtype),
        units=np.arange(max(width, outputs), dtype=np.uint32),
        used=used,
        losses=np.zeros(batch),
    )


def _aligned(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Zeros that begin where a vector does."""
    size = math.prod(shape) * dtype.itemsize
    memory = np.zeros(size + WIDE, np.uint8)
    start = -memory.ctypes.data % WIDE
    return memory[start : start + size].view(dtype).reshape(shape)


def enter(panels: Panels, W1: np.ndarray, b1: np.ndarray, W2: np.ndarray, b2: np.ndarray) -> None:
    """Copy the parameters of a network into its panels."""
    for p, (first, end) in enumerate(_bounds(len(panels.W1), len(b1))):
        panels.W1[p, :, : end - first] = W1[:, first:end]
        panels.b1[p, : end - first] = b1[first:end]
        panels.W2[p, : end - first] = W2[first:end]
        panels.W2T[p, :, : end - first] = W2[first:end].T
    panels.b2[:] = b2


def leave(panels: Panels, W1: np.ndarray, b1: np.ndarray, W2: np.ndarray, b2: np.ndarray) -> None:
    """Copy them back."""
    for p, (first, end) in enumerate(_bounds(len(panels.W1), len(b1))):
        W1[:, first:end] = panels.W1[p, :, : end - first]
        b1[first:end] = panels.b1[p, : end - first]
        W2[first:end] = panels.W2[p, : end - first]
    b2[:] = panels.b2


def _bounds(panels: int, units: int) -> list[tuple[int, int]]:
    return [(units * p // panels, units * (p + 1) // panels) for p in range(panels)]


# -- the stages of a step ------------------------------------------------------------------------------------------------


@inner
def _hidden_layer(p: int, samples: Any, rows: Any, activation: int, panels: Panels) -> None:
    """z1 of the units of a panel, for all rows."""
    indptr, indices, values = samples
    W1, b1 = panels.W1[p], panels.b1[p]
    for n in range(rows.size):
        prefetch_row(samples, rows, n + 2)
        z = panels.z1[p, n]
        start, stop = indptr[rows[n]], indptr[rows[n] + 1]
        weighted_rows(indices[start:stop], values[start:stop], W1, b1, z)
        apply_activation(z, activation, z)


@inner
def _output_layer(first: int, end: int, labels: Any, rows: Any, activation: int, panels: Panels) -> None:
    """The loss of the rows number `first` … `end` − 1, and its derivatives with respect to both pre-activations."""
    share = like(panels.b2[0], 1 / rows.size)
    units = panels.units
    for n in range(first, end):
        y, label = panels.delta2[n], labels[rows[n]]
        for k in range(y.size):
            y[k] = panels.b2[k]
        for p in range(panels.W1.shape[0]):
            used = panels.used[p]
            weighted_rows(units[:used], panels.z1[p, n, :used], panels.W2[p], y, y)
        softmax_row(y, y)
        panels.losses[n] = -math.log(y[label] + LOG_GUARD)
        y[label] -= like(share, 1)
        for k in range(y.size):
            y[k] *= share
        for p in range(panels.W1.shape[0]):
            weighted_rows(units[: y.size], y, panels.W2T[p], panels.zeros, panels.delta1[p, n])
            multiply_row_by_derivative(panels.z1[p, n], activation, panels.delta1[p, n])


@inner
def _update(p: int, samples: Any, rows: Any, rate: Any, panels: Panels) -> None:
    """A step against the gradient for the weights into and out of the units of a panel, and their biases."""
    indptr, indices, values = samples
    W1, b1, W2, W2T = panels.W1[p], panels.b1[p], panels.W2[p], panels.W2T[p]
    units, used = panels.units, panels.used[p]
    for n in range(rows.size):
        prefetch_row(samples, rows, n + 2)
        start, stop = indptr[rows[n]], indptr[rows[n] + 1]
        d = panels.delta1[p, n]
        subtract_outer_product(indices[start:stop], values[start:stop], rate, d, W1)
        subtract_outer_product(units[:used], panels.z1[p, n, :used], rate, panels.delta2[n], W2)
        for j in range(b1.size):
            b1[j] -= rate * d[j]
    for j in range(W2.shape[0]):
        for k in range(W2.shape[1]):
            W2T[k, j] = W2[j, k]


@inner
def _finish(rate: Any, panels: Panels) -> float:
    """A step for the biases of the output layer; the mean of the losses."""
    total = 0.0
    for n in range(panels.losses.size):
        total += panels.losses[n]
        for k in range(panels.b2.size):
            panels.b2[k] -= rate * panels.delta2[n, k]
    return total / panels.losses.size


@kernel
def sgd_steps(
    counters: Any, arrived: Any, samples: Any, rows: Any, labels: Any, activation: int, rate: Any, panels: Panels, losses: Any
) -> None:
    """A step with each of the batches `rows` (steps, batch), and its loss; several threads can call this at the same time.

    Parameters
    ----------
    counters : int64 array of shape (steps, 3, 1 + panels)
        Zeros: for each stage, how many of its parts are finished, and then whether each of them is taken.
    arrived : int64 array of shape (1,)
        Zero: how many threads have come.
    """
    parts, batch = panels.W1.shape[0], rows.shape[1]
    me = increase(arrived, 0)
    for step in range(rows.shape[0]):
        for stage in range(3):
            counter = counters[step, stage]
            for k in range(parts):
                part = (me + k) % parts
                if increase(counter, 1 + part) > 0:
                    continue
                if stage == 0:
                    _hidden_layer(part, samples, rows[step], activation, panels)
                elif stage == 1:
                    _output_layer(batch * part // parts, batch * (part + 1) // parts, labels, rows[step], activation, panels)
                else:
                    _update(part, samples, rows[step], rate, panels)
                    if part == 0:
                        losses[step] = like(losses[0], _finish(rate, panels))
                increase(counter, 0)
            wait_for(counter, 0, parts)
