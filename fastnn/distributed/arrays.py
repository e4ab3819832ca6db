"""What may enter: dask.arrays whose blocks are rows, so that each block is a part of the data."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ..base_network import Network
from ..errors import DtypeError, InputError
from ..validation import kind, shown


class Blocks(NamedTuple):
    """Samples, targets and weights in blocks of the same rows.

    Attributes
    ----------
    rows : tuple of int
        How many there are in each block, at least one.
    blocks : list of (x, t, weights)
        Delayed values of Dask's; the weights may be None.
    """

    rows: tuple[int, ...]
    blocks: list[tuple[Any, Any, Any]]


def is_dask(a: Any) -> bool:
    """Whether it is a dask.array, without importing Dask for what is none."""
    return type(a).__module__.partition(".")[0] == "dask" and hasattr(a, "dask")


def blocks(network: Network, x: Any, t: Any, name: str, weights: Any = None) -> Blocks:
    """The blocks of samples and targets, once they are found to fit each other and the network.

    Nothing is computed for that.

    Raises
    ------
    DtypeError, InputError
        The message names the fix.
    """
    given = {f"x_{name}": x, f"t_{name}": t}
    if weights is not None:
        given["sample_weight"] = weights
    for key, a in given.items():
        _check_array(key, a)
    first = f"x_{name}"
    if x.ndim != 2:
        raise InputError(f"{first} has shape {x.shape}; give an array (samples, features)")
    features = network.sizes[0]
    if x.shape[1] != features:
        raise InputError(f"{first} has {x.shape[1]} features, but the network takes {features}")
    for key, a in given.items():
        if a.ndim not in (1, 2) or (key == "sample_weight" and a.ndim != 1):
            raise InputError(f"{key} has shape {a.shape}; give one with an entry for each sample")
        if any(len(chunks) != 1 for chunks in a.chunks[1:]):
            raise InputError(
                f"{key} is in {len(a.chunks[1])} blocks of columns, and a block has to have whole "
                f"samples; give {key}.rechunk({{1: -1}})"
            )
        if a.shape[0] != x.shape[0]:
            raise InputError(
                f"{key} has {a.shape[0]} rows, and {first} {x.shape[0]}; give one for each sample"
            )
        if a.chunks[0] != x.chunks[0]:
            raise InputError(
                f"{key} is in blocks of {shown(list(a.chunks[0]))} rows, and {first} of "
                f"{shown(list(x.chunks[0]))}; give {key}.rechunk({{0: {first}.chunks[0]}})"
            )
    rows = x.chunks[0]
    if not sum(rows):
        raise InputError(f"{first} has shape {x.shape} and so holds nothing; give some samples")
    delayed = [None if a is None else np.asarray(a.to_delayed()).ravel() for a in (x, t, weights)]
    return Blocks(
        tuple(n for n in rows if n),
        [
            tuple(None if parts is None else parts[i] for parts in delayed)  # type: ignore[misc]
            for i, n in enumerate(rows)
            if n
        ],
    )


def _check_array(name: str, a: Any) -> None:
    if not is_dask(a) or not hasattr(a, "to_delayed") or not hasattr(a, "chunks"):
        raise DtypeError(
            f"{name} is a {kind(a)}, and no dask.array; make one, as "
            f"dask.array.from_array({name}, chunks=(10_000, ...)), or train with fastnn.train"
        )
    if any(math.isnan(n) for n in (*a.shape, *(n for chunks in a.chunks for n in chunks))):
        raise InputError(
            f"{name} has blocks of unknown sizes; find them out first: {name}.compute_chunk_sizes()"
        )
