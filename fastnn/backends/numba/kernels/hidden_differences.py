"""The loss at +h and −h for the parameters of the hidden layer: a unit moves, and every logit.

It is for samples whose differences two powers are not exact for (:mod:`.expansions`). The work is
one innermost loop for each of them: over its non-zero features i, for a vector of hidden units j.
Two things make it fast:

* What depends on (n, j) alone is computed once a sample, in float64, and stays in registers: the
  coefficients in powers of τ, an argument that depends on (n, i) alone, of the sum of exponentials
  T. The loop itself runs in the network's dtype.
* Within proven bounds on the arguments (:data:`SERIES_BOUND`) the reciprocals, exponentials and
  logarithm are short series (:mod:`.hidden_series`), cut off below rounding error: eleven
  multiplications and additions, without a branch. Where the bounds do not hold,
  `_cross_entropy_direct` evaluates exponentials and logarithms instead.

The increments Δz = ±cτ / (1 ± θτ) of a unit are those of :mod:`.increments`.
"""

from __future__ import annotations

from typing import Any

from .compression import first_at_least
from .elementary import like
from .hidden_series import series, series_coefficients
from .increments import arguments, increments
from .jit import inner
from .output_differences import SERIES_BOUND, change, exponential, log_ratio, odds
from .workspace import Workspace


@inner
def _cross_entropy_direct(
    a: Any,
    u: float,
    activation: int,
    logits: Any,
    W2T: Any,
    target: int,
    weight: float,
    total: Any,
    units: Any,
) -> None:
    """What the series add, by evaluating every exponential and logarithm: for any arguments."""
    up, down, above, below, difference = units[0], units[1], units[2], units[3], units[4]
    increments(a, u, activation, up)
    increments(a, -u, activation, down)
    own = W2T[target]
    for j in range(a.size):
        above[j] = below[j] = 1.0  # the target's own, of D over its probability
        difference[j] = 0.0
    for k in range(logits.size):
        if k != target:
            other, r = W2T[k], logits[k] - logits[target]
            for j in range(a.size):
                v = other[j] - own[j]
                first, second = exponential(r + up[j] * v), exponential(r + down[j] * v)
                above[j] += first
                below[j] += second
                difference[j] += change(max(first, second), (up[j] - down[j]) * v)
    for j in range(a.size):
        total[j] += like(total[j], 0.5 * weight * log_ratio(above[j], below[j], difference[j]))


@inner
def _features_of_row(
    row: int, first: int, last: int, samples: Any, features: Any
) -> tuple[int, int]:
    """From where to where in `samples` the features first … last − 1 of a row are.

    Their numbers, counted from `first`, go into `features`, and after them `last`: the bias is one
    more feature of every sample, with the value 1.
    """
    indptr, indices, _ = samples
    begin, end = indptr[row], indptr[row + 1]
    if first > 0:
        begin = first_at_least(indices, begin, end, first)
    if last < features.size - 1:
        end = first_at_least(indices, begin, end, last)
    for s in range(end - begin):
        features[s] = indices[begin + s] - first
    features[end - begin] = last - first
    return begin, end


