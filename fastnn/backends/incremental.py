"""The numerical gradient at the price of backpropagation: only what changes is evaluated anew.

The book's loop evaluates the whole network twice for each parameter. But moving W1[i, j] by ±h
moves the pre-activation of the one hidden unit j, in sample n by u = ±h·x[n, i], and so that unit's
output by some Δz; this moves the logits by Δz·W2[j, :]. From the unperturbed network, both losses
follow in a few operations, and where x[n, i] = 0 nothing changes at all. What is computed is still
(L(w + h) − L(w − h)) / 2h for each parameter w, both losses to working precision: no derivative of
the loss and nothing of backpropagation enters, so that the result remains an independent check of
it.

Written naively the difference of two such losses would lose half its digits. Here it does not, as
every step computes the change of a quantity instead of the changed quantity:

* Δz = f(a + u) − f(a) for each activation, without subtraction of nearly equal numbers:
  :data:`fastnn.functions.ACTIVATIONS`.
* For a target c with probability p_c, the softmax of the changed logits is p_c / D there, with
  D = Σₖ pₖ·exp(Δz·vₖ) and vₖ = W2[j, k] − W2[j, c]. Its change is T = D − 1 = Σₖ pₖ·expm1(Δz·vₖ).
* The loss of this target is −log(p_c/D + ε), with ε = 1e-7 the book's guard, so
  L(+h) − L(−h) = log1p(ρ·(T₊ − T₋) / (D₋·(ρ + κ·D₊))) with ρ = p_c/(p_c + ε) and κ = ε/(p_c + ε).

T is a power series in Δz whose coefficients Σₖ pₖ·vₖᵐ/m! do not depend on i: five terms are exact
to rounding as long as |Δz·v| ≤ :data:`SERIES_BOUND`, and make the cost of a perturbation
independent of the number of outputs. Beyond that bound the exponentials are evaluated one by one,
and not from probabilities, which may be too small for a number and large after the step: D/p_c is
Σₖ exp(rₖ + Δz·vₖ), with rₖ the logit of k less that of the target, and with no exponent above
:data:`.loss_ratios.LARGEST_EXPONENT`, from where on p_c/D is nothing beside ε.
The squared error is closed form in Δz; with the binary cross-entropy each output is by itself, and
:func:`.loss_ratios.softplus_difference` has the difference; and W2 and b2 move a single logit. That
is exact to rounding for steps of any size; what the logits themselves have lost to rounding, the
exponents have, too.

Everything is computed in float64, whatever the dtype of the network: in float32 the coefficients
alone would cost the digits that the form of the differences saves.

A loss that has no such form yet (it is in :data:`fastnn.functions.LOSSES` and not in
:data:`DIFFERENCES`) is evaluated at the two perturbed networks and subtracted, which costs the
digits that cancel, as in the book's loop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ..functions import ACTIVATIONS, LOG_GUARD, LOSSES, Activation, one_hot
from ..validation import Array
from .loss_ratios import (
    Sums,
    cut_off,
    directly,
    log_ratio,
    moved_logit,
    softplus_difference,
    without_each,
)

#: |Δz·v| up to which five terms of the series of T are enough: relative to the first, the sixth is
#: (2e-3)⁵/720 = 4e-17.
SERIES_BOUND = 2e-3

#: How many perturbed losses of the output layer are evaluated at a time: they stay in a cache.
OUTPUT_BLOCK = 8192

#: What to index a row of samples and the rows of a result with, to leave out features that are
#: zero.
Features = Callable[[Array], Any]


class Evaluated(NamedTuple):
    """The unperturbed network in float64.

    The last column of `x` and `z` is 1: a bias is the weight of one more input.
    """

    x: Array  # (samples, features + 1)
    t: Array  # (samples, outputs)
    a: Array  # (samples, units)
    z: Array  # (samples, units + 1)
    logits: Array  # (samples, outputs)
    y: Array  # (samples, outputs)
    W2: Array  # (units, outputs)


def every(_row: Array) -> Any:
    """All features: what every library can index with, also to write."""
    return slice(None)


def numerical_gradient(
    xp: Any,
    x: Array,
    t: Array,
    W1: Array,
    b1: Array,
    W2: Array,
    b2: Array,
    activation: str,
    loss: str,
    h: float,
    features: Features = every,
) -> tuple[Array, tuple[Array, Array, Array, Array]]:
    """The loss and its central differences with step `h` for W1, b1, W2 and b2, in the dtype of W1.

    The reference: array operations on one sample at a time. Its memory is some arrays of (samples,
    hidden units), and for the sample at hand of (features, hidden units). `features` gives the
    index of those features of a row that are not zero, where the library can write to an array that
    is indexed so.
    """
    dtype = W1.dtype
    x, W1, b1, W2, b2 = (xp.astype(array, xp.float64, copy=False) for array in (x, W1, b1, W2, b2))
    f, (output, value, *_) = ACTIVATIONS[activation], LOSSES[loss]
    a = x @ W1 + b1
    z = f.function(xp, a)
    logits = z @ W2 + b2
    y = output(xp, logits)
    t = one_hot(xp, t if t.ndim == 1 else xp.astype(t, xp.float64, copy=False), y)
    network = Evaluated(_with_ones(xp, x), t, a, _with_ones(xp, z), logits, y, W2)
    differences = DIFFERENCES.get(loss)
    if differences is not None:
        hidden, result = differences(xp, network, f, h, features)
    else:
        hidden, result = _by_evaluation(
            xp, network, f, lambda changed: value(xp, output(xp, changed), t), h
        )
    gradients = hidden[:-1, ...], hidden[-1, ...], result[:-1, ...], result[-1, ...]
    return xp.astype(value(xp, y, t), dtype), tuple(
        xp.astype(g / (2 * h), dtype) for g in gradients
    )


def _with_ones(xp: Any, a: Array) -> Array:
    return xp.concat([a, xp.ones_like(a[:, :1])], axis=1)


def _no_differences(xp: Any, network: Evaluated) -> tuple[Array, Array]:
    """Zeros for L(+h) − L(−h) of all weights of the two layers, the last row being the biases."""
    x, a, z, y = network.x, network.a, network.z, network.y
    return xp.zeros_like(x[0, :, None] * a[0, None, :]), xp.zeros_like(
        z[0, :, None] * y[0, None, :]
    )


def _cross_entropy(
    xp: Any, network: Evaluated, f: Activation, h: float, features: Features
) -> tuple[Array, Array]:
    """L(+h) − L(−h) of the cross-entropy, target by target."""
    x, t, a, _, logits, p, W2 = network
    hidden, output = _no_differences(xp, network)
    samples, outputs = p.shape[0], p.shape[1]
    kept, guard = p / (p + LOG_GUARD), LOG_GUARD / (p + LOG_GUARD)
    for n in range(samples):
        some = features(x[n, ...])
        u = h * x[n, some, None]
        up, down = f.change(xp, a[n, ...], u), f.change(xp, a[n, ...], -u)
        for target in range(outputs):
            weight = float(t[n, target]) / samples
            if weight == 0:
                continue
            v = (W2 - W2[:, target, None]).T
            sums = _series(xp, p[n, ...], v, up, down)
            if sums is not None:
                odds = kept[n, target], guard[n, target]
                hidden[some, :] += log_ratio(xp, *sums, *odds, weight)
            else:
                r = logits[n, ...] - logits[n, target]
                hidden[some, :] += directly(xp, r, v, up, down, weight)
    others = without_each(xp, logits)
    numbers = xp.nonzero(xp.ones_like(p[0, ...]))[0]
    left = t
    while bool(xp.any(left != 0)):  # of each sample, one of the targets that are not zero
        target = xp.argmax(abs(left), axis=1)[:, None]
        own = numbers[None, :] == target
        weight = xp.take_along_axis(left, target, axis=1) / samples
        output += _of_outputs(xp, network, others, own, target, weight, h)
        left = xp.where(own, xp.zeros_like(left), left)
    return hidden, output


def _of_outputs(
    xp: Any,
    network: Evaluated,
    others: tuple[Array, Array],
    own: Array,
    target: Array,
    weight: Array,
    h: float,
) -> Array:
    """L(+h) − L(−h) for the weights into the outputs, of one target of each sample.

    Moving the target's own logit is moving all the others the other way.
    """
    logits, z = network.logits, network.z
    here = xp.take_along_axis(logits, target, axis=1)
    r, highest, total = logits - here, others[0] - here, others[1]
    one = xp.ones_like(r)
    factor, exponent = xp.where(own, total, one), xp.where(own, highest, r)
    rest = xp.where(own, one, total * xp.exp(cut_off(xp, highest)))
    signed = xp.where(own, -h * one, h)
    result = xp.zeros_like(z[0, :, None] * logits[0, None, :])
    at_a_time = max(1, OUTPUT_BLOCK // (result.shape[0] * result.shape[1]))
    for first in range(0, logits.shape[0], at_a_time):
        some = slice(first, min(first + at_a_time, logits.shape[0]))
        step = signed[some, None, :] * z[some, :, None]
        moved = factor[some, None, :], exponent[some, None, :]
        found = moved_logit(xp, rest[some, None, :], moved, step, weight[some, :, None])
        result += xp.sum(found, axis=0)
    return result


def _squared_error(
    xp: Any, network: Evaluated, f: Activation, h: float, features: Features
) -> tuple[Array, Array]:
    """L(+h) − L(−h) of the squared error.

    It is (Δz₊ − Δz₋)·(G + Q/2·(Δz₊ + Δz₋)), with G = W2·(y − t) and Q = Σₖ W2[:, k]².
    """
    x, t, a, z, _, y, W2 = network
    hidden, _ = _no_differences(xp, network)
    residual = y - t
    slope, curvature = residual @ W2.T, xp.sum(W2 * W2, axis=1)
    for n in range(x.shape[0]):
        some = features(x[n, ...])
        u = h * x[n, some, None]
        up, down = f.change(xp, a[n, ...], u), f.change(xp, a[n, ...], -u)
        hidden[some, :] += (up - down) * (slope[n, ...] + curvature / 2 * (up + down))
    return hidden, 2 * h * (z.T @ residual)


def _binary_cross_entropy(
    xp: Any, network: Evaluated, f: Activation, h: float, features: Features
) -> tuple[Array, Array]:
    """L(+h) − L(−h) of the binary cross-entropy, without the limits of the probabilities.

    Of an output with the logit a that is (1 − t)·log(1 + e^a) + t·log(1 + e^−a).
    """
    x, t, a, z, logits, _, W2 = network
    hidden, output = _no_differences(xp, network)
    samples, outputs = t.shape[0], t.shape[1]
    sides = [(weight / samples, side) for weight, side in ((1 - t, 1), (t, -1))]
    for n in range(samples):
        some = features(x[n, ...])
        u = h * x[n, some, None]
        up, down = f.change(xp, a[n, ...], u), f.change(xp, a[n, ...], -u)
        for k in range(outputs):
            for weights, side in sides:
                if (weight := float(weights[n, k])) != 0:
                    v = side * W2[:, k]
                    hidden[some, :] += weight * _moved(
                        xp, side * logits[n, k], up * v, down * v, (up - down) * v
                    )
    at_a_time = max(1, OUTPUT_BLOCK // (output.shape[0] * outputs))
    for weights, side in sides:
        for first in range(0, samples, at_a_time):
            block = slice(first, min(first + at_a_time, samples))
            step = side * h * z[block, :, None]
            moved = _moved(xp, side * logits[block, None, :], step, -step, 2 * step)
            output += xp.sum(weights[block, None, :] * moved, axis=0)
    return hidden, output


def _moved(xp: Any, logits: Array, up: Array, down: Array, between: Array) -> Array:
    """What log(1 + e^a) is at logits + up more than at logits + down; `between` is up − down."""
    low, high = logits + xp.minimum(up, down), logits + xp.maximum(up, down)
    return xp.copysign(softplus_difference(xp, low, high, abs(between)), between)


def _by_evaluation(
    xp: Any, network: Evaluated, f: Activation, loss_of: Callable[[Array], Array], h: float
) -> tuple[Array, Array]:
    """L(+h) − L(−h) of any loss of the logits: both evaluated, from the change of the logits."""
    x, _, a, z, logits, _, W2 = network
    hidden, output = _no_differences(xp, network)
    for i in range(hidden.shape[0]):
        up, down = (f.change(xp, a, u) for u in (h * x[:, i, None], -h * x[:, i, None]))
        for j in range(hidden.shape[1]):
            w = W2[j, None, :]
            hidden[i, j] = loss_of(logits + up[:, j, None] * w) - loss_of(
                logits + down[:, j, None] * w
            )
    for k in range(output.shape[1]):
        direction = xp.zeros_like(logits)
        direction[:, k] = h
        for j in range(output.shape[0]):
            step = direction * z[:, j, None]
            output[j, k] = loss_of(logits + step) - loss_of(logits - step)
    return hidden, output


#: L(+h) − L(−h) without cancellation, by loss: for all weights into hidden units, and for all into
#: outputs.
DIFFERENCES = {
    "cross_entropy": _cross_entropy,
    "mean_squared_error": _squared_error,
    "binary_cross_entropy": _binary_cross_entropy,
}


def _series(xp: Any, p: Array, v: Array, up: Array, down: Array) -> tuple[Sums, Sums] | None:
    """T = Σₖ pₖ·expm1(Δz·vₖ) and D = 1 + T for two increments Δz; None where they are too large.

    They are of shape (features, units); v is (outputs, units).
    """
    largest = xp.maximum(abs(up), abs(down))
    reach = xp.max(largest, axis=0) * xp.max(abs(v), axis=0)
    if not bool(xp.all(reach <= SERIES_BOUND)):
        return None
    power = p[:, None]
    coefficients = []
    for m in range(1, 6):
        power = power * v / m
        coefficients.append(xp.sum(power, axis=0))
    sums = [_polynomial(dz, coefficients) for dz in (up, down)]
    return (sums[0], 1 + sums[0]), (sums[1], 1 + sums[1])


def _polynomial(x: Array, coefficients: list[Array]) -> Array:
    """Σ coefficients[m − 1]·xᵐ for m = 1, 2, … ."""
    result = coefficients[-1] * x
    for c in coefficients[-2::-1]:
        result += c
        result *= x
    return result
