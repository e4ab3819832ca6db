"""The loss at +h and −h for the parameters of the output layer: one logit moves."""

from __future__ import annotations

import math
from typing import Any

from ....functions import LOG_GUARD
from ...loss_ratios import LARGEST_EXPONENT
from .elementary import exp, expm1
from .jit import inner
from .vectors import WIDE, lanes, load, store
from .workspace import Workspace

#: |θτ| and |cτ·v| up to which the series hold. The coefficient of τᵐ in expm1(v·Δz) is at most Σ_q
#: C(m − 1, q − 1)/q!·|θ|ᵐ⁻ᵠ·|cv|ᵠ: relative to |cτv|, the terms left out are 7.5·(1e-3)⁶ = 8e-18 of
#: O; less than 4e-17 of G; and |G|³ with |G| ≤ 4·(1e-3)² is 6e-17 of 1/(1 + G), where O and G are
#: those of the hidden layer; of the output layer it is less.
SERIES_BOUND = 1e-3


@inner
def _sum_of_others(p: Any, k: int) -> float:
    """1 − p[k] without cancellation: the sum of all the other probabilities."""
    total = 0.0
    for m in range(p.size):
        if m != k:
            total += p[m]
    return total


@inner
def odds(p: float) -> tuple[float, float]:
    """p / (p + ε) and ε / (p + ε): their sum is 1, but neither is computed from the other."""
    return p / (p + LOG_GUARD), LOG_GUARD / (p + LOG_GUARD)


@inner
def exponential(exponent: float) -> float:
    """e^exponent, cut off where the probability of the target is nothing beside the guard."""
    return exp(LARGEST_EXPONENT if exponent > LARGEST_EXPONENT else exponent)


@inner
def change(larger: float, step: float) -> float:
    """The difference of two exponentials from the larger one and how far apart they are."""
    return math.copysign(-larger * expm1(-abs(step)), step)


@inner
def log_ratio(above: float, below: float, difference: float) -> float:
    """L(+h) − L(−h) of a target of probability p, L = −log(p/D + ε) with D = Σ p·exp(Δz·v).

    `above` and `below` are D/p at +h and −h, and `difference` is by how much they differ.
    """
    # The logarithm of a ratio above one: below one, its distance from zero is what would be lost.
    smaller, larger = (below, above) if difference > 0 else (above, below)
    ratio = abs(difference) / ((1 + LOG_GUARD * larger) * smaller)
    return math.copysign(math.log1p(ratio), difference)


@inner
def _others(logits: Any, k: int) -> tuple[float, float]:
    """The highest logit of all outputs but k, and Σ exp of those logits less that."""
    highest, total = logits[0 if k else logits.size - 1], 0.0
    for m in range(logits.size):
        if m != k:
            highest = max(highest, logits[m])
    for m in range(logits.size):
        if m != k:
            total += exp(logits[m] - highest)
    return highest, total


@inner
def output_cross_entropy(
    n: int, z: Any, first: int, last: int, targets: Any, h: float, work: Workspace, total: Any
) -> None:
    """Add (L(+h) − L(−h)) / 2h of sample n for the weights into the outputs first … last − 1.

    These are the weights out of the units `z`; `total` has a row of them for each output. A logit
    moves by ±h·z. Moving the logit of the target itself is moving all the others the other way.
    """
    start, classes, weights = targets
    y, logits = work.y[n], work.logits[n]
    reach, scale = 0.0, 1 / (h * work.y.shape[0])
    for j in range(z.size):
        reach = max(reach, abs(h * z[j]))
    for pair in range(start[n], start[n + 1]):
        target = classes[pair]
        kept, guard = odds(y[target])
        for k in range(first, last):
            own = k == target
            weight = -weights[pair] * scale if own else weights[pair] * scale
            if reach <= SERIES_BOUND:
                share = _sum_of_others(y, k) if own else y[k]
                _output_series(z, h, share, kept, guard, weight, total[k])
            else:
                r, (highest, rest_of) = logits[k] - logits[target], _others(logits, k)
                highest -= logits[target]
                if own:
                    moved, factor, rest = highest, rest_of, 1.0
                else:
                    moved, factor, rest = r, 1.0, rest_of * exponential(highest)
                _output_direct(z, h, moved, factor, rest, weight, total[k])


@inner
def _output_series(
    z: Any, h: float, share: float, kept: float, guard: float, weight: float, row: Any
) -> None:
    """Add weight·½(L(+h) − L(−h)) to `row`, by series.

    `share` of the probability is multiplied by exp(±h·z). As for the hidden layer, with T± =
    share·(cosh(hz) − 1 ± sinh(hz)): of this the even part E and the odd part O make E² − O² =
    −2·share·E. The terms left out of sinh and cosh are below 2e-22 of them, and |G|³ with |G| ≤
    (1e-3)² is 1e-18.
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
def _output_direct(
    z: Any, h: float, moved: float, factor: float, rest: float, weight: float, row: Any
) -> None:
    """What `_output_series` adds, for arguments of any size.

    Of D/p the part `factor`·e^`moved` is multiplied by e^(±h·z), and `rest` stays.
    """
    for j in range(z.size):
        step = h * z[j]
        up, down = factor * exponential(moved + step), factor * exponential(moved - step)
        difference = change(max(up, down), 2 * step)
        row[j] += 0.5 * weight * log_ratio(rest + up, rest + down, difference)


@inner
def output_squared_error(
    n: int, z: Any, first: int, last: int, work: Workspace, total: Any
) -> None:
    """Add (L(+h) − L(−h)) / 2h = z·(y − t) of sample n, likewise."""
    for k in range(first, last):
        for j in range(z.size):
            total[k, j] += z[j] * work.y[n, k]
