"""Matrices some vectors of columns at a time, whose sums are then all in registers."""

from __future__ import annotations

from typing import Any

from .jit import inner
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


def by_padded_columns(blocks_of_columns: Any) -> Any:
    """The same of the first so many columns of a matrix, whose rows are of whole vectors.

    Where half a vector will do for the last of these columns, it is
    `blocks_of_columns(blocks, width, last_width)` that is asked for: where what is bound by loads
    and stores takes as long for 25 numbers as for 32, it takes an eighth less for 28.
    """
    one, two, three, four = (blocks_of_columns(n, WIDE) for n in (1, 2, 3, 4))
    half, one_and_half, two_and_half, three_and_half = (
        blocks_of_columns(n, WIDE, WIDE // 2) for n in (1, 2, 3, 4)
    )

    @inner
    def first_columns(used: int, W: Any, *arguments: Any) -> None:
        n, j = lanes(W, WIDE), 0
        halves = (2 * used + n - 1) // n
        while halves > 10:
            four(j, j + 3 * n, W, *arguments)
            j, halves = j + 4 * n, halves - 8
        if halves > 8:
            three(j, j + 2 * n, W, *arguments)
            j, halves = j + 3 * n, halves - 6
        last = j + (halves - 1) // 2 * n
        if halves == 8:
            four(j, last, W, *arguments)
        elif halves == 7:
            three_and_half(j, last, W, *arguments)
        elif halves == 6:
            three(j, last, W, *arguments)
        elif halves == 5:
            two_and_half(j, last, W, *arguments)
        elif halves == 4:
            two(j, last, W, *arguments)
        elif halves == 3:
            one_and_half(j, last, W, *arguments)
        elif halves == 2:
            one(j, last, W, *arguments)
        else:
            half(j, last, W, *arguments)

    return first_columns
