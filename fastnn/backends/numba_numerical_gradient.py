"""The incremental numerical gradient as compiled loops: the formulas of :mod:`fastnn.backends.incremental`, vectorised.

For every parameter the loss at +h and at −h is evaluated from what the perturbation changes, and their difference summed over
the samples. The work is one innermost loop over the hidden units j for each sample n and each of its non-zero features i; the rest
prepares it. Three things make that loop fast:

* What depends on (n, j) alone is computed once a sample, in float64: the coefficients of the increment Δz(τ) and of the sum of
  exponentials T(Δz). The loop itself runs in the network's dtype.
* Within proven bounds on the arguments (:data:`SERIES_BOUND`, :data:`THETA_BOUND`) the reciprocals, exponentials and logarithm are
  short series, cut off below rounding error, so that the loop is some thirty multiplications and additions without a branch.
  Where the bounds do not hold, `_direct` evaluates exponentials and logarithms instead, unit by unit but still vectorised.
* Rows of the accumulators are padded to whole vectors. Threads share the features out among themselves, so that none writes where
  another does.

The increments of sigmoid and tanh are one formula. With λ = 1 for the sigmoid and 2 for tanh, θ = tanh(λa/2) and τ = tanh(λu/2),
the identity for tanh(a + b) gives Δz(±u) = ±cτ / (1 ± θτ) with c = λ/2·(1 − θ²) = 2λ·s(1 − s), s = sigmoid(λa). The other two
activations are its case θ = 0, τ = u, with c = 1, or 0 for a relu that is off.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit, prange

from ..functions import LOG_GUARD
from .numba_math import FASTMATH, exp, expm1, like, sigmoid, tanh

#: |T| and |Δz·v| up to which the series hold: the terms left out are, relative to the first, (2e-3)⁵/720 = 4e-17 of
#: T, (2e-3)⁶/7 = 9e-18 of the inverse hyperbolic tangent, and |g|³ with |g| ≤ (2e-3)²: 6e-17, of 1/(1 + g).
SERIES_BOUND = 2e-3
#: |θτ| up to which 1/(1 − (θτ)²) is 1 + (θτ)² + (θτ)⁴: the next term is 6e-17.
THETA_BOUND = 2e-3
#: Rows are padded to a whole number of vectors of this many bytes, the widest there are: a loop over a row has no remainder.
VECTOR_BYTES = 64

#: The activations as numbers, for compiled code.
ACTIVATION_CODES = {"identity": 0, "sigmoid": 1, "tanh": 2, "relu": 3}

#: What only compiled code calls is not given an entry point for Python, which would take longer to compile than the function.
inner = njit(fastmath=FASTMATH, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)  # type: ignore[call-overload]


class Workspace(NamedTuple):
    """Memory for one call of :func:`numerical_gradient`: compiled code that allocates takes twice as long to compile.

    All of it together is some arrays of (samples, hidden units) and one of the size of the gradient.
    """

    a: np.ndarray  # pre-activations, (samples, padded units)
    z: np.ndarray  # hidden units and a one, (samples, padded units + 1)
    y: np.ndarray  # probabilities or residuals, (samples, outputs)
    others: np.ndarray  # 1 - probabilities, (samples, outputs)
    losses: np.ndarray  # of each sample
    direct: np.ndarray  # how often each thread left the series for direct evaluation
    W2T: np.ndarray  # (outputs, padded units)
    span: np.ndarray  # of each unit's weights, (padded units,)
    units: np.ndarray  # rows of (padded units + 1,) for each thread
    coefficients: np.ndarray  # the same in the network's dtype
    bounds: np.ndarray  # where to cut the features, (threads + 1,)
    features: np.ndarray  # numbers of the non-zero features of one sample, for each thread
    scaled: np.ndarray  # u and tau of those features, for each thread
    hidden: np.ndarray  # sums for W1, and one more row a thread, for b1
    outputs: np.ndarray  # sums for W2 and b2, (outputs, padded units + 1)


def workspace(samples: int, features: int, units: int, outputs: int, dtype: np.dtype, threads: int) -> Workspace:
    """Allocate what a call for these sizes needs; what must be zero in it the call sets to zero."""
    lanes = VECTOR_BYTES // dtype.itemsize
    width, wider = -(-units // lanes) * lanes, -(-(units + 1) // lanes) * lanes
    return Workspace(
        a=np.zeros((samples, width)),
        z=np.zeros((samples, wider)),
        y=np.empty((samples, outputs)),
        others=np.empty((samples, outputs)),
        losses=np.empty(samples),
        direct=np.zeros(threads, np.intp),
        W2T=np.zeros((outputs, width)),
        span=np.empty(width),
        units=np.zeros((threads, 12, wider)),
        coefficients=np.empty((threads, 7, width), dtype),
        bounds=np.empty(threads + 1, np.intp),
        features=np.empty((threads, features + 1), np.intp),
        scaled=np.empty((threads, 2, features + 1)),
        hidden=np.empty((features + threads, width), dtype),
        outputs=np.empty((outputs, wider)),
    )


# -- before the perturbation -------------------------------------------------------------------------------------------


@njit(cache=True, nogil=True)
def compress(x: Any, indptr: Any, indices: Any, values: Any) -> None:
    """The non-zero values of a 2-D array row by row, as in scipy.sparse.csr_array; room for one more value is needed."""
    s = 0
    for n in range(x.shape[0]):
        indptr[n] = s
        for i in range(x.shape[1]):
            # Always written, and kept by moving on: quicker than asking, as zeros come and go.
            indices[s] = i
            values[s] = x[n, i]
            s += x[n, i] != 0
    indptr[x.shape[0]] = s


@inner
def _feature_bounds(batch: Any, rows: Any, parts: int, counts: Any, bounds: Any) -> None:
    """Where to cut the features into `parts` with about as many non-zero values each."""
    indptr, indices, _ = batch
    features = counts.size
    for i in range(features):
        counts[i] = 0
    total = 0
    for n in range(0, rows.size, 1 + rows.size // 64):  # a sample of the rows is enough
        for s in range(indptr[rows[n]], indptr[rows[n] + 1]):
            counts[indices[s]] += 1
            total += 1
    for part in range(1, parts + 1):
        bounds[part] = features
    bounds[0] = 0
    part, seen = 1, 0
    for i in range(features):
        while part < parts and seen * parts >= total * part and total:
            bounds[part] = i
            part += 1
        seen += counts[i]


@inner
def add_rows(indices: Any, values: Any, W: Any, out: Any) -> None:
    """Add Σ values[s]·W[indices[s]] to `out`, in the dtype of `out`; seven rows at a time, so that `out` is read less often."""
    whole = indices.size // 7 * 7
    zero = out[0]
    for s in range(0, whole, 7):
        v0, v1, v2, v3 = like(zero, values[s]), like(zero, values[s + 1]), like(zero, values[s + 2]), like(zero, values[s + 3])
        v4, v5, v6 = like(zero, values[s + 4]), like(zero, values[s + 5]), like(zero, values[s + 6])
        w0, w1, w2, w3 = W[indices[s]], W[indices[s + 1]], W[indices[s + 2]], W[indices[s + 3]]
        w4, w5, w6 = W[indices[s + 4]], W[indices[s + 5]], W[indices[s + 6]]
        for j in range(w0.size):
            first = ((out[j] + v0 * w0[j]) + v1 * w1[j]) + v2 * w2[j]
            out[j] = (((first + v3 * w3[j]) + v4 * w4[j]) + v5 * w5[j]) + v6 * w6[j]
    for s in range(whole, indices.size):
        v0, w0 = like(zero, values[s]), W[indices[s]]
        for j in range(w0.size):
            out[j] += v0 * w0[j]


@inner
def _forward(first: int, last: int, batch: Any, rows: Any, W1: Any, b1: Any, b2: Any, activation: int, work: Workspace) -> None:
    """Pre-activations, hidden units and logits of some samples, in float64 whatever the dtype of the network."""
    indptr, indices, values = batch
    J = b1.size
    for n in range(first, last):
        a, z = work.a[n], work.z[n]
        for j in range(J):
            a[j] = b1[j]
        begin, end = indptr[rows[n]], indptr[rows[n] + 1]
        add_rows(indices[begin:end], values[begin:end], W1, a)
        if activation == 1:
            for j in range(a.size):
                z[j] = sigmoid(a[j])
        elif activation == 2:
            for j in range(a.size):
                z[j] = tanh(a[j])
        elif activation == 3:
            for j in range(a.size):
                z[j] = a[j] if a[j] > 0 else 0.0
        else:
            for j in range(a.size):
                z[j] = a[j]
        for k in range(b2.size):
            work.y[n, k] = b2[k] + _dot(z[:J], work.W2T[k, :J])
        z[J] = 1.0  # the bias of the output layer is the weight of one more hidden unit
        for j in range(J + 1, z.size):
            z[j] = 0.0


@njit(fastmath={"contract", "reassoc"}, error_model="numpy")
def _dot(a: Any, b: Any) -> float:
    """Σ a·b; the only sum here whose order does not matter."""
    total = 0.0
    for j in range(a.size):
        total += a[j] * b[j]
    return total


@inner
def _softmax(first: int, last: int, p: Any, others: Any) -> None:
    """Turn logits into probabilities `p`, and for each sum up all the `others`, which is 1 − p without cancellation."""
    for n in range(first, last):
        row = p[n]
        highest = row[0]
        for k in range(1, row.size):
            highest = max(highest, row[k])
        total = 0.0
        for k in range(row.size):
            row[k] = exp(row[k] - highest)
            total += row[k]
        for k in range(row.size):
            rest = 0.0
            for m in range(row.size):
                if m != k:
                    rest += row[m]
            others[n, k] = rest / total
        for k in range(row.size):
            row[k] /= total


@inner
def _odds(p: float) -> tuple[float, float]:
    """p / (p + ε) and ε / (p + ε): their sum is 1, but neither is computed from the other."""
    return p / (p + LOG_GUARD), LOG_GUARD / (p + LOG_GUARD)


# -- the parameters of the hidden layer: one unit moves, and with it every logit -----------------------------------------


@inner
def _features_of_row(
    row: int, first: int, last: int, bias: bool, batch: Any, h: float, activation: int, index: Any, u: Any, tau: Any
) -> int:
    """The non-zero features of a row within first … last − 1, counted from `first`, with u = h·x and τ; how many there are.

    The bias is one more feature of every sample, with the value 1.
    """
    indptr, indices, values = batch
    begin = _first_at_least(indices, indptr[row], indptr[row + 1], first)
    end = _first_at_least(indices, begin, indptr[row + 1], last)
    features, x = indices[begin:end], values[begin:end]
    count = end - begin
    for s in range(count):
        index[s] = features[s] - first
    for s in range(count):
        u[s] = h * like(h, x[s])
    if bias:
        index[count] = last - first
        u[count] = h
        count += 1
    if activation == 1 or activation == 2:
        half = 0.5 * activation
        for s in range(count):
            tau[s] = tanh(half * u[s])
    else:
        for s in range(count):
            tau[s] = u[s]
    return count


@inner
def _first_at_least(sorted_values: Any, begin: int, end: int, value: int) -> int:
    """The first position from `begin` to `end` whose value is at least `value`, by bisection."""
    while begin < end:
        middle = (begin + end) // 2
        if sorted_values[middle] < value:
            begin = middle + 1
        else:
            end = middle
    return begin


@inner
def _increment_coefficients(a: Any, units: int, activation: int, c: Any, theta: Any) -> tuple[float, float]:
    """c and θ of each unit; the largest |θ| there can be, and the |u| from which on a relu changes sides somewhere."""
    if activation == 0 or activation == 3:
        kink = np.inf
        for j in range(units):
            c[j], theta[j] = 1.0, 0.0
            if activation == 3:
                c[j] = 1.0 if a[j] > 0 else 0.0
                kink = min(kink, abs(a[j]))
        return 0.0, kink
    slope = float(activation)
    for j in range(a.size):
        s, opposite = sigmoid(slope * a[j]), sigmoid(-slope * a[j])
        c[j] = 2 * slope * s * opposite
        theta[j] = s - opposite
    return 1.0, np.inf


@inner
def _series_coefficients(p: Any, W2T: Any, target: int, d1: Any, d2: Any, d3: Any, d4: Any, d5: Any) -> None:
    """dₘ = Σₖ pₖ·vₖᵐ / m! with v = W2[j, k] − W2[j, target], for each unit j."""
    own = W2T[target]
    for j in range(own.size):
        d1[j] = d2[j] = d3[j] = 0.0
    for j in range(own.size):
        d4[j] = d5[j] = 0.0
    for k in range(p.size):
        other, share = W2T[k], p[k]
        for j in range(own.size):
            v = other[j] - own[j]
            term = share * v
            d1[j] += term
            term *= v * (1 / 2)
            d2[j] += term
            d3[j] += term * (v * (1 / 3))
        for j in range(own.size):  # apart, so that the compiler has fewer arrays to tell from each other
            v = other[j] - own[j]
            term = (share * (v * v)) * ((v * v) * (1 / 24))
            d4[j] += term
            d5[j] += term * (v * (1 / 5))


@inner
def _cross_entropy_series(coefficients: Any, tau: Any, kept: Any, guard: Any, weight: Any, total: Any) -> None:
    """Add weight·½(L(+h) − L(−h)) of one sample and one feature to `total`, unit by unit, by series.

    L = log1p(T) − log1p(κT) + const, with `guard` κ = ε / (p + ε) and `kept` 1 − κ = p / (p + ε), where p is the probability of
    the target and ε the guard of the loss. The difference of two such is the inverse hyperbolic tangent of
    (1 − κ)/2 · (T₊ − T₋) / (1 + g), g = (1 + κ)/2 · (T₊ + T₋) + κ·T₊·T₋.
    """
    c, theta = coefficients[0], coefficients[1]  # unpacking in one go would lose their contiguity for the compiler
    d1, d2, d3, d4, d5 = coefficients[2], coefficients[3], coefficients[4], coefficients[5], coefficients[6]
    one = like(tau, 1)
    half, mean = kept * like(tau, 0.5), (one + guard) * like(tau, 0.5)
    third, fifth = half * half * like(tau, 1 / 3), half * half * half * half * like(tau, 1 / 5)
    weight = weight * half
    for j in range(total.size):
        q = theta[j] * tau
        q2 = q * q
        ct = c[j] * tau
        f = ct + ct * (q2 + q2 * q2)
        up = f - f * q  # Δz at +u
        down = f + f * q  # −Δz at −u
        above = ((((d5[j] * up + d4[j]) * up + d3[j]) * up + d2[j]) * up + d1[j]) * up  # T at +u
        below = ((((d5[j] * down - d4[j]) * down + d3[j]) * down - d2[j]) * down + d1[j]) * down  # −T at −u
        g = (above - below) * mean - (guard * above) * below
        r = (above + below) * ((g * g + one) - g)
        r2 = r * r
        total[j] += (weight * r) * (r2 * (r2 * fifth + third) + one)


@inner
def _increments(a: Any, u: float, activation: int, dz: Any) -> None:
    """Δz of each unit for an increment u of its pre-activation a, without cancellation, for any u."""
    if activation == 1 or activation == 2:
        slope = float(activation)
        E, power = expm1(slope * u), exp(slope * u)
        for j in range(a.size):
            s, opposite = sigmoid(slope * a[j]), sigmoid(-slope * a[j])
            dz[j] = slope * (s * opposite) * (E / (opposite + s * power))
    elif activation == 3:
        for j in range(a.size):
            on, off = max(u, -a[j]), max(u + a[j], 0.0)
            dz[j] = on if a[j] > 0 else off
    else:
        for j in range(a.size):
            dz[j] = u


@inner
def _log_ratio(above: float, below: float, difference: float, kept: float, guard: float) -> float:
    """L(+h) − L(−h) of a target from D = Σ p·exp(Δz·v) at +h and −h, and D₊ − D₋: L = −log((1 − κ)/D + κ) + const."""
    # The logarithm of a ratio above one: below one, its distance from zero is what would be lost.
    smaller, larger = (below, above) if difference > 0 else (above, below)
    ratio = kept * (abs(difference) / smaller) / (kept + guard * larger)
    return math.copysign(math.log1p(ratio), difference)


@inner
def _cross_entropy_direct(
    a: Any, u: float, activation: int, p: Any, W2T: Any, target: int, weight: float, total: Any, units: Any
) -> None:
    """What `_cross_entropy_series` adds, by evaluating every exponential and logarithm, for arguments of any size."""
    up, down, above, below, difference = units[7], units[8], units[9], units[10], units[11]
    kept, guard = _odds(p[target])
    _increments(a, u, activation, up)
    _increments(a, -u, activation, down)
    own = W2T[target]
    for j in range(a.size):
        above[j] = p[target]
        below[j] = p[target]
        difference[j] = 0.0
    for k in range(p.size):
        if k != target:
            other, share = W2T[k], p[k]
            for j in range(a.size):
                above[j] += share * exp(up[j] * (other[j] - own[j]))
            for j in range(a.size):
                below[j] += share * exp(down[j] * (other[j] - own[j]))
            for j in range(a.size):  # Δz₊ and Δz₋ differ in sign, so these two terms do not cancel
                difference[j] += share * (expm1(up[j] * (other[j] - own[j])) - expm1(down[j] * (other[j] - own[j])))
    for j in range(a.size):
        total[j] += like(total[j], 0.5 * weight * _log_ratio(above[j], below[j], difference[j], kept, guard))


@inner
def _hidden_cross_entropy(
    first: int,
    last: int,
    bias: bool,
    batch: Any,
    rows: Any,
    targets: Any,
    h: float,
    activation: int,
    part: int,
    work: Workspace,
    total: Any,
) -> None:
    """Sum ½(L(+h) − L(−h)) for the weights from the features first … last − 1, and with `bias` for the biases.

    `total` is (features, padded units), of the network's dtype, with one more row for the biases.
    """
    start, classes, weights = targets
    units, coefficients = work.units[part], work.coefficients[part]
    index, u, tau = work.features[part], work.scaled[part, 0], work.scaled[part, 1]
    W2T, J, zero = work.W2T, work.span.size, total[0, 0]
    for n in range(rows.size):
        a, p = work.a[n], work.y[n]
        count = _features_of_row(rows[n], first, last, bias, batch, h, activation, index, u, tau)
        largest, kink = _increment_coefficients(a, J, activation, units[0], units[1])
        reach = 0.0
        for j in range(J):
            reach = max(reach, units[0, j] * work.span[j])
        for pair in range(start[n], start[n + 1]):
            target, weight = classes[pair], weights[pair]
            kept, guard = _odds(p[target])
            _series_coefficients(p, W2T, target, units[2], units[3], units[4], units[5], units[6])
            for m in range(7):
                for j in range(J):
                    coefficients[m, j] = units[m, j]
            for s in range(count):
                row = total[index[s]]
                size = abs(tau[s])
                if size * largest <= THETA_BOUND and size * reach <= 0.99 * SERIES_BOUND and abs(u[s]) < kink:
                    _cross_entropy_series(
                        coefficients, like(zero, tau[s]), like(zero, kept), like(zero, guard), like(zero, weight), row
                    )
                else:
                    work.direct[part] += 1
                    _cross_entropy_direct(a, u[s], activation, p, W2T, target, weight, row, units)


@inner
def _squared_error_coefficients(residual: Any, W2T: Any, slope: Any, curvature: Any) -> None:
    """G = Σₖ W2[j, k]·(y − t)ₖ and Q = Σₖ W2[j, k]² of each unit: the loss changes by Δz·G + Δz²·Q/2."""
    for j in range(W2T.shape[1]):
        slope[j] = curvature[j] = 0.0
    for k in range(residual.size):
        w = W2T[k]
        for j in range(w.size):
            slope[j] += w[j] * residual[k]
            curvature[j] += w[j] * w[j]


@inner
def _squared_error(c: Any, theta: Any, slope: Any, curvature: Any, tau: Any, total: Any) -> None:
    """Add ½(L(+h) − L(−h)) = ½(Δz₊ − Δz₋)·(G + Q/2·(Δz₊ + Δz₋)) to `total`, unit by unit, in closed form."""
    one = like(tau, 1)
    for j in range(total.size):
        q = theta[j] * tau
        f = c[j] * tau / (one - q * q)
        total[j] += f * (slope[j] - curvature[j] * (f * q))


@inner
def _hidden_squared_error(
    first: int, last: int, bias: bool, batch: Any, rows: Any, h: float, activation: int, part: int, work: Workspace, total: Any
) -> None:
    """What `_hidden_cross_entropy` does, for the squared error."""
    units, coefficients = work.units[part], work.coefficients[part]
    index, u, tau = work.features[part], work.scaled[part, 0], work.scaled[part, 1]
    J, zero = work.span.size, total[0, 0]
    slope, curvature, up, down = units[2], units[3], units[7], units[8]
    for n in range(rows.size):
        a = work.a[n]
        count = _features_of_row(rows[n], first, last, bias, batch, h, activation, index, u, tau)
        largest, kink = _increment_coefficients(a, J, activation, units[0], units[1])
        _squared_error_coefficients(work.y[n], work.W2T, slope, curvature)
        for m in range(4):
            for j in range(J):
                coefficients[m, j] = units[m, j]
        for s in range(count):
            row = total[index[s]]
            if abs(tau[s]) * largest <= 0.5 and abs(u[s]) < kink:
                _squared_error(coefficients[0], coefficients[1], coefficients[2], coefficients[3], like(zero, tau[s]), row)
            else:
                _increments(a, u[s], activation, up)
                _increments(a, -u[s], activation, down)
                for j in range(J):
                    row[j] += like(zero, 0.5 * (up[j] - down[j]) * (slope[j] + 0.5 * curvature[j] * (up[j] + down[j])))


# -- the parameters of the output layer: one logit moves -----------------------------------------------------------------


@inner
def _output_cross_entropy(first: int, last: int, targets: Any, h: float, part: int, work: Workspace) -> None:
    """Sum ½(L(+h) − L(−h)) for the weights into the outputs first … last − 1: a logit moves by ±h·z.

    Moving the logit of the target itself is moving all the others the other way.
    """
    start, classes, weights = targets
    up, down = work.units[part, 0], work.units[part, 1]
    for n in range(work.z.shape[0]):
        z, p, others = work.z[n], work.y[n], work.others[n]
        reach = 0.0
        for j in range(z.size):
            up[j] = expm1(h * z[j])
        for j in range(z.size):
            down[j] = -expm1(-(h * z[j]))
        for j in range(z.size):
            reach = max(reach, abs(h * z[j]))
        for pair in range(start[n], start[n + 1]):
            target = classes[pair]
            kept, guard = _odds(p[target])
            half, mean = 0.5 * kept, 0.5 * (1 + guard)
            for k in range(first, last):
                own = k == target
                share, rest = (others[k], p[k]) if own else (p[k], others[k])
                weight = -weights[pair] if own else weights[pair]
                row = work.outputs[k]
                if reach <= SERIES_BOUND:
                    for j in range(z.size):
                        above, below = share * up[j], share * down[j]
                        g = (above - below) * mean - guard * above * below
                        r = half * (above + below) * ((g * g + 1) - g)
                        r2 = r * r
                        row[j] += (weight * r) * (r2 * (r2 * (1 / 5) + 1 / 3) + 1)
                else:
                    for j in range(z.size):
                        above, below = rest + share * exp(h * z[j]), rest + share * exp(-(h * z[j]))
                        row[j] += 0.5 * weight * _log_ratio(above, below, share * (up[j] + down[j]), kept, guard)


@inner
def _output_squared_error(first: int, last: int, h: float, work: Workspace) -> None:
    """Sum ½(L(+h) − L(−h)) = h·z·(y − t), the closed form, for the weights into the outputs first … last − 1."""
    for n in range(work.z.shape[0]):
        z, residual = work.z[n], work.y[n]
        for k in range(first, last):
            row = work.outputs[k]
            for j in range(z.size):
                row[j] += (h * z[j]) * residual[k]


# -- all of it -----------------------------------------------------------------------------------------------------------


@inner
def _sum(values: Any) -> float:
    """Σ values, in order, so that the number of threads does not change the last digit."""
    total = 0.0
    for value in values:
        total += value
    return total


@inner
def _prepare(W2: Any, batch: Any, rows: Any, parts: int, work: Workspace) -> None:
    """What all threads share: W2 with a unit's weights side by side, their span, the cuts between the threads."""
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
    _feature_bounds(batch, rows, parts, work.features[0, :-1], work.bounds)


