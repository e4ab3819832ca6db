"""Numerical differentiation of any function, and gradient descent on it, as in chapter 4 of the book.

The step decides how good a finite difference is. Its truncation error grows with the step h, as h for the one-sided
differences and h² for the central one; the rounding of f's values, relative error ε, is divided by h and grows as it
shrinks. The book's h = 1e-4 suits the central difference in float64. ``h="auto"`` takes the step where both errors are about
equal: ε^(1/3) for the central and ε^(1/2) for a one-sided difference, times max(1, |x|) for each element (Nocedal and
Wright, Numerical Optimization, section 8.1). The complex step (Squire and Trapp, 1998), Im f(x + ih) / h, subtracts nothing,
so that its step can be as small as one likes and its error is that of f itself.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from functools import cache, partial
from typing import Any, TypeAlias

import numpy as np

from .errors import DivergenceError, DtypeError, InputError
from .functions import DEFAULT_STEP
from .perturbation import (
    Function,
    Workers,
    check_writeable,
    evaluate,
    evaluate_perturbed,
    evaluate_perturbed_rows,
    evaluate_rows,
    in_turn,
    is_compiled,
    number,
)
from .validation import Array, all_finite, choice, get_array_module, positive_int, real_array, real_number

#: The schemes of :func:`numerical_gradient`, with the power of ε that ``h="auto"`` takes as a step.
SCHEMES = {"central": 1 / 3, "forward": 1 / 2, "backward": 1 / 2, "complex": 2}

#: A difference quotient, and the values of f it was taken of, whose rounding becomes noise.
Quotient: TypeAlias = tuple[Array, tuple[Array, ...]]

#: Relative to the values of f, the noise in a derivative from which on a warning is due.
NOISE_LIMIT = 1e-3


def numerical_diff(f: Function, x: Any, h: float | str = DEFAULT_STEP, *, return_error: bool = False) -> Any:
    """The derivative of a function of one variable by the central difference (f(x + h) − f(x − h)) / 2h.

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
    x = real_array(x, "x")
    x = (x if x.dtype.kind == "f" else x.astype(np.float64))[()]
    step = _step(x, h, "central")

    def at(points: Array) -> Array:
        values = real_array(f(points), "f(x)")
        if values.shape != x.shape:
            raise InputError(
                f"f returned shape {values.shape} for an x of shape {x.shape}; numerical_diff takes a function that works "
                "elementwise, numerical_gradient one that maps the whole array to a number"
            )
        return values

    def quotient(step: Any) -> Quotient:
        above, below = at(x + step), at(x - step)
        return _divided_difference(above, below, 2 * step), (above, below)

    return _differentiate(quotient, x, step, "central", return_error)


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

    With the defaults, this is the book's function to the last bit: (f(x + h) − f(x − h)) / 2h with h = 1e-4. It changes
    each element of `x` in place and restores it, also when `f` raises, because the book's functions ignore their argument
    and read the very array.

    Parameters
    ----------
    f : callable
        Maps `x` to a number: a scalar or an array of one element. It gets `x` itself; but copies of it with
        ``scheme="complex"``, `vectorized`, `workers`, or if it was compiled by ``numba.njit``, so that it must compute
        with its argument then. A compiled function is called from a compiled loop; from 64 elements on, in as many
        threads as Numba would use.
    x : array of a floating dtype, any number of dimensions, of NumPy or CuPy
        Where to differentiate. It may be a view with any strides, 0-d, or empty. A list is converted to an array. A
        read-only array will do where `f` gets copies.
    h : float or "auto"
        The step. ``"auto"`` chooses it for each element by dtype, scheme and the element's size; see the notes.
    scheme : {"central", "forward", "backward", "complex"}
        The one-sided schemes need half the evaluations and are less accurate. ``"complex"`` is exact to rounding with
        ``h="auto"``, for an `f` that is analytic and computes in complex arithmetic.
    vectorized : bool
        `f` maps an array of points, shape (K, *x.shape), to their K values: one call in place of thousands. The points
        come in blocks of bounded size (124 KiB; on a GPU, 64 MiB; at least two points), all of the same shape, and `f`
        must not change them: only what differs is written for the next block. NumPy's are read-only.
    workers : int or map-like callable, optional
        Evaluate in so many processes (-1: one for each core), or by ``workers(function, iterable)``: the ``map`` of a
        pool or of a cluster's client. Functions and points are pickled for processes. For a compiled `f`, an int is a
        number of threads.
    return_error : bool
        Return an estimate of the absolute error of each element, too: the difference to the result of twice the step,
        which the truncation error follows from, plus the rounding of f's values. Takes twice the evaluations.

    Returns
    -------
    array of the shape and dtype of `x`; with `return_error` a tuple of two
        NaN or infinite where `f` is not finite; an empty `x` has an empty gradient and `f` is not called.

    Raises
    ------
    DtypeError
        If `x` holds integers: a step of `h` would be cut off and the result nonsense.
    InputError
        If `h` is not positive and finite, `x` is read-only and would be changed in place, `f` does not return one number
        (or one for each point), or does not use complex arithmetic where it must.

    Warns
    -----
    RuntimeWarning
        If rounding drowns the result, as for float32 with h = 1e-4, or where adding `h` to an element changes nothing.

    Notes
    -----
    ``h="auto"`` is ε^(1/3) · max(1, |x|) for the central scheme, ε^(1/2) · max(1, |x|) for the one-sided ones, where ε
    is that of the dtype, and ε² · max(1, |x|) for the complex one.

    Examples
    --------
    >>> numerical_gradient(lambda x: (x * x).sum(), np.array([3.0, 4.0])).round(6)
    array([6., 8.])
    >>> numerical_gradient(lambda x: (x * x).sum(axis=1), np.array([3.0, 4.0]), vectorized=True).round(6)
    array([6., 8.])
    >>> numerical_gradient(lambda x: np.exp(x).sum(), np.array([0.0, 1.0]), scheme="complex", h="auto") - np.exp([0, 1])
    array([0., 0.])
    """
    x = _float_array(x)
    if vectorized and workers is not None:
        raise InputError("vectorized and workers exclude each other; pass one of them")
    if not vectorized and workers is None and not return_error and _is_books_case(f, x, h, scheme):
        h = real_number(h, "h", above=0)
        quotients, doubtful = _book_quotients(f, x, h)
        if doubtful:
            _warn_of_rounding(x, h, scheme)
        gradient = np.array(quotients, x.dtype)
        return gradient if x.ndim == 1 else gradient.reshape(x.shape)
    step = _step(x, h, scheme)
    perturbed = partial(evaluate_perturbed, f, x, vectorized=vectorized, workers=workers)
    unperturbed = partial(evaluate, f, x, vectorized=vectorized)
    return _differentiate(partial(_quotient, perturbed, unperturbed, x, scheme), x, step, scheme, return_error)


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
        Maps one point, ``X[i]``, to a number, as for :func:`numerical_gradient`, and may have been compiled. With
        `vectorized` it maps all of `X`, on a copy that it must not change, to one number for each row, and is called twice
        for each column, however many rows there are.
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
    X = _float_array(X, "X")
    if X.ndim < 2:
        raise InputError(f"X has shape {X.shape}; give (points, variables), or use numerical_gradient for a single point")
    if not vectorized and not return_error and _is_books_case(f, X, h, scheme):
        h = real_number(h, "h", above=0)
        rows = [_book_quotients(f, row, h, "X") for row in X]
        if any(doubtful for _, doubtful in rows):
            _warn_of_rounding(X, h, scheme)
        return np.array([quotients for quotients, _ in rows], X.dtype).reshape(X.shape)
    step = _step(X, h, scheme)

    def unperturbed() -> Array:
        values = evaluate_rows(f, X, vectorized=vectorized)
        return values.reshape(-1, *[1] * (X.ndim - 1))

    perturbed = partial(evaluate_perturbed_rows, f, X, vectorized=vectorized)
    return _differentiate(partial(_quotient, perturbed, unperturbed, X, scheme), X, step, scheme, return_error)


def gradient_descent(f: Function, init_x: Array, lr: float = 0.01, step_num: int = 100, *, return_path: bool = False) -> Any:
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
        The path has shape (step_num + 1, *init_x.shape), from `init_x` to the last point.

    Raises
    ------
    DivergenceError
        If a value of x is no longer finite. Growing so large that the step is lost in x, where the numerical gradient
        comes out as 0, is only warned of.
    DtypeError, InputError
        As :func:`numerical_gradient`, whose step is the book's for float64 and ``"auto"`` for other dtypes.

    Examples
    --------
    >>> gradient_descent(lambda x: (x * x).sum(), np.array([-3.0, 4.0]), lr=0.1, step_num=100).round(6)
    array([-0.,  0.])
    """
    lr = real_number(lr, "lr", minimum=0)
    step_num = positive_int(step_num, "step_num", 0)
    x = _float_array(init_x, "init_x").copy()
    h = DEFAULT_STEP if x.dtype == np.float64 else "auto"
    path = [x.copy()]
    for i in range(step_num):
        x -= lr * numerical_gradient(f, x, h=h)
        if not all_finite(x):
            raise DivergenceError(
                f"x is no longer finite after step {i + 1} of {step_num}: the descent diverged; take an lr smaller than {lr:g}"
            )
        if return_path:
            path.append(x.copy())
    return (x, get_array_module(x).stack(path)) if return_path else x


