"""The state of a NumPy generator as data: what it draws next is the same, to the last bit."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import CheckpointError, InputError
from ..validation import shown

#: The bit generators of NumPy, by the names that their states have, too.
BIT_GENERATORS = {
    cls.__name__: cls
    for cls in (
        np.random.MT19937,
        np.random.PCG64,
        np.random.PCG64DXSM,
        np.random.Philox,
        np.random.SFC64,
    )
}

#: What makes a seed sequence: the names of its constructor's parameters.
_SEED_SEQUENCE = ("entropy", "spawn_key", "pool_size", "n_children_spawned")

#: Words of the largest pool of a seed sequence; NumPy's has 4.
LARGEST_POOL = 1024


def random_state(generator: np.random.Generator) -> dict[str, Any]:
    """The state of a generator, as dicts, lists, strings and integers of Python.

    With it goes that of its seed sequence, of which ``generator.spawn`` makes others.

    Raises
    ------
    InputError
        If its bit generator is none of NumPy's.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> state = random_state(rng)
    >>> first = rng.integers(100, size=3)
    >>> bool((restore_generator(state).integers(100, size=3) == first).all())
    True
    """
    bits = generator.bit_generator
    if type(bits) not in BIT_GENERATORS.values():
        raise InputError(
            f"rng draws from {shown(bits)}, whose state no file can hold; "
            f"take one of {', '.join(BIT_GENERATORS)}"
        )
    seeds = bits.seed_seq
    known = type(seeds) is np.random.SeedSequence and seeds.pool_size <= LARGEST_POOL
    spawned = {name: _plain(getattr(seeds, name)) for name in _SEED_SEQUENCE} if known else None
    return {"bits": _plain(dict(bits.state)), "seeds": spawned}


def restore_generator(state: Any) -> np.random.Generator:
    """A generator that goes on as the one of which this is the state.

    Raises
    ------
    CheckpointError
        If it is no state that :func:`random_state` gives.
    """
    try:
        bits, seeds = _arrays(state["bits"]), state["seeds"]
        cls = BIT_GENERATORS[bits["bit_generator"]]
        made: Any = cls(0)
        if seeds is not None:
            values = {name: seeds[name] for name in _SEED_SEQUENCE}
            if values["pool_size"] > LARGEST_POOL:
                raise ValueError(f"pool_size={shown(values['pool_size'])}")
            made = cls(np.random.SeedSequence(**values))
        made.state = bits
    except (LookupError, TypeError, ValueError, OverflowError) as error:
        raise CheckpointError(
            f"{shown(state)} is not the state of a generator of NumPy: {error}"
        ) from error
    return np.random.Generator(made)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, np.ndarray):
        return {"dtype": value.dtype.name, "values": value.tolist()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return int(value) if isinstance(value, np.integer) else value


def _arrays(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if value.keys() == {"dtype", "values"}:
        if value["dtype"] not in ("uint32", "uint64"):
            raise ValueError(f"its words are of dtype {shown(value['dtype'])}")
        return np.array(value["values"], value["dtype"])
    return {key: _arrays(entry) for key, entry in value.items()}
