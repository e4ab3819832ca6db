"""Every operation of the contract, on every backend, against the book's formulas in extended precision.

The tolerances are bounds of the rounding error of a plain evaluation, of the form (operations) · eps · (magnitudes).
"""

from typing import ClassVar

import book
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastnn import TwoLayerNet
from fastnn.errors import DtypeError, ForeignArrayError
from fastnn.functions import ACTIVATIONS, LOSSES

sides = st.integers(1, 9)
seeds = st.integers(0, 2**32 - 1)
activations = st.sampled_from(sorted(ACTIVATIONS))
losses = st.sampled_from(sorted(LOSSES))
target_kinds = st.sampled_from(["labels", "one-hot", "soft"])


class Drawn:
    """Arrays of a shape and dtype, of a magnitude of their own each, on the backend and in extended precision."""

    def __init__(self, backend, dtype, seed):
        self.backend, self.dtype, self.rng = backend, dtype, np.random.default_rng(seed)
        self.kept = []

    def array(self, *shape, zeros=0.0):
        values = self.rng.normal(size=shape) * self.rng.choice([0.01, 1.0, 20.0])
        values[self.rng.random(shape) < zeros] = 0
        return self.enter(values.astype(self.dtype))

    def targets(self, n, k, kind):
        """On the backend as `kind` says, and in extended precision as rows."""
        labels = self.rng.integers(k, size=n)
        if kind == "labels":
            return self.enter(labels.astype(np.intp))[0], book.one_hot(labels, k).astype(np.longdouble)
        return self.enter((book.one_hot(labels, k) if kind == "one-hot" else self.rng.dirichlet([1.0] * k, n)).astype(self.dtype))

    def enter(self, host):
        device = self.backend.asarray(host.copy())
        self.kept.append((device, host))
        return device, host.astype(np.longdouble)

    def out(self, *shape):
        return self.backend.asarray(np.full(shape, np.nan, self.dtype))

    def assert_unmodified(self):
        for device, host in self.kept:
            np.testing.assert_array_equal(self.backend.to_numpy(device), host)

    def assert_close(self, result, expected, bound, operations):
        """|result − expected| ≤ operations · eps · bound, in the right dtype and shape, on the backend."""
        if np.ndim(expected):
            self.backend.check_arrays(result=result)
        found = self.backend.to_numpy(result)
        assert found.dtype == self.dtype
        assert found.shape == np.shape(expected)
        info = np.finfo(self.dtype)
        excess = np.abs(found.astype(np.longdouble) - expected) - operations * (info.eps * bound + info.tiny)
        assert (excess <= 0).all(), f"off by up to {np.max(excess)} beyond the bound"


@pytest.fixture(scope="session")
def draw(backend, dtype):
    return lambda seed: Drawn(backend, dtype, seed)


def bits(backend, array):
    return backend.to_numpy(array).tobytes()


# -- operations --------------------------------------------------------------------------------------------------------


@given(sides, sides, sides, activations, seeds, st.booleans())
def test_dense(backend, draw, n, i, j, activation, seed, use_out):
    d = draw(seed)
    (x, wide_x), (W, wide_W), (b, wide_b) = d.array(n, i, zeros=0.4), d.array(i, j), d.array(j)
    out = d.out(n, j) if use_out else None
    with backend.current():
        result, again = backend.dense(x, W, b, activation, out=out), backend.dense(x, W, b, activation)
    assert out is None or result is out
    expected = book.ACTIVATIONS[activation][0](wide_x @ wide_W + wide_b)
    # Every activation has a slope of at most 1, so the error of the pre-activation passes at most as it is.
    d.assert_close(result, expected, np.abs(wide_x) @ np.abs(wide_W) + np.abs(wide_b) + np.abs(expected), i + 8)
    d.assert_unmodified()
    assert bits(backend, again) == bits(backend, result)


@given(sides, sides, losses, seeds, st.booleans())
def test_output(backend, draw, n, k, loss, seed, use_out):
    d = draw(seed)
    logits, wide = d.array(n, k)
    out = d.out(n, k) if use_out else None
    result = backend.output(logits, loss, out=out)
    assert out is None or result is out
    expected = book.LOSSES[loss][0](wide)
    spread = np.ptp(wide, axis=1, keepdims=True) if loss == "cross_entropy" else 0
    d.assert_close(result, expected, np.abs(expected) * (1 + spread), k + 8)
    d.assert_unmodified()
    assert result is not logits


