"""Gradient descent with the numerical gradient."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import DivergenceError
from ..functions import DEFAULT_STEP
from ..validation import (
    Array,
    all_finite,
    array_namespace,
    function,
    numpy_dtype,
    positive_int,
    real_number,
)
from .gradient import numerical_gradient
from .points import copy, float_array
from .values import Function


def gradient_descent(
    f: Function, init_x: Array, lr: float = 0.01, step_num: int = 100, *, return_path: bool = False
) -> Any:
    """Gradient descent on `f` with its numerical gradient: `step_num` times x ← x − lr · ∇f(x).

    Parameters
    ----------
    f : callable
        Maps an array like `init_x` to a number.
    init_x : array of a floating dtype
        Where to start; not changed.
    lr : float
        The learning rate, at least 0.
    step_num : int
        How many steps.
    return_path : bool
        Return all points on the way, too.

    Returns
    -------
    array like `init_x`; with `return_path` a tuple of it and the path
        The path has shape ``(step_num + 1, *init_x.shape)``, from `init_x` to the last point.

    Raises
    ------
    DivergenceError
        If a value of x is no longer finite. Growing so large that the step is lost in x, where the
        numerical gradient comes out as 0, is only warned of.
    DtypeError, InputError
        As :func:`numerical_gradient`, whose step is the book's for float64 and ``"auto"`` for other
        dtypes.

    Examples
    --------
    >>> gradient_descent(lambda x: (x * x).sum(), np.array([-3.0, 4.0]), lr=0.1).round(6)
    array([-0.,  0.])
    """
    lr = real_number(lr, "lr", minimum=0)
    step_num = positive_int(step_num, "step_num", 0)
    function(f)
    x = float_array(init_x, "init_x")
    xp = array_namespace(x)
    x = copy(xp, x)
    h = DEFAULT_STEP if numpy_dtype(x) == np.float64 else "auto"
    path = [copy(xp, x)]
    for i in range(step_num):
        gradient = numerical_gradient(f, x, h=h)
        with np.errstate(over="ignore", invalid="ignore"):  # told below
            x -= lr * gradient
        if not all_finite(x, xp):
            raise DivergenceError(
                f"x is no longer finite after step {i + 1} of {step_num}: the descent diverged; "
                f"take an lr smaller than {lr:g}"
            )
        if return_path:
            path.append(copy(xp, x))
    return (x, xp.stack(path)) if return_path else x
