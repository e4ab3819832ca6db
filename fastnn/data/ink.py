"""Where the ink is in a picture of something written: how much of it each pixel has.

The background is a plane of grey, fitted to the edge of the picture, so that a shade that grows
from one side to the other does no harm. Ink is what differs from it in the direction in which most
does: so pencil on paper and chalk on slate come out alike. What the noise of the background could
be is none, and neither are specks.
"""

from __future__ import annotations

import numpy as np

#: What a shade must differ by from the background, in steps of 8 bits, to be ink at all.
FAINTEST = 24.0

#: How many standard deviations of the background's noise are no ink, and, of the strongest ink,
#: which part is none where there is noise at all.
NOISE, FAINT = 4.0, 0.25

#: From what on the strongest ink on a clean background is full, so that nothing is made stronger.
FULL = 200.0

#: The part of the pixels of the largest stroke that another one has at least; less is a speck.
SPECK = 0.04


def ink_of(grey: np.ndarray) -> np.ndarray | None:
    """How much ink each pixel has: float32 in [0, 255], or None where there is none.

    Parameters
    ----------
    grey : array, shape (height, width)
        0 for black and 255 for white.
    """
    difference, noise = _from_background(grey)
    dark, light = (float((sign * difference).max()) for sign in (-1, 1))
    strength = _total(-difference, noise), _total(difference, noise)
    ink = -difference if strength[0] > strength[1] else difference
    if (dark if strength[0] > strength[1] else light) < max(FAINTEST, NOISE * noise):
        return None
    strong = ink[ink > threshold(ink.clip(0))]
    peak = float(np.percentile(strong, 99)) if strong.size else float(ink.max())
    floor = max(NOISE * noise, FAINT * peak) if noise else 0.5  # which rounding may be
    if peak <= floor:  # a few pixels apart, all is noise
        return None
    marked = _without_specks(ink > floor, ink > max(floor, peak / 2))
    if not marked.any():
        return None
    # On a clean background the shades stay what they are, as long as the ink is full.
    full = not noise and peak >= FULL
    scaled = ink if full else (ink - floor) * (255.0 / (peak - floor))
    return np.where(marked, scaled.clip(0, 255), 0).astype(np.float32)


def _total(ink: np.ndarray, noise: float) -> float:
    """How much more than noise there is in a direction, the strong counting more."""
    return float((np.where(ink > max(NOISE * noise, FAINTEST / 2), ink, 0.0) ** 2).sum())


def _from_background(grey: np.ndarray) -> tuple[np.ndarray, float]:
    """What each pixel differs by from the background, and the noise of that."""
    height, width = grey.shape
    values = grey.astype(np.float64)
    edge = np.zeros(grey.shape, bool)
    margin = max(min(height, width) // 20, 1)
    edge[:margin] = edge[-margin:] = edge[:, :margin] = edge[:, -margin:] = True
    rows, columns = np.nonzero(edge)
    shades = values[edge]
    middle = float(np.median(shades))
    kept = np.abs(shades - middle) <= max(3 * _deviation(shades - middle), 40.0)
    design = np.stack((np.ones(len(rows)), rows / height, columns / width), axis=1)
    plane = np.array([middle, 0.0, 0.0])
    for _ in range(3):  # without what is written across the edge
        if kept.sum() >= 8:
            plane = np.linalg.lstsq(design[kept], shades[kept], rcond=None)[0]
        rest = shades - design @ plane
        kept = np.abs(rest) <= max(3 * _deviation(rest), 2.0)
    noise = _deviation(shades - design @ plane)
    y, x = np.arange(height)[:, None] / height, np.arange(width) / width
    return values - (plane[0] + plane[1] * y + plane[2] * x), noise if noise > 0.5 else 0.0


def _deviation(values: np.ndarray) -> float:
    """The standard deviation of a normal distribution with this median of absolute values."""
    return 1.4826 * float(np.median(np.abs(values)))


def threshold(values: np.ndarray) -> float:
    """Between which values two groups differ most, by Otsu's method (1979)."""
    counts, edges = np.histogram(values, bins=256)
    centres = (edges[:-1] + edges[1:]) / 2
    below = counts.cumsum()
    above = below[-1] - below
    sums = (counts * centres).cumsum()
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (sums / below - (sums[-1] - sums) / above) ** 2
    return float(edges[1 + int(np.nanargmax(np.where(above * below > 0, between, -1)))])


def _without_specks(marked: np.ndarray, strong: np.ndarray) -> np.ndarray:
    """The connected parts of what is marked that hold strong ink, and are no specks."""
    numbers = connected(marked)
    count = int(numbers.max())
    sizes = np.bincount(numbers.ravel(), minlength=count + 1)
    strongest = np.bincount(numbers.ravel(), strong.ravel(), minlength=count + 1)
    sizes[0] = strongest[0] = 0
    if not strongest.any():
        return np.zeros_like(marked)
    largest = sizes[strongest > 0].max()
    kept = (strongest > 0) & (sizes >= SPECK * largest)
    kept[0] = False
    return kept[numbers]


def connected(marked: np.ndarray) -> np.ndarray:
    """The number, from 1, of the part that each marked pixel is of; corners that touch connect.

    >>> connected(np.array([[1, 0, 1], [0, 1, 0], [0, 0, 0], [1, 1, 0]], bool))
    array([[1, 0, 1],
           [0, 1, 0],
           [0, 0, 0],
           [2, 2, 0]])
    """
    # Row by row in runs, of which those that touch get one number by union-find.
    parents: list[int] = [0]

    def root(number: int) -> int:
        while parents[number] != number:
            parents[number] = parents[parents[number]]
            number = parents[number]
        return number

    numbers = np.zeros(marked.shape, np.int64)
    before: list[tuple[int, int, int]] = []
    for y, row in enumerate(marked):
        steps = np.diff(np.concatenate(([0], row.view(np.int8), [0])))
        runs = []
        for begin, end in zip(
            np.flatnonzero(steps == 1).tolist(), np.flatnonzero(steps == -1).tolist(), strict=True
        ):
            mine = 0
            for first, last, number in before:
                if first <= end and last >= begin:  # corners touch, too
                    other = root(number)
                    if mine:
                        parents[max(mine, other)] = min(mine, other)
                        mine = min(mine, other)
                    else:
                        mine = other
            if not mine:
                mine = len(parents)
                parents.append(mine)
            numbers[y, begin:end] = mine
            runs.append((begin, end, mine))
        before = runs
    roots = np.array([root(number) for number in range(len(parents))])
    _, flat = np.unique(np.concatenate(([0], roots[numbers].ravel())), return_inverse=True)
    return flat[1:].reshape(marked.shape)
