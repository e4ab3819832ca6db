"""The derivative of a function of one variable."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..functions import DEFAULT_STEP
from ..functions.activations import float_array
from ..validation import Array, array_namespace, function
from .points import copy
from .quotients import Quotient, differentiate, divided_difference
from .steps import moved
from .values import Function, Values


def numerical_diff(
    f: Function, x: Any, h: float | str = DEFAULT_STEP, *, return_error: bool = False
) -> Any:
    """The derivative of a function of one variable, (f(x + h) − f(x − h)) / 2h.

    Parameters
    ----------
    f : callable
        Maps a number to a number; for arrays, elementwise.
    x : float or array_like
        Where to differentiate; not changed. Integers are taken as float64.
    h : float or "auto"
        The step.
    return_error : bool
        Return an estimate of the absolute error, too, as :func:`numerical_gradient` does.

    Returns
    -------
    scalar or array of the shape of `x`; with `return_error` a tuple of it and its error

    Raises
    ------
    InputError
        If `h` is not positive and finite, or `f` does not keep the shape of its argument.

    Warns
    -----
    RuntimeWarning
        If rounding drowns the result, as for float32 with h = 1e-4, or `x` cannot resolve the step.

    Examples
    --------
    >>> round(float(numerical_diff(lambda x: 0.01 * x**2 + 0.1 * x, 5)), 6)
    0.2
    >>> numerical_diff(np.sin, np.array([0.0, np.pi])).round(6)
    array([ 1., -1.])
    """
    function(f)
    x = np.asarray(x) if type(x) is float else float_array(x)
    xp = array_namespace(x)
    x = x[()] if xp is np else x
    values = Values(xp, x)

    def at(point: Array) -> Array:
        return values.elementwise(f(point), x)

    def quotient(step: Any) -> Quotient:
        above, below = at(moved(x, step)), at(moved(x, -step))
        return divided_difference(above, below, 2 * step), (above, below)

    return differentiate(
        xp, x, h, "central", quotient, lambda: at(copy(xp, x)), values, return_error
    )