@inner
def hidden_cross_entropy(
    n: int,
    first: int,
    last: int,
    bias: bool,
    samples: Any,
    row: int,
    targets: Any,
    h: float,
    activation: int,
    part: int,
    p: int,
    work: Workspace,
    total: Any,
) -> None:
    """Add (L(+h) − L(−h)) / 2h of sample n for the weights from features first … last − 1.

    These are the weights into the units of a panel; with `bias`, also their biases. `total` is
    (features, padded units), of the network's dtype, with one more row for the biases. Which
    formulas are taken depends on all units, so that the panels make no difference.
    """
    start, classes, weights = targets
    units, coefficients = work.units[part], work.coefficients[part]
    features, tau, powers = work.features[part], work.tau[part], work.powers[part]
    W2T, values, a, y = work.W2T[p], samples[2], work.a[p, n], work.y[n]
    begin, end = _features_of_row(row, first, last, samples, features)
    count, greatest = arguments(values[begin:end], h, activation, bias, tau, powers)
    c, theta, largest, kink = work.c[p, n], work.theta[p, n], work.theta_bound[n], work.kink[n]
    reach, scale = work.apart[n], 1 / (h * work.y.shape[0])
    # Of a relu τ is u, and of the others there is no kink.
    # No τ² beyond float32, where weights are alike and the coefficients zero.
    bound = min(SERIES_BOUND / max(largest, reach, 1e-12), kink)
    for pair in range(start[n], start[n + 1]):
        target, weight = classes[pair], weights[pair] * scale
        kept, guard = odds(y[target])
        series_coefficients(y, W2T, target, c, theta, guard, coefficients)
        s = 0
        while s < count:
            run = s
            while run < count and (greatest < bound or abs(tau[run]) < bound):
                run += 1
            if run > s:
                series(s, run, features, powers, coefficients, kept, weight, total)
                s = run
            else:
                work.direct[part] += 1
                u = h * like(h, values[begin + s]) if begin + s < end else h
                of_feature = total[features[s]]
                _cross_entropy_direct(
                    a, u, activation, work.logits[n], W2T, target, weight, of_feature, units
                )
                s += 1


@inner
def _squared_error_coefficients(residual: Any, W2T: Any, slope: Any, curvature: Any) -> None:
    """G = Σₖ W2[j, k]·(y − t)ₖ and Q = Σₖ W2[j, k]²: the loss changes by Δz·G + Δz²·Q/2."""
    for j in range(W2T.shape[1]):
        slope[j] = curvature[j] = 0.0
    for k in range(residual.size):
        w = W2T[k]
        for j in range(w.size):
            slope[j] += w[j] * residual[k]
            curvature[j] += w[j] * w[j]


@inner
def _squared_error(c: Any, theta: Any, slope: Any, curvature: Any, tau: Any, total: Any) -> None:
    """Add ½(L(+h) − L(−h)) = ½(Δz₊ − Δz₋)·(G + Q/2·(Δz₊ + Δz₋)) to `total`, unit by unit."""
    one = like(tau, 1)
    for j in range(total.size):
        q = theta[j] * tau
        f = c[j] * tau / (one - q * q)
        total[j] += f * (slope[j] - curvature[j] * (f * q))


@inner
def hidden_squared_error(
    n: int,
    first: int,
    last: int,
    bias: bool,
    samples: Any,
    row: int,
    h: float,
    activation: int,
    part: int,
    p: int,
    work: Workspace,
    total: Any,
) -> None:
    """What `hidden_cross_entropy` does, for the squared error."""
    units, coefficients = work.units[part], work.coefficients[part]
    features, tau = work.features[part], work.tau[part]
    zero, values = total[0, 0], samples[2]
    slope, curvature, up, down = units[0], units[1], units[2], units[3]
    a, c, theta = work.a[p, n], work.c[p, n], work.theta[p, n]
    largest, kink = work.theta_bound[n], work.kink[n]
    begin, end = _features_of_row(row, first, last, samples, features)
    count, _ = arguments(values[begin:end], h, activation, bias, tau, work.powers[part])
    _squared_error_coefficients(work.y[n], work.W2T[p], slope, curvature)
    for j in range(a.size):
        slope[j], curvature[j] = slope[j] / h, curvature[j] / h
        coefficients[0, j], coefficients[1, j] = like(zero, c[j]), like(zero, theta[j])
        coefficients[2, j], coefficients[3, j] = like(zero, slope[j]), like(zero, curvature[j])
    for s in range(count):
        of_feature = total[features[s]]
        if abs(tau[s]) * largest <= 0.5 and abs(tau[s]) < kink:
            _squared_error(
                coefficients[0],
                coefficients[1],
                coefficients[2],
                coefficients[3],
                like(zero, tau[s]),
                of_feature,
            )
        else:
            u = h * like(h, values[begin + s]) if begin + s < end else h
            increments(a, u, activation, up)
            increments(a, -u, activation, down)
            for j in range(of_feature.size):
                middle = slope[j] + 0.5 * curvature[j] * (up[j] + down[j])
                of_feature[j] += like(zero, 0.5 * (up[j] - down[j]) * middle)
