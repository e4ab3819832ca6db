"""The memory of a numerical gradient in compiled loops."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from .panels import Aligned, bounds
from .vectors import WIDE

#: From how many vectors on a row has an odd number of them, if it is of all units: rows that are a
#: multiple of some pages apart would have to share few places in a cache.
MANY_VECTORS = 8


class Workspace(NamedTuple):
    """Memory for one gradient; compiled code that allocates would take longer to compile.

    All of it together is some arrays of (samples, hidden units) and one of the size of the
    gradient. The hidden units are in panels, as for the steps of backpropagation, each of whole
    vectors.
    """

    used: np.ndarray  # how many units each panel has
    a: np.ndarray  # pre-activations, (panels, samples, padded units)
    z: np.ndarray  # hidden units, likewise
    c: np.ndarray  # of the increments Δz, likewise
    theta: np.ndarray  # likewise
    theta_bound: np.ndarray  # no |θ| of the sample is larger
    kinks: np.ndarray  # the |u| from which on a relu changes sides, of each panel and sample
    kink: np.ndarray  # and of each sample
    W2: np.ndarray  # (panels, padded units, padded outputs)
    W2T: np.ndarray  # (panels, outputs, padded units)
    span: np.ndarray  # of each unit's weights, (panels, padded units)
    sums: np.ndarray  # logits, (samples, padded outputs)
    logits: np.ndarray  # (samples, outputs)
    y: np.ndarray  # probabilities or residuals, likewise
    losses: np.ndarray  # of each sample
    # The two powers: of W1 and b1, like a in the network's dtype; of W2 and b2, (samples, outputs).
    first: np.ndarray
    third: np.ndarray
    outputs1: np.ndarray
    outputs3: np.ndarray
    B: np.ndarray  # of the guard in each target, (samples, outputs): see .expansions
    C: np.ndarray
    kept: np.ndarray  # for each layer, how large the first powers of a sample are, and what
    omitted: np.ndarray  # others are not larger than: (2, samples)
    apart: np.ndarray  # by how much a hidden unit that changes by 1 moves the logits apart
    left: np.ndarray  # whether two powers are not enough: (parts, 2 layers, samples)
    begins: np.ndarray  # a place in each sample, for each part
    direct: np.ndarray  # how often each part left the series for direct evaluation
    # Five rows of (padded units,) for each part, for what is computed unit by unit.
    units: np.ndarray
    coefficients: np.ndarray  # five rows of (padded units,) for each part, in the network's dtype
    bounds: np.ndarray  # where to cut the features, (parts + 1,)
    features: np.ndarray  # numbers of the non-zero features of one sample, for each part
    tau: np.ndarray  # of those features, for each part
    powers: np.ndarray  # τ and τ² in the network's dtype
    hidden: np.ndarray  # sums for W1, and one more row a part, for b1
    outputs: np.ndarray  # sums for W2, (panels, outputs, padded units)
    bias: np.ndarray  # and for b2, in the first of (outputs, a vector)
    W1: np.ndarray  # (features, padded units), if few values of the samples are zeros
    packed: np.ndarray  # values and cubes of some features, for each part, in the network's dtype
    one: np.ndarray  # the unit whose weights they are: a 1, and zeros


def workspace(*sizes: Any) -> Workspace:
    """Allocate what a call for these sizes, those of `_layout`, needs.

    What must be zero in it the call sets to zero.
    """
    layout, size, used = _layout(*sizes)
    memory = Aligned(size)
    work = Workspace(used=used, **{name: memory.array(*array) for name, array in layout})
    work.direct[:] = 0
    work.one[:] = 0
    work.one[0] = 1
    return work


#: What was used last, by its sizes: to make so many arrays takes long beside a small gradient, and
#: memory that was just used is in the cache. It is kept up to so many bytes.
_spare: list[tuple[tuple[Any, ...], Workspace]] = []
SPARE = 4 * 2**20


def borrow(*sizes: Any) -> Workspace:
    """A workspace for these sizes, that no other thread has."""
    try:
        kept, work = _spare.pop()
        if kept == sizes:
            work.direct[:] = 0
            return work
    except IndexError:
        pass
    return workspace(*sizes)


def give_back(work: Workspace, *sizes: Any) -> None:
    """Keep it for whoever wants one next."""
    memory = work.a.base
    if memory is not None and memory.nbytes <= SPARE:
        _spare[:] = [(sizes, work)]


@lru_cache(maxsize=16)
def _layout(
    samples: int,
    features: int,
    units: int,
    outputs: int,
    dtype: np.dtype,
    parts: int,
    panels: int = 1,
    dense: bool = False,
) -> tuple[list[tuple[str, tuple[tuple[int, ...], Any]]], int, np.ndarray]:
    """The arrays by name, with their shapes and dtypes; their bytes; how many units a panel has.

    The parts are of the features, or they are the panels.
    """
    used = np.array([end - first for first, end in bounds(panels, units)])
    vector = WIDE // dtype.itemsize
    width, columns = (-(-count // vector) * vector for count in (int(used.max()), outputs))
    if panels == 1 and width >= MANY_VECTORS * vector:
        width = (width // vector | 1) * vector
    real, integer = np.dtype(np.float64), np.dtype(np.intp)
    by_unit, of_samples = (panels, samples, width), (samples, outputs)
    of_layers = 2, samples
    rows = features + parts if panels == 1 else parts * (features + 1)
    arrays: dict[str, tuple[tuple[int, ...], Any]] = {
        "a": (by_unit, real),
        "z": (by_unit, real),
        "c": (by_unit, real),
        "theta": (by_unit, real),
        "theta_bound": ((samples,), real),
        "kinks": ((panels, samples), real),
        "kink": ((samples,), real),
        "W2": ((panels, width, columns), real),
        "W2T": ((panels, outputs, width), real),
        "span": ((panels, width), real),
        "sums": ((samples, columns), real),
        "logits": (of_samples, real),
        "y": (of_samples, real),
        "losses": ((samples,), real),
        "first": (by_unit, dtype),
        "third": (by_unit, dtype),
        "outputs1": (of_samples, real),
        "outputs3": (of_samples, real),
        "B": (of_samples, real),
        "C": (of_samples, real),
        "kept": (of_layers, real),
        "omitted": (of_layers, real),
        "apart": ((samples,), real),
        "left": ((parts, *of_layers), np.dtype(np.bool_)),
        "begins": ((parts, samples), integer),
        "direct": ((parts,), integer),
        "units": ((parts, 5, width), real),
        "coefficients": ((parts, 5, width), dtype),
        "bounds": ((parts + 1,), integer),
        "features": ((parts, features + 1), integer),
        "tau": ((parts, features + 1), real),
        "powers": ((parts, 2, features + 1), dtype),
        "hidden": ((rows, width), dtype),
        "outputs": ((panels, outputs, width), real),
        "bias": ((outputs, WIDE // 8), real),
        "W1": ((features if dense else 0, width), real),
        "packed": ((parts, samples if dense else 0, 2 * WIDE // dtype.itemsize), dtype),
        "one": ((WIDE // 8,), real),
    }
    size = sum(math.prod(shape) * kind.itemsize + WIDE for shape, kind in arrays.values())
    return list(arrays.items()), size, used
