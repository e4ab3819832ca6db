"""The same mathematics in plain NumPy: what results are checked against, and reference kernels.

A benchmark's ratio is its time over that of the function here that does the same, both on one
thread and in the same rounds. These functions are not to be made faster: the ratios that were
committed depend on them.
"""

from __future__ import annotations

import numpy as np

from .problems import LEARNING_RATE

Params = dict[str, np.ndarray]


def sigmoid(a: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-a))."""
    return 1 / (1 + np.exp(-a))


def dense(x: np.ndarray, W: np.ndarray, b: np.ndarray, activation: str) -> np.ndarray:
    """A sigmoid or identity layer."""
    a = x @ W + b
    return sigmoid(a) if activation == "sigmoid" else a


def softmax(logits: np.ndarray) -> np.ndarray:
    """Over each row."""
    y = np.exp(logits - logits.max(axis=1, keepdims=True))
    return y / y.sum(axis=1, keepdims=True)


def cross_entropy(y: np.ndarray, t: np.ndarray) -> float:
    """Mean of −log(y + 1e-7) at the labels."""
    return -np.log(y[np.arange(len(t)), t] + 1e-7).sum() / len(t)


def loss_gradient(logits: np.ndarray, t: np.ndarray) -> tuple[float, np.ndarray]:
    """Softmax, cross-entropy, and the derivative with respect to the logits."""
    y = softmax(logits)
    value = cross_entropy(y, t)
    y[np.arange(len(t)), t] -= 1
    return value, y / len(t)


def count_correct(logits: np.ndarray, t: np.ndarray) -> int:
    """How many rows have their maximum at the label."""
    return (logits.argmax(axis=1) == t).sum()


def dense_backward(delta: np.ndarray, W: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Through the weights and a sigmoid."""
    return delta @ W.T * z * (1 - z)


def dense_gradient(x: np.ndarray, delta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of a layer's weights and biases."""
    return x.T @ delta, delta.sum(axis=0)


def descent(parameter: np.ndarray, gradient: np.ndarray) -> None:
    """In place."""
    parameter -= LEARNING_RATE * gradient


def dense_descent(W: np.ndarray, b: np.ndarray, x: np.ndarray, delta: np.ndarray) -> None:
    """In place."""
    dW, db = dense_gradient(x, delta)
    descent(W, dW)
    descent(b, db)


def predict(params: Params, x: np.ndarray) -> np.ndarray:
    """The probabilities of the network."""
    z1 = dense(x, params["W1"], params["b1"], "sigmoid")
    return softmax(dense(z1, params["W2"], params["b2"], "identity"))


def loss(params: Params, x: np.ndarray, t: np.ndarray) -> float:
    """The network's loss."""
    return cross_entropy(predict(params, x), t)


def gradient(params: Params, x: np.ndarray, t: np.ndarray) -> Params:
    """Backpropagation."""
    z1 = dense(x, params["W1"], params["b1"], "sigmoid")
    _, delta2 = loss_gradient(dense(z1, params["W2"], params["b2"], "identity"), t)
    delta1 = dense_backward(delta2, params["W2"], z1)
    dW1, db1 = dense_gradient(x, delta1)
    dW2, db2 = dense_gradient(z1, delta2)
    return {"W1": dW1, "b1": db1, "W2": dW2, "b2": db2}


def step(params: Params, x: np.ndarray, t: np.ndarray) -> None:
    """One step of gradient descent, in place."""
    for name, values in gradient(params, x, t).items():
        descent(params[name], values)


def numerical_gradient(
    params: Params, name: str, indices: list, x: np.ndarray, t: np.ndarray, h: float
) -> np.ndarray:
    """Central differences for these entries of a parameter, two losses for each."""
    parameter = params[name]
    result = []
    for index in indices:
        value = parameter[index]
        parameter[index] = value + h
        above = loss(params, x, t)
        parameter[index] = value - h
        below = loss(params, x, t)
        parameter[index] = value
        result.append((above - below) / (2 * h))
    return np.array(result)
