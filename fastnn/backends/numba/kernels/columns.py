"""Matrices some vectors of columns at a time, whose sums are then all in registers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from .jit import inner, separate
from .pointers import Stage, call
from .vectors import WIDE, lanes


def by_columns(blocks_of_columns: Any) -> Any:
    """A function of all columns of a matrix, from those of some vectors of them.

    `blocks_of_columns(blocks, width)` is one of so many vectors of so many bytes. It is called with
    the first column of its first vector, and of its last: where the columns are no whole number of
    vectors, the last two overlap. Both are then to be read before one is written, so that both
    write the same. There are no fewer columns than in one vector.
    """
    one, two, three, four = (blocks_of_columns(n, WIDE) for n in (1, 2, 3, 4))

    @inner
    def all_columns(W: Any, *arguments: Any) -> None:
        n, columns = lanes(W, WIDE), W.shape[1]
        j, last = 0, columns - n
        while columns - j > 5 * n:
            four(j, j + 3 * n, W, *arguments)
            j += 4 * n
        # Three and two: the last vector has none to overlap with but in its own call.
        if columns - j > 4 * n:
            three(j, j + 2 * n, W, *arguments)
            j += 3 * n
        if columns - j > 3 * n:
            four(j, last, W, *arguments)
        elif columns - j > 2 * n:
            three(j, last, W, *arguments)
        elif columns - j > n:
            two(j, last, W, *arguments)
        else:
            one(j, last, W, *arguments)

    return all_columns


@inner
def _at_once(halves: int) -> int:
    """How many of so many half vectors have their turn together: of many, those of four vectors."""
    if halves > 10:
        return 8
    return 6 if halves > 8 else halves


class PaddedColumns:
    """Such a function of the first so many columns of a matrix whose rows are of whole vectors.

    Where half a vector will do for the last of these columns, it is
    `blocks_of_columns(blocks, width, last_width)` that is asked for: where what is bound by loads
    and stores takes as long for 25 numbers as for 32, it takes an eighth less for 28.

    Each of those, for one to eight half vectors, is compiled by itself, and only where a matrix has
    as many columns, which are one or two of them: :attr:`all` calls them by their pointers, the
    first of its arguments.
    """

    #: How many functions there are.
    COUNT = 8

    def __init__(self, blocks_of_columns: Any) -> None:
        self._blocks = [
            separate(blocks_of_columns(1 + half // 2, WIDE, WIDE if half % 2 else WIDE // 2))
            for half in range(self.COUNT)
        ]

        @inner
        def all_columns(pointers: Any, used: int, W: Any, *arguments: Any) -> None:
            n, j = lanes(W, WIDE), 0
            halves = (2 * used + n - 1) // n
            while halves > 0:
                count = _at_once(halves)
                last = j + (count - 1) // 2 * n
                call(pointers[count - 1], (j, last, W, *arguments))
                j, halves = last + n, halves - count

        self.all = all_columns

    def stages(self, used: Iterable[int], W: np.ndarray, *arguments: Any) -> list[Stage | None]:
        """The functions for matrices of so many columns that are used, and what they get each.

        None stands for those that are not called.
        """
        n, needed = WIDE // W.itemsize, set()
        for columns in used:
            halves = (2 * int(columns) + n - 1) // n
            while halves > 0:
                needed.add(count := _at_once.py_func(halves))
                halves -= count
        given = 0, 0, W, *arguments
        return [(f, given) if 1 + k in needed else None for k, f in enumerate(self._blocks)]