@inner
def _first_phase(
    part: int, parts: int, batch: Any, rows: Any, W1: Any, b1: Any, b2: Any, targets: Any, t: Any, modes: Any, work: Workspace
) -> None:
    """The unperturbed network and its loss on a thread's share of the samples."""
    activation, cross_entropy = modes
    start, classes, weights = targets
    first, last = rows.size * part // parts, rows.size * (part + 1) // parts
    _forward(first, last, batch, rows, W1, b1, b2, activation, work)
    if cross_entropy:
        _softmax(first, last, work.y, work.others)
    for n in range(first, last):
        work.losses[n] = 0.0
        if cross_entropy:
            for pair in range(start[n], start[n + 1]):
                work.losses[n] -= weights[pair] * math.log(work.y[n, classes[pair]] + LOG_GUARD) / rows.size
        else:
            for k in range(b2.size):
                work.y[n, k] -= t[n, k]
                work.losses[n] += 0.5 * work.y[n, k] ** 2


@inner
def _second_phase(
    part: int, parts: int, batch: Any, rows: Any, targets: Any, h: float, modes: Any, work: Workspace, gradients: Any
) -> None:
    """The perturbations of a thread's share of the features and of the outputs, on all samples."""
    dW1, db1, dW2, db2 = gradients
    activation, cross_entropy = modes
    K, J = work.y.shape[1], db1.size
    scale = 1 / (h * rows.size) if cross_entropy else 1 / h
    first, last, bias = work.bounds[part], work.bounds[part + 1], part == parts - 1
    hidden = work.hidden[first + part : last + part + 1]
    factor = like(hidden[0, 0], scale)
    for i in range(hidden.shape[0]):
        for j in range(hidden.shape[1]):
            hidden[i, j] = like(factor, 0.0)
    if cross_entropy:
        _hidden_cross_entropy(first, last, bias, batch, rows, targets, h, activation, part, work, hidden)
    else:
        _hidden_squared_error(first, last, bias, batch, rows, h, activation, part, work, hidden)
    for i in range(first, last):
        for j in range(J):
            dW1[i, j] = hidden[i - first, j] * factor
    if bias:
        for j in range(J):
            db1[j] = hidden[last - first, j] * factor

    first, last = K * part // parts, K * (part + 1) // parts
    for k in range(first, last):
        for j in range(work.outputs.shape[1]):
            work.outputs[k, j] = 0.0
    if cross_entropy:
        _output_cross_entropy(first, last, targets, h, part, work)
    else:
        _output_squared_error(first, last, h, work)
    for k in range(first, last):
        for j in range(J):
            dW2[j, k] = work.outputs[k, j] * scale
        db2[k] = work.outputs[k, J] * scale


