"""Setting samples aside for a test: at random, with as large a share of each class."""

from __future__ import annotations

import numpy as np

from ..errors import InputError


def stratified(
    labels: np.ndarray, fraction: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The row numbers of a training and a test part, each in ascending order.

    The test part has ``round(fraction * samples)`` of them, at least one, and leaves one. Each
    class gives the whole part of its share, and those with the largest rest one more, the method of
    the largest remainder; which samples is drawn by ``rng.permutation``, class by class. A class
    gives its last sample only where no other has any left.

    Raises
    ------
    InputError
        If there are less than two samples, or `fraction` is not between 0 and 1.

    Examples
    --------
    >>> train, test = stratified(np.array([0, 0, 0, 0, 1, 1]), 1 / 3, np.random.default_rng(0))
    >>> len(train), len(test), np.array([0, 0, 0, 0, 1, 1])[test].tolist()
    (4, 2, [0, 1])
    """
    if not 0 < fraction < 1:
        raise InputError(f"test_fraction is {fraction:g}; give a number between 0 and 1")
    samples = len(labels)
    if samples < 2:
        raise InputError(f"test_fraction={fraction:g} of {samples} sample leaves none to train on")
    total = min(max(round(fraction * samples), 1), samples - 1)
    classes, numbers, counts = np.unique(labels, return_inverse=True, return_counts=True)
    shares = counts * (total / samples)
    taken = np.floor(shares).astype(np.int64)
    rest = np.where(counts - taken > 1, shares - taken, -1)  # a class of one is trained on
    order = np.argsort(-rest, kind="stable")
    for place in [*order, *np.repeat(order, counts[order])]:
        if taken.sum() == total:
            break
        if taken[place] < counts[place]:
            taken[place] += 1
    chosen = np.zeros(samples, bool)
    for number in range(len(classes)):
        rows = np.flatnonzero(numbers == number)
        chosen[rows[rng.permutation(len(rows))[: taken[number]]]] = True
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)
