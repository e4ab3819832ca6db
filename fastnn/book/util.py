"""What the book's scripts have for curves and data sets."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import InputError
from ..validation import Array

#: The width of the window that smooths, and the β of Kaiser's that it is.
_WIDTH, _BETA = 11, 2


def smooth_curve(x: Any) -> np.ndarray:
    """A curve, smoothed for drawing, of the same length.

    Each value becomes the mean of the eleven around it, weighted by Kaiser's window with β = 2. The
    curve goes on beyond its ends mirrored, with the last value twice, as in the book.

    Raises
    ------
    InputError
        If there are fewer than eleven values, or `x` is not 1-D.
    """
    x = np.asarray(x)
    if x.ndim != 1 or len(x) < _WIDTH:
        raise InputError(
            f"x is of shape {x.shape}; smooth_curve takes one dimension of {_WIDTH} values or more"
        )
    half = _WIDTH // 2
    window = np.kaiser(_WIDTH, _BETA)
    mirrored = np.concatenate((x[half:0:-1], x, x[: -half - 1 : -1]))
    return np.convolve(window / window.sum(), mirrored, mode="valid")


def shuffle_dataset(x: Array, t: Array) -> tuple[Array, Array]:
    """Samples and targets in another order, drawn from NumPy's global state as in the book."""
    order = np.random.permutation(len(x))  # noqa: NPY002
    return x[order], t[order]
