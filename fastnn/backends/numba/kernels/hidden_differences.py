"""The loss at +h and −h for the parameters of the hidden layer, as compiled loops: one unit moves, and with it every logit.

The work is one innermost loop for each sample n: over its non-zero features i, for a vector of hidden units j. Two things make it
fast:

* What depends on (n, j) alone is computed once a sample, in float64, and stays in registers: the coefficients in powers of τ, an
  argument that depends on (n, i) alone, of the sum of exponentials T. The loop itself runs in the network's dtype.
* Within proven bounds on the arguments (:data:`SERIES_BOUND`) the reciprocals, exponentials and logarithm are short series, cut off
  below rounding error: seven multiplications and additions at the book's step, eleven at a larger one, without a branch. Where the
  bounds do not hold, `_cross_entropy_direct` evaluates exponentials and logarithms instead.

The increments of sigmoid and tanh are one formula. With λ = 1 for the sigmoid and 2 for tanh, θ = tanh(λa/2) and τ = tanh(λu/2),
the identity for tanh(a + b) gives Δz(±u) = ±cτ / (1 ± θτ) with c = λ/2·(1 − θ²) = 2λ·s(1 − s), s = sigmoid(λa). The other two
activations are its case θ = 0, τ = u, with c = 1, or 0 for a relu that is off.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .elementary import exp, expm1, like, sigmoid, tanh
from .layers import first_at_least, inner
from .output_differences import SERIES_BOUND, log_ratio, odds
from .vectors import WIDE, convert, lanes, load, store
from .workspace import Workspace

#: Shorter series will do where what they leave out is less than this: a unit in the last place. At the book's step that holds for
#: its network, before the training and after it.
SHORT_ERROR = 2.2e-16


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
def increment_coefficients(a: Any, units: int, activation: int, c: Any, theta: Any) -> tuple[float, float]:
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
def _cross_entropy_direct(
    a: Any, u: float, activation: int, p: Any, W2T: Any, target: int, weight: float, total: Any, units: Any
) -> None:
    """What `_cross_entropy_series` adds, by evaluating every exponential and logarithm, for arguments of any size."""
    up, down, above, below, difference = units[0], units[1], units[2], units[3], units[4]
    kept, guard = odds(p[target])
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
        total[j] += like(total[j], 0.5 * weight * log_ratio(above[j], below[j], difference[j], kept, guard))


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
def hidden_cross_entropy(
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
            kept, guard = odds(p[target])
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
def hidden_squared_error(
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
    """What `hidden_cross_entropy` does, for the squared error."""
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