@given(sides, sides, losses, target_kinds, seeds)
def test_loss(backend, draw, n, k, loss, kind, seed):
    d = draw(seed)
    logits, _ = d.array(n, k)
    y, wide_y = d.enter(backend.to_numpy(backend.output(logits, loss)))
    t, wide_t = d.targets(n, k, kind)
    result = backend.loss(y, t, loss)
    expected = book.LOSSES[loss][1](wide_y, wide_t)
    bound = 1 + expected if loss == "cross_entropy" else (wide_y**2 + wide_t**2).sum()
    d.assert_close(result, expected, bound, n * k + 16)
    d.assert_unmodified()


@given(sides, sides, losses, target_kinds, seeds, st.booleans())
def test_loss_gradient(backend, draw, n, k, loss, kind, seed, use_out):
    d = draw(seed)
    (logits, wide), (t, wide_t) = d.array(n, k), d.targets(n, k, kind)
    out = d.out(n, k) if use_out else None
    value, gradient = backend.loss_gradient(logits, t, loss, out=out)
    assert out is None or gradient is out
    y = book.LOSSES[loss][0](wide)
    expected, spread = (y - wide_t, 0) if loss == "mean_squared_error" else ((y - wide_t) / n, np.ptp(wide, axis=1, keepdims=True))
    d.assert_close(gradient, expected, (y * (1 + spread) if loss == "cross_entropy" else np.abs(y)) + np.abs(wide_t), k + 12)
    d.assert_close(
        value, backend.to_numpy(backend.loss(backend.output(logits, loss), t, loss)), 1 + np.abs(wide).max() ** 2, n * k + 16
    )
    d.assert_unmodified()


@given(sides, sides, losses, seeds)
def test_the_kind_of_target_makes_no_difference(backend, draw, n, k, loss, seed):
    d = draw(seed)
    logits, _ = d.array(n, k)
    t, rows = d.targets(n, k, "labels")
    one_hot = backend.asarray(rows.astype(d.dtype))
    y = backend.output(logits, loss)
    assert bits(backend, backend.loss(y, t, loss)) == bits(backend, backend.loss(y, one_hot, loss))
    for of_labels, of_rows in zip(
        backend.loss_gradient(logits, t, loss), backend.loss_gradient(logits, one_hot, loss), strict=True
    ):
        assert bits(backend, of_labels) == bits(backend, of_rows)
    assert int(backend.count_correct(logits, t)) == int(backend.count_correct(logits, one_hot))


@given(sides, sides, target_kinds, seeds, st.booleans())
def test_count_correct(backend, draw, n, k, kind, seed, ties):
    d = draw(seed)
    logits, wide = d.enter(d.rng.integers(2, size=(n, k)).astype(d.dtype)) if ties else d.array(n, k)
    t, rows = d.targets(n, k, kind)
    expected = sum(int(row.argmax() == target.argmax()) for row, target in zip(wide, rows, strict=True))
    assert int(backend.count_correct(logits, t)) == expected
    d.assert_unmodified()


@given(sides, sides, sides, activations, seeds, st.booleans())
def test_dense_backward(backend, draw, n, i, j, activation, seed, use_out):
    d = draw(seed)
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
    d.assert_close(result, (wide_delta @ wide_W.T) * slope, np.abs(wide_delta) @ np.abs(wide_W.T), j + 8)
    d.assert_unmodified()


@given(sides, sides, sides, seeds)
def test_dense_gradient(backend, draw, n, i, j, seed):
    d = draw(seed)
    (x, wide_x), (delta, wide_delta) = d.array(n, i, zeros=0.4), d.array(n, j)
    dW, db = backend.dense_gradient(x, delta)
    d.assert_close(dW, wide_x.T @ wide_delta, np.abs(wide_x.T) @ np.abs(wide_delta), n + 4)
    d.assert_close(db, wide_delta.sum(axis=0), np.abs(wide_delta).sum(axis=0), n + 4)
    d.assert_unmodified()


@given(sides, sides, sides, st.floats(0, 2), seeds)
def test_dense_descent(backend, draw, n, i, j, learning_rate, seed):
    d = draw(seed)
    (x, wide_x), (delta, wide_delta) = d.array(n, i, zeros=0.4), d.array(n, j)
    (W, wide_W), (b, wide_b) = d.array(i, j), d.array(j)
    del d.kept[-2:]  # W and b are written in place
    assert backend.dense_descent(W, b, x, delta, learning_rate) is None
    step, magnitude = learning_rate * (wide_x.T @ wide_delta), learning_rate * (np.abs(wide_x.T) @ np.abs(wide_delta))
    d.assert_close(W, wide_W - step, np.abs(wide_W) + magnitude, n + 6)
    step, magnitude = learning_rate * wide_delta.sum(axis=0), learning_rate * np.abs(wide_delta).sum(axis=0)
    d.assert_close(b, wide_b - step, np.abs(wide_b) + magnitude, n + 6)
    del d.kept[1:]  # delta may be scratch space, but x is the data
    d.assert_unmodified()


