"""The activations that compiled code knows: the functions, their derivatives, and their numbers.

Sigmoid and tanh are one curve, the logistic function s: sigmoid(a) = s(λa) with the steepness λ =
1, and tanh(a) = 2·s(λa) − 1 with λ = 2.
"""

from __future__ import annotations

from typing import Any

from .elementary import like, sigmoid, tanh
from .jit import inner

IDENTITY, SIGMOID, TANH, RELU = range(4)

#: Which activations the kernels know, and as what compiled code is told them.
ACTIVATION_CODES = {"identity": IDENTITY, "sigmoid": SIGMOID, "tanh": TANH, "relu": RELU}


@inner
def activate(z: Any, activation: int) -> None:
    """z = f(z), in place: of two arrays the compiled code would ask whether they overlap."""
    if activation == SIGMOID:
        for j in range(z.size):
            z[j] = sigmoid(z[j])
    elif activation == TANH:
        for j in range(z.size):
            z[j] = tanh(z[j])
    elif activation == RELU:
        for j in range(z.size):
            z[j] = like(z[j], 0) if z[j] < 0 else z[j]


@inner
def multiply_row_by_derivative(z: Any, activation: int, d: Any) -> None:
    """D ⊙ f′ in place for one row, with f′ expressed in the activation's output `z`."""
    if activation == SIGMOID:
        for j in range(z.size):
            d[j] *= z[j] * (like(z[j], 1) - z[j])
    elif activation == TANH:
        for j in range(z.size):
            d[j] *= like(z[j], 1) - z[j] * z[j]
    elif activation == RELU:
        for j in range(z.size):
            d[j] = d[j] if z[j] > 0 else like(z[j], 0)


@inner
def is_logistic(activation: int) -> bool:
    """Whether it is the sigmoid or tanh."""
    return activation in (SIGMOID, TANH)


@inner
def steepness(activation: int) -> float:
    """λ of the sigmoid or of tanh."""
    return 1.0 if activation == SIGMOID else 2.0
