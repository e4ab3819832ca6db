"""The oracle: the formulas and loops of the book, plain and slow, sharing no code with fastnn.

Everything keeps the dtype that it is given, so `numpy.longdouble` gives a reference beyond float64.
Targets are one-hot or soft rows here, never labels.
"""

import numpy as np

GUARD = 1e-7


def one_hot(labels, classes):
    t = np.zeros((len(labels), classes))
    for row, label in enumerate(labels):
        t[row, label] = 1
    return t


def sigmoid(a):
    with np.errstate(over="ignore"):  # 1 / inf is right
        return 1 / (1 + np.exp(-a))


def softmax(a):
    y = np.exp(a - a.max(axis=-1, keepdims=True))
    return y / y.sum(axis=-1, keepdims=True)


#: name -> (function of the pre-activation, its derivative at the pre-activation)
ACTIVATIONS = {
    "sigmoid": (sigmoid, lambda a: sigmoid(a) * (1 - sigmoid(a))),
    "tanh": (np.tanh, lambda a: 1 - np.tanh(a) ** 2),
    "relu": (lambda a: np.where(a > 0, a, 0 * a), lambda a: np.where(a > 0, 1 + 0 * a, 0 * a)),
    "identity": (lambda a: a, lambda a: 1 + 0 * a),
}


def cross_entropy_error(y, t, guard=GUARD):
    return -np.sum(t * np.log(y + guard)) / len(y)


def mean_squared_error(y, t):
    return np.sum((y - t) ** 2) / 2


def binary_cross_entropy_error(y, t, eps=None):
    """With probabilities limited to [eps, 1 − eps], eps that of their dtype."""
    eps = np.finfo(y.dtype).eps if eps is None else eps
    y = np.clip(y, eps, 1 - eps)
    return -np.sum(t * np.log(y) + (1 - t) * np.log1p(-y)) / len(y)


#: name -> (what the network predicts from its logits, the loss of that prediction)
LOSSES = {
    "cross_entropy": (softmax, cross_entropy_error),
    "mean_squared_error": (lambda a: a, mean_squared_error),
    "binary_cross_entropy": (sigmoid, binary_cross_entropy_error),
}


def loss_of(y, t, loss, dtype):
    """The loss of an output that was of this dtype, in whatever precision."""
    of_dtype = {"eps": np.finfo(dtype).eps} if loss == "binary_cross_entropy" else {}
    return LOSSES[loss][1](y, t, **of_dtype)


def lost_digits(y, t, loss, dtype):
    """By how much rounding of an output moves the loss more than the loss's own size says.

    The logarithm of 1 − y, of an output near one, is that of a difference.
    """
    if loss != "binary_cross_entropy":
        return 0
    y = np.clip(y, np.finfo(dtype).eps, 1 - np.finfo(dtype).eps)
    return np.sum((1 - t) / (1 - y) + t / y) / len(y)


def correct(logits, t, loss="cross_entropy"):
    """How many samples are classified right."""
    if loss == "binary_cross_entropy":
        return sum(((a > 0) == (row > 0.5)).all() for a, row in zip(logits, t, strict=True))
    return sum(a.argmax() == row.argmax() for a, row in zip(logits, t, strict=True))


def hidden(params, x, activation="sigmoid"):
    return ACTIVATIONS[activation][0](x @ params["W1"] + params["b1"])


def logits(params, x, activation="sigmoid"):
    if "W" in params:
        return x @ params["W"]
    return hidden(params, x, activation) @ params["W2"] + params["b2"]


def predict(params, x, activation="sigmoid", loss="cross_entropy"):
    return LOSSES[loss][0](logits(params, x, activation))


def loss(params, x, t, activation="sigmoid", loss="cross_entropy"):
    if loss == "binary_cross_entropy":  # of the logits: that of probabilities is of limited ones
        a = logits(params, x, activation)
        return np.sum(np.logaddexp(0, a) - t * a) / len(x)
    return LOSSES[loss][1](predict(params, x, activation, loss), t)


def gradient(params, x, t, activation="sigmoid", loss="cross_entropy"):
    """Backpropagation as the book derives it: y − t, over the batch size unless it is a sum."""
    delta2 = predict(params, x, activation, loss) - t
    if loss != "mean_squared_error":
        delta2 = delta2 / len(x)
    if "W" in params:
        return {"W": x.T @ delta2}
    z1 = hidden(params, x, activation)
    delta1 = (delta2 @ params["W2"].T) * ACTIVATIONS[activation][1](x @ params["W1"] + params["b1"])
    return {
        "W1": x.T @ delta1,
        "b1": delta1.sum(axis=0),
        "W2": z1.T @ delta2,
        "b2": delta2.sum(axis=0),
    }


def numerical_gradient(f, x, h=1e-4, indices=None):
    """Central differences, one element after the other; `f` reads `x`, perturbed in place."""
    result = np.full_like(x, np.nan)
    for index in np.ndindex(x.shape) if indices is None else indices:
        value = x[index]
        x[index] = value + h
        above = f()
        x[index] = value - h
        below = f()
        x[index] = value
        result[index] = (above - below) / (2 * h)
    return result


def train(params, x, t, rows, learning_rate=0.1, h=None, **formulas):
    """The training loop on given row numbers, one row of them an iteration.

    Against backpropagation or, with a step `h`, central differences. Updates `params`, returns the
    losses.
    """
    losses = []
    for batch in rows:
        here = params, x[batch], t[batch]
        losses.append(loss(*here, **formulas))
        grads = gradient(*here, **formulas) if h is None else differences(*here, h, **formulas)
        for name in params:
            params[name] = params[name] - learning_rate * grads[name]
    return np.array(losses)


def differences(params, x, t, h=1e-4, **formulas):
    """The numerical gradient of the loss, for every parameter."""

    def f():
        return loss(params, x, t, **formulas)

    return {name: numerical_gradient(f, parameter, h) for name, parameter in params.items()}
