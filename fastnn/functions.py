"""The mathematics: activations, losses and their derivatives, as pure functions of NumPy or CuPy arrays.

Names and behaviour are those of "Deep Learning from Scratch"; what was added is care with extreme arguments, labels
wherever the book takes one-hot targets, and errors in place of silent broadcasting. A floating dtype is kept; integers
become float64 where the result is not an integer. The functions named without an underscore check what they are given;
the tables :data:`ACTIVATIONS` and :data:`LOSSES` at the end hold the unchecked forms that a network is made of.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .errors import InputError
from .validation import Array, check_targets, get_array_module, positive_int, real_array

#: What the book adds to a probability before it takes the logarithm, so that log(0) does not occur.
LOG_GUARD = 1e-7

#: How many rows are many, and of how many values a row is short, where it matters in which order NumPy takes them.
MANY_ROWS, SHORT_ROW = 50, 20

#: The step of the book's central differences.
DEFAULT_STEP = 1e-4


def _float_array(x: Array, name: str = "x") -> Array:
    x = real_array(x, name)
    return x if x.dtype.kind == "f" else x.astype(np.float64)


# -- activations -------------------------------------------------------------------------------------------------------


def identity_function(x: Array) -> Array:
    """Return `x` as it is: the activation of an output layer in regression."""
    return real_array(x, "x")


def step_function(x: Array) -> Array:
    """1 where `x` > 0, else 0, in the dtype of `x`.

    >>> step_function(np.array([-1.0, 0.0, 2.0]))
    array([0., 0., 1.])
    """
    x = real_array(x, "x")
    return (x > 0).astype(x.dtype)[()]


def sigmoid(x: Array, *, out: Array | None = None) -> Array:
    """The logistic function 1 / (1 + exp(-x)).

    Accurate to rounding wherever the result is a normal number. Where exp(-x) overflows, the true value is smaller than
    that and 1 / inf = 0 is near enough, so that overflow is no reason for a warning.

    >>> sigmoid(np.array([-1e4, 0.0, 1e4]))
    array([0. , 0.5, 1. ])
    """
    x = _float_array(x)
    out = get_array_module(x).empty_like(x) if out is None else out
    with np.errstate(over="ignore", under="ignore"):
        _sigmoid(x, out=out)
    return out if out.ndim else out[()]


def sigmoid_grad(x: Array) -> Array:
    """Derivative of the sigmoid at the pre-activation `x`: sigmoid(x) · sigmoid(-x), accurate in both tails.

    >>> float(sigmoid_grad(np.array(0.0)))
    0.25
    """
    x = _float_array(x)
    with np.errstate(under="ignore"):
        return sigmoid(x) * sigmoid(-x)


def tanh(x: Array, *, out: Array | None = None) -> Array:
    """The hyperbolic tangent."""
    x = _float_array(x)
    return get_array_module(x).tanh(x, out=out)


def relu(x: Array, *, out: Array | None = None) -> Array:
    """max(x, 0), elementwise.

    >>> relu(np.array([-1.0, 2.0]))
    array([0., 2.])
    """
    x = real_array(x, "x")
    return get_array_module(x).maximum(x, 0, out=out, dtype=x.dtype if x.dtype.kind != "b" else np.int64)


def relu_grad(x: Array) -> Array:
    """Derivative of :func:`relu` at the pre-activation `x`: 1 where x > 0, else 0 (also at 0, where it has none)."""
    return step_function(_float_array(x))


def maxout(x: Array, pieces: int | None = None) -> Array:
    """The maximum over groups of `pieces` neighbours on the last axis (Goodfellow et al., 2013).

    Parameters
    ----------
    x : array, shape (..., units · pieces)
        The linear pieces of each unit, side by side.
    pieces : int, optional
        How many belong to one unit; by default all of the last axis, which is then a single unit.

    Returns
    -------
    array, shape (..., units); without `pieces`, shape (...).

    >>> maxout(np.array([1.0, 5.0, 2.0, -3.0]), pieces=2)
    array([5., 2.])
    """
    x = real_array(x, "x")
    if x.ndim == 0 or x.shape[-1] == 0:
        raise InputError(f"x has shape {x.shape}; maxout needs at least one value on the last axis")
    if pieces is None:
        return x.max(axis=-1)
    pieces = positive_int(pieces, "pieces")
    if x.shape[-1] % pieces:
        raise InputError(f"pieces={pieces} does not divide the {x.shape[-1]} values of the last axis")
    return x.reshape(*x.shape[:-1], -1, pieces).max(axis=-1)


def softmax(x: Array, *, out: Array | None = None) -> Array:
    """exp(x) / Σ exp(x) over the last axis, with the maximum subtracted first so that nothing overflows.

    >>> softmax(np.array([0.0, 0.0, -1e4]))
    array([0.5, 0.5, 0. ])
    """
    x = _float_array(x)
    if x.ndim == 0 or x.shape[-1] == 0:
        raise InputError(f"x has shape {x.shape}; softmax needs at least one value on the last axis")
    with np.errstate(over="ignore", under="ignore"):
        y = _softmax(x.reshape(-1, x.shape[-1])).reshape(x.shape)
    return y if out is None else _identity_out(y, out=out)


# -- the same without checks, for operations whose callers have checked, and have NumPy ignore harmless overflow -----------


def _sigmoid(x: Array, *, out: Array | None = None) -> Array:
    xp = get_array_module(x)
    out = xp.negative(x, out=out)
    xp.exp(out, out=out)
    out += 1
    return xp.reciprocal(out, out=out)


def _tanh(x: Array, *, out: Array | None = None) -> Array:
    return get_array_module(x).tanh(x, out=out)


def _relu(x: Array, *, out: Array | None = None) -> Array:
    return get_array_module(x).maximum(x, 0, out=out)


def _softmax(x: Array, *, out: Array | None = None) -> Array:
    """Of the rows of a matrix."""
    xp = get_array_module(x)
    # NumPy reduces rows one by one, which takes longer than a short row itself; stored by columns, many are reduced at once.
    by_columns = len(x) >= MANY_ROWS and x.shape[1] <= SHORT_ROW
    y = x.copy(order="F") if by_columns else x
    y = xp.subtract(y, y.max(axis=1, keepdims=True), out=y if by_columns else out)
    xp.exp(y, out=y)
    y /= y.sum(axis=1, keepdims=True)
    return _identity_out(y, out=out) if by_columns else y


# -- losses ------------------------------------------------------------------------------------------------------------


def mean_squared_error(y: Array, t: Array) -> Array:
    """½ · Σ (y − t)² over everything: the book's loss, which has no mean over the batch.

    Parameters
    ----------
    y : array, shape (samples, outputs), or (outputs,) for a single sample
    t : array of the same shape; or integer labels, shape (samples,), which stand for their one-hot rows

    Returns
    -------
    scalar of the dtype of `y`

    Raises
    ------
    InputError
        If the shapes do not fit: nothing is broadcast.

    >>> y = np.array([0.1, 0.05, 0.6, 0.0, 0.05, 0.1, 0.0, 0.1, 0.0, 0.0])
    >>> round(float(mean_squared_error(y, np.array(2))), 12)
    0.0975
    """
    return _squared_error(*_outputs_and_targets(y, t))


#: The same function under the name that later printings use.
sum_squared_error = mean_squared_error


def cross_entropy_error(y: Array, t: Array) -> Array:
    """−Σ t · log(y + 1e-7) / samples: the book's cross-entropy, with its guard against log(0).

    Parameters
    ----------
    y : array, shape (samples, classes), or (classes,) for a single sample
        Probabilities.
    t : array of the same shape, one-hot or soft; or integer labels, shape (samples,), or a scalar for a single sample

    Returns
    -------
    scalar of the dtype of `y`

    Raises
    ------
    InputError
        If the shapes do not fit or a label is out of range.
    DtypeError
        If labels are not integers.

    >>> y = np.array([0.1, 0.05, 0.6, 0.0, 0.05, 0.1, 0.0, 0.1, 0.0, 0.0])
    >>> float(cross_entropy_error(y, np.array(2)))
    0.510825457099338
    """
    return _cross_entropy(*_outputs_and_targets(y, t))


def _outputs_and_targets(y: Array, t: Array) -> tuple[Array, Array]:
    y = _float_array(y, "y")
    if y.ndim not in (1, 2) or 0 in y.shape:
        raise InputError(f"y has shape {y.shape}; give (samples, classes), or (classes,) for a single sample")
    single = y.ndim == 1
    y = y.reshape(1, -1) if single else y
    t = check_targets(t, y.shape[0], y.shape[1], single=single)
    get_array_module(y, t)
    return y, t if t.ndim == 1 else t.astype(y.dtype, copy=False)


def one_hot(t: Array, classes: int, dtype: np.dtype) -> Array:
    """Targets as a 2-D array: labels (1-D) become one-hot rows of `dtype`, anything else is returned as it is."""
    if t.ndim == 2:
        return t
    return (t[:, None] == get_array_module(t).arange(classes)).astype(dtype)


def _cross_entropy(y: Array, t: Array) -> Array:
    xp = get_array_module(y)
    if t.ndim == 1:
        return _mean_surprisal(y[xp.arange(len(t)), t])
    # Row by row first, then over the rows: a one-hot row adds only zeros, so both kinds of target agree to the last bit.
    return -(t * xp.log(y + LOG_GUARD)).sum(axis=1, dtype=y.dtype).sum() / len(y)


def _mean_surprisal(p: Array) -> Array:
    return get_array_module(p).log(p + LOG_GUARD).sum() / -len(p)


def _cross_entropy_and_gradient(y: Array, t: Array) -> tuple[Array, Array]:
    """And the gradient with respect to the logits that `y` is the softmax of."""
    if t.ndim == 1:
        own = get_array_module(y).arange(len(t)), t
        p = y[own]
        value, y[own] = _mean_surprisal(p), p - 1
    else:
        value = _cross_entropy(y, t)
        y -= t
    y /= len(y)
    return value, y


def _squared_error(y: Array, t: Array) -> Array:
    return _half_of_squares(y - one_hot(t, y.shape[1], y.dtype))


def _half_of_squares(difference: Array) -> Array:
    return (difference * difference).sum(dtype=difference.dtype) / 2


def _squared_error_and_gradient(y: Array, t: Array) -> tuple[Array, Array]:
    y -= one_hot(t, y.shape[1], y.dtype)
    return _half_of_squares(y), y


def _sigmoid_derivative(z: Array) -> Array:
    derivative = 1 - z
    derivative *= z
    return derivative


def _identity_out(x: Array, *, out: Array | None = None) -> Array:
    if out is None:
        return x.copy()
    out[...] = x
    return out


# -- increments of activations -----------------------------------------------------------------------------------------


def _sigmoid_increment(a: Array, u: Array) -> Array:
    """s·(1 − s)·E / (1 + s·E) with s = sigmoid(a) and E = expm1(u).

    Written with 1 − s = sigmoid(−a) and, for positive u, divided through by e^u, so that it holds for saturated units and large u.
    """
    xp = get_array_module(a, u)
    s, opposite = sigmoid(a), sigmoid(-a)
    decay = xp.exp(-abs(u))
    change = xp.copysign(-xp.expm1(-abs(u)), u)
    above, below = xp.where(u > 0, 1, decay), xp.where(u > 0, decay, 1)
    return (s * opposite) * change / (above * s + below * opposite)


def _relu_increment(a: Array, u: Array) -> Array:
    xp = get_array_module(a, u)
    return xp.where(a > 0, xp.maximum(u, -a), xp.maximum(a + u, 0))


# -- what a network is made of -----------------------------------------------------------------------------------------


class Activation(NamedTuple):
    """An activation z = f(a), its derivative, and its increment.

    The derivative is expressed in z, because that is what a forward pass leaves behind. The increment is f(a + u) − f(a) for any
    u, computed without subtracting nearly equal numbers; a and u are broadcast against each other.
    """

    function: Callable[..., Array]  # (a, *, out) -> z; out may be a
    derivative: Callable[[Array], Array]  # z -> df/da
    increment: Callable[[Array, Array], Array]  # (a, u) -> f(a + u) - f(a)


class Loss(NamedTuple):
    """What a network ends with: the output function of the logits, and the loss of that output, without and with its gradient."""

    output: Callable[..., Array]  # (logits, *, out) -> y; out may be logits
    value: Callable[[Array, Array], Array]  # (y, t) -> scalar
    value_and_gradient: Callable[[Array, Array], tuple[Array, Array]]  # and d value / d logits, written over y


#: Every activation of the hidden layer, by the name that a network takes.
ACTIVATIONS = {
    "sigmoid": Activation(_sigmoid, _sigmoid_derivative, _sigmoid_increment),
    "tanh": Activation(_tanh, lambda z: 1 - z * z, lambda a, u: 2 * _sigmoid_increment(2 * a, 2 * u)),
    "relu": Activation(_relu, lambda z: (z > 0).astype(z.dtype), _relu_increment),
    "identity": Activation(_identity_out, lambda z: get_array_module(z).ones_like(z), lambda a, u: u + 0 * a),
}

#: Every loss, by the name that a network takes. The gradient of the cross-entropy is the book's y − t over the number of
#: samples: the derivative without the 1e-7 guard, which differs from that of the guarded loss by a factor p / (p + 1e-7)
#: in each target probability p.
LOSSES = {
    "cross_entropy": Loss(_softmax, _cross_entropy, _cross_entropy_and_gradient),
    "mean_squared_error": Loss(_identity_out, _squared_error, _squared_error_and_gradient),
}
