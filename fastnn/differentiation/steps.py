"""The step of a difference quotient, and the warnings where rounding drowns what it gives."""

from __future__ import annotations

import sys
import warnings
from functools import cache
from typing import Any

import numpy as np

from ..errors import InputError
from ..validation import Array, choice, numpy_dtype, real_number
from .values import Values, epsilon_of

#: The schemes of :func:`numerical_gradient`, with the power of ε that ``h="auto"`` takes as a step.
SCHEMES = {"central": 1 / 3, "forward": 1 / 2, "backward": 1 / 2, "complex": 2}

#: The schemes that take one difference to f at x itself.
ONE_SIDED = ("forward", "backward")

#: Relative to the values of f, the noise in a derivative from which on a warning is due.
NOISE_LIMIT = 1e-3


def checked_step(h: Any, scheme: str, x: Array) -> float | None:
    """`h` as a number that `x` can hold, or None if it is to be chosen."""
    choice(scheme, "scheme", SCHEMES)
    if isinstance(h, str):
        choice(h, "h", ("auto",))
        return None
    return step_within(h, x)


def step_within(h: Any, x: Array) -> float:
    """`h` as a positive number within the range of the dtype of `x`."""
    h = real_number(h, "h", above=0)
    dtype = x.dtype
    if h > _largest_step(dtype if isinstance(dtype, np.dtype) else str(dtype)):
        raise InputError(
            f"h={h:g} is beyond the range of x, which is of dtype {numpy_dtype(x)}; "
            "pass a smaller step, or h='auto'"
        )
    return h


@cache
def largest_lost_step(dtype: np.dtype) -> float:
    """A step up to which nothing of `dtype` leaves its range: half the last place of the largest.

    Of a power of two below it, that is, whose last place is ε times it.
    """
    range_ = np.finfo(dtype)
    return float(range_.eps) * min(float(range_.max), sys.float_info.max) / 4


@cache
def _largest_step(dtype: np.dtype | str) -> float:
    """A quarter of the largest number, as far as a float goes: 2·(x ± 2h) has to be one, too."""
    name = dtype.rpartition(".")[2] if isinstance(dtype, str) else dtype
    largest = min(float(np.finfo(name).max), sys.float_info.max)
    return largest / 4


@np.errstate(over="ignore", invalid="ignore")
def moved(x: Array, step: Any) -> Array:
    """x + step: infinite, or NaN, where it is beyond the range or `x` is not finite."""
    return x + step


def step_at(xp: Any, x: Array, h: float | None, scheme: str, epsilon: float = 0.0) -> Any:
    """The step as a number, or one for each element; warns of what it does to the precision.

    It follows the coarser of the dtype of `x` and one whose ε is `epsilon`.
    """
    own = epsilon_of(x.dtype)
    step: Any = h
    if h is None:
        step = max(own, epsilon) ** SCHEMES[scheme] * xp.maximum(xp.ones_like(x), abs(x))
    elif scheme != "complex":
        # As a float: the limit may be beyond the range of a number of x's dtype.
        square, limit = float(np.vdot(x, x) if xp is np else xp.sum(x * x)), h / own
        if not (limit > 1 / NOISE_LIMIT and square < limit * limit):
            warn_of_rounding(xp, x, h, scheme)
    if scheme in ONE_SIDED or (scheme == "central" and h is None):
        # The step that x can represent. The book's central difference divides by 2h as given, and
        # so do we there.
        step = moved(moved(x, step), -x)
    return step


def warn_of_rounding(xp: Any, x: Array, h: float, scheme: str) -> None:
    """Warn the caller if rounding drowns the derivative, or `h` is lost in an element.

    Neither is so if h/ε exceeds all elements and 1 / NOISE_LIMIT, which takes less time to see.
    """
    epsilon = epsilon_of(x.dtype)
    fix = f"pass h='auto', which is {epsilon ** SCHEMES[scheme]:.1g} for values of order 1"
    if epsilon / h >= NOISE_LIMIT:
        _warn(
            f"the derivative is noisy: x is of dtype {numpy_dtype(x)}, in which values of f are "
            f"rounded by {epsilon:.1g} of their size, and dividing by h={h:g} makes that "
            f"{epsilon / h:.1g} of f; {fix}, or compute in float64, x.astype(float)"
        )
    elif xp.any(lost := moved(x, h) == x):
        _warn(
            f"h={h:g} is lost in x: adding it to {float(x[lost][0]):g} changes nothing, so no "
            f"derivative comes out there; {fix}"
        )


def warn_of_coarse_values(x: Array, h: float, values: Values) -> None:
    """Warn the caller if an f that is coarser than `x` drowns the derivative."""
    epsilon = values.epsilon
    if epsilon > epsilon_of(x.dtype) and epsilon / h >= NOISE_LIMIT > epsilon_of(x.dtype) / h:
        name = str(values.dtype).rpartition(".")[2]
        _warn(
            f"the derivative is noisy: f returns {name}, in which its values are rounded by "
            f"{epsilon:.1g} of their size, and dividing by h={h:g} makes that {epsilon / h:.1g} "
            "of f; pass h='auto', which follows the dtype of f, or let f compute in float64"
        )


def _warn(message: str) -> None:
    """Warn in the name of the first caller outside this package."""
    package = __name__.partition(".")[0]
    level, frame = 1, sys._getframe()
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] == package:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, RuntimeWarning, stacklevel=level)
