"""The losses that a network ends with, and their gradients with respect to its logits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, TypeAlias

from ..errors import InputError
from ..validation import (
    Array,
    array_namespace,
    check_finite,
    check_probabilities,
    check_targets,
)
from .activations import ACTIVATIONS, float_array, unchecked_softmax

#: What the book adds to a probability before it takes the logarithm, so that log(0) does not occur.
LOG_GUARD = 1e-7


#: What the targets of a sample are: one distribution over all outputs, whose sum is one, so that a
#: single output would be one whatever the network has learned; a probability for each output by
#: itself; or any values.
Targets: TypeAlias = Literal["distribution", "probabilities", "values"]


def largest_is_right(xp: Any, logits: Array, t: Array) -> Array:
    """Whether the largest output is where the target's largest value is; of several the first."""
    labels = t if t.ndim == 1 else xp.argmax(t, axis=1)
    return xp.argmax(logits, axis=1) == labels


class Loss(NamedTuple):
    """What a network ends with: the output function of the logits, and the loss of that output.

    Every function takes the array namespace first. Targets are rows (samples, outputs) of the dtype
    of the logits: labels have become one-hot before, but for `right`. The gradient is that of the
    value with respect to the logits that `y` is the output of; it may be written over `y`.
    """

    output: Callable[[Any, Array], Array]  # (xp, logits) -> y, a new array
    value: Callable[[Any, Array, Array], Array]  # (xp, y, t) -> scalar
    gradient: Callable[[Any, Array, Array], Array]  # (xp, y, t) -> d value / d logits
    # For sample weights: the loss of each sample, and whether the value is their mean or their sum.
    of_samples: Callable[[Any, Array, Array], Array] | None = None  # (xp, y, t) -> (samples,)
    mean: bool = True
    targets: Targets = "values"
    # For the accuracy: which samples are classified right, and whether a single output can tell.
    right: Callable[[Any, Array, Array], Array] = largest_is_right  # (xp, logits, t) -> (samples,)
    single_output_decides: bool = False


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


def _mean_over_samples(of_samples: Callable[[Any, Array, Array], Array]) -> Any:
    """The mean of the losses of the samples.

    Row by row first: a one-hot row adds only zeros, so that it gives what its label's logarithm is.
    """
    return lambda xp, y, t: xp.sum(of_samples(xp, y, t)) / y.shape[0]


def _surprisals(xp: Any, y: Array, t: Array) -> Array:
    return -xp.sum(t * xp.log(y + LOG_GUARD), axis=1)


_cross_entropy = _mean_over_samples(_surprisals)


def _cross_entropy_gradient(xp: Any, y: Array, t: Array) -> Array:
    y -= t
    y /= y.shape[0]
    return y


# -- binary cross-entropy --------------------------------------------------------------------------


def binary_cross_entropy_error(y: Array, t: Array) -> Array:
    """−Σ (t · log(y) + (1 − t) · log(1 − y)) / samples: a yes or no of each output by itself.

    As scikit-learn defines it for its ``MLPClassifier``: probabilities are limited to [ε, 1 − ε],
    with ε the spacing of the numbers of their dtype at 1, and of several outputs the losses are
    added.

    Parameters
    ----------
    y : array, shape (samples, outputs), or (samples,) of a single output
        Probabilities.
    t : array of the same shape, each value from 0 to 1; of a single output, shape (samples,) or
        (samples, 1), whatever the shape of `y`
        With several outputs, integer labels of shape (samples,) stand for their one-hot rows.

    Returns
    -------
    scalar of the dtype of `y`

    Raises
    ------
    InputError
        If the shapes do not fit, or a value of `y` or `t` is below 0 or above 1.
    DtypeError
        If labels are not integers.

    >>> import numpy as np
    >>> y = np.array([0.9, 0.2, 0.5])
    >>> round(float(binary_cross_entropy_error(y, np.array([1, 0, 1]))), 12)
    0.340550415844
    """
    y = float_array(y, "y")
    if y.ndim not in (1, 2) or 0 in y.shape:
        raise InputError(
            f"y has shape {tuple(y.shape)}; "
            "give (samples, outputs), or (samples,) of a single output"
        )
    xp = array_namespace(y)
    xp, y, t = _outputs_and_targets(xp.reshape(y, (-1, 1)) if y.ndim == 1 else y, t, values=True)
    for a, name in ((y, "y"), (t, "t")):
        check_probabilities(a, name, xp=xp)
    return _binary_cross_entropy(xp, y, t)


def _logistic(xp: Any, logits: Array) -> Array:
    return ACTIVATIONS["sigmoid"].function(xp, logits)


def _binary_surprisals(xp: Any, y: Array, t: Array) -> Array:
    epsilon = float(xp.finfo(y.dtype).eps)
    p = xp.clip(y, epsilon, 1 - epsilon)
    return -xp.sum(t * xp.log(p) + (1 - t) * xp.log(1 - p), axis=1)


_binary_cross_entropy = _mean_over_samples(_binary_surprisals)


def _every_output_is_right(xp: Any, logits: Array, t: Array) -> Array:
    # Of the probability: a logit just above 0 still is one half.
    y = _logistic(xp, logits)
    return xp.all((y > 0.5) == (one_hot(xp, t, y) > 0.5), axis=1)


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
#: of the guarded loss by a factor p / (p + 1e-7) in each target probability p. That of the binary
#: cross-entropy is the same: the derivative without the limits of the probabilities, beyond which
#: the loss does not grow.
LOSSES = {
    "cross_entropy": Loss(
        unchecked_softmax,
        _cross_entropy,
        _cross_entropy_gradient,
        _surprisals,
        targets="distribution",
    ),
    "mean_squared_error": Loss(
        lambda xp, logits: xp.astype(logits, logits.dtype),
        _squared_error,
        _squared_error_gradient,
        _squared_errors,
        mean=False,
    ),
    "binary_cross_entropy": Loss(
        _logistic,
        _binary_cross_entropy,
        _cross_entropy_gradient,
        _binary_surprisals,
        targets="probabilities",
        right=_every_output_is_right,
        single_output_decides=True,
    ),
}
