"""The sum over the parts of the data, in an order that does not depend on where the parts are.

Floating-point addition is not associative, so who wants the same bits from any number of workers
has to add in the same order. Here that is the order of a binary tree over the numbers of the parts,
as in pairwise summation (Higham, 1993, "The accuracy of floating point summation"). A worker adds
up the subtrees all of whose parts it has, and the caller the rest: neighbouring parts on one worker
cost one message for all of them. A part that adds nothing is no leaf, wherever it is.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

T = TypeVar("T")

#: The parts from the first number on to before the second.
Range = tuple[int, int]


def halves(first: int, last: int) -> tuple[Range, Range]:
    """The two subtrees of one over at least two parts: the left one is as full as can be.

    >>> halves(0, 8), halves(0, 5)
    (((0, 4), (4, 8)), ((0, 4), (4, 5)))
    """
    middle = first + (1 << (last - first - 1).bit_length() - 1)
    return (first, middle), (middle, last)


def subtotals(
    leaves: Mapping[int, T], active: Sequence[int], count: int, add: Callable[[T, T], T]
) -> dict[Range, T]:
    """The sums of the largest subtrees whose leaves are all among these.

    Parameters
    ----------
    leaves : dict of int to T
        By the number of the part.
    active : sequence of int
        The numbers of all parts that add something, in order; `leaves` has some of them.
    count : int
        How many parts there are.
    add : callable

    Examples
    --------
    >>> found = subtotals({0: "a", 1: "b", 2: "c"}, [0, 1, 2, 3], 4, lambda a, b: f"({a}+{b})")
    >>> sorted(found.items())
    [((0, 2), '(a+b)'), ((2, 3), 'c')]
    """
    found: dict[Range, T] = {}

    def visit(tree: Range) -> tuple[bool, T | None]:
        """Whether all leaves of the subtree are here, and their sum if there are any."""
        some = active[bisect_left(active, tree[0]) : bisect_left(active, tree[1])]
        if len(some) < 2:
            return all(n in leaves for n in some), leaves.get(some[0]) if some else None
        parts = halves(*tree)
        (left, a), (right, b) = (visit(part) for part in parts)
        if left and right:
            return True, add(a, b) if a is not None and b is not None else b if a is None else a
        both = zip(parts, (left, right), (a, b), strict=True)
        found.update({part: value for part, ready, value in both if ready and value is not None})
        return False, None

    whole, value = visit((0, count))
    return {(0, count): value} if whole and value is not None else found


def total(
    found: Mapping[Range, T], active: Sequence[int], count: int, add: Callable[[T, T], T]
) -> T | None:
    """The sum of all parts from the subtotals of those who have them; None where there are none.

    Examples
    --------
    >>> add = lambda a, b: f"({a}+{b})"
    >>> active = [0, 1, 2, 3]
    >>> some = subtotals({0: "a", 1: "b", 2: "c"}, active, 4, add) | {(3, 4): "d"}
    >>> total(some, active, 4, add)
    '((a+b)+(c+d))'
    """

    def visit(tree: Range) -> T | None:
        if tree in found:
            return found[tree]
        if bisect_left(active, tree[0]) == bisect_left(active, tree[1]):
            return None
        left, right = (visit(part) for part in halves(*tree))
        if left is None or right is None:
            return right if left is None else left
        return add(left, right)

    return visit((0, count))