@given(st.sampled_from([(3,), (2, 5), (1, 1)]), st.floats(0, 2), seeds)
def test_descent(backend, draw, shape, learning_rate, seed):
    d = draw(seed)
    (parameter, wide), (gradient, wide_gradient) = d.array(*shape), d.array(*shape)
    assert backend.descent(parameter, gradient, learning_rate) is None
    step = learning_rate * wide_gradient
    d.assert_close(parameter, wide - step, np.abs(wide) + np.abs(step), 4)


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_dense_is_quiet_and_right_in_the_tails(backend, dtype, name):
    x = np.array([[-1e4], [-800.0], [-90.0], [0.0], [90.0], [800.0], [1e4]], dtype)
    one, zero = backend.asarray(np.ones((1, 1), dtype)), backend.asarray(np.zeros(1, dtype))
    with np.errstate(over="raise", invalid="raise", divide="raise"), backend.current():
        found = backend.to_numpy(backend.dense(backend.asarray(x), one, zero, name))
    with np.errstate(over="ignore"):
        expected = book.ACTIVATIONS[name][0](x.astype(np.longdouble))
    np.testing.assert_allclose(found, expected.astype(dtype), rtol=8 * np.finfo(dtype).eps, atol=np.finfo(dtype).tiny)


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


@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_large_batches_lose_no_accuracy(backend, dtype, loss):
    """Adding 60,000 numbers one after the other in float32 would."""
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(60_000, 10)).astype(dtype), rng.integers(10, size=60_000).astype(np.intp)
    y = backend.to_numpy(backend.output(backend.asarray(logits), loss))
    expected = book.LOSSES[loss][1](y.astype(np.longdouble), book.one_hot(labels, 10).astype(np.longdouble))
    for t in (labels, book.one_hot(labels, 10).astype(dtype)):
        found = backend.loss(backend.asarray(y), backend.asarray(t), loss)
        assert float(found) == pytest.approx(float(expected), rel=64 * float(np.finfo(dtype).eps))


# -- the doors ---------------------------------------------------------------------------------------------------------


@given(seeds)
def test_arrays_survive_the_doors(backend, draw, seed):
    d = draw(seed)
    host = d.rng.normal(size=(3, 4)).astype(d.dtype)
    for array in (host, np.asfortranarray(host), host[::-1], host.tolist()):
        device = backend.asarray(array, d.dtype)
        backend.check_arrays(array=device)
        assert device.flags.c_contiguous
        assert device.dtype == d.dtype
        np.testing.assert_array_equal(backend.to_numpy(device), np.asarray(array, d.dtype))


@pytest.mark.parametrize("kind", ["u1", "i4", "?", "f2", ">f8", ">i2"])
def test_any_real_dtype_enters(backend, dtype, kind):
    entered = backend.asarray(np.array([0, 1, 1], kind), dtype)
    assert entered.dtype == dtype
    np.testing.assert_array_equal(backend.to_numpy(entered), [0, 1, 1])


def test_an_array_that_fits_is_not_copied(backend, dtype):
    a = backend.asarray(np.ones((2, 3), dtype))
    assert backend.asarray(a) is a
    assert backend.asarray(a, dtype) is a


@pytest.mark.parametrize("a", [np.array([1j]), np.array(["x"]), None, np.array(["2020"], "M8[D]")], ids=repr)
def test_only_real_numbers_enter(backend, a):
    with pytest.raises(DtypeError):
        backend.asarray(a)


class OnAGpu:
    """Like the arrays of every library that lives on CUDA devices."""

    shape, dtype = (3,), np.dtype(float)
    __cuda_array_interface__: ClassVar = {"shape": (3,), "typestr": "<f8", "data": (0, False), "version": 3}

    def __array__(self, dtype=None, copy=None):
        raise AssertionError("copied from the device silently")


class OnTheHost(OnAGpu):
    """Like a PyTorch tensor on the host: the attribute is there, but reading it raises."""

    @property
    def __cuda_array_interface__(self):
        raise AttributeError("not on a CUDA device")

    def __array__(self, dtype=None, copy=None):
        return np.arange(3.0).astype(dtype or float)


