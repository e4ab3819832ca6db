"""The gradient of a function at many points."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import InputError
from ..functions import DEFAULT_STEP
from ..validation import Array, array_namespace, choice, function
from .book import book_quotients, is_books_case, warn_of_doubts
from .perturbed import of_rows
from .points import float_array
from .quotients import gradient_of
from .steps import SCHEMES, step_within
from .values import Function


def numerical_gradient_rows(
    f: Function,
    X: Array,
    *,
    h: float | str = DEFAULT_STEP,
    scheme: str = "central",
    vectorized: bool = False,
    return_error: bool = False,
) -> Any:
    """The gradient of a function at each row of `X`, a point by itself.

    Parameters
    ----------
    f : callable
        Maps one point, ``X[i]``, to a number, as for :func:`numerical_gradient`, and may have been
        compiled. With `vectorized` it maps all of `X`, on a copy that it must not change, to one
        number for each row, and is called twice for each column, however many rows there are.
    X : array of a floating dtype, shape (points, variables) or (points, ...)
        Changed in place and restored where `f` does not get copies.
    h, scheme, return_error
        As for :func:`numerical_gradient`.

    Returns
    -------
    array of the shape and dtype of `X`; with `return_error` a tuple of two

    Raises
    ------
    DtypeError, InputError
        As :func:`numerical_gradient`; and InputError if `X` has fewer than two dimensions.

    Examples
    --------
    >>> X = np.array([[3.0, 4.0], [0.0, 2.0]])
    >>> numerical_gradient_rows(lambda x: (x * x).sum(), X).round(6)
    array([[6., 8.],
           [0., 4.]])
    >>> numerical_gradient_rows(lambda X: (X * X).sum(axis=1), X, vectorized=True).round(6)
    array([[6., 8.],
           [0., 4.]])
    """
    choice(scheme, "scheme", SCHEMES)
    function(f)
    X = float_array(X, "X")
    xp = array_namespace(X)
    if X.ndim < 2:
        raise InputError(
            f"X has shape {X.shape}; give (points, variables), or use numerical_gradient for a "
            "single point"
        )
    if not vectorized and not return_error and is_books_case(f, X, h, scheme):
        h = step_within(h, X)
        rows, doubtful, values = [], False, None
        for row in X:
            quotients, doubt, values = book_quotients(f, row, h, "X", values)
            rows.append(quotients)
            doubtful |= doubt
        warn_of_doubts(X, h, doubtful, values)
        return np.array(rows, X.dtype).reshape(X.shape)
    return gradient_of(xp, X, h, scheme, of_rows(xp, f, X, scheme, vectorized), return_error)
