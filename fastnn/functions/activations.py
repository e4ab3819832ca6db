"""The activations of a layer: function, derivative, and change for a change of the argument."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..errors import InputError
from ..validation import (
    Array,
    array_namespace,
    kind,
    numpy_dtype,
    positive_int,
    real_array,
    shown,
)


def float_array(x: Array, name: str = "x") -> Array:
    """`x` as an array of a floating dtype, which is kept; other real numbers become float64."""
    x = real_array(x, name)
    if numpy_dtype(x).kind == "f":
        return x
    xp = array_namespace(x)
    return xp.astype(x, xp.float64)


def written(y: Array, out: Array | None) -> Array:
    """`y` itself or, if there is an `out`, that array with the values of `y`.

    It has to be an array like `y`: nothing is cast or broadcast.
    """
    if out is None:
        return y
    expected = f"an array of shape {tuple(y.shape)} and dtype {numpy_dtype(y)}"
    if not _is_array_like(out, y):
        found = f"is a {kind(out)}"
        if hasattr(out, "shape") and hasattr(out, "dtype") and not isinstance(out, type):
            found += f" of shape {shown(out.shape)} and dtype {shown(str(out.dtype))[1:-1]}"
        raise InputError(f"out {found}, but the result takes {expected}")
    if not getattr(getattr(out, "flags", None), "writeable", True):
        raise InputError("out is read-only; give an array that can be written to")
    try:
        out[...] = y
    except Exception as error:  # the libraries do not agree on which
        raise InputError(f"out is a {kind(out)} that cannot be written to: {error}") from error
    return out


def _is_array_like(out: Any, y: Array) -> bool:
    """Whether `out` is an array of the library, shape and dtype of `y`."""
    if isinstance(y, np.ndarray | np.generic) and type(out) is not np.ndarray:
        return False
    if not isinstance(y, np.generic) and not isinstance(out, type(y)):
        return False
    return tuple(out.shape) == tuple(y.shape) and out.dtype == y.dtype


def _scalar(y: Array) -> Array:
    """What arithmetic gives in place of an array without dimensions: with NumPy, a scalar."""
    return y[()] if y.ndim == 0 else y


class Expansion(NamedTuple):
    """The increment of an activation as cτ / (1 + θτ), where c and θ depend on a alone.

    τ is tanh w or, of one that is not `curved`, w itself, with w = `scale`·u.
    """

    scale: float
    curved: bool
    #: (xp, a) -> c, θ, and the |w| up to which that holds, or None where it does for all
    coefficients: Callable[[Any, Array], tuple[Array, Array, Array | None]]


class Activation(NamedTuple):
    """An activation z = f(a), its derivative, and its increment.

    Every function takes the array namespace first, and returns a new array. The derivative is
    expressed in z, because that is what a forward pass leaves behind. The increment is
    f(a + u) − f(a) for any u, computed without subtracting nearly equal numbers; a and u are
    broadcast against each other. Without one the values are subtracted, and the numerical gradient
    loses the digits that cancel.
    """

    function: Callable[[Any, Array], Array]  # (xp, a) -> z
    derivative: Callable[[Any, Array], Array]  # (xp, z) -> df/da
    increment: Callable[[Any, Array, Array], Array] | None = None  # (xp, a, u) -> f(a + u) - f(a)
    expansion: Expansion | None = None

    def change(self, xp: Any, a: Array, u: Array) -> Array:
        """f(a + u) − f(a), by the increment if there is one."""
        if self.increment is not None:
            return self.increment(xp, a, u)
        return self.function(xp, a + u) - self.function(xp, a)


# -- identity and step -----------------------------------------------------------------------------


def identity_function(x: Array) -> Array:
    """Return `x` as it is: the activation of an output layer in regression."""
    return real_array(x, "x")


def _identity(xp: Any, a: Array) -> Array:
    return xp.astype(a, a.dtype)  # a copy


def step_function(x: Array) -> Array:
    """1 where `x` > 0, else 0, in the dtype of `x`.

    >>> step_function(np.array([-1.0, 0.0, 2.0]))
    array([0., 0., 1.])
    """
    x = real_array(x, "x")
    xp = array_namespace(x)
    return _scalar(xp.where(x > 0, xp.ones_like(x), xp.zeros_like(x)))


# -- sigmoid ---------------------------------------------------------------------------------------


def sigmoid(x: Array, *, out: Array | None = None) -> Array:
    """The logistic function 1 / (1 + exp(-x)).

    Accurate to rounding wherever the result is a normal number. Where exp(-x) overflows, the true
    value is smaller than that and 1 / inf = 0 is near enough, so that overflow is no reason for a
    warning.

    >>> sigmoid(np.array([-1e4, 0.0, 1e4]))
    array([0. , 0.5, 1. ])
    """
    x = float_array(x)
    with np.errstate(over="ignore", under="ignore"):
        return written(_sigmoid(array_namespace(x), x), out)


def _sigmoid(xp: Any, a: Array) -> Array:
    return 1 / (1 + xp.exp(-a))


def sigmoid_grad(x: Array) -> Array:
    """Derivative of the sigmoid at the pre-activation `x`, accurate in both tails.

    It is computed as sigmoid(x) · sigmoid(-x).

    >>> float(sigmoid_grad(np.array(0.0)))
    0.25
    """
    x = float_array(x)
    with np.errstate(under="ignore"):
        return sigmoid(x) * sigmoid(-x)


def _sigmoid_derivative(xp: Any, z: Array) -> Array:
    return z * (1 - z)


#: s·(1 − s) of a sigmoid down to which its increment follows from exponentials of a and u alone:
#: both are normal numbers, in either dtype.
SATURATED = 1e-30


def _sigmoid_increment(xp: Any, a: Array, u: Array) -> Array:
    """s·(1 − s)·E / (1 + s·E) with s = sigmoid(a) and E = expm1(u).

    Written with 1 − s = sigmoid(−a) and, for positive u, divided through by e^u, so that it holds
    for saturated units and large u. Only where s or 1 − s is hardly above the smallest numbers it
    is ±sigmoid(b)·sigmoid(−c)·(1 − e^−|u|), b and c being the larger and the smaller of a and
    a + u: an exponential for each unit and increment, where the other form has one for each.
    """
    with np.errstate(over="ignore", under="ignore"):
        s, opposite = _sigmoid(xp, a), _sigmoid(xp, -a)
        slope = s * opposite
        decay = xp.exp(-abs(u))
        change = xp.copysign(-xp.expm1(-abs(u)), u)
        if not bool(xp.min(slope) > SATURATED):
            moved = a + u
            ends = _sigmoid(xp, xp.maximum(a, moved)), _sigmoid(xp, -xp.minimum(a, moved))
            return ends[0] * ends[1] * change
    rises, one = u > 0, xp.ones_like(u)
    above, below = xp.where(rises, one, decay), xp.where(rises, decay, one)
    return slope * change / (above * s + below * opposite)


# -- hyperbolic tangent ----------------------------------------------------------------------------


def tanh(x: Array, *, out: Array | None = None) -> Array:
    """The hyperbolic tangent."""
    x = float_array(x)
    return written(_tanh(array_namespace(x), x), out)


def _tanh(xp: Any, a: Array) -> Array:
    return xp.tanh(a)


def _tanh_increment(xp: Any, a: Array, u: Array) -> Array:
    return 2 * _sigmoid_increment(xp, 2 * a, 2 * u)  # tanh(a) = 2·sigmoid(2a) − 1


# -- rectifier -------------------------------------------------------------------------------------


def relu(x: Array, *, out: Array | None = None) -> Array:
    """max(x, 0), elementwise.

    >>> relu(np.array([-1.0, 2.0]))
    array([0., 2.])
    """
    x = real_array(x, "x")
    xp = array_namespace(x)
    x = xp.astype(x, xp.int64) if numpy_dtype(x).kind == "b" else x
    return written(_scalar(_relu(xp, x)), out)


def _relu(xp: Any, a: Array) -> Array:
    return xp.where(a < 0, xp.zeros_like(a), a)  # NaN stays NaN


def relu_grad(x: Array) -> Array:
    """Derivative of :func:`relu` at the pre-activation `x`: 1 where x > 0, else 0.

    It is 0 also at 0, where there is none.
    """
    return step_function(float_array(x))


def _relu_increment(xp: Any, a: Array, u: Array) -> Array:
    return xp.where(a > 0, xp.maximum(u, -a), _relu(xp, a + u))


# -- of several values -----------------------------------------------------------------------------


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
    xp = array_namespace(x)
    _check_last_axis(x, "maxout")
    if pieces is None:
        return xp.max(x, axis=-1)
    pieces = positive_int(pieces, "pieces")
    if x.shape[-1] % pieces:
        raise InputError(
            f"pieces={shown(pieces)} does not divide the {x.shape[-1]} values of the last axis"
        )
    units = x.shape[-1] // pieces
    return xp.max(xp.reshape(x, (*x.shape[:-1], units, pieces)), axis=-1)


def softmax(x: Array, *, out: Array | None = None) -> Array:
    """exp(x) / Σ exp(x) over the last axis; the maximum is subtracted, so that nothing overflows.

    >>> softmax(np.array([0.0, 0.0, -1e4]))
    array([0.5, 0.5, 0. ])
    """
    x = float_array(x)
    _check_last_axis(x, "softmax")
    with np.errstate(over="ignore", under="ignore"):
        return written(unchecked_softmax(array_namespace(x), x), out)


def unchecked_softmax(xp: Any, logits: Array) -> Array:
    """The softmax over the last axis, for callers that have checked the logits."""
    y = xp.exp(logits - xp.max(logits, axis=-1, keepdims=True))
    y /= xp.sum(y, axis=-1, keepdims=True)
    return y


def _check_last_axis(x: Array, function: str) -> None:
    if x.ndim == 0 or x.shape[-1] == 0:
        raise InputError(
            f"x has shape {tuple(x.shape)}; {function} needs at least one value on the last axis"
        )


def _logistic_coefficients(steepness: int) -> Any:
    """Of sigmoid and tanh, by tanh(a + b) = (tanh a + tanh b) / (1 + tanh a·tanh b)."""

    def coefficients(xp: Any, a: Array) -> tuple[Array, Array, None]:
        s, opposite = _sigmoid(xp, steepness * a), _sigmoid(xp, -steepness * a)
        return 2 * steepness * s * opposite, s - opposite, None

    return coefficients


#: Every activation of the hidden layer, by the name that a network takes.
ACTIVATIONS = {
    "sigmoid": Activation(
        _sigmoid,
        _sigmoid_derivative,
        _sigmoid_increment,
        Expansion(0.5, True, _logistic_coefficients(1)),
    ),
    "tanh": Activation(
        _tanh,
        lambda xp, z: 1 - z * z,
        _tanh_increment,
        Expansion(1.0, True, _logistic_coefficients(2)),
    ),
    "relu": Activation(
        _relu,
        lambda xp, z: xp.astype(z > 0, z.dtype),
        _relu_increment,
        Expansion(1.0, False, lambda xp, a: (xp.astype(a > 0, a.dtype), 0 * a, abs(a))),
    ),
    "identity": Activation(
        _identity,
        lambda xp, z: xp.ones_like(z),
        lambda xp, a, u: u + xp.zeros_like(a),
        Expansion(1.0, False, lambda xp, a: (xp.ones_like(a), 0 * a, None)),
    ),
}
