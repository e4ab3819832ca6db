"""Calls on plain arrays that are mostly zeros: Numba compresses them on the way in."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastnn
from fastnn.backends.numba.samples import SparseRows
from fastnn.errors import InputError
from fastnn.streams import Stream


def network(backend, dtype="float64", **options):
    return fastnn.TwoLayerNet(60, 8, 4, 0.5, backend=backend, dtype=dtype, rng=0, **options)


def zeros_mostly(shape, density=0.2, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    return (rng.standard_normal(shape) * (rng.random(shape) < density)).astype(dtype)


@pytest.mark.parametrize("activation", ["sigmoid", "relu", "tanh", "identity"])
@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_every_call_gives_what_arrays_give(dtype, activation, kind):
    x = zeros_mostly((300, 60), dtype=kind)
    t = np.random.default_rng(1).integers(4, size=300)
    numba = network("numba", dtype, activation=activation)
    reference = network("numpy", dtype, activation=activation)
    assert isinstance(numba._enter(x)[0], SparseRows)
    rtol = 1e-12 if dtype == "float64" else 2e-5
    for targets in (t, np.eye(4)[t], np.eye(4, dtype=np.float32)[t]):
        assert numba.loss(x, targets) == pytest.approx(reference.loss(x, targets), rel=rtol)
        assert numba.accuracy(x, targets) == reference.accuracy(x, targets)
        expected = reference.gradient(x, targets)
        for name, gradient in numba.gradient(x, targets).items():
            scale = np.abs(expected[name]).max()
            np.testing.assert_allclose(gradient, expected[name], rtol=rtol, atol=rtol * scale)
    np.testing.assert_allclose(numba.predict(x), reference.predict(x), rtol=rtol)


@given(
    st.integers(1, 40), st.integers(300, 900), st.floats(0, 1), st.sampled_from(["f4", "f8"]),
    st.booleans(),
)  # fmt: skip
def test_the_same_values(rows, features, density, dtype, sorted_rows):
    x = zeros_mostly((rows, features), density, dtype=dtype)
    if sorted_rows:  # rows that are looked at are no guide to the others
        x = x[np.argsort(np.count_nonzero(x, axis=1))]
        x[1::2] = 1
    found = fastnn.get_backend("numba").samples(x, np.dtype(np.float64))
    if found is not None:
        np.testing.assert_array_equal(found.gathered(), x.astype(np.float64))
        assert found.samples[2].dtype == np.float64
    elif x.size >= 10_000 and not sorted_rows:
        assert np.count_nonzero(x) > 0.15 * x.size


def test_dense_and_small_samples_stay_arrays():
    numba = network("numba")
    for x in (np.ones((300, 60)), zeros_mostly((10, 60)), zeros_mostly((300, 60)).astype(int)):
        assert isinstance(numba._enter(x)[0], np.ndarray)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("rows", [300, 2500])
def test_the_place_of_what_is_not_finite(value, rows):
    x = zeros_mostly((rows, 60))
    x[rows - 7, 31] = value
    numba, t = network("numba"), np.zeros(rows, int)
    calls = numba.loss, numba.accuracy, numba.gradient, lambda x, _: numba.predict(x)
    for call in calls:
        with pytest.raises(InputError, match=rf"x\[{rows - 7}, 31\] is {value}"):
            call(x, t)
    with pytest.raises(InputError, match=r"beyond the range of float32"):
        network("numba", "float32").accuracy(np.where(np.isfinite(x), x, 1e300), t)


@pytest.mark.parametrize("density", [0.0, 0.2, 1.0])
def test_accuracy_in_pieces(backend, density):
    x = zeros_mostly((3400, 60), density)
    x[1100:1900] = np.random.default_rng(2).standard_normal((800, 60))
    t = np.random.default_rng(1).integers(4, size=3400)
    net, reference = network(backend), network("numpy")
    y = reference.predict(x).argmax(axis=1)
    assert net.accuracy(x, t) == pytest.approx(np.mean(y == t), abs=1e-12)
    assert net.accuracy(x, np.eye(4)[t]) == pytest.approx(np.mean(y == t), abs=1e-12)
    with pytest.raises(InputError, match="3399 labels, but x holds 3400"):
        net.accuracy(x, t[1:])
    with pytest.raises(InputError, match=r"t holds the label 4"):
        net.accuracy(x, t + 1)
    with pytest.raises(InputError, match="takes 60"):
        net.accuracy(x[:, 1:], t)


@pytest.mark.parametrize("density", [0.0, 0.2, 1.0])
def test_predictions_in_pieces(backend, density):
    x = zeros_mostly((3400, 60), density)
    x[1100:1900] = np.random.default_rng(2).standard_normal((800, 60))
    net, reference = network(backend), network("numpy")
    found = net.backend.to_numpy(net.predict(x))
    np.testing.assert_allclose(found, reference.predict(x), rtol=1e-12, strict=True)
    with pytest.raises(InputError, match="takes 60"):
        net.predict(x[:, 1:])


@pytest.mark.parametrize(("density", "threads"), [(0.1, True), (0.9, False)])
def test_pieces_of_what_is_compressed_are_on_threads_and_those_of_the_blas_are_not(
    density, threads, monkeypatch
):
    x, t = zeros_mostly((3400, 60), density), np.zeros(3400, int)
    net, calls = network("numba"), []
    map_of_pool = net.backend.pool.map

    def mapped(function, items):
        calls.append(len(items))
        return map_of_pool(function, items)

    monkeypatch.setattr(net.backend.pool, "map", mapped)
    for call in (lambda: net.predict(x), lambda: net.accuracy(x, t)):
        call()
        assert calls == ([4] if threads else [])
        calls.clear()
    net.accuracy(Stream(x), t)
    assert bool(calls) == threads


def test_pieces_are_entered_as_the_caller_wants_warnings(monkeypatch):
    x, net = zeros_mostly((3400, 60), 0.1), network("numba")
    outputs, seen = net._outputs_of, []

    def watched(samples):
        seen.append(np.geterr()["invalid"])
        return outputs(samples)

    monkeypatch.setattr(net, "_outputs_of", watched)
    with np.errstate(invalid="raise"):
        net.predict(x)
    assert seen == ["raise"] * 4


def test_samples_are_left_alone():
    x, t = zeros_mostly((300, 60)), np.zeros(300, int)
    x.flags.writeable = False
    before = x.copy()
    network("numba").gradient(x, t)
    np.testing.assert_array_equal(x, before)
