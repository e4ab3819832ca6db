"""The incremental numerical gradient as compiled loops: the formulas of :mod:`fastnn.backends.incremental`, vectorised.

For every parameter the loss at +h and at −h is evaluated from what the perturbation changes, and their difference summed over
the samples. The work is one innermost loop over the hidden units j for each sample n and each of its non-zero features i; the rest
prepares it. Three things make that loop fast:

* What depends on (n, j) alone is computed once a sample, in float64: the coefficients of the increment Δz(τ) and of the sum of
  exponentials T(Δz). The loop itself runs in the network's dtype.
* Within proven bounds on the arguments (:data:`SERIES_BOUND`, :data:`THETA_BOUND`) the reciprocals, exponentials and logarithm are
  short series, cut off below rounding error, so that the loop is some thirty multiplications and additions without a branch.
  Where the bounds do not hold, `_cross_entropy_direct` evaluates exponentials and logarithms instead.
* Rows of the accumulators are padded to whole vectors. Threads share out the features, so that none writes where
  another does.

The increments of sigmoid and tanh are one formula. With λ = 1 for the sigmoid and 2 for tanh, θ = tanh(λa/2) and τ = tanh(λu/2),
the identity for tanh(a + b) gives Δz(±u) = ±cτ / (1 ± θτ) with c = λ/2·(1 − θ²) = 2λ·s(1 − s), s = sigmoid(λa). The other two
activations are its case θ = 0, τ = u, with c = 1, or 0 for a relu that is off.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from ..functions import LOG_GUARD
from .numba_kernels import add_rows, apply_activation, first_at_least, inner, kernel, prefetch_row, softmax_row
from .numba_math import exp, expm1, like, sigmoid, tanh

#: |T| and |Δz·v| up to which the series hold: the terms left out are, relative to the first, (2e-3)⁵/720 = 4e-17 of
#: T, (2e-3)⁶/7 = 9e-18 of the inverse hyperbolic tangent, and |g|³ with |g| ≤ (2e-3)²: 6e-17, of 1/(1 + g).
SERIES_BOUND = 2e-3
#: |θτ| up to which 1/(1 − (θτ)²) is 1 + (θτ)² + (θτ)⁴: the next term is 6e-17.
THETA_BOUND = 2e-3
#: Up to here shorter series will do: |θτ|⁴, and relative to the first the terms (1e-4)⁴/120 of T and (1e-4)⁴/5 of the inverse
#: hyperbolic tangent, are at most 1e-16. At the book's step that is where a network starts.
SHORT_BOUND = 1e-4
#: Rows are padded to a whole number of vectors of this many bytes, the widest there are: a loop over a row has no remainder.
VECTOR_BYTES = 64


class Workspace(NamedTuple):
    """Memory for one gradient; compiled code that allocates would take longer to compile.

    All of it together is some arrays of (samples, hidden units) and one of the size of the gradient.
    """

    a: np.ndarray  # pre-activations, (samples, padded units)
    z: np.ndarray  # hidden units and a one, (samples, padded units + 1)
    y: np.ndarray  # probabilities or residuals, (samples, outputs)
    losses: np.ndarray  # of each sample
    direct: np.ndarray  # how often each part left the series for direct evaluation
    W2T: np.ndarray  # (outputs, padded units)
    span: np.ndarray  # of each unit's weights, (padded units,)
    units: np.ndarray  # rows of (padded units + 1,) for each part
    coefficients: np.ndarray  # the same in the network's dtype
    bounds: np.ndarray  # where to cut the features, (parts + 1,)
    features: np.ndarray  # numbers of the non-zero features of one sample, for each part
    tau: np.ndarray  # of those features, for each part
    hidden: np.ndarray  # sums for W1, and one more row a part, for b1
    outputs: np.ndarray  # sums for W2 and b2, (outputs, padded units + 1)


def workspace(samples: int, features: int, units: int, outputs: int, dtype: np.dtype, parts: int) -> Workspace:
    """Allocate what a call for these sizes needs; what must be zero in it the call sets to zero."""
    lanes = VECTOR_BYTES // dtype.itemsize
    width, wider = -(-units // lanes) * lanes, -(-(units + 1) // lanes) * lanes
    return Workspace(
        a=np.zeros((samples, width)),
        z=np.zeros((samples, wider)),
        y=np.empty((samples, outputs)),
        losses=np.empty(samples),
        direct=np.zeros(parts, np.intp),
        W2T=np.zeros((outputs, width)),
        span=np.empty(width),
        units=np.zeros((parts, 12, wider)),
        coefficients=np.empty((parts, 7, width), dtype),
        bounds=np.empty(parts + 1, np.intp),
        features=np.empty((parts, features + 1), np.intp),
        tau=np.empty((parts, features + 1)),
        hidden=np.empty((features + parts, width), dtype),
        outputs=np.empty((outputs, wider)),
    )


# -- before the perturbation -------------------------------------------------------------------------------------------


@inner
def _feature_bounds(samples: Any, rows: Any, parts: int, counts: Any, bounds: Any) -> None:
    """Where to cut the features into `parts` with about as many non-zero values each."""
    indptr, indices, _ = samples
    features = counts.size
    for i in range(features):
        counts[i] = 0
    total = 0
    for n in range(0, rows.size, 1 + rows.size // 32):  # a sample of the rows is enough
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
def _forward(first: int, last: int, samples: Any, rows: Any, W1: Any, b1: Any, b2: Any, activation: int, work: Workspace) -> None:
    """Pre-activations, hidden units and logits of some samples, in float64 whatever the dtype of the network."""
    indptr, indices, values = samples
    J = b1.size
    for n in range(first, last):
        prefetch_row(samples, rows, n + 2)
        a, z = work.a[n], work.z[n]
        for j in range(J):
            a[j] = b1[j]
        begin, end = indptr[rows[n]], indptr[rows[n] + 1]
        add_rows(indices[begin:end], values[begin:end], W1, a[:J])
        apply_activation(a, activation, z)
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
def _sum_of_others(p: Any, k: int) -> float:
    """1 − p[k] without cancellation: the sum of all the other probabilities."""
    total = 0.0
    for m in range(p.size):
        if m != k:
            total += p[m]
    return total


@inner
def _odds(p: float) -> tuple[float, float]:
    """p / (p + ε) and ε / (p + ε): their sum is 1, but neither is computed from the other."""
    return p / (p + LOG_GUARD), LOG_GUARD / (p + LOG_GUARD)


# -- the parameters of the hidden layer: one unit moves, and with it every logit -----------------------------------------


@inner
def _arguments(x: Any, h: float, activation: int, bias: bool, tau: Any) -> int:
    """τ of each non-zero feature `x` of a sample, and after them with `bias` that of a one; how many there are."""
    if activation == 1 or activation == 2:
        scale = 0.5 * activation * h
        for s in range(x.size):
            tau[s] = tanh(scale * like(h, x[s]))
        tau[x.size] = tanh(scale)
    else:
        for s in range(x.size):
            tau[s] = h * like(h, x[s])
        tau[x.size] = h
    return x.size + bias


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


def _cross_entropy_series(short: bool) -> Any:
    """The innermost loop, with the terms that :data:`SERIES_BOUND` asks for or, `short`, those for :data:`SHORT_BOUND`."""

    @inner
    def series(
        first: int, last: int, features: Any, tau: Any, coefficients: Any, kept: Any, guard: Any, weight: Any, total: Any
    ) -> None:
        """Add weight·½(L(+h) − L(−h)) of one sample to the rows features[first:last] of `total`, unit by unit, by series.

        L = log1p(T) − log1p(κT) + const, with `guard` κ = ε / (p + ε) and `kept` 1 − κ = p / (p + ε), where p is the probability of
        the target and ε the guard of the loss. The difference of two such is the inverse hyperbolic tangent of
        (1 − κ)/2 · (T₊ − T₋) / (1 + g), g = (1 + κ)/2 · (T₊ + T₋) + κ·T₊·T₋.
        """
        c, theta = coefficients[0], coefficients[1]  # unpacking in one go would lose their contiguity for the compiler
        d1, d2, d3, d4, d5 = coefficients[2], coefficients[3], coefficients[4], coefficients[5], coefficients[6]
        one = like(kept, 1)
        half, mean = kept * like(kept, 0.5), (one + guard) * like(kept, 0.5)
        third, fifth = half * half * like(kept, 1 / 3), half * half * half * half * like(kept, 1 / 5)
        weight = weight * half
        for s in range(first, last):
            row, t = total[features[s]], like(kept, tau[s])
            for j in range(row.size):
                q = theta[j] * t
                q2 = q * q
                ct = c[j] * t
                f = ct + ct * (q2 if short else q2 + q2 * q2)
                up = f - f * q  # Δz at +u
                down = f + f * q  # −Δz at −u
                above, below = d4[j], -d4[j]
                if not short:
                    above, below = d5[j] * up + above, d5[j] * down + below
                above = (((above * up + d3[j]) * up + d2[j]) * up + d1[j]) * up  # T at +u
                below = (((below * down + d3[j]) * down - d2[j]) * down + d1[j]) * down  # −T at −u
                g = (above - below) * mean - (guard * above) * below
                r = (above + below) * ((g * g + one) - g)
                r2 = r * r
                row[j] += (weight * r) * (r2 * (third if short else r2 * fifth + third) + one)

    return series


_long_series, _short_series = _cross_entropy_series(False), _cross_entropy_series(True)


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
def _features_of_row(row: int, first: int, last: int, samples: Any, features: Any) -> tuple[int, int]:
    """From where to where in `samples` the features first … last − 1 of a row are; their numbers from `first` on into `features`.

    After them comes `last`: the bias is one more feature of every sample, with the value 1.
    """
    indptr, indices, _ = samples
    begin = first_at_least(indices, indptr[row], indptr[row + 1], first)
    end = first_at_least(indices, begin, indptr[row + 1], last)
    for s in range(end - begin):
        features[s] = indices[begin + s] - first
    features[end - begin] = last - first
    return begin, end


@inner
def _hidden_cross_entropy(
    first: int,
    last: int,
    bias: bool,
    samples: Any,
    rows: Any,
    J: int,
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
    features, tau = work.features[part], work.tau[part]
    W2T, zero, values = work.W2T, total[0, 0], samples[2]
    for n in range(rows.size):
        a, p = work.a[n], work.y[n]
        begin, end = _features_of_row(rows[n], first, last, samples, features)
        count = _arguments(values[begin:end], h, activation, bias, tau)
        largest, kink = _increment_coefficients(a, J, activation, units[0], units[1])
        reach = 0.0
        for j in range(J):
            reach = max(reach, units[0, j] * work.span[j])
        # Of a relu τ is u, and of the others there is no kink.
        bound = min(THETA_BOUND / max(largest, 1e-300), 0.99 * SERIES_BOUND / max(reach, 1e-300), kink)
        greatest = 0.0
        for s in range(count):
            greatest = max(greatest, abs(tau[s]))
        short = greatest * largest <= SHORT_BOUND and greatest * reach <= 0.99 * SHORT_BOUND and greatest < kink
        for pair in range(start[n], start[n + 1]):
            target, weight = classes[pair], weights[pair]
            kept, guard = _odds(p[target])
            _series_coefficients(p, W2T, target, units[2], units[3], units[4], units[5], units[6])
            for m in range(7):
                for j in range(a.size):
                    coefficients[m, j] = units[m, j]
            s = 0
            while s < count:
                run = s
                while run < count and abs(tau[run]) < bound:
                    run += 1
                if run > s:
                    series = s, run, features, tau, coefficients, like(zero, kept), like(zero, guard), like(zero, weight), total
                    if short:
                        _short_series(*series)
                    else:
                        _long_series(*series)
                    s = run
                else:
                    work.direct[part] += 1
                    u = h * like(h, values[begin + s]) if begin + s < end else h
                    _cross_entropy_direct(a, u, activation, p, W2T, target, weight, total[features[s]], units)
                    s += 1


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
    first: int,
    last: int,
    bias: bool,
    samples: Any,
    rows: Any,
    J: int,
    h: float,
    activation: int,
    part: int,
    work: Workspace,
    total: Any,
) -> None:
    """What `_hidden_cross_entropy` does, for the squared error."""
    units, coefficients = work.units[part], work.coefficients[part]
    features, tau = work.features[part], work.tau[part]
    zero, values = total[0, 0], samples[2]
    slope, curvature, up, down = units[2], units[3], units[7], units[8]
    for n in range(rows.size):
        a = work.a[n]
        begin, end = _features_of_row(rows[n], first, last, samples, features)
        count = _arguments(values[begin:end], h, activation, bias, tau)
        largest, kink = _increment_coefficients(a, J, activation, units[0], units[1])
        _squared_error_coefficients(work.y[n], work.W2T, slope, curvature)
        for m in range(4):
            for j in range(a.size):
                coefficients[m, j] = units[m, j]
        for s in range(count):
            row = total[features[s]]
            if abs(tau[s]) * largest <= 0.5 and abs(tau[s]) < kink:
                _squared_error(coefficients[0], coefficients[1], coefficients[2], coefficients[3], like(zero, tau[s]), row)
            else:
                u = h * like(h, values[begin + s]) if begin + s < end else h
                _increments(a, u, activation, up)
                _increments(a, -u, activation, down)
                for j in range(row.size):
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
        z, p = work.z[n], work.y[n]
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
                rest = _sum_of_others(p, k)
                share, rest = (rest, p[k]) if own else (p[k], rest)
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
#
# Three kernels, to be called one after the other; the last two do one part of the work in a call, so that threads can share it.
# Their arguments are
#   samples, rows  compressed rows, (indptr, indices, values), and which of them
#   targets        for the cross-entropy: (start, classes, weights), the non-zero targets of sample n from start[n] on
#   t              for the squared error: all the targets (n, k), in float64
#   modes          the code of the activation, and whether the loss is the cross-entropy
#   work           from `workspace`


@kernel
def prepare(W2: Any, samples: Any, rows: Any, parts: int, work: Workspace) -> None:
    """First, what all parts share: W2 with the weights of an output side by side, their span, and where to cut the features."""
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
    if parts == 1:
        work.bounds[0], work.bounds[1] = 0, work.features.shape[1] - 1
    else:
        _feature_bounds(samples, rows, parts, work.features[0, :-1], work.bounds)


@kernel
def evaluate(
    part: int, parts: int, samples: Any, rows: Any, W1: Any, b1: Any, b2: Any, targets: Any, t: Any, modes: Any, work: Workspace
) -> None:
    """Second, the unperturbed network and its loss on one part of the samples."""
    activation, cross_entropy = modes
    start, classes, weights = targets
    first, last = rows.size * part // parts, rows.size * (part + 1) // parts
    _forward(first, last, samples, rows, W1, b1, b2, activation, work)
    for n in range(first, last):
        work.losses[n] = 0.0
        if cross_entropy:
            softmax_row(work.y[n], work.y[n])
            for pair in range(start[n], start[n + 1]):
                work.losses[n] -= weights[pair] * math.log(work.y[n, classes[pair]] + LOG_GUARD) / rows.size
        else:
            for k in range(b2.size):
                work.y[n, k] -= t[n, k]
                work.losses[n] += 0.5 * work.y[n, k] ** 2


@kernel
def perturb(
    part: int, parts: int, samples: Any, rows: Any, targets: Any, h: float, modes: Any, work: Workspace, gradients: Any
) -> None:
    """Third, the gradients for one part of the features and of the outputs, from all samples.

    `gradients` are those of W1, b1, W2 and b2, to be written.
    """
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
        _hidden_cross_entropy(first, last, bias, samples, rows, J, targets, h, activation, part, work, hidden)
    else:
        _hidden_squared_error(first, last, bias, samples, rows, J, h, activation, part, work, hidden)
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
