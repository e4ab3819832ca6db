"""The network before a parameter is moved, and what all perturbations of a unit have in common."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ....functions import LOG_GUARD
from .activations import activate
from .atomics import FINISHED, TAKEN, increase, wait_for
from .increments import increment_coefficients
from .jit import inner, reduction
from .softmax import softmax_rows
from .sparse_products import weighted_rows
from .workspace import Workspace


@inner
def _forward(
    first: int,
    last: int,
    samples: Any,
    rows: Any,
    W1: Any,
    b1: Any,
    b2: Any,
    activation: int,
    work: Workspace,
) -> None:
    """Pre-activations, hidden units and logits of some samples, in float64 for every dtype."""
    J = b1.size
    weighted_rows(samples, rows, first, last, True, W1, b1, work.a)
    for n in range(first, last):
        a, z = work.a[n], work.z[n]
        for j in range(J, a.size):
            a[j] = 0.0
        for j in range(a.size):
            z[j] = a[j]
        activate(z, activation)
        for k in range(b2.size):
            work.y[n, k] = b2[k] + _dot(z[:J], work.W2T[k, :J])
        z[J] = 1.0  # the bias of the output layer is the weight of one more hidden unit
        for j in range(J + 1, z.size):
            z[j] = 0.0


@reduction
def _dot(a: Any, b: Any) -> float:
    """Σ a·b."""
    total = 0.0
    for j in range(a.size):
        total += a[j] * b[j]
    return total


@inner
def prepare(W2: Any, work: Workspace) -> None:
    """What all parts share: W2 with the weights of an output side by side, and their span."""
    J, K = W2.shape
    for j in range(J):
        smallest = largest = np.float64(W2[j, 0])
        for k in range(K):
            w = np.float64(W2[j, k])
            work.W2T[k, j] = w
            smallest, largest = min(smallest, w), max(largest, w)
        work.span[j] = largest - smallest  # no |v| of this unit is larger
    for j in range(J, work.span.size):
        work.span[j] = 0.0


@inner
def _evaluate(
    first: int,
    last: int,
    samples: Any,
    rows: Any,
    W1: Any,
    b1: Any,
    b2: Any,
    targets: Any,
    t: Any,
    modes: Any,
    work: Workspace,
) -> None:
    """The unperturbed network and its loss, and what all perturbations of a unit have in common."""
    activation, cross_entropy = modes
    start, classes, weights = targets
    _forward(first, last, samples, rows, W1, b1, b2, activation, work)
    if cross_entropy:
        for n in range(first, last):
            for k in range(b2.size):
                work.logits[n, k] = work.y[n, k]
        softmax_rows(work.y[first:last], b2.size, work.y[first:last])
    for n in range(first, last):
        work.largest_theta[n], work.kink[n] = increment_coefficients(
            work.a[n], b1.size, activation, work.c[n], work.theta[n]
        )
        work.losses[n] = 0.0
        if cross_entropy:
            for pair in range(start[n], start[n + 1]):
                work.losses[n] -= (
                    weights[pair] * math.log(work.y[n, classes[pair]] + LOG_GUARD) / rows.size
                )
        else:
            for k in range(b2.size):
                work.y[n, k] -= t[n, k]
                work.losses[n] += 0.5 * work.y[n, k] ** 2


@inner
def evaluate_in_blocks(
    counters: Any,
    parts: int,
    samples: Any,
    rows: Any,
    W1: Any,
    b1: Any,
    b2: Any,
    targets: Any,
    t: Any,
    modes: Any,
    work: Workspace,
) -> None:
    """`_evaluate` for all samples; returns when it has been done, whoever did it."""
    # More than parts, so that a thread that comes late still finds some.
    blocks = min(4 * parts, rows.size)
    while True:
        block = increase(counters, TAKEN)
        if block >= blocks:
            break
        first, last = rows.size * block // blocks, rows.size * (block + 1) // blocks
        _evaluate(first, last, samples, rows, W1, b1, b2, targets, t, modes, work)
        increase(counters, FINISHED)
    wait_for(counters, FINISHED, blocks)
