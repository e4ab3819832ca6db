"""L(+h) − L(−h) as two powers: the formulas and the bounds of :mod:`fastnn.backends.expansions`.

What a weight changes by is first·x + third·x³ of each sample, where `first` and `third` depend on
the sample and the unit alone. They are found where the network is evaluated, sample by sample, in
float64; multiplied and summed they are in :mod:`.powers`. Whether a sample is left to the other
formulas is known when all of the batch have been evaluated.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...expansions import OF_SPAN, OMITTED, REACH
from .activations import is_logistic, steepness
from .elementary import bits, from_bits, like
from .jit import inlined, inner
from .output_differences import odds
from .vectors import WIDE, convert, element, lanes, load, store
from .workspace import Workspace

_SECOND, _THIRD, _FOURTH, _FIFTH = (2 * bound for bound in OF_SPAN[1:])


@inner
def _largest(a: Any) -> float:
    """The largest absolute value, NaN if there is one: as integers they are compared in vectors."""
    most = bits(a.dtype.type(0))
    for s in range(a.size):
        most = max(most, bits(abs(a[s])))
    return from_bits(most)


@inner
def expand(
    first: int,
    last: int,
    samples: Any,
    rows: Any,
    targets: Any,
    h: float,
    modes: Any,
    work: Workspace,
) -> None:
    """The two powers of some samples, and what is needed to tell whether they are enough."""
    activation, cross_entropy = modes
    indptr, _, values = samples
    kept, omitted = work.kept, work.omitted
    curved = is_logistic(activation)
    scale = 0.5 * steepness(activation) if curved else 1.0
    if cross_entropy:
        _cross_entropy(first, last, targets, h, scale, curved, work)
    else:
        _squared_error(first, last, h, scale, curved, work)
    for n in range(first, last):
        # The bias is one more feature, of the value 1.
        most = max(1.0, float(_largest(values[indptr[rows[n]] : indptr[rows[n] + 1]])))
        of_units, kink, q = 1.0, np.inf, work.theta_bound[n]  # the bias is a unit of value 1
        for p in range(work.z.shape[0]):
            largest = _largest(work.z[p, n])
            of_units = of_units if largest <= of_units else largest
            kink = min(kink, work.kinks[p, n])
        w, v, work.kink[n] = h * scale * most, h * of_units, kink
        within = w * (1 + q + work.apart[n]) <= REACH and h * most < kink
        kept[0, n] *= w
        omitted[0, n] = omitted[0, n] * _fifth(w) if within else math.inf
        kept[1, n] *= v
        omitted[1, n] = omitted[1, n] * _fifth(v) if v <= REACH else math.inf


@inner
def choose(layer: int, work: Workspace, left: Any) -> None:
    """Which samples are left to others, for the weights of a layer: those of which more is omitted.

    That is more than rounding does to the largest first term of the batch.
    """
    kept, omitted = work.kept[layer], work.omitted[layer]
    largest = 0.0
    for n in range(kept.size):
        if omitted[n] < math.inf and kept[n] > largest:
            largest = kept[n]
    for n in range(kept.size):
        left[n] = not omitted[n] <= OMITTED * largest


@inlined
def _fifth(x: float) -> float:
    return x * (x * x) * (x * x)


@inner
def _cross_entropy(
    begin: int,
    end: int,
    targets: Any,
    h: float,
    scale: float,
    curved: bool,
    work: Workspace,
) -> None:
    """Of what a hidden unit adds to the logits, and of a moved logit; and their bounds.

    Those are the largest of the first coefficients, more than the fifth ones can be, and by how
    much the logits are moved apart.
    """
    start, classes, weights = targets
    y, B, C, outputs, cubes = work.y, work.B, work.C, work.outputs1, work.outputs3
    W2T, c, theta, F1, F3 = work.W2T, work.c, work.theta, work.first, work.third
    zero, share, K = F1[0, 0, 0], 1 / work.y.shape[0], work.y.shape[1]
    cube, sixth, curve = scale * scale * scale * h * h, h * h / 6, 1 / 3 if curved else 0.0
    for n in range(begin, end):
        sum_B = sum_C = whole = size = q1 = q2 = q3 = 0.0
        # Of the target that has most of A, what all others have is added up: it may be less than
        # a difference loses.
        most, most_of_A, rest_of_A = -1, 0.0, 0.0
        for s in range(start[n], start[n + 1]):
            k, t = classes[s], weights[s] * share
            p, g = odds(y[n, k])
            A = t * p
            if abs(A) > abs(most_of_A):
                most, most_of_A, A = k, A, most_of_A
            rest_of_A += A
            B[n, k] = t * p * g
            C[n, k] = B[n, k] * (p - g)
            sum_B += B[n, k]
            sum_C += C[n, k]
            whole += t
            size += abs(t)
            q1 += t * g
            q2 += t * g * g
            q3 += t * g * g * g

        sum_A = most_of_A + rest_of_A

        # A moved logit: of all targets but its own, as if it were none; then of its own.
        top, rest_of_top, most_of_output = 0, 0.0, 0.0
        for k in range(K):
            top = k if y[n, k] > y[n, top] else top
        for k in range(K):
            rest_of_top += y[n, k] if k != top else 0.0
        s = start[n]
        for k in range(K):
            p, rest = y[n, k], rest_of_top if k == top else 1 - y[n, k]
            A = t = g = 0.0
            if s < start[n + 1] and classes[s] == k:
                t = weights[s] * share
                of_target, g = odds(p)
                A = t * of_target
                s += 1
            outputs[n, k] = (rest_of_A if k == most else sum_A - A) * p - A * rest
            most_of_output = max(most_of_output, abs(outputs[n, k]))
            others = (q1 - t * g) - p * (3 * (q2 - t * g * g) - p * 2 * (q3 - t * g * g * g))
            own = g * rest
            third = whole * p * rest * (rest - p) - p * others
            cubes[n, k] = sixth * (third - t * own * (1 - own) * (2 * own - 1))
        work.kept[1, n], work.omitted[1, n] = most_of_output, size * _FIFTH

        # A unit: moments about the most probable output, whose own share of all of them is zero.
        for panel in range(c.shape[0]):
            for j in range(0, c.shape[2], lanes(c, WIDE)):
                middle = load(W2T, (panel, top, j), WIDE)
                l1 = middle * 0.0
                m1, m2, m3 = l1, l1, l1
                for k in range(K):
                    d = load(W2T, (panel, k, j), WIDE) - middle
                    r = d * element(y, (n, k))
                    l1 = l1 + d * element(outputs, (n, k))
                    m1 = m1 + r
                    r = r * d
                    m2 = m2 + r
                    m3 = m3 + r * d
                b1 = middle * 0.0
                b2, c1, c2, c3 = b1, b1, b1, b1
                for s in range(start[n], start[n + 1]):
                    k = classes[s]
                    d = load(W2T, (panel, k, j), WIDE) - middle
                    r, u = d * element(B, (n, k)), d * element(C, (n, k))
                    b1 = b1 + r
                    b2 = b2 + r * d
                    c1 = c1 + u
                    u = u * d
                    c2 = c2 + u
                    c3 = c3 + u * d
                square = m1 * m1
                variance, skew = m2 - square, m3 - m1 * (m2 * 3.0 - square * 2.0)
                l2 = variance * sum_A - ((m1 * sum_B - b1 * 2.0) * m1 + b2)
                of_guard = ((m1 * sum_C - c1 * 3.0) * m1 + c2 * 3.0) * m1 - c3
                l3 = skew * sum_A - variance * (m1 * sum_B - b1) * 3.0 - of_guard
                slope, bend = load(c, (panel, n, j), WIDE), load(theta, (panel, n, j), WIDE)
                first = slope * l1
                third = bend * bend * first - slope * slope * (bend * l2 - slope * l3 * (1 / 6))
                store(F1, (panel, n, j), convert(first * scale, zero))
                store(F3, (panel, n, j), convert((third - first * curve) * cube, zero))

    # The largest of |F₁|, of the reach and of the bound of F₅, each as an integer: see _largest.
    more = 1.0 if curved else 0.0  # in powers of w the fifth has some of the first and the third
    for n in range(begin, end):
        most, largest, fifth = bits(like(zero, 0)), bits(0.0), bits(0.0)
        size = work.omitted[1, n] / _FIFTH  # as much for each target
        for panel in range(c.shape[0]):
            for j in range(c.shape[2]):
                q, reach = abs(theta[panel, n, j]), c[panel, n, j] * work.span[panel, j]
                first, third = abs(F1[panel, n, j]), abs(F3[panel, n, j])
                bound = ((_FIFTH * reach + 4 * _FOURTH * q) * reach + 6 * _THIRD * q * q) * reach
                bound = ((bound + 4 * _SECOND * q * q * q) * reach + q * q * q * q) * reach
                powers = more * (third / cube + (1 / 3 + 2 / 15) * (first / scale))
                most, largest = max(most, bits(first)), max(largest, bits(abs(reach)))
                fifth = max(fifth, bits(abs(size * bound + powers)))
        work.kept[0, n], work.apart[n] = from_bits(most) / scale, from_bits(largest)
        work.omitted[0, n] = from_bits(fifth)


@inner
def _squared_error(
    begin: int, end: int, h: float, scale: float, curved: bool, work: Workspace
) -> None:
    """The same: ½·Σₖ W2[j, k]² is the second power along a unit, and there is no third."""
    residual, W2T, c, theta = work.y, work.W2T, work.c, work.theta
    cube, curve = scale * scale * scale * h * h, 1 / 3 if curved else 0.0
    for n in range(begin, end):
        for k in range(residual.shape[1]):
            work.outputs1[n, k], work.outputs3[n, k] = residual[n, k], 0.0
        largest = fifth = 0.0
        for p in range(c.shape[0]):
            for j in range(c.shape[2]):
                slope = curvature = 0.0
                for k in range(residual.shape[1]):
                    slope += W2T[p, k, j] * residual[n, k]
                    curvature += W2T[p, k, j] * W2T[p, k, j]
                first, bend = c[p, n, j] * slope, c[p, n, j] * c[p, n, j] * curvature / 2
                q = theta[p, n, j]
                third = q * (q * first - 2 * bend)
                bound = abs(q * q * q) * (abs(q * first) + 4 * bend)
                if curved:
                    bound += abs(third) + 2 / 15 * abs(first)
                work.first[p, n, j] = first * scale
                work.third[p, n, j] = (third - first * curve) * cube
                largest, fifth = max(largest, abs(first)), max(fifth, bound)
        work.kept[0, n], work.omitted[0, n], work.apart[n] = largest, fifth, 0.0
        work.kept[1, n], work.omitted[1, n] = 1.0, 0.0
