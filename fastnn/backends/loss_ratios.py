"""By how much the loss of a target changes: L(+h) − L(−h) without cancellation or overflow.

The formulas are those of :mod:`fastnn.backends.incremental`.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from ..functions import LOG_GUARD
from ..validation import Array

#: What exponents are cut off at: e^−300 is nothing beside the guard ε, and the square of e^300 is
#: still a number.
LARGEST_EXPONENT = 300.0

#: T and D of one increment.
Sums: TypeAlias = tuple[Array, Array]


def directly(xp: Any, r: Array, v: Array, up: Array, down: Array, weight: float) -> Array:
    """L(+h) − L(−h) of a target for increments of any size."""
    above, below, difference = xp.zeros_like(up), xp.zeros_like(up), xp.zeros_like(up)
    for k in range(r.shape[0]):
        first, second, change = _exponentials(xp, r[k], up * v[k, ...], down * v[k, ...])
        above += first
        below += second
        difference += change
    return _log_ratio_of_odds(xp, above, below, difference, weight)


def moved_logit(
    xp: Any, rest: Array, moved: tuple[Array, Array], step: Array, weight: Array
) -> Array:
    """L(+h) − L(−h) of a target.

    D/p_c is `rest` and, as a factor and an exponent, what e^±`step` multiplies.
    """
    factor, exponent = moved
    first, second, change = (factor * e for e in _exponentials(xp, exponent, step, -step))
    return _log_ratio_of_odds(xp, rest + first, rest + second, change, weight)


def _exponentials(xp: Any, r: Array, up: Array, down: Array) -> tuple[Array, Array, Array]:
    """e^(r + up), e^(r + down) and their difference; the exponents are cut off."""
    first, second = xp.exp(cut_off(xp, r + up)), xp.exp(cut_off(xp, r + down))
    between = up - down  # which r would drown
    share = xp.copysign(-xp.expm1(-abs(between)), between)
    return first, second, xp.maximum(first, second) * share


def cut_off(xp: Any, exponents: Array) -> Array:
    """None above :data:`LARGEST_EXPONENT`; NaN stays NaN."""
    return xp.where(exponents > LARGEST_EXPONENT, LARGEST_EXPONENT, exponents)


def log_ratio(
    xp: Any,
    up: tuple[Array, Array],
    down: tuple[Array, Array],
    kept: Array,
    guard: Array,
    weight: float,
) -> Array:
    """L(+h) − L(−h) of a target of this weight, from T and D at +h and at −h, ρ and κ."""
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
    result = xp.copysign(xp.log1p(ratio), difference)
    result *= weight
    return result


def _log_ratio_of_odds(
    xp: Any, above: Array, below: Array, difference: Array, weight: Array | float
) -> Array:
    """L(+h) − L(−h) of a target of this weight, from D/p_c at +h and at −h, and how they differ."""
    rises = difference > 0
    smaller, larger = xp.where(rises, below, above), xp.where(rises, above, below)
    ratio = abs(difference) / ((1 + LOG_GUARD * larger) * smaller)
    return weight * xp.copysign(xp.log1p(ratio), difference)


def softplus_difference(xp: Any, low: Array, high: Array, distance: Array) -> Array:
    """log(1 + e^high) − log(1 + e^low), with `distance` = high − low ≥ 0.

    It is log1p(e^high·(1 − e^−distance) / (1 + e^low)) or, seen from the other side of zero, the
    distance less what log(1 + e^−low) loses, which is no more than half of it where low > 0. What
    the distance has lost to rounding if it was taken from `low` and `high`, it need not.
    """
    right = low > 0
    exponent = xp.where(right, -low, high)
    largest = cut_off(xp, exponent)  # from there on it grows as the exponent does
    rise = -xp.expm1(-distance) / (1 + xp.exp(xp.where(right, -high, low)))
    result = (exponent - largest) + xp.log1p(xp.exp(largest) * rise)
    return xp.where(right, distance - result, result)


def without_each(xp: Any, logits: Array) -> tuple[Array, Array]:
    """For each output the highest of all the other logits, and Σ exp of them less that."""
    if logits.shape[1] == 1:
        return xp.zeros_like(logits), xp.zeros_like(logits)
    found = []
    for k in range(logits.shape[1]):
        others = xp.concat([logits[:, :k], logits[:, k + 1 :]], axis=1)
        highest = xp.max(others, axis=1, keepdims=True)
        found.append((highest[:, 0], xp.sum(xp.exp(others - highest), axis=1)))
    highest, total = (xp.stack(list(values), axis=1) for values in zip(*found, strict=True))
    return highest, total
