"""By how much a hidden unit changes with its pre-activation a: Δz for an increment ±u.

The increments of sigmoid and tanh are one formula. With their steepness λ, θ = tanh(λa/2) and τ =
tanh(λu/2), the identity for tanh(a + b) gives Δz(±u) = ±cτ / (1 ± θτ) with c = λ/2·(1 − θ²) =
2λ·s(1 − s), s = sigmoid(λa). The other two activations are its case θ = 0, τ = u, with c = 1, or 0
for a relu that is off.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .activations import RELU, is_logistic, steepness
from .elementary import exp, expm1, like, sigmoid, tanh
from .jit import inner
from .output_differences import SERIES_BOUND


@inner
def arguments(
    x: Any, h: float, activation: int, bias: bool, tau: Any, powers: Any
) -> tuple[int, float]:
    """τ of each non-zero feature `x` of a sample; their number, and the largest |τ|.

    With `bias` there is one more after them, that of a feature with the value 1. `powers` are τ and
    τ² in the dtype of the network.
    """
    count, zero = x.size + bias, powers[0, 0]
    curved = is_logistic(activation)
    scale = 0.5 * steepness(activation) * h if curved else h
    for s in range(x.size):
        tau[s] = scale * like(h, x[s])
    tau[x.size] = scale
    greatest = 0.0
    for s in range(count):
        greatest = max(greatest, abs(tau[s]))
    if curved and greatest <= SERIES_BOUND:  # then the next term of the series, 17/315·τ⁶, is 5e-20
        for s in range(count):
            square = tau[s] * tau[s]
            tau[s] *= (square * (2 / 15) - 1 / 3) * square + 1
    elif curved:
        for s in range(count):
            tau[s] = tanh(tau[s])
        greatest = tanh(greatest)
    for s in range(count):
        powers[0, s] = like(zero, tau[s])
        powers[1, s] = like(zero, tau[s] * tau[s])
    return count, greatest


@inner
def logistic_coefficients(a: Any, steep: float, c: Any, theta: Any, z: Any) -> None:
    """c and θ of units, and sigmoid(λa)."""
    for i in range(a.size):
        e = exp(-steep * a[i])
        s = 1 / (1 + e)
        opposite = e * s
        c[i], theta[i], z[i] = 2 * steep * s * opposite, s - opposite, s


@inner
def kinked_coefficients(a: Any, relu: bool, c: Any, theta: Any) -> float:
    """Those of the other activations; the |u| up to which no relu of these units changes sides."""
    kink = np.inf
    for j in range(a.size):
        c[j], theta[j] = 1.0, 0.0
        if relu:
            c[j] = 1.0 if a[j] > 0 else 0.0
            kink = min(kink, abs(a[j]))
    return kink


@inner
def increments(a: Any, u: float, activation: int, dz: Any) -> None:
    """Δz of each unit for an increment u of its pre-activation, without cancellation, for any u."""
    if is_logistic(activation):
        # sigmoid(b) − sigmoid(c) = sigmoid(b)·sigmoid(−c)·(1 − e^(c − b)): nothing overflows.
        steep = steepness(activation)
        change = math.copysign(-steep * expm1(-steep * abs(u)), u)
        for j in range(a.size):
            above, below = steep * max(a[j], a[j] + u), steep * min(a[j], a[j] + u)
            dz[j] = sigmoid(above) * sigmoid(-below) * change
    elif activation == RELU:
        for j in range(a.size):
            on, off = max(u, -a[j]), max(u + a[j], 0.0)
            dz[j] = on if a[j] > 0 else off
    else:
        for j in range(a.size):
            dz[j] = u
