"""The gradient of a function of an array, one element at a time."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import InputError
from ..functions import DEFAULT_STEP
from ..validation import Array, array_namespace, choice, function
from .book import book_quotients, is_books_case, warn_of_doubts
from .perturbed import of_point
from .points import float_array
from .quotients import gradient_of
from .steps import SCHEMES, step_within
from .tasks import Workers
from .values import Function


def numerical_gradient(
    f: Function,
    x: Array,
    *,
    h: float | str = DEFAULT_STEP,
    scheme: str = "central",
    vectorized: bool = False,
    workers: Workers = None,
    return_error: bool = False,
) -> Any:
    """The gradient of a function of an array by finite differences, one element of `x` at a time.

    With the defaults, this is the book's function to the last bit: (f(x + h) − f(x − h)) / 2h with
    h = 1e-4. It changes each element of `x` in place and restores it, also when `f` raises, because
    the book's functions ignore their argument and read the very array.

    Parameters
    ----------
    f : callable
        Maps `x` to a number: a scalar or an array of one element, of any library and any real
        dtype. It gets `x` itself, and must not change it; but copies of it with
        ``scheme="complex"``, `vectorized`, `workers`, or if it was compiled by ``numba.njit``, so
        that it must compute with its argument then. A compiled function is called from a compiled
        loop; from 64 elements on, in as many threads as Numba would use.
    x : array of a floating dtype, any number of dimensions
        Where to differentiate: an array of NumPy, CuPy or any other library that keeps the array
        API standard. It may be a view with any strides, 0-d, or empty. A list becomes an array of
        NumPy, and so does, read-only, one of a library whose arrays cannot be changed, as JAX's. A
        read-only array will do where `f` gets copies.
    h : float or "auto"
        The step. ``"auto"`` chooses it for each element by dtype, scheme and the element's size;
        see the notes.
    scheme : {"central", "forward", "backward", "complex"}
        The one-sided schemes need half the evaluations and are less accurate. ``"complex"`` is
        exact to rounding with ``h="auto"``, for an `f` that is analytic and computes in complex
        arithmetic.
    vectorized : bool
        `f` maps an array of points, shape ``(K, *x.shape)``, to their K values: one call in place
        of thousands. The points come in blocks of bounded size (124 KiB; on a GPU, 64 MiB; at least
        two points), all of the same shape. NumPy's are read-only: only what differs is written for
        the next block.
    workers : int, map-like callable or distributed.Client, optional
        Evaluate in so many processes (-1: one for each core), or by ``workers(function,
        iterable)``: the ``map`` of a pool. Or on the cluster of a client of Dask's, by the client
        itself or its ``map``, for an `f` that takes longer than a message, some milliseconds.
        Functions and points are pickled for processes. For a compiled `f`, an int is a number of
        threads.
    return_error : bool
        Return an estimate of the absolute error of each element, too: the difference to the result
        of twice the step, which the truncation error follows from, plus the rounding of f's values.
        Takes twice the evaluations.

    Returns
    -------
    array of the shape and dtype of `x`; with `return_error` a tuple of two
        NaN or infinite where `f` is not finite; an empty `x` has an empty gradient and `f` is not
        called.

    Raises
    ------
    ClusterError
        If the client of `workers` has lost its cluster, or a worker again and again.
    DtypeError
        If `x` holds integers: a step of `h` would be cut off and the result nonsense.
    InputError
        If `h` is not positive and finite, `x` is read-only and would be changed in place, `f` does
        not return one number (or one for each point), does not use complex arithmetic where it
        must, or changes `x`. Found is every change that `f` has not undone itself when it returns;
        an element is looked at after each call in which it is replaced, all of `x` at the end, and
        `x` is restored.

    Warns
    -----
    RuntimeWarning
        If rounding drowns the result, as where `x` is of float32, or `f` returns it, with h = 1e-4;
        or where adding `h` to an element changes nothing.

    Notes
    -----
    ``h="auto"`` is ``ε^(1/3) · max(1, |x|)`` for the central scheme, ``ε^(1/2) · max(1, |x|)`` for
    the one-sided ones, and ``ε² · max(1, |x|)`` for the complex one, where ε is that of the coarser
    of the dtypes of `x` and of what `f` returns, which is called once more to learn it.

    Examples
    --------
    >>> numerical_gradient(lambda x: (x * x).sum(), np.array([3.0, 4.0])).round(6)
    array([6., 8.])
    >>> x = np.array([3.0, 4.0])
    >>> numerical_gradient(lambda p: (p * p).sum(axis=1), x, vectorized=True).round(6)
    array([6., 8.])
    >>> numerical_gradient(lambda p: np.exp(p).sum(), x, scheme="complex", h="auto") - np.exp(x)
    array([0., 0.])
    """
    choice(scheme, "scheme", SCHEMES)
    function(f)
    x = float_array(x)
    xp = np if type(x) is np.ndarray else array_namespace(x)
    if vectorized and workers is not None:
        raise InputError("vectorized and workers exclude each other; pass one of them")
    return _gradient(f, x, h, scheme, vectorized, workers, return_error, xp)


def of_loss(f: Function, parameter: Array, *, h: float | str = DEFAULT_STEP, xp: Any) -> Array:
    """The central differences of `f` in `parameter`, a floating array of the namespace `xp`.

    What :func:`numerical_gradient` gives by default, for a caller that knows the namespace: not
    every array tells its own.
    """
    return _gradient(f, parameter, h, "central", False, None, False, xp)


def _gradient(
    f: Function,
    x: Array,
    h: float | str,
    scheme: str,
    vectorized: bool,
    workers: Workers,
    return_error: bool,
    xp: Any,
) -> Any:
    if not (vectorized or return_error) and workers is None and is_books_case(f, x, h, scheme):
        h = step_within(h, x)
        quotients, doubtful, values = book_quotients(f, x, h)
        if doubtful or values is not None:
            warn_of_doubts(x, h, doubtful, values)
        gradient = np.array(quotients, x.dtype)
        return gradient if x.ndim == 1 else gradient.reshape(x.shape)
    evaluations = of_point(xp, f, x, scheme, vectorized, workers)
    return gradient_of(xp, x, h, scheme, evaluations, return_error)
