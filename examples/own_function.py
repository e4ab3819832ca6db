"""Derivatives, gradients and gradient descent of functions of your own.

python examples/own_function.py
"""

import numpy as np

import fastnn


def f(x):
    """The book's x₀² + x₁², for one point of shape (2,) or for many of shape (n, 2)."""
    return np.sum(x**2, axis=-1)


print("f′(5) of 0.01·x² + 0.1·x:", fastnn.numerical_diff(lambda x: 0.01 * x**2 + 0.1 * x, 5.0))
print("gradient at (3, 4):", fastnn.numerical_gradient(f, np.array([3.0, 4.0])))

# One call of f for all points, and an error estimate.
gradient, error = fastnn.numerical_gradient(
    f, np.array([3.0, 4.0]), vectorized=True, h="auto", return_error=True
)
print("with a step of its own:", gradient, "error at most", error)

# The gradient at every point of a grid, for a picture of the field.
grid = np.stack(np.meshgrid([-1.0, 0.0, 1.0], [-1.0, 0.0, 1.0]), axis=-1).reshape(-1, 2)
print("field:", *fastnn.numerical_gradient_rows(f, grid).round(6).tolist())

start = np.array([-3.0, 4.0])
end = fastnn.gradient_descent(f, start, lr=0.1, step_num=100)
print("descent from", start, "to", end)
