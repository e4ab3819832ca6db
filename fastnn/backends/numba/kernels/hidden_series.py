"""The innermost loop for the parameters of the hidden layer: series of moderate arguments."""

from __future__ import annotations

from typing import Any

from .elementary import like
from .jit import inner
from .vectors import WIDE, convert, lanes, load, store


@inner
def series_coefficients(
    p: Any, W2T: Any, target: int, c: Any, theta: Any, guard: float, coefficients: Any
) -> None:
    """The coefficients of O and G in powers of τ, for each unit.

    The sum of exponentials is T = Σₖ pₖ·expm1(v·Δz), v = W2[j, k] − W2[j, target]. In powers of cτ
    its coefficients for Δz = cτ would be the moments dₘ = Σₖ pₖ·vₖᵐ / m!; those in powers of τ for
    Δz = cτ / (1 + θτ) follow by the binomial series of (1 + θτ)⁻ᵐ. `coefficients` are for τ, τ³ and
    τ⁵ in O, the odd part of T, and for τ² and τ⁴ in G = (1 + κ)·E + κ·(E² − O²), where E is the
    even part and κ is `guard`.
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
        store(
            coefficients,
            (3, j),
            convert(e4 * (1 + guard) + (e2 * e2 - d1 * e3 * 2.0) * guard, zero),
        )
        store(coefficients, (4, j), convert(e5, zero))


@inner
def series(
    first: int,
    last: int,
    features: Any,
    powers: Any,
    coefficients: Any,
    kept: float,
    weight: float,
    total: Any,
) -> None:
    """Add weight·½(L(+h) − L(−h)) of one sample to rows features[first:last] of `total`.

    At ±h the sum of exponentials is T± = E ± O, the even and the odd powers of τ, and the loss L± =
    log1p(T±) − log1p(κT±) + const, with κ = ε / (p + ε) and `kept` 1 − κ = p / (p + ε), where p is
    the probability of the target and ε the guard of the loss. ½(L₊ − L₋) is the inverse hyperbolic
    tangent of (1 − κ)·O / (1 + G), with G = ((1 + T₊)(1 + κT₋) + (1 + T₋)(1 + κT₊))/2 − 1 = (1 +
    κ)·E + κ·(E² − O²).
    """
    zero = total[0, 0]
    w1, w3, w5 = (
        like(zero, weight * kept),
        like(zero, weight * kept**3 / 3),
        like(zero, weight * kept**5 / 5),
    )
    for j in range(0, total.shape[1], lanes(total, WIDE)):
        o1, o3, o5 = (
            load(coefficients, (0, j), WIDE),
            load(coefficients, (2, j), WIDE),
            load(coefficients, (4, j), WIDE),
        )
        g2, g4 = load(coefficients, (1, j), WIDE), load(coefficients, (3, j), WIDE)
        for s in range(first, last):
            i, t, t2 = features[s], powers[0, s], powers[1, s]
            odd, g = ((o5 * t2 + o3) * t2 + o1) * t, (g4 * t2 + g2) * t2
            r = odd + odd * (g * g - g)
            r2 = r * r
            half = r * ((r2 * w5 + w3) * r2 + w1)
            store(total, (i, j), load(total, (i, j), WIDE) + half)
