"""What the numerical gradient does with samples of which few values are zeros: whole products.

As in :mod:`.products` the sums of four rows of the result stay in registers while what they are the
sums of is read.
"""

from __future__ import annotations

from typing import Any

from .elementary import like
from .jit import inner, separate
from .products import ROWS, add_product, by_width
from .vectors import WIDE, element, lanes, load, store
from .workspace import Workspace


@inner
def copy_weights(first: int, last: int, W1: Any, work: Workspace) -> None:
    """The weights from some features in float64, each row of whole vectors."""
    for i in range(first, last):
        for j in range(W1.shape[1]):
            work.W1[i, j] = W1[i, j]
        for j in range(W1.shape[1], work.W1.shape[1]):
            work.W1[i, j] = 0.0


@separate
def dense_layer(first: int, last: int, x: Any, b1: Any, numbers: Any, work: Workspace) -> None:
    """The pre-activations of some samples, in float64."""
    a = work.a[0, first:last]
    for n in range(a.shape[0]):
        for j in range(a.shape[1]):
            a[n, j] = b1[j] if j < b1.size else 0.0
    add_product(x, numbers[first:last], x.shape[1], work.W1, a)


def _of_width(width: int) -> Any:
    @inner
    def add(
        j: int,
        total: Any,
        i: int,
        features: int,
        q: int,
        chosen: Any,
        packed: Any,
        F1: Any,
        F3: Any,
    ) -> None:
        cubes = q + lanes(packed, WIDE)
        s0 = load(F1, (chosen[0], j), width) * like(total[0, 0], 0)
        s1, s2, s3 = s0, s0, s0
        for k in range(chosen.size):
            n = element(chosen, k)
            f, g = load(F1, (n, j), width), load(F3, (n, j), width)
            s0 = s0 + f * element(packed, (k, q)) + g * element(packed, (k, cubes))
            s1 = s1 + f * element(packed, (k, q + 1)) + g * element(packed, (k, cubes + 1))
            s2 = s2 + f * element(packed, (k, q + 2)) + g * element(packed, (k, cubes + 2))
            s3 = s3 + f * element(packed, (k, q + 3)) + g * element(packed, (k, cubes + 3))
        store(total, (i, j), load(total, (i, j), width) + s0)
        if features > 1:
            store(total, (i + 1, j), load(total, (i + 1, j), width) + s1)
        if features > 2:
            store(total, (i + 2, j), load(total, (i + 2, j), width) + s2)
        if features > 3:
            store(total, (i + 3, j), load(total, (i + 3, j), width) + s3)

    return add


_add_packed = by_width(_of_width)


@inner
def _pack(x: Any, i: int, features: int, chosen: Any, packed: Any) -> None:
    """The values of the features from i on of some samples, side by side, and then their cubes.

    They are of one line of the cache, which is read once; where there are fewer, zeros follow.
    """
    whole = lanes(x, WIDE)
    if features == whole:
        for k in range(chosen.size):
            values = load(x, (element(chosen, k), i), WIDE)
            store(packed, (k, 0), values)
            store(packed, (k, whole), values * values * values)
        return
    for k in range(chosen.size):
        for q in range(whole):
            value = x[chosen[k], i + q] if q < features else like(x[0, 0], 0)
            packed[k, q], packed[k, whole + q] = value, value * value * value


@separate
def add_dense_powers(
    first: int,
    last: int,
    x: Any,
    left: Any,
    chosen: Any,
    packed: Any,
    F1: Any,
    F3: Any,
    total: Any,
) -> None:
    """What :func:`.powers.add_hidden_powers` adds, with a factor of 1.

    `chosen` is space for a number of each sample, and `packed` for what :func:`_pack` has of each.
    """
    samples = 0
    for n in range(left.size):
        if not left[n]:
            chosen[samples] = n
            samples += 1
    if samples == 0:
        return
    whole, chosen = lanes(x, WIDE), chosen[:samples]
    for i in range(first, last, whole):
        features = min(whole, last - i)
        _pack(x, i, features, chosen, packed)
        for q in range(0, features, ROWS):
            some = i - first + q, min(ROWS, features - q)
            _add_packed(total, *some, q, chosen, packed, F1, F3)
