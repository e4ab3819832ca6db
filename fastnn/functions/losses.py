"""The losses that a network ends with, and their gradients with respect to its logits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ..errors import InputError
from ..validation import Array, array_namespace, check_finite, check_targets
from .activations import float_array, unchecked_softmax

#: What the book adds to a probability before it takes the logarithm, so that log(0) does not occur.
LOG_GUARD = 1e-7


#: The losses whose outputs are probabilities: targets in rows sum to one, and a single output is
#: one, whatever the network has learned.
OF_PROBABILITIES = frozenset({"cross_entropy"})


class Loss(NamedTuple):
    """What a network ends with: the output function of the logits, and the loss of that output.

    Every function takes the array namespace first. Targets are rows (samples, outputs) of the dtype
    of the logits: labels have become one-hot before. The gradient is that of the value with respect
    to the logits that `y` is the output of; it may be written over `y`.
    """

    output: Callable[[Any, Array], Array]  # (xp, logits) -> y, a new array
    value: Callable[[Any, Array, Array], Array]  # (xp, y, t) -> scalar
    gradient: Callable[[Any, Array, Array], Array]  # (xp, y, t) -> d value / d logits
    # For sample weights: the loss of each sample, and whether the value is their mean or their sum.
    of_samples: Callable[[Any, Array, Array], Array] | None = None  # (xp, y, t) -> (samples,)
    mean: bool = True


def one_hot(xp: Any, t: Array, like: Array) -> Array:
    """Targets as rows; labels, shape (samples,), become one-hot rows.

    These have the shape and dtype of `like`; targets that are rows already stay.
    """
    if t.ndim == 2:
        return t
    # 0, 1, … on the device of `like`, which `arange` would have to be told, and not everywhere can.
    classes = xp.nonzero(xp.ones_like(like[0, ...]))[0]
    return xp.astype(t[:, None] == classes[None, :], like.dtype)


# -- cross-entropy ---------------------------------------------------------------------------------


def cross_entropy_error(y: Array, t: Array) -> Array:
    """−Σ t · log(y + 1e-7) / samples: the book's cross-entropy, with its guard against log(0).

    Parameters
    ----------
    y : array, shape (samples, classes), or (classes,) for a single sample
        Probabilities.
    t : array of the same shape, one-hot or soft; or integer labels, shape (samples,), or a scalar
        for a single sample

    Returns
    -------
    scalar of the dtype of `y`

    Raises
    ------
    InputError
        If the shapes do not fit or a label is out of range.
    DtypeError
        If labels are not integers.

    >>> import numpy as np
    >>> y = np.array([0.1, 0.05, 0.6, 0.0, 0.05, 0.1, 0.0, 0.1, 0.0, 0.0])
    >>> float(cross_entropy_error(y, np.array(2)))
    0.510825457099338
    """
    return _cross_entropy(*_outputs_and_targets(y, t, values=False))


def _surprisals(xp: Any, y: Array, t: Array) -> Array:
    return -xp.sum(t * xp.log(y + LOG_GUARD), axis=1)


def _cross_entropy(xp: Any, y: Array, t: Array) -> Array:
    # Row by row first: a one-hot row adds only zeros, so that it gives what its label's logarithm
    # is.
    return xp.sum(_surprisals(xp, y, t)) / y.shape[0]


def _cross_entropy_gradient(xp: Any, y: Array, t: Array) -> Array:
    y -= t
    y /= y.shape[0]
    return y


# -- squared error ---------------------------------------------------------------------------------


def mean_squared_error(y: Array, t: Array) -> Array:
    """½ · Σ (y − t)² over everything: the book's loss, which has no mean over the batch.

    Parameters
    ----------
    y : array, shape (samples, outputs), or (outputs,) for a single sample
    t : array of the same shape; or integer labels, shape (samples,), which stand for their one-hot
        rows, and with a single output the values themselves

    Returns
    -------
    scalar of the dtype of `y`

    Raises
    ------
    InputError
        If the shapes do not fit: nothing is broadcast.

    >>> import numpy as np
    >>> y = np.array([0.1, 0.05, 0.6, 0.0, 0.05, 0.1, 0.0, 0.1, 0.0, 0.0])
    >>> round(float(mean_squared_error(y, np.array(2))), 12)
    0.0975
    """
    return _squared_error(*_outputs_and_targets(y, t, values=True))


#: The same function under the name that later printings use.
sum_squared_error = mean_squared_error


def _squared_error(xp: Any, y: Array, t: Array) -> Array:
    difference = y - t
    return xp.sum(difference * difference) / 2


def _squared_errors(xp: Any, y: Array, t: Array) -> Array:
    difference = y - t
    return xp.sum(difference * difference, axis=1) / 2


def _squared_error_gradient(xp: Any, y: Array, t: Array) -> Array:
    y -= t
    return y


# -- targets ---------------------------------------------------------------------------------------


def _outputs_and_targets(y: Array, t: Array, *, values: bool) -> tuple[Any, Array, Array]:
    """The namespace of both, `y` as rows, and `t` as rows of its dtype."""
    y = float_array(y, "y")
    if y.ndim not in (1, 2) or 0 in y.shape:
        raise InputError(
            f"y has shape {tuple(y.shape)}; "
            "give (samples, classes), or (classes,) for a single sample"
        )
    single = y.ndim == 1
    xp = array_namespace(y)
    y = xp.reshape(y, (1, -1)) if single else y
    t = check_targets(t, y.shape[0], y.shape[1], single=single, values=values)
    array_namespace(y, t)  # refuses a mixture
    check_finite(t, "t", xp)
    return xp, y, xp.astype(one_hot(xp, t, y), y.dtype, copy=False)


#: Every loss, by the name that a network takes. The gradient of the cross-entropy is the book's
#: y − t over the number of samples: the derivative without the 1e-7 guard, which differs from that
#: of the guarded loss by a factor p / (p + 1e-7) in each target probability p.
LOSSES = {
    "cross_entropy": Loss(
        unchecked_softmax, _cross_entropy, _cross_entropy_gradient, _surprisals, mean=True
    ),
    "mean_squared_error": Loss(
        lambda xp, logits: xp.astype(logits, logits.dtype),
        _squared_error,
        _squared_error_gradient,
        _squared_errors,
        mean=False,
    ),
}
