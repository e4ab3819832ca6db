"""Outputs, losses and their gradients, and what is counted as correct."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ...functions import LOSSES
from . import oracle
from .drawn import Drawn, bits, in_context, losses, seeds, sides, target_kinds


@given(sides, sides, losses, seeds, st.booleans())
@in_context
def test_output(backend, dtype, n, k, loss, seed, use_out):
    d = Drawn(backend, dtype, seed)
    logits, wide = d.array(n, k)
    out = d.out(n, k) if use_out else None
    result = backend.output(logits, loss, out=out)
    assert out is None or result is out
    expected = oracle.LOSSES[loss][0](wide)
    spread = np.ptp(wide, axis=1, keepdims=True) if loss == "cross_entropy" else 0
    d.assert_close(result, expected, np.abs(expected) * (1 + spread), k + 8)
    d.assert_unmodified()
    assert result is not logits


@given(sides, sides, losses, target_kinds, seeds)
@in_context
def test_loss(backend, dtype, n, k, loss, kind, seed):
    d = Drawn(backend, dtype, seed)
    logits, _ = d.array(n, k)
    y, wide_y = d.enter(backend.to_numpy(backend.output(logits, loss)))
    t, wide_t = d.targets(n, k, kind)
    result = backend.loss(y, t, loss)
    expected = oracle.loss_of(wide_y, wide_t, loss, dtype)
    bound = (wide_y**2 + wide_t**2).sum() if loss == "mean_squared_error" else 1 + expected
    d.assert_close(result, expected, bound, n * k + 16)
    d.assert_unmodified()


@given(sides, sides, losses, target_kinds, seeds, st.booleans())
@in_context
def test_loss_gradient(backend, dtype, n, k, loss, kind, seed, use_out):
    d = Drawn(backend, dtype, seed)
    (logits, wide), (t, wide_t) = d.array(n, k), d.targets(n, k, kind)
    out = d.out(n, k) if use_out else None
    value, gradient = backend.loss_gradient(logits, t, loss, out=out)
    assert out is None or gradient is out
    y = oracle.LOSSES[loss][0](wide)
    expected = y - wide_t if loss == "mean_squared_error" else (y - wide_t) / n
    spread = np.ptp(wide, axis=1, keepdims=True) if loss == "cross_entropy" else 0
    d.assert_close(
        gradient,
        expected,
        np.abs(y) * (1 + spread) + np.abs(wide_t),
        k + 12,
    )
    d.assert_close(
        value,
        backend.to_numpy(backend.loss(backend.output(logits, loss), t, loss)),
        1 + np.abs(wide).max() ** 2,
        n * k + 16,
    )
    d.assert_unmodified()


@given(sides, sides, losses, seeds)
@in_context
def test_the_kind_of_target_makes_no_difference(backend, dtype, n, k, loss, seed):
    d = Drawn(backend, dtype, seed)
    logits, _ = d.array(n, k)
    t, rows = d.targets(n, k, "labels")
    one_hot = backend.asarray(rows.astype(d.dtype))
    y = backend.output(logits, loss)
    assert bits(backend, backend.loss(y, t, loss)) == bits(backend, backend.loss(y, one_hot, loss))
    for of_labels, of_rows in zip(
        backend.loss_gradient(logits, t, loss),
        backend.loss_gradient(logits, one_hot, loss),
        strict=True,
    ):
        assert bits(backend, of_labels) == bits(backend, of_rows)
    found = [int(backend.count_correct(logits, kind, loss)) for kind in (t, one_hot)]
    assert found[0] == found[1]


@given(sides, sides, losses, target_kinds, seeds, st.booleans())
@in_context
def test_count_correct(backend, dtype, n, k, loss, kind, seed, ties):
    d = Drawn(backend, dtype, seed)
    logits, wide = (
        d.enter(d.rng.integers(2, size=(n, k)).astype(d.dtype)) if ties else d.array(n, k)
    )
    t, rows = d.targets(n, k, kind)
    assert int(backend.count_correct(logits, t, loss)) == oracle.correct(wide, rows, loss)
    if loss == "cross_entropy":
        assert int(backend.count_correct(logits, t)) == oracle.correct(wide, rows)
    d.assert_unmodified()


@in_context
def test_softmax_and_its_loss_are_quiet_at_the_extremes(backend, dtype):
    logits = backend.asarray(np.array([[1e4, -1e4, 0], [-1e4, -1e4, -1e4], [0, 1e4, 1e4]], dtype))
    t = backend.asarray(np.array([1, 0, 2], np.intp))
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        value, gradient = backend.loss_gradient(logits, t, "cross_entropy")
        y = backend.to_numpy(backend.output(logits, "cross_entropy"))
    third = 1 / 3
    np.testing.assert_allclose(y, [[1, 0, 0], [third, third, third], [0, 0.5, 0.5]], rtol=1e-6)
    np.testing.assert_allclose(float(value), (-np.log(1e-7) + np.log(3) + np.log(2)) / 3, rtol=1e-6)
    assert np.isfinite(backend.to_numpy(gradient)).all()


@in_context
def test_the_logistic_loss_is_quiet_at_the_extremes(backend, dtype):
    """Where a probability is beyond its limits the loss is that of the limit, and no NaN."""
    logits = backend.asarray(np.array([[1e3, -1e3], [-1e3, 1e3], [0, 1e4]], dtype))
    t = backend.asarray(np.array([[1, 0], [1, 0], [0.5, 0]], dtype))
    value, gradient = backend.loss_gradient(logits, t, "binary_cross_entropy")
    y = backend.to_numpy(backend.output(logits, "binary_cross_entropy"))
    np.testing.assert_array_equal(y, [[1, 0], [0, 1], [0.5, 1]])
    eps = float(np.finfo(dtype).eps)
    expected = (3 * -np.log(eps) + np.log(2) + 2 * eps) / 3
    np.testing.assert_allclose(float(value), expected, rtol=1e-6)
    np.testing.assert_array_equal(
        backend.to_numpy(gradient), (y - backend.to_numpy(t)) / np.asarray(3, dtype)
    )


@pytest.mark.parametrize("loss", sorted(LOSSES))
@in_context
def test_large_batches_lose_no_accuracy(backend, dtype, loss):
    """Adding 60,000 numbers one after the other in float32 would."""
    rng = np.random.default_rng(0)
    logits, labels = (
        rng.normal(size=(60_000, 10)).astype(dtype),
        rng.integers(10, size=60_000).astype(np.intp),
    )
    y = backend.to_numpy(backend.output(backend.asarray(logits), loss))
    rows = oracle.one_hot(labels, 10).astype(np.longdouble)
    expected = oracle.loss_of(y.astype(np.longdouble), rows, loss, dtype)
    for t in (labels, oracle.one_hot(labels, 10).astype(dtype)):
        found = backend.loss(backend.asarray(y), backend.asarray(t), loss)
        assert float(found) == pytest.approx(float(expected), rel=64 * float(np.finfo(dtype).eps))