def _float_array(x: Any, name: str = "x") -> Array:
    if type(x) is not np.ndarray:
        x = real_array(x, name)
        x = np.asarray(x) if get_array_module(x) is np else x  # the memory of a matrix as an array, which one number indexes
    if x.dtype.kind != "f":
        raise DtypeError(f"{name} is of dtype {x.dtype}, which cannot hold a small step; pass {name}.astype(float)")
    return x


def _is_books_case(f: Function, x: Array, h: float | str, scheme: str) -> bool:
    return (
        scheme == "central"
        and not isinstance(h, str)
        and type(x) is np.ndarray
        and x.itemsize <= 8  # a Python float holds its elements
        and not is_compiled(f)
    )


def _book_quotients(f: Function, x: np.ndarray, h: float, name: str = "x") -> tuple[list[float], bool]:
    """The difference quotients in the book's case, in Python's numbers alone; and whether a warning of rounding may be due.

    To a cheap f of a few variables, as in the book's examples of gradient descent, any array operation adds as much time as
    a call of f takes.
    """
    check_writeable(x, name)
    limit = h / _epsilon(x.dtype)
    doubtful = limit <= 1 / NOISE_LIMIT
    width = 2 * h
    elements, originals = in_turn(x)
    quotients = []
    for index, original in originals:
        try:
            elements[index] = original + h
            above = f(x)
            if not isinstance(above, float):
                above = float(number(above, x.dtype))  # now: it may be a view of x
            elements[index] = original - h
            below = f(x)
            if not isinstance(below, float):
                below = float(number(below, x.dtype))
        finally:
            elements[index] = original
        if not -limit < original < limit:
            doubtful = True
        quotients.append((float(above) - float(below)) / width)  # NumPy's numbers would warn of infinities
    return quotients, doubtful


