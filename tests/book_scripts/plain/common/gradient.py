import numpy as np


def numerical_gradient(f, x):
    h = 1e-4
    grad = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        kept = x[index]
        x[index] = kept + h
        above = f(x)
        x[index] = kept - h
        below = f(x)
        x[index] = kept
        grad[index] = (above - below) / (2 * h)
    return grad


def numerical_gradient_2d(f, X):
    return (
        numerical_gradient(f, X) if X.ndim == 1 else np.array([numerical_gradient(f, x) for x in X])
    )
