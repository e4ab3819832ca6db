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

Where the arguments are small, as they are at the book's step, most of that is done at once, in two
matrix products: :mod:`.expansions`, which says what a gradient check then compares.

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
from . import binary_differences
from .evaluated import OUTPUT_BLOCK, Evaluated, Features, with_ones, zeros_of
from .expansions import ALONG_UNITS, products
from .loss_ratios import (
    Sums,
    cut_off,
    directly,
    log_ratio,
    moved_logit,
    without_each,
)

#: |Δz·v| up to which five terms of the series of T are enough: relative to the first, the sixth is
#: (2e-3)⁵/720 = 4e-17.
SERIES_BOUND = 2e-3


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

    The reference, in array operations: by :mod:`.expansions` where those are exact to rounding, and
    on one sample at a time for the rest. Its memory is some arrays of (samples, hidden units), and
    for the sample at hand of (features, hidden units). `features` gives the
    index of those features of a row that are not zero, where the library can write to an array that
    is indexed so.
    """
    dtype = W1.dtype
    inputs, W1, b1, W2, b2 = (
        xp.astype(array, xp.float64, copy=False) for array in (x, W1, b1, W2, b2)
    )
    f, (output, value, *_) = ACTIVATIONS[activation], LOSSES[loss]
    a = inputs @ W1 + b1
    z = f.function(xp, a)
    logits = z @ W2 + b2
    y = output(xp, logits)
    t = one_hot(xp, t if t.ndim == 1 else xp.astype(t, xp.float64, copy=False), y)
    network = Evaluated(x, t, a, with_ones(xp, z), logits, y, W2, x.shape[0])
    differences = DIFFERENCES.get(loss)
    if differences is None:
        both = _by_evaluation(xp, network, f, lambda changed: value(xp, output(xp, changed), t), h)
        gradients = _split(both[0] / (2 * h)), _split(both[1] / (2 * h))
    else:
        if f.expansion is not None and loss in ALONG_UNITS:
            left, gradients = products(xp, network, f, loss, h)
        else:
            left = xp.ones_like(a, dtype=xp.bool), xp.ones_like(a[:, 0], dtype=xp.bool)
            zeros = zeros_of(xp, with_ones(xp, inputs), a), zeros_of(xp, network.z, y)
            gradients = _split(zeros[0]), _split(zeros[1])
        hidden, result = gradients
        if (rows := xp.nonzero(xp.any(left[0], axis=1))[0]).shape[0]:
            hidden = xp.astype(hidden[0], xp.float64, copy=False), hidden[1]
            _add_hidden(xp, network, f, h, features, differences.hidden, left[0], rows, hidden)
        if (rows := xp.nonzero(left[1])[0]).shape[0]:
            found = _split(differences.output(xp, network.some(xp, rows), h) / (2 * h))
            result = result[0] + found[0], result[1] + found[1]
        gradients = hidden, result
    dW1, db1, dW2, db2 = (
        xp.astype(g, dtype, copy=False) for of_layer in gradients for g in of_layer
    )
    return xp.astype(value(xp, y, t), dtype), (dW1, db1, dW2, db2)


def _split(both: Array) -> tuple[Array, Array]:
    """The weights of a layer, and the biases, which are the last row."""
    return both[:-1, ...], both[-1, ...]


def _add_hidden(
    xp: Any,
    network: Evaluated,
    f: Activation,
    h: float,
    features: Features,
    of_sample: Callable[..., Array],
    left: Array,
    rows: Array,
    hidden: tuple[Array, Array],
) -> None:
    """Add (L(+h) − L(−h)) / 2h for the units of these samples for which `left` is true."""
    (weights, biases), x, a, W2 = hidden, network.x, network.a, network.W2
    for n in map(int, rows):
        some, units = features(x[n, ...]), xp.nonzero(left[n, ...])[0]
        every_unit = units.shape[0] == a.shape[1]
        an = a[n, ...] if every_unit else xp.take(a[n, ...], units)
        inputs = xp.astype(x[n, some], xp.float64, copy=False)
        u = h * xp.concat([inputs, xp.ones_like(a[n, :1])])[:, None]
        up, down = f.change(xp, an, u), f.change(xp, an, -u)
        found = of_sample(
            xp, network, n, W2 if every_unit else xp.take(W2, units, axis=0), up, down
        ) / (2 * h)
        if every_unit:
            weights[some, :] += found[:-1, ...]
            biases += found[-1, ...]
            continue
        for place, j in enumerate(units):
            weights[some, int(j)] += found[:-1, place]
            biases[int(j)] += found[-1, place]


def _hidden_cross_entropy(
    xp: Any, network: Evaluated, n: int, W2: Array, up: Array, down: Array
) -> Array:
    """Of a sample, target by target, for increments (features, units) of the units of W2."""
    p, logits = network.y[n, ...], network.logits[n, ...]
    kept, guard = p / (p + LOG_GUARD), LOG_GUARD / (p + LOG_GUARD)
    result = xp.zeros_like(up)
    for target in range(p.shape[0]):
        weight = float(network.t[n, target]) / network.batch
        if weight == 0:
            continue
        v = (W2 - W2[:, target, None]).T
        sums = _series(xp, p, v, up, down)
        if sums is not None:
            result += log_ratio(xp, *sums, kept[target], guard[target], weight)
        else:
            result += directly(xp, logits - logits[target], v, up, down, weight)
    return result


def _output_cross_entropy(xp: Any, network: Evaluated, h: float) -> Array:
    others = without_each(xp, network.logits)
    numbers = xp.nonzero(xp.ones_like(network.y[0, ...]))[0]
    left, output = network.t, zeros_of(xp, network.z, network.y)
    while bool(xp.any(left != 0)):  # of each sample, one of the targets that are not zero
        target = xp.argmax(abs(left), axis=1)[:, None]
        own = numbers[None, :] == target
        weight = xp.take_along_axis(left, target, axis=1) / network.batch
        output += _of_outputs(xp, network, others, own, target, weight, h)
        left = xp.where(own, xp.zeros_like(left), left)
    return output


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
    result = zeros_of(xp, z, logits)
    at_a_time = max(1, OUTPUT_BLOCK // (result.shape[0] * result.shape[1]))
    for first in range(0, logits.shape[0], at_a_time):
        some = slice(first, min(first + at_a_time, logits.shape[0]))
        step = signed[some, None, :] * z[some, :, None]
        moved = factor[some, None, :], exponent[some, None, :]
        found = moved_logit(xp, rest[some, None, :], moved, step, weight[some, :, None])
        result += xp.sum(found, axis=0)
    return result


def _hidden_squared_error(
    xp: Any, network: Evaluated, n: int, W2: Array, up: Array, down: Array
) -> Array:
    """(Δz₊ − Δz₋)·(G + Q/2·(Δz₊ + Δz₋)), with G = W2·(y − t) and Q = Σₖ W2[:, k]²."""
    slope = W2 @ (network.y[n, ...] - network.t[n, ...])
    return (up - down) * (slope + xp.sum(W2 * W2, axis=1) / 2 * (up + down))


def _output_squared_error(_xp: Any, network: Evaluated, h: float) -> Array:
    return 2 * h * (network.z.T @ (network.y - network.t))


def _by_evaluation(
    xp: Any, network: Evaluated, f: Activation, loss_of: Callable[[Array], Array], h: float
) -> tuple[Array, Array]:
    """L(+h) − L(−h) of any loss of the logits: both evaluated, from the change of the logits."""
    a, z, logits, W2 = network.a, network.z, network.logits, network.W2
    x = with_ones(xp, xp.astype(network.x, xp.float64, copy=False))
    hidden, output = zeros_of(xp, x, a), zeros_of(xp, z, logits)
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


class Differences(NamedTuple):
    """L(+h) − L(−h) without cancellation."""

    hidden: Callable[..., Array]  # (xp, network, n, W2, up, down) -> (features, units) of sample n
    output: Callable[..., Array]  # (xp, network, h) -> the sum over the samples, for the outputs


#: By loss.
DIFFERENCES = {
    "cross_entropy": Differences(_hidden_cross_entropy, _output_cross_entropy),
    "mean_squared_error": Differences(_hidden_squared_error, _output_squared_error),
    "binary_cross_entropy": Differences(binary_differences.hidden, binary_differences.output),
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
