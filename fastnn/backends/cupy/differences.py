"""The numerical gradient by kernels: how they are launched, and how much memory they share."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...validation import Array
from .kernels import Kernels, blocks, power_of_two
from .products import Formulas, gradient
from .sources import TYPES
from .support import ACTIVATION_CODES, SUPPORT

#: How much memory the numerical gradient may use beside its results; of more samples than that
#: allows, it takes some at a time.
WORKSPACE_BYTES = 1 << 28


def numerical_gradient(
    kernels: Kernels,
    x: Any,
    t: Any,
    W1: Array,
    b1: Array,
    W2: Array,
    b2: Array,
    activation: str,
    loss: str,
    h: float,
) -> tuple[Array, tuple[Array, ...]]:
    """The loss, and its central differences: see :mod:`fastnn.backends.incremental`.

    As matrix products where most of them can be, else one by one.
    """
    if SUPPORT["products"].covers({"W2": W2, "activation": activation, "loss": loss, "h": h}):
        formulas = Formulas(activation, loss, h)
        return gradient(kernels, x, t, (W1, b1, W2, b2), formulas, WORKSPACE_BYTES)
    xp = kernels.xp
    gradients = tuple(xp.empty(p.shape, p.dtype) for p in (W1, b1, W2, b2))
    losses = xp.empty(len(x), np.float64)
    units, outputs = W2.shape
    pairs = outputs if t.ndim == 2 and loss == "cross_entropy" else 1
    sample_bytes = 8 * (2 * units + 4 * outputs + 4 * pairs + 2) + 8 * pairs * units * W1.itemsize
    chunk = max(WORKSPACE_BYTES // sample_bytes, 1)
    for first in range(0, len(x), chunk):
        some = slice(first, first + chunk)
        _differences(
            kernels, x, t, some, W1, b1, W2, b2, activation, loss, h, pairs, losses, gradients
        )
    value = xp.empty((), W1.dtype)
    kernels.sum(losses, value, len(x) if loss == "cross_entropy" else 1)
    return value, gradients


def _differences(
    kernels: Kernels,
    x: Any,
    t: Any,
    some: slice,
    W1: Array,
    b1: Array,
    W2: Array,
    b2: Array,
    activation: str,
    loss: str,
    h: float,
    pairs: int,
    losses: Array,
    gradients: tuple[Array, Array, Array, Array],
) -> None:
    """Write the losses of some of the samples, and what follows to the gradients.

    After the first samples, it is added to them.
    """
    cross_entropy, more = int(loss == "cross_entropy"), int(some.start > 0)
    scale = 1 / (h * (len(x) if cross_entropy else 1))
    x, t, losses = x[some], t[some], losses[some]
    empty, real = kernels.xp.empty, TYPES[W1.dtype]
    samples, (features, units), outputs = len(x), W1.shape, W2.shape[1]
    a, z = empty((samples, units), np.float64), empty((samples, units + 1), np.float64)
    y, logits = (empty((samples, outputs), np.float64) for _ in range(2))
    others = empty((samples, outputs, 2), np.float64)
    counts, classes = empty(samples, np.int64), empty((samples, pairs), np.int64)
    odds = empty((samples, pairs, 3), np.float64)
    coefficients = empty((samples, pairs, units, 8), W1.dtype)
    dW1, db1, dW2, db2 = gradients
    modes = pairs, ACTIVATION_CODES[activation], cross_entropy

    threads = power_of_two(max(outputs, units, 128), 256)  # EVALUATION_THREADS of the kernels
    outcome: tuple[Any, ...] = losses, counts, classes, odds
    kernels.dense(x, W1, b1, "identity", a)
    kernels.launch(
        f"network<{real}>",
        (samples,),
        (threads,),
        (
            a,
            W2,
            b2,
            *kernels.targets(t),
            z,
            y,
            others,
            logits,
            *outcome,
            units,
            outputs,
            power_of_two(outputs, threads),
            *modes,
        ),
    )
    kernels.launch(
        f"coefficients<{real}>",
        (samples * pairs,),
        (power_of_two(units, 128),),
        (a, y, W2, counts, classes, coefficients, units, outputs, *modes),
    )
    width = power_of_two(units, 64)
    sizes = samples, features, units, outputs
    kernels.launch(
        f"hidden_differences<{real}>",
        (features + 1, blocks(units, width)),
        (width, power_of_two(blocks(samples, 4), 256 // width)),
        (
            *kernels.samples(x),
            a,
            logits,
            W2,
            *outcome[1:],
            coefficients,
            dW1,
            db1,
            *sizes,
            *modes,
            h,
            scale,
            more,
        ),
    )
    kernels.launch(
        f"output_differences<{real}>",
        ((units + 1) * outputs,),
        (power_of_two(samples, 128),),
        (
            z,
            y,
            others,
            logits,
            *outcome[1:],
            dW2,
            db2,
            samples,
            units,
            outputs,
            pairs,
            cross_entropy,
            h,
            scale,
            more,
        ),
    )
