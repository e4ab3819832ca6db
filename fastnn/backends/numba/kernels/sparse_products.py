"""Products with samples that are compressed rows: x·W, and xᵀ·delta subtracted from W.

What bounds them is the traffic of rows of W between the caches and the registers: a non-zero
feature reads its row in x·W, and reads and writes it in the other, for two operations on each
number. So as many rows as stay in the first-level cache have their turn with all samples before the
next ones; how much is summed, and in which order, is the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .columns import PaddedColumns, by_columns
from .compression import first_at_least, prefetch_row
from .elementary import like
from .jit import inner
from .pointers import Stage
from .stack import integers
from .vectors import READING, WIDE, convert, element, lanes, load, store

#: How many bytes of W have their turn at a time: somewhat more than the first-level cache holds, as
#: the samples use some of their rows only. So many samples at least are to find them there, and so
#: many at most before the next bytes; and so many values of a sample make up for the start of a
#: loop over them.
NEAR, FEWEST_SAMPLES, MOST_SAMPLES, FEWEST_VALUES = 72 * 1024, 8, 128, 24


@inner
def _parts_of_features(samples: Any, rows: int, features: int, near: int) -> int:
    """Into how many parts to cut the features, so that about `near` rows of W are in each."""
    indptr, indices, _ = samples
    values = indices.size // max(1, indptr.size - 1)
    most = max(1, values // FEWEST_VALUES) if rows >= FEWEST_SAMPLES else 1
    return min((features + near - 1) // near, most)


@inner
def _ask_for(samples: Any, rows: Any, n: int, first: int, end: int) -> None:
    """Ask for the samples that have their turn after those from n on; first of all for these."""
    for m in range(n if n == first else n + MOST_SAMPLES, min(n + 2 * MOST_SAMPLES, end)):
        prefetch_row(samples, rows, m)


def _blocks_of_weighted_rows(blocks: int, width: int, kind: str = "whole") -> Any:
    read, read_like, write = READING[kind]
    near, before = NEAR // (blocks * width), (blocks - 1) * width

    @inner
    def add(
        j: int,
        last: int,
        W: Any,
        b: Any,
        samples: Any,
        rows: Any,
        first: int,
        end: int,
        begins: Any,
        out: Any,
    ) -> None:
        indptr, indices, values = samples
        columns, flat, zero = W.shape[1], W.reshape(W.size), out[0, 0]
        # Few numbers, so that all of them are in registers in the innermost loop.
        left, right = flat[j:], flat[last:]
        parts = _parts_of_features(samples, end - first, W.shape[0], near)
        for part in range(parts):
            beyond = W.shape[0] * (part + 1) // parts
            for n in range(first, end):
                row = element(rows, n)
                s, stop = element(indptr, row), element(indptr, row + 1)
                z = convert(read(b, last, width, columns), zero)
                if blocks > 1:
                    z0 = convert(read(b, j, before, columns), zero)
                if part > 0:
                    s = element(begins, n - first)
                    z = read_like(out, (n, last), z, columns)
                    if blocks > 1:
                        z0 = read_like(out, (n, j), z0, columns)
                while s < stop and element(indices, s) < beyond:
                    w, v = element(indices, s) * columns, like(zero, element(values, s))
                    if blocks > 1:
                        z0 = z0 + convert(read(left, w, before, columns), zero) * v
                    z = z + convert(read(right, w, width, columns), zero) * v
                    s += 1
                begins[n - first] = s
                if blocks > 1:
                    write(out, (n, j), z0, columns)
                write(out, (n, last), z, columns)

    return add


_wide_rows = by_columns(_blocks_of_weighted_rows)
_narrow_rows = _blocks_of_weighted_rows(1, WIDE, "first")


@inner
def _rows_of_any_width(W: Any, *arguments: Any) -> None:
    if W.shape[1] >= lanes(W, WIDE):
        _wide_rows(W, *arguments)
    else:
        _narrow_rows(0, 0, W, *arguments)


def _weighted_rows(of_columns: Any) -> Any:
    @inner
    def weighted_rows(
        samples: Any, rows: Any, first: int, end: int, far: bool, W: Any, b: Any, out: Any
    ) -> None:
        """b + x·W into out[n] for each of the rows[n] of the compressed samples, first ≤ n < end.

        Summed in the dtype of `out`. If the samples are `far`, they are asked for before their
        turn.
        """
        begins = integers(MOST_SAMPLES)
        for n in range(first, end, MOST_SAMPLES):
            if far:
                _ask_for(samples, rows, n, first, end)
            of_columns(W, b, samples, rows, n, min(n + MOST_SAMPLES, end), begins, out)

    return weighted_rows


#: Of any W, and of one whose rows are no shorter than a vector, as padded ones are: nothing that is
#: not needed for these is compiled into a kernel.
weighted_rows, wide_weighted_rows = _weighted_rows(_rows_of_any_width), _weighted_rows(_wide_rows)


# -- and the other ---------------------------------------------------------------------------------


def _blocks_of_outer_product(blocks: int, width: int, last_width: int | None = None) -> Any:
    near, before, last_width = NEAR // (blocks * width), (blocks - 1) * width, last_width or width

    def subtract(
        j: int,
        last: int,
        W: Any,
        samples: Any,
        rows: Any,
        first: int,
        end: int,
        low: int,
        high: int,
        fresh: bool,
        begins: Any,
        rate: Any,
        delta: Any,
    ) -> None:
        indptr, indices, values = samples
        columns, flat = W.shape[1], W.reshape(W.size)
        left, right = flat[j:], flat[last:]
        parts = _parts_of_features(samples, end - first, high - low, near)
        for part in range(parts):
            beyond = low + (high - low) * (part + 1) // parts
            if fresh and first == 0 and j == 0:  # at once of all columns
                W[(high - low) * part // parts : beyond - low] = 0
            for n in range(first, end):
                row = element(rows, n)
                s, stop = element(indptr, row), element(indptr, row + 1)
                if part > 0:
                    s = element(begins, n - first)
                elif low > 0:
                    s = first_at_least(indices, s, stop, low)
                d = load(delta, (n, last), last_width)
                if blocks > 1:
                    d0 = load(delta, (n, j), before)
                while s < stop and element(indices, s) < beyond:
                    w, v = (element(indices, s) - low) * columns, rate * element(values, s)
                    moved = load(right, w, last_width) - d * v
                    if blocks > 1:
                        store(left, w, load(left, w, before) - d0 * v)
                    store(right, w, moved)
                    s += 1
                begins[n - first] = s

    return subtract


_wide_products = by_columns(lambda *widths: inner(_blocks_of_outer_product(*widths)))
PADDED_PRODUCTS = PaddedColumns(_blocks_of_outer_product)
# Whole vectors of which a part is written would be slow to be read again.
_half, _two_halves = (inner(_blocks_of_outer_product(n, WIDE // 2)) for n in (1, 2))
_quarter, _two_quarters = (inner(_blocks_of_outer_product(n, WIDE // 4)) for n in (1, 2))


@inner
def _products_of_any_width(_pointers: Any, _used: int, W: Any, *arguments: Any) -> None:
    n, columns = lanes(W, WIDE), W.shape[1]
    if columns >= n:
        _wide_products(W, *arguments)
    elif columns > n // 2:
        _two_halves(0, columns - n // 2, W, *arguments)
    elif columns == n // 2:
        _half(0, 0, W, *arguments)
    elif columns > n // 4:
        _two_quarters(0, columns - n // 4, W, *arguments)
    elif columns == n // 4:
        _quarter(0, 0, W, *arguments)
    else:
        _one_by_one(W, *arguments)


@inner
def _one_by_one(
    W: Any,
    samples: Any,
    rows: Any,
    first: int,
    end: int,
    low: int,
    high: int,
    fresh: bool,
    begins: Any,  # noqa: ARG001
    rate: Any,
    delta: Any,
) -> None:
    """Of a few columns, number by number."""
    indptr, indices, values = samples
    if fresh and first == 0:
        W[:] = 0
    for n in range(first, end):
        row, d = element(rows, n), delta[n]
        stop = element(indptr, row + 1)
        for s in range(first_at_least(indices, element(indptr, row), stop, low), stop):
            i = element(indices, s)
            if i >= high:
                break
            w, v = W[i - low], rate * element(values, s)
            for j in range(w.size):
                w[j] -= v * d[j]


def _outer_products(of_columns: Any) -> Any:
    @inner
    def subtract_outer_products(
        samples: Any,
        rows: Any,
        low: int,
        high: int,
        far: bool,
        fresh: bool,
        rate: Any,
        delta: Any,
        used: int,
        W: Any,
        pointers: Any,
    ) -> None:
        """W -= rate·xᵀ·delta for rows x of the compressed samples, of the features low … high − 1.

        W has their rows only. If it is `fresh`, whatever is in it, it counts as zero. If the
        samples are `far`, they are asked for before their turn. So many of the columns are `used`.
        The pointers are those to PADDED_PRODUCTS, of padded rows.
        """
        begins = integers(MOST_SAMPLES)
        for n in range(0, rows.size, MOST_SAMPLES):
            if far:
                _ask_for(samples, rows, n, 0, rows.size)
            some = n, min(n + MOST_SAMPLES, rows.size), low, high, fresh
            of_columns(pointers, used, W, samples, rows, *some, begins, rate, delta)

    return subtract_outer_products


#: Likewise of any W, all of whose columns are used, and of one whose rows are padded.
subtract_outer_products = _outer_products(_products_of_any_width)
subtract_padded_outer_products = _outer_products(PADDED_PRODUCTS.all)


def padded_stages(used: Any, W: Any, samples: Any, rows: Any, delta: Any) -> list[Stage | None]:
    """The functions that it calls for padded W of so many columns that are used."""
    begins = np.empty(MOST_SAMPLES, np.intp)
    some = 0, 0, 0, 0, False, begins, delta.dtype.type(1)
    return PADDED_PRODUCTS.stages(used, W, samples, rows, *some, delta)
