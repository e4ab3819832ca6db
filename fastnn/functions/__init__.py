"""The mathematics: activations, losses and their derivatives, as pure functions of arrays.

Names and behaviour are those of "Deep Learning from Scratch"; what was added is care with extreme
arguments, labels wherever the book takes one-hot targets, and errors in place of silent
broadcasting. Arrays may be of any library that keeps the array API standard, and stay of it. A
floating dtype is kept; integers become float64 where the result is not an integer.

The functions listed here check what they are given. What is not a number, such as the logarithm of
a negative probability, and what is beyond the range of its dtype stays so in the result, and NumPy
warns of it where NumPy computes. The tables :data:`ACTIVATIONS` and
:data:`LOSSES` hold the unchecked forms that a network is made of: what is added to them can be used
by every network on every backend at once.
"""

from .activations import (
    ACTIVATIONS,
    Activation,
    identity_function,
    maxout,
    relu,
    relu_grad,
    sigmoid,
    sigmoid_grad,
    softmax,
    step_function,
    tanh,
)
from .losses import (
    LOG_GUARD,
    LOSSES,
    Loss,
    Targets,
    binary_cross_entropy_error,
    cross_entropy_error,
    mean_squared_error,
    one_hot,
    sum_squared_error,
)

#: The step of the book's central differences.
DEFAULT_STEP = 1e-4

__all__ = [
    "ACTIVATIONS",
    "DEFAULT_STEP",
    "LOG_GUARD",
    "LOSSES",
    "Activation",
    "Loss",
    "Targets",
    "binary_cross_entropy_error",
    "cross_entropy_error",
    "identity_function",
    "maxout",
    "mean_squared_error",
    "one_hot",
    "relu",
    "relu_grad",
    "sigmoid",
    "sigmoid_grad",
    "softmax",
    "step_function",
    "sum_squared_error",
    "tanh",
]
