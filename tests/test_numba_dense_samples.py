"""The numerical gradient of samples that have few zeros, or many, in compiled code."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastnn
from fastnn.backends.numba import support
from fastnn.backends.numba.backend import NumbaBackend
from fastnn.backends.numba.compressing import compress_all
from fastnn.backends.numba.samples import SparseRows, with_all_values

BACKENDS = {threads: NumbaBackend(threads) for threads in (1, 2, 3, 12)}


def compressed(x):
    found = compress_all(BACKENDS[1].kernels, x, x.size, x.dtype)[0]
    return SparseRows(found, np.arange(len(x)), x.shape[1])


def problem(rng, dtype, samples, features, units, outputs, scale=1.0):
    shapes = (features, units), (units,), (units, outputs), (outputs,)
    parameters = [(scale * rng.normal(size=shape)).astype(dtype) for shape in shapes]
    x = rng.normal(size=(samples, features)) * (rng.random((samples, features)) < 0.7)
    return x.astype(dtype), rng.integers(outputs, size=samples), *parameters


@given(
    st.sampled_from(sorted(support.ACTIVATIONS)),
    st.sampled_from(["cross_entropy", "mean_squared_error"]),
    st.sampled_from([np.float64, np.float32]),
    st.sampled_from([1e-4, 1e-2]),
    st.floats(-2, 1),
    st.sampled_from(sorted(BACKENDS)),
    st.tuples(*(st.integers(1, most) for most in (9, 11, 70, 4))),
    st.integers(0, 2**32 - 1),
)
def test_as_if_they_were_compressed(activation, loss, dtype, h, exponent, threads, sizes, seed):
    """Also samples that are left to the other formulas, in panels of one to several vectors."""
    backend = BACKENDS[threads]
    x, *others = problem(np.random.default_rng(seed), dtype, *sizes, 10**exponent)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fastnn.backends.numba.backend.PERTURBATION_GRAIN", 1)
        value, found = backend.numerical_gradient(x, *others, activation, loss, h)
        same, expected = backend.numerical_gradient(compressed(x), *others, activation, loss, h)
    tolerance = 1e-12 if dtype is np.float64 else 1e-5
    np.testing.assert_allclose(value, same, rtol=tolerance, atol=tolerance)
    largest = max(abs(gradient).max() for gradient in expected)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance * largest)


def test_every_feature_is_in_a_part(monkeypatch):
    monkeypatch.setattr("fastnn.backends.numba.backend.PERTURBATION_GRAIN", 1)
    for features in range(1, 41):
        arguments = problem(np.random.default_rng(0), np.float64, 2, features, 6, 3)
        first, *others = (
            backend.numerical_gradient(*arguments, "sigmoid", "cross_entropy", 1e-4)[1]
            for backend in BACKENDS.values()
        )
        for gradients in others:
            assert all(map(np.array_equal, gradients, first))


def test_the_number_of_threads_changes_nothing():
    arguments = problem(np.random.default_rng(0), np.float64, 300, 203, 50, 10, 0.1)
    first, *others = (
        backend.numerical_gradient(*arguments, "sigmoid", "cross_entropy", 1e-4)
        for backend in BACKENDS.values()
    )
    for value, gradients in others:
        assert value == first[0]
        assert all(map(np.array_equal, gradients, first[1]))


def test_the_kernels_are_those_of_any_array():
    """Read-only, in columns, with gaps: what is compiled once is used for all, and the same."""
    x, *others = problem(np.random.default_rng(0), np.float64, 40, 30, 5, 3)
    backend = BACKENDS[2]
    kernel = backend.kernels.numerical_gradient.differences
    _, expected = backend.numerical_gradient(x, *others, "tanh", "cross_entropy", 1e-4)
    compiled = len(kernel.overloads)
    kept, wide = x.copy(), np.zeros((40, 60))
    kept.flags.writeable = False
    wide[:, ::2] = x
    for same in (kept, np.asfortranarray(x), wide[:, ::2], compressed(x)):
        _, found = backend.numerical_gradient(same, *others, "tanh", "cross_entropy", 1e-4)
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-15)
    assert len(kernel.overloads) == compiled
    assert not kept.flags.writeable


def test_a_sample_that_is_left_adds_nothing_to_the_products():
    """Its cubes are infinite."""
    x, t, *parameters = problem(np.random.default_rng(0), np.float64, 5, 4, 6, 3)
    x[3] = [1e120, 0, -1e150, 1]
    net = fastnn.TwoLayerNet(4, 6, 3, backend=BACKENDS[1], rng=0)
    for name, value in zip(net.params, parameters, strict=True):
        net.params[name][...] = value
    rest = [0, 1, 2, 4]
    found, expected = net.numerical_gradient(x, t), net.numerical_gradient(x[rest], t[rest])
    alone = net.numerical_gradient(x[3:4], t[3:4])
    for name, gradient in found.items():
        together = (4 * expected[name] + alone[name]) / 5
        np.testing.assert_allclose(gradient, together, rtol=1e-12, atol=1e-14)


def test_dense_samples_are_no_copy():
    x = np.arange(12.0).reshape(3, 4)
    found = with_all_values(x)
    assert found.shape == (3, 4)
    assert np.array_equal(found.gathered(), x)
    assert np.shares_memory(found.samples[2], x)
    assert with_all_values(x + 1).samples[1] is found.samples[1]
