"""The parameters of a network cut into panels of hidden units, for the kernel of many steps.

A thread has the same panels in each step if it can, so that the weights into their units stay in
the cache of one processor. Where there are twice as many threads as vectors of units, or more,
several share a panel: the samples are in as many groups, and so are the features.

Panels are copies whose rows are of whole vectors, at addresses where vectors begin. What only fills
a row up is zero, but for the hidden units there, which are the activation of zero, and which
nothing is made of.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from .... import memory
from .vectors import WIDE

#: How many vectors a row of a panel has at most: the larger the rows, the fewer of them are padded.
PANEL_VECTORS = 8


class Panels(NamedTuple):
    """The parameters and intermediate results, by panels of hidden units."""

    W1: np.ndarray  # (panels, features, width)
    b1: np.ndarray  # (panels, width)
    W2: np.ndarray  # (panels, width, padded outputs)
    W2T: np.ndarray  # (panels, outputs, width)
    b2: np.ndarray  # (padded outputs,)
    z1: np.ndarray  # (panels, batch, width)
    delta1: np.ndarray  # likewise
    delta2: np.ndarray  # (batch, padded outputs)
    numbers: np.ndarray  # 0, 1, … batch − 1
    used: np.ndarray  # how many units each panel has
    losses: np.ndarray  # of each sample
    groups: int  # how many threads share each panel
    # The sums of the squared weights of each panel, if there is a penalty: those out of its units,
    # and then those into them, of each group of features. (panels, 1 + groups)
    squares: np.ndarray


def shares(threads: int, units: int, most_groups: int, dtype: np.dtype) -> tuple[int, int]:
    """Into how many panels to cut so many units, and how many threads share each of them.

    There are as many panels for each of the threads. Or there is one for each vector of units, and
    as many threads to each; some may be left over.
    """
    vector = WIDE // dtype.itemsize
    vectors = -(-units // vector)
    if (groups := min(threads // vectors, most_groups)) > 1:
        return vectors, groups
    threads = min(threads, units)
    return threads * -(-units // (threads * vector * PANEL_VECTORS)), 1


def allocate(
    panels: int,
    groups: int,
    batch: int,
    features: int,
    units: int,
    outputs: int,
    dtype: np.dtype,
) -> Panels:
    """Memory for so many panels, of about as many units each."""
    vector = WIDE // dtype.itemsize
    used = np.array([end - first for first, end in bounds(panels, units)])
    width, columns = (-(-count // vector) * vector for count in (int(used.max()), outputs))
    return Panels(
        W1=_zeros((panels, features, width), dtype),
        b1=_zeros((panels, width), dtype),
        W2=_zeros((panels, width, columns), dtype),
        W2T=_zeros((panels, outputs, width), dtype),
        b2=_zeros((columns,), dtype),
        z1=_zeros((panels, batch, width), dtype),
        delta1=_zeros((panels, batch, width), dtype),
        delta2=_zeros((batch, columns), dtype),
        numbers=np.arange(batch, dtype=np.uint64),
        used=used,
        losses=np.zeros(batch),
        groups=groups,
        squares=np.zeros((panels, 1 + groups)),
    )


class Aligned:
    """Memory for arrays that begin where a vector does: one across two lines takes twice as long.

    Parameters
    ----------
    size : int
        Bytes of all of them, and a vector for each.
    zeros : bool
        Whether they hold zeros. The system has such, and what is never touched takes no memory.
    """

    def __init__(self, size: int, *, zeros: bool = False) -> None:
        self._memory = memory.zeros((size,), np.uint8) if zeros else np.empty(size, np.uint8)
        self._next = -self._memory.__array_interface__["data"][0] % WIDE

    def array(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """An array, in the order of the memory."""
        first, size = self._next, math.prod(shape) * np.dtype(dtype).itemsize
        self._next += -(-size // WIDE) * WIDE
        return np.ndarray(shape, dtype, self._memory, first)


def _zeros(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Zeros that begin where a vector does."""
    size = math.prod(shape) * dtype.itemsize + WIDE
    return Aligned(size, zeros=True).array(shape, dtype)


class Parameters(NamedTuple):
    """A number for each parameter, laid out as in the panels: a gradient, or what is remembered."""

    W1: np.ndarray
    b1: np.ndarray
    W2: np.ndarray
    b2: np.ndarray


def zeros_like(panels: Panels) -> Parameters:
    """Memory for such numbers."""
    arrays = (panels.W1, panels.b1, panels.W2, panels.b2)
    return Parameters(*(_zeros(a.shape, a.dtype) for a in arrays))


class Copies:
    """What has the shapes of a network's parameters, as copies that are laid out as panels.

    The views that are copied are made once for the same arrays: of a small network each takes
    longer than its copy.
    """

    def __init__(self, panels: Panels | Parameters) -> None:
        self.panels = panels
        self._arrays: tuple[np.ndarray, ...] = ()
        self._views: list[tuple[np.ndarray, np.ndarray]] = []  # into the panels, and the arrays
        self._entering: list[tuple[np.ndarray, np.ndarray]] = []

    def entering(self, arrays: tuple[np.ndarray, ...]) -> list[tuple[np.ndarray, np.ndarray]]:
        """What to copy W1, b1, W2 and b2 to, and from, to have them in the panels."""
        if [*map(id, arrays)] != [*map(id, self._arrays)]:
            self._take(*arrays)
        return self._views + self._entering

    def leaving(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """The same to have them back."""
        return [(here, there) for there, here in self._views]

    def _take(self, W1: np.ndarray, b1: np.ndarray, W2: np.ndarray, b2: np.ndarray) -> None:
        panels, k = self.panels, len(b2)
        self._arrays, self._views, self._entering = (W1, b1, W2, b2), [(panels.b2[:k], b2)], []
        for p, (first, end) in enumerate(bounds(len(panels.W1), len(b1))):
            units, some = slice(end - first), slice(first, end)
            self._views += [
                (panels.W1[p, :, units], W1[:, some]),
                (panels.b1[p, units], b1[some]),
                (panels.W2[p, units, :k], W2[some]),
            ]
            if isinstance(panels, Panels):
                self._entering.append((panels.W2T[p, :, units], W2[some].T))


def bounds(panels: int, units: int) -> list[tuple[int, int]]:
    """The first unit of each panel, and the first that is no more of it."""
    return [(units * p // panels, units * (p + 1) // panels) for p in range(panels)]