def _differentiate(quotient: Callable[[Any], Quotient], x: Array, step: Any, scheme: str, return_error: bool) -> Any:
    """The difference quotient at every element of `x` for `step`, as :func:`_step` gives it, and its estimated error if asked."""
    if x.size == 0:
        return (x.copy(), x.copy()) if return_error else x.copy()
    result, values = quotient(step)
    if not return_error:
        return result.astype(x.dtype, copy=False)
    wider, _ = quotient(2 * step)
    with np.errstate(invalid="ignore"):
        # Doubling the step makes a truncation error of order h^p 2^p times as large: the difference is 2^p − 1 of it.
        truncation = abs(wider - result) / (1 if scheme in ("forward", "backward") else 3)
        rounding = np.finfo(x.dtype).eps * sum(map(abs, values)) / step
        return result.astype(x.dtype, copy=False), (truncation + rounding).astype(x.dtype, copy=False)


def _quotient(perturbed: Callable[[Array], Array], unperturbed: Callable[[], Array], x: Array, scheme: str, step: Any) -> Quotient:
    """The difference quotient for every element of `x`.

    Parameters
    ----------
    perturbed : callable
        Maps an array (K, *x.shape) to the values of f with each element in turn replaced by each of the K at its place.
    unperturbed : callable
        Gives f at `x` itself, in a shape that broadcasts with that of `x`.
    """
    if scheme == "complex":
        (difference,) = perturbed((x + 1j * step)[None]).imag
        return difference / step, (difference,)
    if scheme == "central":
        points = get_array_module(x).empty((2, *x.shape), x.dtype)  # what stack does, without its cost for a few elements
        points[0], points[1] = x + step, x - step
        above, below = perturbed(points)
        step = 2 * step
    elif scheme == "forward":
        (above,), below = perturbed((x + step)[None]), unperturbed()
    else:
        above, (below,) = unperturbed(), perturbed((x - step)[None])
    return _divided_difference(above, below, step), (above, below)


