"""L(+h) − L(−h) as a power series: two terms are two matrix products for all weights of a layer.

Moving the pre-activation of hidden unit j by ±u changes its output by Δz = ±cτ / (1 ± θτ), where
c and θ depend on the sample and the unit alone, and τ on u alone (:class:`Expansion`). Along that
unit the loss of a sample is a power series ℓ₁Δz + ℓ₂Δz² + ℓ₃Δz³ + …, so that

    ½(L(+h) − L(−h)) = F₁τ + F₃τ³ + …,  F₁ = cℓ₁,  F₃ = c(θ²ℓ₁ − 2cθℓ₂ + c²ℓ₃)

and, summed over the samples, all of it is [τ]ᵀF₁ + [τ³]ᵀF₃: one product with twice as many rows as
there are samples. For τ = tanh w, w = λu/2, the same in powers of w has F₃ − F₁/3 in place of F₃.
Into the outputs a weight moves one logit by u = ±hz, and the series is one in u.

The coefficients are those of the loss's own definition. The cross-entropy of a target c of
probability p_c is, with its guard ε, the difference of two logarithms of sums of exponentials:
log Σ pₖe^(Δz·W2[j, k]) − log Σ qₖe^(Δz·W2[j, k]) with q = (εp + p_c·[k = c]) / (p_c + ε), so that
m!·ℓₘ is the difference of the m-th cumulants of W2[j, :] under p and under q: of mean, variance and
third central moment. Under q they follow from those under p, from κ = ε/(p_c + ε), ρ = 1 − κ and
the distance d of the mean under p from W2[j, c]:

    ℓ₁ = ρd,  2ℓ₂ = ρ·var − κρd²,  6ℓ₃ = ρ·μ₃ − 3κρd·var − κρ(ρ − κ)d³

A moved logit is the same with the cumulants of one event, p, p(1 − p) and p(1 − p)(1 − 2p).
Moments are taken about W2 of the most probable output, so that they are small with the
probabilities of all others, and no difference of nearly equal numbers is.

What this leaves out is bounded. The m-th cumulant of what lies within a span V is at most
V·(1, V/4, 0.0963V², V³/8, V⁴): the fifth by Cauchy's estimate of the derivative of log Σ pe^(Δv) on
|Δ|V = 2.5, where |Σ pe^(Δv)| ≥ cos(1.25)·Σ pe^(ReΔ·v). That bounds the coefficient of w⁵, and where
w times the bound of each further step is at most :data:`REACH`, all that follow. A sample for which
what is left out may be more than :data:`OMITTED` of the largest first term of the batch, or in
which a relu may change sides, is evaluated as before: :mod:`fastnn.backends.incremental`.

ℓ₁ is the derivative of the loss, found by other means and from other code than
:meth:`fastnn.TwoLayerNet.gradient`. What is compared in a gradient check is therefore two ways to
one number; ``method="full"`` alone assumes nothing of the formulas.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

from ..functions import LOG_GUARD, LOSSES, Activation
from ..validation import Array
from .evaluated import Evaluated

#: What a dropped term may be, relative to the largest one that is kept: as much as rounding
#: does to a few of them.
OMITTED = 4.4e-16

#: Up to which w·(|θ| + c·V + 1) the terms after the first that is dropped are together 1/100 of
#: its bound.
REACH = 0.02

#: The largest m-th cumulants, over m!, of what lies within a span of 1.
OF_SPAN = (1.0, 1 / 8, 0.0963 / 6, 1 / 192, 1 / 120)

#: How many samples are expanded at a time: their arrays stay in a cache.
SAMPLES = 128


#: For the weights of a layer, and for its biases.
OfLayer = tuple[Array, Array]


class AlongUnits(NamedTuple):
    """The losses of the samples in powers of what moves, and bounds of those powers.

    Attributes
    ----------
    hidden : three arrays (samples, units)
        ℓ₁, ℓ₂ and ℓ₃ of what a hidden unit adds to the logits.
    bounds : five arrays that broadcast to (samples, units)
        No |ℓ₁|, …, |ℓ₅| is larger.
    span : array (1, units)
        The logits of a sample are moved apart by this, for a change of the unit by 1.
    output : two arrays (samples, outputs)
        The coefficients of the first and the third power of what is added to a logit.
    bound : array (samples, 1)
        That of the fifth is not larger.
    """

    hidden: tuple[Array, Array, Array]
    bounds: tuple[Array, ...]
    span: Array
    output: tuple[Array, Array]
    bound: Array


def products(
    xp: Any, network: Evaluated, f: Activation, loss: str, h: float
) -> tuple[tuple[Array, Array], tuple[OfLayer, OfLayer]]:
    """What is left to others, and (L(+h) − L(−h)) / 2h of all else, summed over the samples.

    Left are the units of a sample, and the samples for the weights into outputs, where this is
    true: (samples, units) and (samples,). The products are of the network's own dtype.
    """
    found = []
    for first in range(0, network.batch, SAMPLES):
        block = network.block(slice(first, min(first + SAMPLES, network.batch)))
        found.append(_of_block(xp, block, f, ALONG_UNITS[loss](xp, block), h))
    left, gradients = found[0]
    for some, others in found[1:]:
        left = xp.concat([left[0], some[0]]), xp.concat([left[1], some[1]])
        gradients = _added(xp, gradients[0], others[0]), _added(xp, gradients[1], others[1])
    return left, gradients


def _added(xp: Any, sums: OfLayer, others: OfLayer) -> OfLayer:
    """In float64, however many there are."""
    return xp.astype(sums[0], xp.float64, copy=False) + others[0], sums[1] + others[1]


def _of_block(
    xp: Any, network: Evaluated, f: Activation, loss: AlongUnits, h: float
) -> tuple[tuple[Array, Array], tuple[OfLayer, OfLayer]]:
    assert f.expansion is not None
    c, theta, kink = f.expansion.coefficients(xp, network.a)
    scale, curved, z = f.expansion.scale, f.expansion.curved, network.z[:, :-1]
    w = h * scale
    F1, F3 = _composed(c, theta, loss)
    C1, C3 = loss.output
    sizes = Sizes(abs(theta), abs(c), abs(F1), abs(F3), loss.bounds, loss.span, kink)
    # Seldom is anything left: then the largest of everything together says so, beside the least
    # that the largest first term can be, that of a bias.
    one = xp.ones_like(F1[:1, :1])
    reach, most = w * _largest_input(xp, network.x), _most(xp, sizes.first, w * one)
    left = xp.zeros_like(F1, dtype=xp.bool)
    if bool(xp.any(_left(xp, sizes.largest(xp), reach, most, curved))):
        reach = w * _largest_input(xp, network.x, axis=1)
        left = _left(xp, sizes, reach, _most(xp, sizes.first, reach), curved)
    reach, most = h * _largest_input(xp, network.z), _most(xp, abs(C1), h * one)
    others = xp.zeros_like(C1[:, :1], dtype=xp.bool)
    if bool(xp.any(_omits(xp, loss.bound, reach, most))):
        reach = h * _largest_input(xp, z, axis=1)
        others = _omits(xp, loss.bound, reach, _most(xp, abs(C1), reach))
    if curved:
        F3 = F3 - F1 / 3
    hidden = _summed(xp, network.x, left, (scale * F1, scale * F3), w)
    output = _summed(xp, z, others, (C1, C3), h)
    return (left, others[:, 0]), (hidden, output)


def _largest_input(xp: Any, x: Array, axis: int | None = None) -> Array:
    """Of all samples or, along the axis 1, of each; the 1 of the bias included."""
    highest, lowest = (
        xp.astype(of(x, axis=axis, keepdims=True), xp.float64) for of in (xp.max, xp.min)
    )
    largest = xp.maximum(highest, -lowest)
    return xp.where(largest < 1, 1.0, largest)


class Sizes(NamedTuple):
    """What bounds the terms that are left out, of each unit of a sample.

    Attributes
    ----------
    q, slope, first, third : array (samples, units)
        |θ|, |c|, |F₁| and |F₃| in powers of τ.
    bounds, span : as in AlongUnits
    kink : array (samples, units) or None
        From which w on an activation may change sides.
    """

    q: Array
    slope: Array
    first: Array
    third: Array
    bounds: tuple[Array, ...]
    span: Array
    kink: Array | None

    def largest(self, xp: Any) -> Sizes:
        """One of each, that no unit of any sample is beyond."""
        *sizes, bounds, span, kink = self
        q, slope, first, third = (xp.max(size) for size in sizes)
        kink = None if kink is None else xp.min(kink)
        bounds = tuple(xp.max(bound) for bound in bounds)
        return Sizes(q, slope, first, third, bounds, xp.max(span), kink)


def _left(xp: Any, sizes: Sizes, reach: Array, most: Array, curved: bool) -> Array:
    """Whether two terms are too few for a w of `reach`: they may leave out more than `most`."""
    q, slope, first, third, (b1, b2, b3, b4, b5), span, kink = sizes
    # The coefficient of τ⁵ in Δzᵐ is cᵐ·(−θ)⁵⁻ᵐ·C(4, m − 1).
    fifth = (((b5 * slope + 4 * q * b4) * slope + 6 * q**2 * b3) * slope + 4 * q**3 * b2) * slope
    fifth = (fifth + q**4 * b1) * slope
    if curved:
        fifth = fifth + third + 2 / 15 * first
    left = reach * (1 + q + slope * span) > REACH
    if kink is not None:
        left = left | (reach >= kink)
    return left | _omits(xp, fifth, reach, most)


def _summed(xp: Any, x: Array, left: Array, powers: tuple[Array, Array], w: float) -> OfLayer:
    """[x]ᵀF₁ + [x·(wx)²]ᵀF₃ in the dtype of x, and of an x of 1, but for what is left to others."""
    first, third = powers
    w = min(w, REACH)  # beyond it all is left, and the square may be infinite
    if bool(xp.any(left)):
        # Not even a factor of zero: the cubes of samples that are all left may be infinite.
        rows = xp.nonzero(~xp.all(left, axis=1))[0]
        x, left, first, third = (xp.take(array, rows, axis=0) for array in (x, left, first, third))
        first, third = (xp.where(left, xp.zeros_like(F), F) for F in (first, third))
    of_biases = xp.sum(first, axis=0) + w * w * xp.sum(third, axis=0)
    first, third = (xp.astype(F, x.dtype, copy=False) for F in (first, third))
    cube = w * x
    cube *= cube
    cube *= x
    of_weights = x.T @ first
    of_weights += cube.T @ third
    return of_weights, of_biases


def _within_reach(xp: Any, reach: Array) -> Array:
    """Beyond :data:`REACH` all is left anyway, and its powers may be infinite."""
    return xp.where(reach > REACH, REACH, reach)


def _most(xp: Any, first: Array, reach: Array) -> Array:
    """What may be left out beside the largest |first| of the batch."""
    return OMITTED * xp.max(first * _within_reach(xp, reach))


def _omits(xp: Any, fifth: Array, reach: Array, most: Array) -> Array:
    """Whether the fifth power at `reach` may be more than `most`, or those after it matter."""
    return (reach > REACH) | ~(fifth * _within_reach(xp, reach) ** 5 <= most)


def _composed(c: Array, theta: Array, loss: AlongUnits) -> tuple[Array, Array]:
    """F₁ and F₃, for Δz = cτ / (1 + θτ)."""
    l1, l2, l3 = loss.hidden
    first = c * l1
    return first, theta * theta * first - 2 * theta * (c * c) * l2 + c * c * c * l3


# -- the losses ------------------------------------------------------------------------------------


def _cross_entropy(xp: Any, network: Evaluated) -> AlongUnits:
    """Of targets in any number: they are summed before anything is multiplied."""
    p, t = network.y, network.t / network.batch
    kept, guard = p / (p + LOG_GUARD), LOG_GUARD / (p + LOG_GUARD)
    A, g1 = t * kept, t * guard
    # Of the most probable output, and of the target that has most of A, what all others have is
    # added up: it may be less than one difference loses.
    top = xp.argmax(p, axis=1)
    is_top, is_most = _is_at(xp, p, top), _is_at(xp, p, xp.argmax(abs(A), axis=1))
    others = xp.astype(~is_top, p.dtype)
    B, g2 = A * guard, g1 * guard
    C, g3 = B * (kept - guard), g2 * guard
    of_others = [others * weights for weights in (p, B, C)]
    minor = A * xp.astype(~is_most, p.dtype)
    sums = _sums_of_rows(xp, t, abs(t), A, B, C, minor, g1, g2, g3, *of_others)
    whole, size, sum_A, sum_B, sum_C, rest_of_A, *sums_of_g, rest_of_top, rest_of_B, rest_of_C = (
        sums
    )
    rest = xp.where(is_top, rest_of_top, 1 - p)  # 1 − p of each output

    # A moved logit: all targets but its own, then its own, of which q is 1 − guard·rest.
    first = xp.where(is_most, rest_of_A, sum_A - A) * p - A * rest
    own, of_p = guard * rest, p * rest * (rest - p)
    q1, q2, q3 = (total - g for total, g in zip(sums_of_g, (g1, g2, g3), strict=True))
    moved = p * (q1 - p * (3 * q2 - p * (2 * q3)))
    third = whole * of_p - moved - t * own * (1 - own) * (2 * own - 1)

    # A unit: moments about the most probable output, whose own share of all of them is zero.
    W = (network.W2 - xp.mean(network.W2, axis=1, keepdims=True)).T
    middle, powers = xp.take(W, top, axis=0), [W, W * W, W * W * W]
    m1, m2, m3 = _moments(of_others[0], rest_of_top, powers, middle)
    b1, b2 = _moments(of_others[1], rest_of_B, powers[:2], middle)
    c1, c2, c3 = _moments(of_others[2], rest_of_C, powers, middle)
    square = m1 * m1
    variance, skew = m2 - square, m3 - m1 * (3 * m2 - 2 * square)
    l1 = first @ W
    l2 = sum_A * variance - ((sum_B * m1 - 2 * b1) * m1 + b2)
    cubes = ((sum_C * m1 - 3 * c1) * m1 + 3 * c2) * m1 - c3
    l3 = sum_A * skew - 3 * variance * (sum_B * m1 - b1) - cubes
    span, largest = (xp.max(W, axis=0) - xp.min(W, axis=0))[None, :], xp.max(size)
    bounds = tuple((1 if m == 1 else 2) * OF_SPAN[m - 1] * largest * span**m for m in range(1, 6))
    return AlongUnits((l1, l2 / 2, l3 / 6), bounds, span, (first, third / 6), 2 * OF_SPAN[4] * size)


def _is_at(xp: Any, a: Array, columns: Array) -> Array:
    """Whether an entry is the one of its row in that column."""
    return xp.arange(a.shape[1])[None, :] == columns[:, None]


def _sums_of_rows(xp: Any, *arrays: Array) -> list[Array]:
    """The sums of the rows of arrays of one shape: of short rows they are quicker as a product."""
    sums, rows = xp.concat(arrays) @ xp.ones_like(arrays[0][0, :, None]), arrays[0].shape[0]
    return [sums[rows * i : rows * (i + 1), ...] for i in range(len(arrays))]


def _moments(p: Array, total: Array, powers: list[Array], middle: Array) -> list[Array]:
    """Σ p·(W − middle)ᵐ for each of the `powers` Wᵐ; `p`, of that total, is zero where that is."""
    sums, moments = [total, *(p @ power for power in powers)], []
    while len(sums) > 1:  # each turn makes one factor W of every sum W − middle
        sums = [after - middle * before for before, after in pairwise(sums)]
        moments.append(sums[0])
    return moments


def _squared_error(xp: Any, network: Evaluated) -> AlongUnits:
    """It has two terms along a unit, ½·Σₖ W2[j, k]² the second, and one of use along an output."""
    residual, W2 = network.y - network.t, network.W2
    curvature = xp.sum(W2 * W2, axis=1)[None, :] / 2
    slope = residual @ W2.T
    none, nothing = xp.zeros_like(slope), xp.zeros_like(curvature)
    return AlongUnits(
        (slope, curvature + none, none),
        (abs(slope), curvature, nothing, nothing, nothing),
        nothing,
        (residual, xp.zeros_like(residual)),
        xp.zeros_like(residual[:, :1]),
    )


def _binary_cross_entropy(xp: Any, network: Evaluated) -> AlongUnits:
    """Each output is by itself: the cumulants are those of one event, log(1 + e^a)."""
    y, t, W, batch = network.y, network.t, network.W2.T, network.batch
    rest = LOSSES["binary_cross_entropy"].output(xp, -network.logits)
    residual = xp.where(t <= 0.5, y - t, (1 - t) - rest) / batch
    second, third = y * rest / batch, y * rest * (rest - y) / batch
    hidden = residual @ W, second @ (W * W) / 2, third @ (W * W * W) / 6
    size = abs(W)
    bounds = tuple(OF_SPAN[m - 1] / batch * xp.sum(size**m, axis=0)[None, :] for m in range(1, 6))
    span = xp.max(size, axis=0)[None, :]
    return AlongUnits(
        hidden, bounds, span, (residual, third / 6), OF_SPAN[4] / batch + 0 * y[:, :1]
    )


#: The series of each loss that has one; the others take the differences of its evaluations.
ALONG_UNITS = {
    "cross_entropy": _cross_entropy,
    "mean_squared_error": _squared_error,
    "binary_cross_entropy": _binary_cross_entropy,
}
