"""Functions to differentiate, for NumPy and JAX alike, and the points at which to do it.

Run as a script, it writes their gradients by JAX in double precision to the file that it is given:
in a process of its own, because JAX starts threads, and a process with threads should not fork.
"""

import sys
from functools import partial

import numpy as np

X = np.random.default_rng(7).uniform(-1.5, 1.5, 39)
SCALES = 10.0 ** np.arange(8)
SAMPLES = np.linspace(-1, 1, 20).reshape(4, 5)
TARGETS = np.eye(3)[[0, 2, 1, 1]]


def sphere(x, xp):
    return (x**2).sum()


def rosenbrock(x, xp):
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


def logsumexp(x, xp):
    return xp.log(xp.exp(x - x.max()).sum()) + x.max()


def rastrigin(x, xp):
    return (10 + x**2 - 10 * xp.cos(2 * np.pi * x)).sum()


def ackley(x, xp):
    return -20 * xp.exp(-0.2 * xp.sqrt((x**2).mean())) - xp.exp(xp.cos(2 * np.pi * x).mean())


def beale(x, xp):
    a, b = x[0], x[1]
    return (1.5 - a + a * b) ** 2 + (2.25 - a + a * b**2) ** 2 + (2.625 - a + a * b**3) ** 2


def product(x, xp):
    return xp.cos(x).prod()


def rational(x, xp):
    return (x / (1 + x**2)).sum()


def ill_scaled_quadratic(x, xp):
    return (SCALES * x**2).sum()


def ill_scaled_point(x, xp):
    return xp.log1p((x / SCALES) ** 2).sum()


def large_offset(x, xp):
    return 1e6 + xp.sin(x).sum()


def exponentials(x, xp):
    return xp.exp(5 * x).sum()


def network_loss(x, xp):
    W1, b1, W2, b2 = x[:20].reshape(5, 4), x[20:24], x[24:36].reshape(4, 3), x[36:39]
    logits = xp.tanh(SAMPLES @ W1 + b1) @ W2 + b2
    shifted = logits - logits.max(axis=1, keepdims=True)
    return (xp.log(xp.exp(shifted).sum(axis=1)) - (shifted * TARGETS).sum(axis=1)).mean()


#: Each function and its point.
CASES = {
    sphere: X,
    rosenbrock: X[:10],
    logsumexp: X,
    rastrigin: X[:5],
    ackley: X[:6],
    beale: X[:2],
    product: X[:4],
    rational: X,
    ill_scaled_quadratic: X[:8],
    ill_scaled_point: X[:8] * SCALES,
    large_offset: X[:3],
    exponentials: X[:5],
    network_loss: X,
}

if __name__ == "__main__":
    import jax

    jax.config.update("jax_enable_x64", True)
    gradients = {
        f.__name__: np.asarray(jax.jit(jax.grad(partial(f, xp=jax.numpy)))(x))
        for f, x in CASES.items()
    }
    np.savez(sys.argv[1], **gradients)
