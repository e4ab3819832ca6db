"""The incremental numerical gradient as compiled loops: the formulas of :mod:`fastnn.backends.incremental`, vectorised.

For every parameter the loss at +h and at −h is evaluated from what the perturbation changes, and their difference summed over
the samples. The work is one innermost loop for each sample n: over its non-zero features i, for a vector of hidden units j. Three
things make that loop fast:

* What depends on (n, j) alone is computed once a sample, in float64, and stays in registers: the coefficients in powers of τ, an
  argument that depends on (n, i) alone, of the sum of exponentials T. The loop itself runs in the network's dtype.
* Within proven bounds on the arguments (:data:`SERIES_BOUND`) the reciprocals, exponentials and logarithm are short series, cut off
  below rounding error: seven multiplications and additions at the book's step, eleven at a larger one, without a branch. Where the
  bounds do not hold, `_cross_entropy_direct` evaluates exponentials and logarithms instead.
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
from .numba_atomics import increase, wait_for
from .numba_kernels import (
    FINISHED,
    TAKEN,
    activate,
    first_at_least,
    inner,
    kernel,
    prefetch_row,
    softmax_rows,
    weighted_rows,
)
from .numba_math import exp, expm1, like, sigmoid, tanh
from .numba_vectors import WIDE, convert, lanes, load, store

#: |θτ| and |cτ·v| up to which the series hold. The coefficient of τᵐ in expm1(v·Δz) is at most Σ_q C(m − 1, q − 1)/q!·|θ|ᵐ⁻ᵠ·|cv|ᵠ:
#: relative to |cτv|, the terms left out are 7.5·(1e-3)⁶ = 8e-18 of O; less than 4e-17 of G; and |G|³ with |G| ≤ 4·(1e-3)² is 6e-17
#: of 1/(1 + G).
SERIES_BOUND = 1e-3
#: Shorter series will do where what they leave out is less than this: a unit in the last place. At the book's step that holds for
#: its network, before the training and after it.
SHORT_ERROR = 2.2e-16
#: By how much the first part is larger than the others. Mostly the thread that takes it is the caller: when it is done, the others
#: are asleep again, instead of asking for the interpreter lock when it does.
HEAD_START = 0.2


class Workspace(NamedTuple):
    """Memory for one gradient; compiled code that allocates would take longer to compile.

    All of it together is some arrays of (samples, hidden units) and one of the size of the gradient.
    """

    a: np.ndarray  # pre-activations, (samples, padded units)
    z: np.ndarray  # hidden units and a one, (samples, padded units + 1)
    y: np.ndarray  # probabilities or residuals, (samples, outputs)
    c: np.ndarray  # of the increments Δz, (samples, padded units)
    theta: np.ndarray  # likewise
    largest_theta: np.ndarray  # of each sample, as is
    kink: np.ndarray  # the |u| from which on a relu changes sides somewhere
    losses: np.ndarray  # of each sample
    direct: np.ndarray  # how often each part left the series for direct evaluation
    W2T: np.ndarray  # (outputs, padded units)
    span: np.ndarray  # of each unit's weights, (padded units,)
    units: np.ndarray  # five rows of (padded units + 1,) for each part, for what is computed unit by unit
    coefficients: np.ndarray  # five rows of (padded units,) for each part, in the network's dtype
    bounds: np.ndarray  # where to cut the features, (parts + 1,)
    features: np.ndarray  # numbers of the non-zero features of one sample, for each part
    tau: np.ndarray  # of those features, for each part
    powers: np.ndarray  # τ and τ² in the network's dtype
    hidden: np.ndarray  # sums for W1, and one more row a part, for b1
    outputs: np.ndarray  # sums for W2 and b2, (outputs, padded units + 1)


def workspace(samples: int, features: int, units: int, outputs: int, dtype: np.dtype, parts: int) -> Workspace:
    """Allocate what a call for these sizes needs; what must be zero in it the call sets to zero."""
    vector = WIDE // dtype.itemsize
    width, wider = -(-units // vector) * vector, -(-(units + 1) // vector) * vector
    return Workspace(
        a=np.zeros((samples, width)),
        z=np.zeros((samples, wider)),
        y=np.empty((samples, outputs)),
        c=np.zeros((samples, width)),
        theta=np.zeros((samples, width)),
        largest_theta=np.empty(samples),
        kink=np.empty(samples),
        losses=np.empty(samples),
        direct=np.zeros(parts, np.intp),
        W2T=np.zeros((outputs, width)),
        span=np.empty(width),
        units=np.zeros((parts, 5, wider)),
        coefficients=np.empty((parts, 5, width), dtype),
        bounds=np.empty(parts + 1, np.intp),
        features=np.empty((parts, features + 1), np.intp),
        tau=np.empty((parts, features + 1)),
        powers=np.empty((parts, 2, features + 1), dtype),
        hidden=np.empty((features + parts, width), dtype),
        outputs=np.empty((outputs, wider)),
    )


# -- before the perturbation -------------------------------------------------------------------------------------------


@inner
def _feature_bounds(samples: Any, rows: Any, parts: int, head_start: float, counts: Any, bounds: Any) -> None:
    """Where to cut the features into `parts` with about as many non-zero values each, the first with `head_start` more."""
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
        while part < parts and total and seen * (parts + head_start) >= total * (part + head_start):
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
        begin, end = indptr[rows[n]], indptr[rows[n] + 1]
        weighted_rows(indices[begin:end], values[begin:end], W1, b1, a[:J])
        for j in range(a.size):
            z[j] = a[j]
        activate(z, activation)
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
def _arguments(x: Any, h: float, activation: int, bias: bool, tau: Any, powers: Any) -> tuple[int, float]:
    """τ of each non-zero feature `x` of a sample, and after them with `bias` that of a one; their number, and the largest |τ|.

    `powers` are τ and τ² in the dtype of the network.
    """
    count, zero = x.size + bias, powers[0, 0]
    curved = activation == 1 or activation == 2
    scale = 0.5 * activation * h if curved else h
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
def _increment_coefficients(a: Any, units: int, activation: int, c: Any, theta: Any) -> tuple[float, float]:
    """c and θ of each unit; a bound of all |θ|, and the |u| up to which no relu changes sides."""
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
def _series_coefficients(p: Any, W2T: Any, target: int, c: Any, theta: Any, guard: float, coefficients: Any) -> None:
    """The coefficients of O and G in powers of τ, for each unit.

    The sum of exponentials is T = Σₖ pₖ·expm1(v·Δz), v = W2[j, k] − W2[j, target]. In powers of cτ its coefficients for Δz = cτ
    would be the moments dₘ = Σₖ pₖ·vₖᵐ / m!; those in powers of τ for Δz = cτ / (1 + θτ) follow by the binomial series of
    (1 + θτ)⁻ᵐ. `coefficients` are for τ, τ³ and τ⁵ in O, the odd part of T, and for τ² and τ⁴ in G = (1 + κ)·E + κ·(E² − O²), where
    E is the even part and κ is `guard`.
    """
    zero = coefficients[0, 0]
    for j in range(0, c.size, lanes(c, WIDE)):
        own, slope, q = load(W2T, (target, j), WIDE), load(c, j, WIDE), load(theta, j, WIDE)
        d1 = own * 0.0
        d2, d3, d4, d5 = d1, d1, d1, d1
        for k in range(p.size):
            v = slope * (load(W2T, (k, j), WIDE) - own)
            first = v * p[k]
            second = first * v
            third = second * v
            fourth = third * v
            d1 = d1 + first
            d2 = d2 + second
            d3 = d3 + third
            d4 = d4 + fourth
            d5 = d5 + fourth * v
        d2, d3, d4, d5 = d2 * (1 / 2), d3 * (1 / 6), d4 * (1 / 24), d5 * (1 / 120)
        e2 = d2 - q * d1
        e3 = d3 - q * (d2 * 2.0 - q * d1)
        e4 = d4 - q * (d3 * 3.0 - q * (d2 * 3.0 - q * d1))
        e5 = d5 - q * (d4 * 4.0 - q * (d3 * 6.0 - q * (d2 * 4.0 - q * d1)))
        store(coefficients, (0, j), convert(d1, zero))
        store(coefficients, (1, j), convert(e2 * (1 + guard) - d1 * d1 * guard, zero))
        store(coefficients, (2, j), convert(e3, zero))
        store(coefficients, (3, j), convert(e4 * (1 + guard) + (e2 * e2 - d1 * e3 * 2.0) * guard, zero))
        store(coefficients, (4, j), convert(e5, zero))


def _cross_entropy_series(short: bool) -> Any:
    """The innermost loop, with the terms that :data:`SERIES_BOUND` asks for or, `short`, those that `_is_short` does."""

    @inner
    def series(
        first: int, last: int, features: Any, powers: Any, coefficients: Any, kept: float, weight: float, total: Any
    ) -> None:
        """Add weight·½(L(+h) − L(−h)) of one sample to the rows features[first:last] of `total`, by series.

        At ±h the sum of exponentials is T± = E ± O, the even and the odd powers of τ, and the loss
        L± = log1p(T±) − log1p(κT±) + const, with κ = ε / (p + ε) and `kept` 1 − κ = p / (p + ε), where p is the probability of the
        target and ε the guard of the loss. ½(L₊ − L₋) is the inverse hyperbolic tangent of (1 − κ)·O / (1 + G), with
        G = ((1 + T₊)(1 + κT₋) + (1 + T₋)(1 + κT₊))/2 − 1 = (1 + κ)·E + κ·(E² − O²).
        """
        zero = total[0, 0]
        w1, w3, w5 = like(zero, weight * kept), like(zero, weight * kept**3 / 3), like(zero, weight * kept**5 / 5)
        for j in range(0, total.shape[1], lanes(total, WIDE)):
            o1, o3, o5 = load(coefficients, (0, j), WIDE), load(coefficients, (2, j), WIDE), load(coefficients, (4, j), WIDE)
            g2, g4 = load(coefficients, (1, j), WIDE), load(coefficients, (3, j), WIDE)
            for s in range(first, last):
                i, t, t2 = features[s], powers[0, s], powers[1, s]
                if short:
                    odd = (o3 * t2 + o1) * t
                    r = odd - odd * (g2 * t2)
                    half = r * ((r * r) * w3 + w1)
                else:
                    odd, g = ((o5 * t2 + o3) * t2 + o1) * t, (g4 * t2 + g2) * t2
                    r = odd + odd * (g * g - g)
                    r2 = r * r
                    half = r * ((r2 * w5 + w3) * r2 + w1)
                store(total, (i, j), load(total, (i, j), WIDE) + half)

    return series


_long_series, _short_series = _cross_entropy_series(False), _cross_entropy_series(True)


@inner
def _is_short(q: float, y: float, guard: float) -> bool:
    """Whether what the short series leaves out is below :data:`SHORT_ERROR`, for |θτ| up to q and |cτ·v| up to y."""
    odd = q**4 + 2 * q**3 * y + q**2 * y**2 + q * y**3 / 6 + y**4 / 120  # the fifth power of τ, relative to y
    logarithm = y**4 / 5
    even = q * y + y**2 / 2  # the second power, and this the fourth
    fourth = q**3 * y + 1.5 * q**2 * y**2 + q * y**3 / 2 + y**4 / 24
    square = ((1 + guard) * even + guard * y**2) ** 2  # of G
    G = (1 + guard) * fourth + guard * (even**2 + 2 * y**2 * (q**2 + q * y + y**2 / 6))
    return odd + logarithm + square + G <= SHORT_ERROR


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
    up, down, above, below, difference = units[0], units[1], units[2], units[3], units[4]
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
    features, tau, powers = work.features[part], work.tau[part], work.powers[part]
    W2T, values = work.W2T, samples[2]
    for n in range(rows.size):
        a, p = work.a[n], work.y[n]
        begin, end = _features_of_row(rows[n], first, last, samples, features)
        count, greatest = _arguments(values[begin:end], h, activation, bias, tau, powers)
        c, theta, largest, kink = work.c[n], work.theta[n], work.largest_theta[n], work.kink[n]
        reach = 0.0
        for j in range(J):
            reach = max(reach, c[j] * work.span[j])
        # Of a relu τ is u, and of the others there is no kink.
        bound = min(SERIES_BOUND / max(largest, reach, 1e-300), kink)
        for pair in range(start[n], start[n + 1]):
            target, weight = classes[pair], weights[pair]
            kept, guard = _odds(p[target])
            _series_coefficients(p, W2T, target, c, theta, guard, coefficients)
            s = 0
            while s < count:
                run = s
                while run < count and (greatest < bound or abs(tau[run]) < bound):
                    run += 1
                if run > s:
                    series = s, run, features, powers, coefficients, kept, weight, total
                    if _is_short(greatest * largest, greatest * reach, guard):
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
    slope, curvature, up, down = units[0], units[1], units[2], units[3]
    for n in range(rows.size):
        a, c, theta = work.a[n], work.c[n], work.theta[n]
        largest, kink = work.largest_theta[n], work.kink[n]
        begin, end = _features_of_row(rows[n], first, last, samples, features)
        count, _ = _arguments(values[begin:end], h, activation, bias, tau, work.powers[part])
        _squared_error_coefficients(work.y[n], work.W2T, slope, curvature)
        for j in range(a.size):
            coefficients[0, j], coefficients[1, j] = like(zero, c[j]), like(zero, theta[j])
            coefficients[2, j], coefficients[3, j] = like(zero, slope[j]), like(zero, curvature[j])
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
def _output_cross_entropy(first: int, last: int, targets: Any, h: float, work: Workspace) -> None:
    """Sum ½(L(+h) − L(−h)) for the weights into the outputs first … last − 1: a logit moves by ±h·z.

    Moving the logit of the target itself is moving all the others the other way.
    """
    start, classes, weights = targets
    for n in range(work.z.shape[0]):
        z, p = work.z[n], work.y[n]
        reach = 0.0
        for j in range(z.size):
            reach = max(reach, abs(h * z[j]))
        for pair in range(start[n], start[n + 1]):
            target = classes[pair]
            kept, guard = _odds(p[target])
            for k in range(first, last):
                own = k == target
                rest = _sum_of_others(p, k)
                share, rest = (rest, p[k]) if own else (p[k], rest)
                weight = -weights[pair] if own else weights[pair]
                if reach <= SERIES_BOUND:
                    _output_series(z, h, share, kept, guard, weight, work.outputs[k])
                else:
                    _output_direct(z, h, share, rest, kept, guard, weight, work.outputs[k])


@inner
def _output_series(z: Any, h: float, share: float, kept: float, guard: float, weight: float, row: Any) -> None:
    """Add weight·½(L(+h) − L(−h)) to `row`, where `share` of the probability is multiplied by exp(±h·z), by series.

    As in `_cross_entropy_series`, with T± = share·(cosh(hz) − 1 ± sinh(hz)): of this the even part E and the odd part O make
    E² − O² = −2·share·E. The terms left out of sinh and cosh are below 2e-22 of them, and |G|³ with |G| ≤ (1e-3)² is 1e-18.
    """
    factor, a = (1 + guard) * share - 2 * guard * share * share, share * kept
    w1, w3, w5 = weight * a, weight * a**3 / 3, weight * a**5 / 5
    for j in range(0, z.size, lanes(z, WIDE)):
        x = load(z, j, WIDE) * h
        x2 = x * x
        odd, G = x + x * (x2 * (x2 * (1 / 120) + 1 / 6)), x2 * (x2 * (1 / 24) + 0.5) * factor
        r = odd + odd * (G * G - G)
        r2 = r * r
        store(row, j, load(row, j, WIDE) + r * ((r2 * w5 + w3) * r2 + w1))


@inner
def _output_direct(z: Any, h: float, share: float, rest: float, kept: float, guard: float, weight: float, row: Any) -> None:
    """What `_output_series` adds, for arguments of any size; `rest` of the probability stays."""
    for j in range(z.size):
        above, below = rest + share * exp(h * z[j]), rest + share * exp(-(h * z[j]))
        difference = share * (expm1(h * z[j]) - expm1(-(h * z[j])))
        row[j] += 0.5 * weight * _log_ratio(above, below, difference, kept, guard)


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
# One kernel; that of many steps, in numba_numerical_training.py, is made of the same functions. Among their arguments are
#   counters       zeros: of the parts that are taken and finished, for the three stages of the work
#   parts          in how many the features and the outputs are to be cut
#   samples, rows  compressed rows, (indptr, indices, values), and which of them
#   targets        for the cross-entropy: (start, classes, weights), the non-zero targets of sample n from start[n] on
#   t              for the squared error: all the targets (n, k), in float64
#   modes          the code of the activation, and whether the loss is the cross-entropy
#   work           from `workspace`
#   gradients      those of W1, b1, W2 and b2, to be written
# Several threads can call a kernel at the same time and share the work. How many they are, and when they come, makes no
# difference to the result.


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
def cut_features(samples: Any, rows: Any, parts: int, head_start: float, work: Workspace) -> None:
    """Give each part its features."""
    if parts == 1:
        work.bounds[0], work.bounds[1] = 0, work.features.shape[1] - 1
    else:
        _feature_bounds(samples, rows, parts, head_start, work.features[0, :-1], work.bounds)


@inner
def _evaluate(
    first: int, last: int, samples: Any, rows: Any, W1: Any, b1: Any, b2: Any, targets: Any, t: Any, modes: Any, work: Workspace
) -> None:
    """The unperturbed network and its loss on some samples, and what all perturbations of a hidden unit have in common."""
    activation, cross_entropy = modes
    start, classes, weights = targets
    _forward(first, last, samples, rows, W1, b1, b2, activation, work)
    if cross_entropy:
        softmax_rows(work.y[first:last], b2.size, work.y[first:last])
    for n in range(first, last):
        work.largest_theta[n], work.kink[n] = _increment_coefficients(work.a[n], b1.size, activation, work.c[n], work.theta[n])
        work.losses[n] = 0.0
        if cross_entropy:
            for pair in range(start[n], start[n + 1]):
                work.losses[n] -= weights[pair] * math.log(work.y[n, classes[pair]] + LOG_GUARD) / rows.size
        else:
            for k in range(b2.size):
                work.y[n, k] -= t[n, k]
                work.losses[n] += 0.5 * work.y[n, k] ** 2


@inner
def _scale(a: Any, factor: Any, out: Any) -> None:
    """The first elements of `a` times `factor` into all of `out`."""
    n = lanes(out, WIDE)
    if out.size < n:
        for j in range(out.size):
            out[j] = a[j] * factor
        return
    for j in range(0, out.size - n, n):
        store(out, j, load(a, j, WIDE) * factor)
    store(out, out.size - n, load(a, out.size - n, WIDE) * factor)  # writes some elements once more


@inner
def perturb(
    part: int, parts: int, samples: Any, rows: Any, targets: Any, h: float, modes: Any, work: Workspace, gradients: Any
) -> None:
    """The gradients for one part of the features and of the outputs, from all samples."""
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
        _hidden_squared_error(first, last, bias, samples, rows, h, activation, part, work, hidden)
    for i in range(first, last):
        _scale(hidden[i - first], factor, dW1[i])
    if bias:
        _scale(hidden[last - first], factor, db1)

    first, last = K * part // parts, K * (part + 1) // parts
    for k in range(first, last):
        for j in range(work.outputs.shape[1]):
            work.outputs[k, j] = 0.0
    if cross_entropy:
        _output_cross_entropy(first, last, targets, h, work)
    else:
        _output_squared_error(first, last, h, work)
    for k in range(first, last):
        for j in range(J):
            dW2[j, k] = work.outputs[k, j] * scale
        db2[k] = work.outputs[k, J] * scale


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
    blocks = min(4 * parts, rows.size)  # more than parts, so that a thread that comes late still finds some
    while True:
        block = increase(counters, TAKEN)
        if block >= blocks:
            break
        first, last = rows.size * block // blocks, rows.size * (block + 1) // blocks
        _evaluate(first, last, samples, rows, W1, b1, b2, targets, t, modes, work)
        increase(counters, FINISHED)
    wait_for(counters, FINISHED, blocks)


@kernel
def differences(
    counters: Any,
    parts: int,
    samples: Any,
    rows: Any,
    W1: Any,
    b1: Any,
    W2: Any,
    b2: Any,
    targets: Any,
    t: Any,
    h: float,
    modes: Any,
    work: Workspace,
    gradients: Any,
) -> None:
    """The losses and the gradients."""
    preparation, evaluation, perturbation = counters[0], counters[1], counters[2]
    if increase(preparation, TAKEN) == 0:
        prepare(W2, work)
        cut_features(samples, rows, parts, HEAD_START, work)
        increase(preparation, FINISHED)
    wait_for(preparation, FINISHED, 1)
    evaluate_in_blocks(evaluation, parts, samples, rows, W1, b1, b2, targets, t, modes, work)
    while True:
        part = increase(perturbation, TAKEN)
        if part >= parts:
            break
        perturb(part, parts, samples, rows, targets, h, modes, work, gradients)
        increase(perturbation, FINISHED)
    wait_for(perturbation, FINISHED, parts)
