"""Parameters that lie in the same memory: a step on one of them would change the other."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np

from ..errors import InputError
from .arrays import Array

#: How much NumPy may look for a place that two arrays share, where their bounds overlap; in doubt
#: they do.
LARGEST_SEARCH: Any = 10_000


def check_separate(parameters: dict[str, Array]) -> None:
    """Raise InputError if two parameters, or two elements of one, lie in the same memory."""
    if _each_its_own(parameters):
        return
    places = {name: _place(p) for name, p in parameters.items()}
    for (one, p), (other, q) in combinations(parameters.items(), 2):
        if p is q or _share(places[one], places[other]):
            raise InputError(
                f"params[{one!r}] and params[{other!r}] share memory, so that a step on one of "
                "them changes the other; assign a copy of one"
            )
    for name, place in places.items():
        if place is not None and _repeats(place):
            raise InputError(
                f"the elements of params[{name!r}] share memory, so that a step on one of them "
                "changes others; assign a copy"
            )


def _each_its_own(parameters: dict[str, Array]) -> bool:
    """Whether they are arrays of NumPy that each have memory of their own, as most are.

    That of a view, as the aligned arrays of a backend are, is its base's.
    """
    owners = set()
    for p in parameters.values():
        if type(p) is not np.ndarray or not (flags := p.flags).c_contiguous:
            return False
        owner = p if flags.owndata else p.base
        if type(owner) is not np.ndarray or not owner.flags.owndata:
            return False
        owners.add(id(owner))
    return len(owners) == len(parameters)


def _place(a: Array) -> np.ndarray | None:
    """An array of NumPy with the addresses of `a`; of those on a device nothing can be read."""
    if isinstance(a, np.ndarray):
        return a
    try:
        if hasattr(type(a), "__cuda_array_interface__") and hasattr(a, "__cuda_array_interface__"):
            return np.asarray(_Addresses(a.__cuda_array_interface__))
        return np.from_dlpack(a)
    except Exception:  # a library, or a device, that does not tell
        return None


class _Addresses:
    def __init__(self, interface: dict[str, Any]) -> None:
        known = ("shape", "typestr", "data", "strides")
        self.__array_interface__ = {k: interface.get(k) for k in known} | {"version": 3}


def _share(a: np.ndarray | None, b: np.ndarray | None) -> bool:
    if a is None or b is None or not np.may_share_memory(a, b):
        return False
    try:
        return np.shares_memory(a, b, max_work=LARGEST_SEARCH)
    except Exception:  # more to look for than that
        return True


def _repeats(a: np.ndarray) -> bool:
    """Whether elements may overlap: along some axis they are nearer than what is within a step."""
    if a.flags.c_contiguous:
        return False
    extent = a.itemsize
    axes = zip(a.strides, a.shape, strict=True)
    for stride, size in sorted((abs(stride), size) for stride, size in axes if size > 1):
        if stride < extent:
            return True
        extent += stride * (size - 1)
    return False