def test_an_array_on_a_device_does_not_enter_the_host_silently(backend):
    if backend.array_type is not np.ndarray:
        pytest.skip("this backend is on a device itself")
    net = TwoLayerNet(3, 4, 2, backend=backend, rng=0)
    for call in (backend.asarray, net.predict, lambda a: net.gradient(a, 1), lambda a: net.loss(np.ones((3, 3)), a)):
        with pytest.raises(ForeignArrayError, match="OnAGpu"):
            call(OnAGpu())


def test_an_array_of_another_library_on_the_host_enters(backend):
    np.testing.assert_array_equal(backend.to_numpy(backend.asarray(OnTheHost())), [0, 1, 2])


def test_check_arrays_names_what_is_foreign(backend):
    with pytest.raises(ForeignArrayError, match=rf"W1 is a builtins\.list.*{backend.name}.*asarray\(W1\)"):
        backend.check_arrays(W1=[1.0])


# -- datasets, and what a loop may ask for -----------------------------------------------------------------------------


@given(st.integers(1, 30), sides, st.integers(1, 40), target_kinds, seeds)
def test_a_dataset_hands_out_its_rows(backend, draw, n, i, size, kind, seed):
    d = draw(seed)
    (x, wide_x), (t, _) = d.array(n, i), d.targets(n, 3, kind)
    data = backend.dataset(x, t)
    assert len(data) == n
    host_t = backend.to_numpy(t)
    weights, bias = backend.asarray(np.eye(i, dtype=d.dtype)), backend.asarray(np.zeros(i, d.dtype))
    rows = d.rng.integers(n, size=size)

    def dense(samples):  # samples may be of the backend's own kind, and operations take them
        return backend.to_numpy(backend.dense(samples, weights, bias))

    batch_x, batch_t = data.batch(backend.asarray(rows))
    np.testing.assert_array_equal(dense(batch_x), wide_x[rows].astype(d.dtype))
    np.testing.assert_array_equal(backend.to_numpy(batch_t), host_t[rows])
    chunks = list(data.chunks(size))
    np.testing.assert_array_equal(np.concatenate([dense(chunk) for chunk, _ in chunks]), wide_x.astype(d.dtype))
    np.testing.assert_array_equal(np.concatenate([backend.to_numpy(chunk) for _, chunk in chunks]), host_t)
    assert all(len(chunk) == size for _, chunk in chunks[:-1])
    d.assert_unmodified()


def test_a_compiled_step_is_made_with_each_row(backend, dtype):
    """A step of kernels, which a backend may record, and one of array operations, which it may not; twice, with other rows."""
    for kernels in (True, False):
        parameter = backend.asarray(np.zeros(3, dtype))
        gradients = backend.asarray(np.arange(30.0).reshape(10, 3), dtype)
        data = backend.dataset(gradients, backend.asarray(np.zeros(10, np.intp)))
        weights, bias = backend.asarray(np.eye(3, dtype=dtype)), backend.asarray(np.zeros(3, dtype))

        def step(rows, parameter=parameter, data=data, weights=weights, bias=bias, kernels=kernels):
            x, t = data.batch(rows)
            logits = backend.dense(x, weights, bias)
            value, _ = backend.loss_gradient(logits, t, "mean_squared_error")
            if kernels:
                backend.descent(parameter, logits.reshape(3), -1.0)
            else:
                parameter[...] += logits[0]
            return value

        run = backend.compile(step)
        total = np.zeros(3)
        for count in (0, 1, 70, 3):
            numbers = np.random.default_rng(count).integers(10, size=(count, 1))
            losses = backend.empty(count, dtype)
            assert run(backend.asarray(numbers), losses) is None
            x = np.arange(30.0).reshape(10, 3)[numbers[:, 0]]
            total += x.sum(axis=0)
            np.testing.assert_allclose(backend.to_numpy(parameter), total, rtol=1e-5)
            expected = ((x - [1, 0, 0]) ** 2).sum(axis=1) / 2
            np.testing.assert_allclose(backend.to_numpy(losses), expected, rtol=1e-5)


def test_warm_up_and_synchronize_return_nothing(backend, dtype):
    assert backend.warm_up(dtype) is None
    assert backend.warm_up(dtype.name) is None
    assert backend.synchronize() is None


def test_empty(backend, dtype):
    for shape in ((2, 3), (4,), 5):
        array = backend.empty(shape, dtype)
        backend.check_arrays(array=array)
        assert array.shape == (shape if isinstance(shape, tuple) else (shape,))
        assert array.dtype == dtype
