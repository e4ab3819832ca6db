"""Products with a batch of samples, compressed or not, and how these are brought near.

Which it is is told by types: an array, the three arrays of compressed rows, or those of
:class:`.sorted_products.Sorted`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from .compression import prefetch_row
from .jit import overloads
from .pointers import Stage
from .products import add_product, subtract_product
from .sorted_products import Sorted, subtract_sorted_products
from .sparse_products import padded_stages, subtract_padded_outer_products, wide_weighted_rows
from .vectors import prefetch

#: Up to how many samples a processor asks for a step ahead. In larger batches the first of them
#: would be gone again, and with them those of the step at hand; there it asks for a sample when it
#: comes to one of those before it.
SAMPLES_AHEAD = 400

#: How many bytes of a gradient are summed up before they are used: they fit into the second-level
#: cache beside the weights that they move.
GRADIENT = 2**19


def products(samples: Any, rows: Any, first: Any, end: Any, W: Any, b: Any, out: Any) -> None:
    """b + x·W into out[n] for each of the rows[n] of the samples, first ≤ n < end."""
    raise NotImplementedError


@overloads(products)
def _overload_products(
    samples: Any,
    rows: Any,  # noqa: ARG001
    first: Any,  # noqa: ARG001
    end: Any,  # noqa: ARG001
    W: Any,  # noqa: ARG001
    b: Any,  # noqa: ARG001
    out: Any,  # noqa: ARG001
) -> Any:
    def of_compressed(
        samples: Any, rows: Any, first: Any, end: Any, W: Any, b: Any, out: Any
    ) -> None:
        far = rows.size > SAMPLES_AHEAD
        wide_weighted_rows(samples, rows, first, end, far, W, b, out)

    def of_all(samples: Any, rows: Any, first: Any, end: Any, W: Any, b: Any, out: Any) -> None:
        for n in range(first, end):
            for j in range(b.size):
                out[n, j] = b[j]
        add_product(samples, rows[first:end], W.shape[0], W, out[first:end])

    return of_all if isinstance(samples, types.Array) else of_compressed


def subtract_products(
    samples: Any,
    rows: Any,
    low: Any,
    high: Any,
    rate: Any,
    delta: Any,
    used: Any,
    W: Any,
    pointers: Any,
) -> None:
    """W -= rate·xᵀ·delta for rows x of the samples, of the features low … high − 1.

    So many of the columns are used. The pointers are those of :func:`product_stages`.
    """
    raise NotImplementedError


@overloads(subtract_products)
def _overload_subtract_products(
    samples: Any,
    rows: Any,  # noqa: ARG001
    low: Any,  # noqa: ARG001
    high: Any,  # noqa: ARG001
    rate: Any,  # noqa: ARG001
    delta: Any,  # noqa: ARG001
    used: Any,  # noqa: ARG001
    W: Any,  # noqa: ARG001
    pointers: Any,  # noqa: ARG001
) -> Any:
    def of_compressed(
        samples: Any,
        rows: Any,
        low: Any,
        high: Any,
        rate: Any,
        delta: Any,
        used: Any,
        W: Any,
        pointers: Any,
    ) -> None:
        far = rows.size > SAMPLES_AHEAD and low == 0
        how = far, False, rate, delta, used
        subtract_padded_outer_products(samples, rows, low, high, *how, W, pointers)

    def of_all(
        samples: Any,
        rows: Any,
        low: Any,
        high: Any,
        rate: Any,
        delta: Any,
        used: Any,  # noqa: ARG001
        W: Any,
        pointers: Any,  # noqa: ARG001
    ) -> None:
        subtract_product(samples, rows, low, high, rate, delta, W)

    def of_sorted(
        samples: Any,
        rows: Any,
        low: Any,
        high: Any,
        rate: Any,
        delta: Any,
        used: Any,  # noqa: ARG001
        W: Any,
        pointers: Any,  # noqa: ARG001
    ) -> None:
        subtract_sorted_products(samples, rows.size, low, high, rate, delta, W)

    if isinstance(samples, types.BaseNamedTuple):
        return of_sorted
    return of_all if isinstance(samples, types.Array) else of_compressed


def product_stages(
    used: Any, W: np.ndarray, samples: Any, rows: np.ndarray, delta: np.ndarray
) -> list[Stage | None]:
    """The functions that `subtract_products` calls by pointers, where so many columns are used."""
    of_compressed = isinstance(samples, tuple) and not isinstance(samples, Sorted)
    return padded_stages(used if of_compressed else (), W, samples, rows, delta)


def blocks_of(samples: Any, W: Any) -> int:
    """In how many blocks the features have their turn: the gradient of one is to stay near."""
    raise NotImplementedError


@overloads(blocks_of)
def _overload_blocks(samples: Any, W: Any) -> Any:  # noqa: ARG001
    def of_compressed(samples: Any, W: Any) -> int:  # noqa: ARG001
        return -(-W.size * W.itemsize // GRADIENT)

    def of_all(samples: Any, W: Any) -> int:  # noqa: ARG001
        return 1

    return of_all if isinstance(samples, types.Array) else of_compressed


def fetch(samples: Any, rows: Any, n: int) -> None:
    """Ask for the values of row number n to come: rows are drawn at random from all of memory."""
    raise NotImplementedError


@overloads(fetch)
def _overload_fetch(samples: Any, rows: Any, n: int) -> Any:  # noqa: ARG001
    def of_compressed(samples: Any, rows: Any, n: int) -> None:
        prefetch_row(samples, rows, n)

    def of_all(samples: Any, rows: Any, n: int) -> None:
        prefetch(samples, (rows[n], 0))  # the processor sees for itself what is read on and on

    return of_all if isinstance(samples, types.Array) else of_compressed
