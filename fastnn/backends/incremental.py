"""The numerical gradient at the price of backpropagation: evaluate again only what a perturbed parameter changes.

The book's loop evaluates the whole network twice for each parameter. But moving W1[i, j] by ±h moves the pre-activation of the one
hidden unit j, in sample n by u = ±h·x[n, i], and so that unit's output by some Δz; this moves the logits by Δz·W2[j, :].
From the unperturbed network, both losses follow in a few operations, and where x[n, i] = 0 nothing changes at all. What is
computed is still (L(w + h) − L(w − h)) / 2h for each parameter w, both losses to working precision: no derivative of the loss
and nothing of backpropagation enters, so that the result remains an independent check of it.

Written naively the difference of two such losses would lose half its digits. Here it does not, as every step computes the change
of a quantity instead of the changed quantity:

* Δz = f(a + u) − f(a) for each activation, without subtraction of nearly equal numbers: :data:`fastnn.functions.ACTIVATIONS`.
* For a target c with probability p_c, the softmax of the changed logits is p_c / D there, with D = Σₖ pₖ·exp(Δz·vₖ) and
  vₖ = W2[j, k] − W2[j, c]. Its change is T = D − 1 = Σₖ pₖ·expm1(Δz·vₖ).
* The loss of this target is −log(p_c/D + ε), with ε = 1e-7 the book's guard, so
  L(+h) − L(−h) = log1p(ρ·(T₊ − T₋) / (D₋·(ρ + κ·D₊))) with ρ = p_c/(p_c + ε) and κ = ε/(p_c + ε).

T is a power series in Δz whose coefficients Σₖ pₖ·vₖᵐ/m! do not depend on i: five terms are exact to rounding as long as
|Δz·v| ≤ :data:`SERIES_BOUND`, and make the cost of a perturbation independent of the number of outputs. Beyond that bound the
exponentials are evaluated one by one. The squared error is closed form in Δz, and W2 and b2 move a single logit.

Everything is computed in float64, whatever the dtype of the network: in float32 the coefficients alone would cost the digits that
the form of the differences saves.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType

import numpy as np

from ..functions import ACTIVATIONS, LOG_GUARD, LOSSES, one_hot
from ..validation import Array

#: |Δz·v| up to which five terms of the series of T are enough: relative to the first, the sixth is (2e-3)⁵/720 = 4e-17.
SERIES_BOUND = 2e-3


def numerical_gradient(
    xp: ModuleType, x: Array, t: Array, W1: Array, b1: Array, W2: Array, b2: Array, activation: str, loss: str, h: float
) -> tuple[Array, tuple[Array, Array, Array, Array]]:
    """The loss, and its central differences with step `h` for W1, b1, W2 and b2, in the dtype of W1.

    The reference: array operations on one sample at a time. Its memory is some arrays of (samples, hidden units), and for the
    sample at hand of (features, hidden units).
    """
    dtype = W1.dtype
    x, W1, b1, W2, b2 = (array.astype(np.float64) for array in (x, W1, b1, W2, b2))
    t = t if t.ndim == 1 else t.astype(np.float64)
    a = x @ W1 + b1
    z = ACTIVATIONS[activation].function(a)
    y = LOSSES[loss].output(z @ W2 + b2)
    value = LOSSES[loss].value(y, t)
    # The bias of a layer is the weight of one more input, which is 1 in every sample.
    ones = xp.ones((len(x), 1))
    terms = _cross_entropy if loss == "cross_entropy" else _squared_error
    hidden, output = terms(xp, xp.hstack([x, ones]), t, a, xp.hstack([z, ones]), y, W2, activation, h)
    gradients = hidden[:-1], hidden[-1], output[:-1], output[-1]
    return value.astype(dtype), tuple((g / (2 * h)).astype(dtype) for g in gradients)


def _cross_entropy(
    xp: ModuleType, x: Array, t: Array, a: Array, z: Array, p: Array, W2: Array, activation: str, h: float
) -> tuple[Array, Array]:
    """L(+h) − L(−h) of the cross-entropy for all weights of the two layers, the last row being the biases."""
    hidden, output = xp.zeros((x.shape[1], a.shape[1])), xp.zeros((z.shape[1], p.shape[1]))
    increment, others = ACTIVATIONS[activation].increment, _sum_of_others(xp, p)
    outputs = xp.arange(p.shape[1])
    for rows, classes, weights in _targets(xp, t):
        odds = p[rows, classes] / (p[rows, classes] + LOG_GUARD), LOG_GUARD / (p[rows, classes] + LOG_GUARD)
        for n, target, weight, kept, guard in zip(rows.tolist(), classes.tolist(), weights / len(x), *odds, strict=True):
            features = xp.nonzero(x[n])[0]
            u = h * x[n, features, None]
            v = (W2 - W2[:, target, None]).T
            up, down = _exponential_sums(xp, p[n], v, increment(a[n], u), increment(a[n], -u))
            hidden[features] += weight * _log_ratio(xp, up, down, kept, guard)
            # Moving the target's own logit is moving all the others the other way.
            own = outputs == target
            share, rest = xp.where(own, others[n], p[n]), xp.where(own, p[n], others[n])
            step = xp.where(own, -h, h) * z[n, :, None]
            up, down = ((share * xp.expm1(s), rest + share * xp.exp(s)) for s in (step, -step))
            output += weight * _log_ratio(xp, up, down, kept, guard)
    return hidden, output


def _squared_error(
    xp: ModuleType, x: Array, t: Array, a: Array, z: Array, y: Array, W2: Array, activation: str, h: float
) -> tuple[Array, Array]:
    """L(+h) − L(−h) of the squared error: (Δz₊ − Δz₋)·(G + Q/2·(Δz₊ + Δz₋)), with G = W2·(y − t) and Q = Σₖ W2[:, k]²."""
    hidden = xp.zeros((x.shape[1], a.shape[1]))
    residual = y - one_hot(t, y.shape[1], y.dtype)
    slope, curvature = residual @ W2.T, (W2 * W2).sum(axis=1)
    increment = ACTIVATIONS[activation].increment
    for n in range(len(x)):
        features = xp.nonzero(x[n])[0]
        u = h * x[n, features, None]
        up, down = increment(a[n], u), increment(a[n], -u)
        hidden[features] += (up - down) * (slope[n] + curvature / 2 * (up + down))
    return hidden, 2 * h * (z.T @ residual)


def _targets(xp: ModuleType, t: Array) -> Iterator[tuple[Array, Array, Array]]:
    """The targets that are not zero, in groups with at most one for each sample: samples, classes, values."""
    if t.ndim == 1:
        yield xp.arange(len(t)), t, xp.ones(len(t))
        return
    rows, classes = xp.nonzero(t)  # sample by sample
    place = xp.arange(len(rows)) - xp.searchsorted(rows, rows)  # among the targets of its sample
    for p in range(t.shape[1]):
        chosen = place == p
        yield rows[chosen], classes[chosen], t[rows[chosen], classes[chosen]]


def _exponential_sums(
    xp: ModuleType, p: Array, v: Array, up: Array, down: Array
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """T = Σₖ pₖ·expm1(Δz·vₖ) and D = Σₖ pₖ·exp(Δz·vₖ) for two increments Δz, shape (features, units); v is (outputs, units)."""
    largest = xp.maximum(abs(up), abs(down))
    reach = (largest.max(axis=0) if len(largest) else 0) * abs(v).max(axis=0)
    if bool((reach <= SERIES_BOUND).all()):
        power = p[:, None]
        coefficients = []
        for m in range(1, 6):
            power = power * v / m
            coefficients.append(power.sum(axis=0))
        sums = [_polynomial(dz, coefficients) for dz in (up, down)]
        return (sums[0], 1 + sums[0]), (sums[1], 1 + sums[1])
    first, second = (
        (
            sum(share * xp.expm1(dz * w) for share, w in zip(p, v, strict=True)),
            sum(share * xp.exp(dz * w) for share, w in zip(p, v, strict=True)),
        )
        for dz in (up, down)
    )
    return first, second


def _polynomial(x: Array, coefficients: list[Array]) -> Array:
    """Σ coefficients[m − 1]·xᵐ for m = 1, 2, … ."""
    result = coefficients[-1] * x
    for c in coefficients[-2::-1]:
        result += c
        result *= x
    return result


def _log_ratio(xp: ModuleType, up: tuple[Array, Array], down: tuple[Array, Array], kept: Array, guard: Array) -> Array:
    """L(+h) − L(−h) of a target, from T and D at +h and at −h, ρ and κ."""
    (T_up, D_up), (T_down, D_down) = up, down
    difference = T_up - T_down
    # The logarithm of a ratio above one: below one, its distance from zero is what would be lost.
    rises = difference > 0
    smaller, larger = xp.where(rises, D_down, D_up), xp.where(rises, D_up, D_down)
    larger *= guard
    larger += kept
    larger *= smaller
    ratio = abs(difference)
    ratio *= kept
    ratio /= larger
    return xp.copysign(xp.log1p(ratio, out=ratio), difference, out=ratio)


def _sum_of_others(xp: ModuleType, p: Array) -> Array:
    """1 − p without cancellation: for each output the sum of all the other probabilities."""
    return xp.stack([p[:, :k].sum(axis=1) + p[:, k + 1 :].sum(axis=1) for k in range(p.shape[1])], axis=1)
