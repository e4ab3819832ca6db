"""The network before a parameter is moved, and what all perturbations of a unit have in common."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ....functions import LOG_GUARD
from .activations import RELU, SIGMOID, activate, is_logistic, steepness
from .expansions import expand
from .increments import kinked_coefficients, logistic_coefficients
from .jit import inner, separate
from .products import add_product
from .softmax import softmax_rows
from .workspace import Workspace


@inner
def prepare(p: int, W2: Any, outputs: int, work: Workspace) -> None:
    """The weights out of the units of a panel: in float64, of an output side by side, their span.

    The first rows of `W2` are these units.
    """
    for j in range(work.span.shape[1]):
        smallest, largest = np.inf, -np.inf
        for k in range(work.W2.shape[2]):
            w = np.float64(W2[j, k]) if j < work.used[p] and k < outputs else 0.0
            work.W2[p, j, k] = w
            if k < outputs:
                work.W2T[p, k, j] = w
                smallest, largest = min(smallest, w), max(largest, w)
        work.span[p, j] = largest - smallest  # no |v| of this unit is larger


@inner
def activate_units(p: int, first: int, last: int, activation: int, work: Workspace) -> None:
    """The units of a panel from their pre-activations, and what their increments depend on."""
    J, width = work.used[p], work.a.shape[2]
    for n in range(first, last):
        for j in range(J, width):
            work.a[p, n, j] = 0.0
    # All rows at once: of a few vectors they are too short to be quick.
    size = (last - first) * width
    a, z = work.a[p, first:last].reshape(size), work.z[p, first:last].reshape(size)
    c, theta = work.c[p, first:last].reshape(size), work.theta[p, first:last].reshape(size)
    curved = is_logistic(activation)
    if curved:
        logistic_coefficients(a, steepness(activation), c, theta, z)
    if activation != SIGMOID:
        for i in range(size):
            z[i] = a[i]
        activate(z, activation)
    for n in range(first, last):
        work.kinks[p, n] = np.inf
        if not curved:
            work.kinks[p, n] = kinked_coefficients(
                work.a[p, n, :J], activation == RELU, work.c[p, n, :J], work.theta[p, n, :J]
            )
            for j in range(J, width):
                work.c[p, n, j] = work.theta[p, n, j] = 0.0


@separate
def evaluate(
    first: int,
    last: int,
    samples: Any,
    rows: Any,
    b2: Any,
    targets: Any,
    t: Any,
    h: float,
    modes: Any,
    numbers: Any,
    work: Workspace,
) -> None:
    """The losses of samples whose hidden units are known, and what all perturbations need.

    `numbers` are 0, 1, …
    """
    activation, cross_entropy = modes
    theta_bound = 1.0 if is_logistic(activation) else 0.0
    start, classes, weights = targets
    outputs, of_block, sums = work.y.shape[1], numbers[first:last], work.sums[first:last]
    for n in range(first, last):
        for k in range(work.sums.shape[1]):
            work.sums[n, k] = b2[k] if k < outputs else 0.0
    for p in range(work.used.size):
        add_product(work.z[p], of_block, work.used[p], work.W2[p], sums)
    for n in range(first, last):
        for k in range(outputs):
            work.logits[n, k] = work.y[n, k] = work.sums[n, k]
    if cross_entropy:
        softmax_rows(work.y[first:last], outputs, work.y[first:last])
    for n in range(first, last):
        work.losses[n], work.theta_bound[n] = 0.0, theta_bound
        if cross_entropy:
            for pair in range(start[n], start[n + 1]):
                work.losses[n] -= (
                    weights[pair] * math.log(work.y[n, classes[pair]] + LOG_GUARD) / rows.size
                )
        else:
            for k in range(outputs):
                work.y[n, k] -= t[n, k]
                work.losses[n] += 0.5 * work.y[n, k] ** 2
    expand(first, last, samples, rows, targets, h, modes, work)
