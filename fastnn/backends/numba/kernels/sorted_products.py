"""xᵀ·delta subtracted from W for a large batch of compressed samples, by its features.

Sample by sample a row of W is read and written for each non-zero value, and a processor writes half
as many vectors as it multiplies. Where the values are sorted by their features (CSC, for some of
the samples at a time), a row of W stays in registers for all values of its feature. Sorting takes
as long as it saves with some seven vectors of columns, so that it pays where there are more, and
several values of a feature.

How much is summed, and in which order, is the same.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .jit import inner, separate
from .panels import PANEL_VECTORS
from .vectors import WIDE, element, lanes, load, prefetch, store


class Sorted(NamedTuple):
    """Memory for the values of a batch; its samples are in parts, each of them sorted by itself."""

    ends: np.ndarray  # where the values of a feature end in those of a part, (parts, features)
    rows: np.ndarray  # whose value it is, counted from the first sample of the part, uint16
    values: np.ndarray
    most: int  # how many values a sample has at most: there is memory for as many of each


def allocate(parts: int, batch: int, features: int, most: int, dtype: np.dtype) -> Sorted:
    """Memory for a batch of samples with so many values at most each."""
    size = batch * most
    return Sorted(
        np.empty((parts, features), np.intp), np.empty(size, np.uint16), np.empty(size, dtype), most
    )


@separate
def sort_values(
    part: int, first: int, end: int, samples: Any, rows: Any, by_feature: Sorted
) -> None:
    """Sort the values of the rows first … end − 1 of the samples, which are a part."""
    indptr, indices, values = samples
    # Of each feature first how many there are, then where the next one is written.
    ends = by_feature.ends[part]
    place = first * by_feature.most
    for i in range(ends.size):
        ends[i] = 0
    for n in range(first, end):
        row = element(rows, n)
        for s in range(element(indptr, row), element(indptr, row + 1)):
            ends[element(indices, s)] += 1
    for i in range(ends.size):
        count = ends[i]
        ends[i] = place
        place += count
    for n in range(first, end):
        row = element(rows, n)
        for s in range(element(indptr, row), element(indptr, row + 1)):
            i = element(indices, s)
            place = element(ends, i)
            by_feature.rows[place] = n - first
            by_feature.values[place] = element(values, s)
            ends[i] = place + 1


#: How many features ahead a row of W is asked for: it is far away where W is large.
AHEAD = 2


def _sorted_product(width: int) -> Any:
    @inner
    def subtract(
        j: int,
        W: Any,
        begin: int,
        ends: Any,
        numbers: Any,
        values: Any,
        low: int,
        rate: Any,
        delta: Any,
    ) -> None:
        for i in range(W.shape[0]):
            if i + AHEAD < W.shape[0]:
                for k in range(j, j + lanes(W, width), lanes(W, WIDE)):
                    prefetch(W, (i + AHEAD, k))
            end = element(ends, low + i)
            if begin < end:
                w = load(W, (i, j), width)
                for s in range(begin, end):
                    d = load(delta, (element(numbers, s), j), width)
                    w = w - d * (rate * element(values, s))
                store(W, (i, j), w)
                begin = end

    return subtract


_one, _two, _three, _four, _whole_panel = (
    _sorted_product(count * WIDE) for count in (1, 2, 3, 4, PANEL_VECTORS)
)


@inner
def _all_columns(W: Any, *arguments: Any) -> None:
    """The values are read once for a whole panel, and twice for less than that."""
    vectors, j = W.shape[1] // lanes(W, WIDE), 0
    while vectors > 0:
        count = vectors if vectors <= 4 or vectors == PANEL_VECTORS else (vectors + 1) // 2
        if count == PANEL_VECTORS:
            _whole_panel(j, W, *arguments)
        elif count == 4:
            _four(j, W, *arguments)
        elif count == 3:
            _three(j, W, *arguments)
        elif count == 2:
            _two(j, W, *arguments)
        else:
            _one(j, W, *arguments)
        j, vectors = j + count * lanes(W, WIDE), vectors - count


@inner
def subtract_sorted_products(
    by_feature: Sorted, samples: int, low: int, high: int, rate: Any, delta: Any, W: Any
) -> None:
    """W -= rate·xᵀ·delta for a batch of so many samples, of the features low … high − 1.

    W has their rows only, each of whole vectors.
    """
    parts = by_feature.ends.shape[0]
    for part in range(parts):
        first, end = samples * part // parts, samples * (part + 1) // parts
        ends = by_feature.ends[part]
        begin = first * by_feature.most if low == 0 else ends[low - 1]
        own = delta[first:end]
        some = begin, ends, by_feature.rows, by_feature.values, low
        _all_columns(W[: high - low], *some, rate, own)