@njit(cache=True, fastmath=FASTMATH, error_model="numpy", nogil=True)
def serial(
    batch: Any,
    rows: Any,
    W1: Any,
    b1: Any,
    W2: Any,
    b2: Any,
    targets: Any,
    t: Any,
    h: float,
    modes: Any,
    parts: int,
    work: Workspace,
    gradients: Any,
) -> float:
    """The loss, and all four gradients into `gradients`.

    Parameters
    ----------
    batch, rows
        Samples as compressed rows, (indptr, indices, values), and which of those rows.
    targets
        For the cross-entropy, the targets that are not zero: (start, classes, weights), those of sample n from start[n] on.
    t
        For the squared error, all the targets (n, k), in float64.
    modes
        The activation's code, and whether the loss is the cross-entropy.
    parts
        Among how many threads to share the work; 1 here.
    work
        From :func:`workspace`.
    """
    _prepare(W2, batch, rows, parts, work)
    for part in range(parts):
        _first_phase(part, parts, batch, rows, W1, b1, b2, targets, t, modes, work)
    for part in range(parts):
        _second_phase(part, parts, batch, rows, targets, h, modes, work, gradients)
    return _sum(work.losses)


@njit(cache=True, fastmath=FASTMATH, error_model="numpy", nogil=True, parallel=True)
def parallel(
    batch: Any,
    rows: Any,
    W1: Any,
    b1: Any,
    W2: Any,
    b2: Any,
    targets: Any,
    t: Any,
    h: float,
    modes: Any,
    parts: int,
    work: Workspace,
    gradients: Any,
) -> float:
    """What `serial` does, on `parts` threads: their shares of the samples first, then of the features and the outputs."""
    _prepare(W2, batch, rows, parts, work)
    for part in prange(parts):
        _first_phase(np.int64(part), parts, batch, rows, W1, b1, b2, targets, t, modes, work)
    for part in prange(parts):
        _second_phase(np.int64(part), parts, batch, rows, targets, h, modes, work, gradients)
    return _sum(work.losses)
