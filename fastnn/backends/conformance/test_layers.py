"""Batches, dense layers, forwards and backwards, and the descent of their parameters."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ...functions import ACTIVATIONS
from . import oracle
from .drawn import Drawn, activations, bits, in_context, losses, seeds, sides


@given(sides, sides, st.booleans(), seeds, st.booleans())
@in_context
def test_take(backend, dtype, n, i, labels, seed, use_out):
    d = Drawn(backend, dtype, seed)
    a, _ = d.targets(n, i, "labels") if labels else d.array(n, i)
    rows, _ = d.enter(d.rng.integers(n, size=d.rng.integers(1, 20)))
    expected = backend.to_numpy(a)[backend.to_numpy(rows)]
    out = backend.empty(expected.shape, expected.dtype) if use_out else None
    result = backend.take(a, rows, out=out)
    assert out is None or result is out
    backend.check_arrays(result=result)
    assert backend.dtype_of(result) == expected.dtype
    np.testing.assert_array_equal(backend.to_numpy(result), expected)
    d.assert_unmodified()


@given(sides, sides, sides, activations, seeds, st.booleans())
@in_context
def test_dense(backend, dtype, n, i, j, activation, seed, use_out):
    d = Drawn(backend, dtype, seed)
    (x, wide_x), (W, wide_W), (b, wide_b) = d.array(n, i, zeros=0.4), d.array(i, j), d.array(j)
    out = d.out(n, j) if use_out else None
    result = backend.dense(x, W, b, activation, out=out)
    again = backend.dense(x, W, b, activation)
    assert out is None or result is out
    expected = oracle.ACTIVATIONS[activation][0](wide_x @ wide_W + wide_b)
    # Every activation has a slope of at most 1, so the error of the pre-activation passes at most
    # as it is.
    d.assert_close(
        result, expected, np.abs(wide_x) @ np.abs(wide_W) + np.abs(wide_b) + np.abs(expected), i + 8
    )
    d.assert_unmodified()
    assert bits(backend, again) == bits(backend, result)


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_dense_is_quiet_and_right_in_the_tails(backend, dtype, name):
    x = np.array([[-1e4], [-800.0], [-90.0], [0.0], [90.0], [800.0], [1e4]], dtype)
    one, zero = backend.asarray(np.ones((1, 1), dtype)), backend.asarray(np.zeros(1, dtype))
    with np.errstate(over="raise", invalid="raise", divide="raise"), backend.current():
        found = backend.to_numpy(backend.dense(backend.asarray(x), one, zero, name))
    with np.errstate(over="ignore"):
        expected = oracle.ACTIVATIONS[name][0](x.astype(np.longdouble))
    np.testing.assert_allclose(
        found, expected.astype(dtype), rtol=8 * np.finfo(dtype).eps, atol=np.finfo(dtype).tiny
    )


@given(sides, sides, sides, sides, activations, losses, seeds)
@in_context
def test_two_layer_output(backend, dtype, n, i, j, k, activation, loss, seed):
    d = Drawn(backend, dtype, seed)
    (x, wide_x), (W1, wide_W1), (b1, wide_b1) = d.array(n, i, zeros=0.6), d.array(i, j), d.array(j)
    (W2, wide_W2), (b2, wide_b2) = d.array(j, k), d.array(k)
    result = backend.two_layer_output(x, W1, b1, W2, b2, activation, loss)
    z = oracle.ACTIVATIONS[activation][0](wide_x @ wide_W1 + wide_b1)
    logits = z @ wide_W2 + wide_b2
    # Errors of z, of at most this many roundings of these magnitudes, go through W2.
    hidden = (i + 8) * (np.abs(wide_x) @ np.abs(wide_W1) + np.abs(wide_b1) + np.abs(z))
    output = (j + 8) * (np.abs(z) @ np.abs(wide_W2) + np.abs(wide_b2))
    error = (hidden @ np.abs(wide_W2) + output) * np.finfo(dtype).eps
    expected = oracle.LOSSES[loss][0](logits)
    if loss != "mean_squared_error":  # what is between 0 and 1, and changes no faster than exp
        error = np.minimum(np.expm1(2 * error.max(axis=1, keepdims=True)), 1)
    spread = np.ptp(logits, axis=1, keepdims=True) if loss == "cross_entropy" else 0
    rounding = (k + 8) * np.abs(expected) * (1 + spread)
    d.assert_close(result, expected, error / np.finfo(dtype).eps + rounding, 1)
    d.assert_unmodified()


@given(sides, sides, sides, activations, seeds, st.booleans())
@in_context
def test_dense_backward(backend, dtype, n, i, j, activation, seed, use_out):
    d = Drawn(backend, dtype, seed)
    (delta, wide_delta), (W, wide_W), (a, _) = d.array(n, j), d.array(i, j), d.array(n, i)
    zero_bias, _ = d.enter(np.zeros(i, d.dtype))
    z = backend.dense(a, backend.asarray(np.eye(i, dtype=d.dtype)), zero_bias, activation)
    wide_z = d.enter(backend.to_numpy(z))[1]
    slope = {
        "sigmoid": wide_z * (1 - wide_z),
        "tanh": 1 - wide_z**2,
        "relu": (wide_z > 0).astype(np.longdouble),
        "identity": np.ones_like(wide_z),
    }[activation]
    out = d.out(n, i) if use_out else None
    result = backend.dense_backward(delta, W, z, activation, out=out)
    assert out is None or result is out
    d.assert_close(
        result, (wide_delta @ wide_W.T) * slope, np.abs(wide_delta) @ np.abs(wide_W.T), j + 8
    )
    d.assert_unmodified()


@given(sides, sides, sides, seeds)
@in_context
def test_dense_gradient(backend, dtype, n, i, j, seed):
    d = Drawn(backend, dtype, seed)
    (x, wide_x), (delta, wide_delta) = d.array(n, i, zeros=0.4), d.array(n, j)
    dW, db = backend.dense_gradient(x, delta)
    d.assert_close(dW, wide_x.T @ wide_delta, np.abs(wide_x.T) @ np.abs(wide_delta), n + 4)
    d.assert_close(db, wide_delta.sum(axis=0), np.abs(wide_delta).sum(axis=0), n + 4)
    d.assert_unmodified()


@given(sides, sides, sides, st.floats(0, 2), seeds)
@in_context
def test_dense_descent(backend, dtype, n, i, j, learning_rate, seed):
    d = Drawn(backend, dtype, seed)
    (x, wide_x), (delta, wide_delta) = d.array(n, i, zeros=0.4), d.array(n, j)
    (W, wide_W), (b, wide_b) = d.array(i, j), d.array(j)
    del d.kept[-2:]  # W and b are written in place
    assert backend.dense_descent(W, b, x, delta, learning_rate) is None
    step, magnitude = (
        learning_rate * (wide_x.T @ wide_delta),
        learning_rate * (np.abs(wide_x.T) @ np.abs(wide_delta)),
    )
    d.assert_close(W, wide_W - step, np.abs(wide_W) + magnitude, n + 6)
    step, magnitude = (
        learning_rate * wide_delta.sum(axis=0),
        learning_rate * np.abs(wide_delta).sum(axis=0),
    )
    d.assert_close(b, wide_b - step, np.abs(wide_b) + magnitude, n + 6)
    del d.kept[1:]  # delta may be scratch space, but x is the data
    d.assert_unmodified()


@given(st.sampled_from([(3,), (2, 5), (1, 1)]), st.floats(0, 2), seeds)
@in_context
def test_descent(backend, dtype, shape, learning_rate, seed):
    d = Drawn(backend, dtype, seed)
    (parameter, wide), (gradient, wide_gradient) = d.array(*shape), d.array(*shape)
    assert backend.descent(parameter, gradient, learning_rate) is None
    step = learning_rate * wide_gradient
    d.assert_close(parameter, wide - step, np.abs(wide) + np.abs(step), 4)