@np.errstate(invalid="ignore", over="ignore")  # where f is not finite, neither is the result
def _divided_difference(above: Array, below: Array, width: Any) -> Array:
    return (above - below) / width


def _step(x: Array, h: float | str, scheme: str) -> Any:
    """The step as a number, or one for each element; warns the caller's caller of what it does to the precision."""
    choice(scheme, "scheme", SCHEMES)
    step: Any
    if isinstance(h, str):
        choice(h, "h", ("auto",))
        step = _epsilon(x.dtype) ** SCHEMES[scheme] * get_array_module(x).maximum(1, abs(x))
    else:
        step = real_number(h, "h", above=0)
        limit = step / _epsilon(x.dtype)
        if scheme != "complex" and not (limit > 1 / NOISE_LIMIT and math.sqrt(get_array_module(x).vdot(x, x)) < limit):
            _warn_of_rounding(x, step, scheme, 4)
    if scheme in ("forward", "backward") or (scheme == "central" and isinstance(h, str)):
        # The step that x can represent. The book's central difference divides by 2h as given, and so do we there.
        step = (x + step) - x
    return step


def _warn_of_rounding(x: Array, h: float, scheme: str, stacklevel: int = 3) -> None:
    """Warn the caller's caller if rounding drowns the derivative, or adding `h` to an element changes nothing.

    Neither is so if h/ε exceeds all elements and 1 / NOISE_LIMIT, which takes less time to see.
    """
    epsilon = _epsilon(x.dtype)
    fix = f"pass h='auto', which is {epsilon ** SCHEMES[scheme]:.1g} for values of order 1"
    if epsilon / h >= NOISE_LIMIT:
        message = (
            f"the derivative is noisy: x is of dtype {x.dtype}, in which values of f are rounded by {epsilon:.1g} of their "
            f"size, and dividing by h={h:g} makes that {epsilon / h:.1g} of f; {fix}, or compute in float64, x.astype(float)"
        )
    elif (lost := x + h == x).any():
        element = float(x[lost].reshape(-1)[0])
        message = f"h={h:g} is lost in x: adding it to {element:g} changes nothing, so no derivative comes out there; {fix}"
    else:
        return
    warnings.warn(message, RuntimeWarning, stacklevel=stacklevel)


@cache
def _epsilon(dtype: np.dtype) -> float:
    return float(np.finfo(dtype).eps)
