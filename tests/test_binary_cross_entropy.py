"""The logistic output with the binary cross-entropy: one output, or several independent ones."""

import numpy as np
import pytest
from conftest import ReferenceBackend
from doors import assert_refused, host, make, uses
from hypothesis import given, settings
from hypothesis import strategies as st
from test_numerical_gradient import exact_differences

import fastnn
from fastnn import DtypeError, InputError, SimpleNet, TwoLayerNet
from fastnn.backends.loss_ratios import softplus_difference
from fastnn.backends.numba.backend import NumbaBackend
from fastnn.functions import LOSSES, binary_cross_entropy_error
from fastnn.optimizers import SGD

LOSS = "binary_cross_entropy"
RNG = np.random.default_rng(5)
X = RNG.normal(size=(6, 5)) * (RNG.random((6, 5)) < 0.7)
YES = np.array([1, 0, 0, 1, 1, 0])
SEVERAL = np.array([[1, 0, 1], [0, 0, 0], [1, 1, 1], [0, 1, 0], [0, 0, 1], [1, 0, 0]])
SOFT = RNG.random((6, 3))

seeds = st.integers(0, 2**32 - 1)


def binary(backend, outputs=1, **options):
    return make(backend, outputs, loss=LOSS, **options)


# -- the function ----------------------------------------------------------------------------------


def scikit_learns(y, t, weights=None):
    """As the documentation of its MLPClassifier and its tests have it: limited by epsilon."""
    eps = np.finfo(y.dtype).eps
    p = np.clip(y, eps, 1 - eps)
    losses = -np.where(t > 0, t * np.log(p), 0) - np.where(t < 1, (1 - t) * np.log(1 - p), 0)
    return np.average(losses, weights=weights, axis=0).sum()


@given(seeds, st.integers(1, 8), st.integers(1, 4), st.sampled_from(["hard", "soft"]))
def test_the_value_is_scikit_learns(dtype, seed, n, k, kind):
    rng = np.random.default_rng(seed)
    y = rng.choice([0, 1, 1e-30, 0.5, 1 - 1e-9], (n, k)) * rng.choice([1, rng.random()])
    y = y.astype(dtype)
    t = rng.integers(2, size=(n, k)) if kind == "hard" else rng.random((n, k)).astype(dtype)
    found = binary_cross_entropy_error(y, t)
    assert found.dtype == dtype
    bound = 32 * float(np.finfo(dtype).eps)
    assert float(found) == pytest.approx(float(scikit_learns(y, t)), rel=bound, abs=bound)


def test_shapes_of_one_output():
    y = np.linspace(0.1, 0.9, 6)
    expected = binary_cross_entropy_error(y[:, None], YES[:, None])
    for a in (y, y[:, None], y.tolist()):
        for t in (YES, YES[:, None], YES.astype(bool), YES.astype("f4"), YES.tolist()):
            assert binary_cross_entropy_error(a, t) == expected
    # Labels of several outputs are classes.
    wide = np.full((2, 3), 0.25)
    assert binary_cross_entropy_error(wide, np.array([2, 0])) == binary_cross_entropy_error(
        wide, np.array([[0, 0, 1], [1, 0, 0]])
    )


@pytest.mark.parametrize(
    ("y", "t", "error", "match"),
    [
        ([0.5, 0.5], [0, 2], InputError, "t holds 2 for sample 1.*0 to 1"),
        ([0.5, 0.5], [-0.5, 1], InputError, r"t holds -0\.5 for sample 0"),
        ([0.5, 3.0], [0, 1], InputError, "y holds 3 for sample 1"),
        ([0.5, 0.5], [0, 1, 1], InputError, r"\(3,\).*\(2,\)"),
        (0.5, 1, InputError, r"y has shape \(\)"),
        (np.ones((2, 2, 2)), np.ones((2, 2, 2)), InputError, r"y has shape \(2, 2, 2\)"),
        ([[0.5, 0.5]], [1.0], DtypeError, "labels"),
        ([0.5, 0.5], [np.nan, 1], InputError, r"t\[0, 0\] is nan"),
    ],
)
def test_bad_arguments_are_refused(y, t, error, match):
    with pytest.raises(error, match=match) as caught:
        binary_cross_entropy_error(np.array(y), np.array(t))
    assert len(str(caught.value)) <= 300
    assert "\n" not in str(caught.value)


@pytest.mark.torch
@given(seeds, st.integers(1, 6), st.integers(1, 4), st.booleans())
def test_value_and_gradient_are_those_of_pytorch(backend, seed, n, k, soft):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, k)) * rng.choice([0.1, 3.0, 10.0])
    t = rng.random((n, k)) if soft else rng.integers(2, size=(n, k)).astype(float)
    leaf = torch.tensor(logits, requires_grad=True)
    expected = torch.nn.functional.binary_cross_entropy_with_logits(
        leaf, torch.tensor(t), reduction="sum"
    )
    expected = expected / n
    expected.backward()
    with backend.current():
        value, gradient = backend.loss_gradient(backend.asarray(logits), backend.asarray(t), LOSS)
    # The loss is that of the probabilities, and 1 − p is rounded; beyond 36 is the limit.
    lost = 4 * k * np.finfo(float).eps * np.exp(np.abs(logits).max())
    assert float(value) == pytest.approx(expected.item(), rel=1e-13, abs=lost)
    np.testing.assert_allclose(
        backend.to_numpy(gradient), leaf.grad.numpy(), rtol=1e-12, atol=1e-15
    )


# -- the differences -------------------------------------------------------------------------------


@settings(max_examples=200)
@given(st.floats(-900, 900), st.floats(-12, 2.8))
def test_a_difference_of_softplus_is_exact(low, exponent):
    distance = 10.0**exponent
    mpmath = pytest.importorskip("mpmath")
    mpmath.mp.dps = 60
    high = low + distance
    exact_low, exact_distance = mpmath.mpf(low), mpmath.mpf(distance)
    a, b = mpmath.exp(exact_low), mpmath.exp(exact_low + exact_distance)
    exact = mpmath.log1p((b - a) / (1 + a)) if low < 0 else mpmath.log((1 + b) / (1 + a))
    with np.errstate(all="raise", under="ignore"):
        found = softplus_difference(np, *map(np.float64, (low, high, distance)))
    # What is lost is what rounding of `high` makes of its exponential.
    bound = (abs(high) + 8) * np.finfo(float).eps
    assert float(found) == pytest.approx(float(exact), rel=bound, abs=1e-300)


@settings(max_examples=10)
@given(
    seeds,
    st.sampled_from(["sigmoid", "relu"]),
    st.sampled_from(["hard", "soft"]),
    st.sampled_from([1, 3]),
    st.sampled_from([0.1, 3, 50, 400]),
)
def test_every_difference_is_exact_to_rounding(backend, seed, activation, kind, k, scale):
    """Also where all samples are learnt, and nothing but the tails is left of the loss."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(3, 2))
    parameters = (
        rng.normal(size=(2, 2)),
        rng.normal(size=2),
        scale * rng.normal(size=(2, k)),
        rng.normal(size=k),
    )
    t = rng.integers(2, size=(3, k)).astype(float) if kind == "hard" else rng.random((3, k))
    exact = exact_differences(x, t, parameters, activation, LOSS, 1e-4)
    with backend.current():
        arrays = [backend.asarray(a) for a in (x, t, *parameters)]
        found = backend.numerical_gradient(*arrays, activation, LOSS, 1e-4)[1]
    largest = max(abs(g).max() for g in exact)
    for difference, gradient in zip(exact, found, strict=True):
        assert abs(backend.to_numpy(gradient) - difference).max() <= 1e-12 * largest + 1e-50


def test_float32_differences(backend):
    net = binary(backend, 3, dtype="float32")
    wide = binary(backend, 3)
    wide.params = {name: backend.asarray(p, "float64") for name, p in net.params.items()}
    x = X.astype(np.float32)
    exact = host(wide, wide.numerical_gradient(x, SEVERAL))
    largest = max(abs(g).max() for g in exact.values())
    for name, found in host(net, net.numerical_gradient(x, SEVERAL)).items():
        assert abs(found - exact[name]).max() <= 1e-5 * largest


# -- networks --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("outputs", "t"), [(1, YES), (3, SEVERAL), (3, SOFT)])
@pytest.mark.parametrize("method", ["incremental", "full", "projection"])
def test_the_gradients_agree(backend, outputs, t, method):
    report = fastnn.gradient_check(binary(backend, outputs), X, t, method=method, rng=0)
    assert report.passed, str(report)


def test_values_of_one_output_may_be_a_column_or_not(backend):
    for values in (YES, YES > 0, YES.astype(float), SOFT[:, 0]):
        flat, rows = binary(backend), binary(backend)
        column = np.asarray(values, float)[:, None]
        for name, call in uses(flat, X, values).items():
            if name != "test":
                found, right = call(), uses(rows, X, column)[name]()
                if isinstance(found, float):
                    assert found == right
        for name, parameter in host(flat).items():
            np.testing.assert_array_equal(parameter, host(rows)[name])
    net = binary(backend)
    for single in (1, [1], True, np.array([1.0])):
        assert net.loss(X[0], single) == net.loss(X[:1], [[1.0]])
    y = net.backend.to_numpy(net.predict(X))
    assert net.loss(X, YES) == pytest.approx(float(binary_cross_entropy_error(y, YES)), rel=1e-14)


def test_accuracy_of_one_output_and_the_subset_accuracy_of_several(backend):
    net = binary(backend)
    y = net.backend.to_numpy(net.predict(X))[:, 0]
    assert net.accuracy(X, YES) == np.mean((y > 0.5) == YES)
    assert net.accuracy(X, y) == 1  # soft targets, those that the network has learnt
    net = binary(backend, 3)
    y = net.backend.to_numpy(net.predict(X)) > 0.5
    assert net.accuracy(X, y) == 1
    y[0, 1] = not y[0, 1]
    assert net.accuracy(X, y) == pytest.approx(5 / 6)
    zeros = SimpleNet(5, 1, loss=LOSS, backend=backend, rng=0)
    zeros.W = zeros.backend.asarray(np.zeros((5, 1)))
    assert zeros.accuracy(X, YES) == 0.5  # one half is no yes


def test_training_learns_and_tells_its_accuracy(backend):
    x = np.random.default_rng(1).normal(size=(80, 5))
    for t in (x[:, 0] > 0, x[:, :3] > 0):
        net = binary(backend, 1 if t.ndim == 1 else 3)
        history = fastnn.train(
            net, x, t, x_test=x, t_test=t, iterations=400, batch_size=20, learning_rate=2.0, rng=0
        )
        assert min(history.test_accuracy[-1], net.accuracy(x, t)) > 0.8
        assert history.loss[-20:].mean() < history.loss[:20].mean() / 2


@pytest.mark.parametrize("gradient", ["backprop", "numerical"])
@pytest.mark.parametrize(("outputs", "t"), [(1, YES), (3, SOFT)])
def test_a_weight_is_a_repetition(backend, outputs, t, gradient):
    weights = np.array([1, 2, 0, 1, 3, 1])
    some, repeated = binary(backend, outputs), binary(backend, outputs)
    again = np.repeat(np.arange(6), weights)
    x, rows = np.asarray(X), np.asarray(t, float).reshape(6, outputs)
    with some.backend.current():
        data = some.dataset(x, rows, sample_weight=weights)
        everything = some.backend.asarray(np.arange(6))
        batch = data.weighted_batch(everything)
        value, layers = some._backward(*batch, {})
        found = host(some, some._of_layers(layers))
        if gradient == "numerical":
            value, differences = some._weighted_differences(batch[1])
            found = host(some, differences)
    expected = host(
        repeated,
        getattr(repeated, "gradient" if gradient == "backprop" else "numerical_gradient")(
            x[again], rows[again]
        ),
    )
    assert float(value) == pytest.approx(repeated.loss(x[again], rows[again]), rel=1e-12)
    for name, right in expected.items():
        np.testing.assert_allclose(found[name], right, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("density", [0.2, 1.0])
@pytest.mark.parametrize(
    ("outputs", "kind"), [(1, "rows"), (3, "rows"), (9, "soft"), (3, "labels")]
)
def test_numba_trains_in_one_kernel_as_the_reference_does(dtype, outputs, kind, density):
    rng = np.random.default_rng(2)
    x = (rng.normal(size=(60, 9)) * (rng.random((60, 9)) < density)).astype(dtype)
    t = {
        "labels": rng.integers(outputs, size=60),
        "rows": rng.integers(2, size=(60, outputs)),
        "soft": rng.random((60, outputs)),
    }[kind]
    backend, found = NumbaBackend(2), []
    for where in (backend, ReferenceBackend()):
        net = TwoLayerNet(9, 7, outputs, 3.0, loss=LOSS, backend=where, dtype=dtype, rng=0)
        if where is backend:
            data, step = net.dataset(x, t), None
            options = {"gradient": "backprop", "update": SGD(0.5), "batch_size": 8}
            step = net.training_step(data, lambda *_: None, **options)
            assert backend.runner(step) is not None
        history = fastnn.train(net, x, t, iterations=30, batch_size=8, learning_rate=0.5, rng=0)
        found.append((history.loss, net.params))
    tolerance = 1e-10 if dtype == np.float64 else 2e-3
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=tolerance)
    for name, parameter in found[1][1].items():
        bound = tolerance * abs(parameter).max()
        np.testing.assert_allclose(found[0][1][name], parameter, rtol=0, atol=bound)


@pytest.mark.parametrize(("value", "match"), [(2, r"holds 2 for sample 4"), (-0.5, r"holds -0\.5")])
def test_targets_that_are_no_probabilities_are_refused(backend, dtype, value, match):
    t = SEVERAL.astype(float)
    t[4, 1] = value
    net = binary(backend, 3, dtype=dtype)
    calls = uses(net, X, t)
    calls.pop("test")
    assert_refused(net, calls, InputError, rf"t\w* {match}.*0 to 1.*mean_squared_error")
    net = binary(backend, dtype=dtype)
    assert_refused(
        net, {"loss": lambda: net.loss(X, 3 * YES)}, InputError, "t holds 3 for sample 0"
    )


def test_rows_need_not_sum_to_one(backend):
    binary(backend, 3).gradient(X, SEVERAL)


def test_extremes_are_quiet(backend, dtype):
    """Logits of ±1000: neither warnings, which are errors here, nor NaN."""
    net = SimpleNet(1, 2, loss=LOSS, backend=backend, dtype=dtype, rng=0)
    net.W = net.backend.asarray(np.array([[1000.0, -1000.0]]), dtype)
    x, t = np.array([[1.0], [-1.0]]), np.array([[1, 0], [1, 0]])
    assert net.loss(x, t) == pytest.approx(-np.log(np.finfo(dtype).eps), rel=1e-6)
    np.testing.assert_array_equal(host(net, net.gradient(x, t))["W"], [[0.5, -0.5]])
    assert net.accuracy(x, t) == 0.5
    net = TwoLayerNet(
        1, 1, 2, activation="identity", loss=LOSS, backend=backend, dtype=dtype, rng=0
    )
    for name, value in {"W1": [[1.0]], "W2": [[1000.0, -1000.0]]}.items():
        net.params[name] = net.backend.asarray(np.array(value), dtype)
    found, right = net.numerical_gradient(x, t), net.gradient(x, t)
    for name, gradient in host(net, found).items():
        np.testing.assert_allclose(gradient, host(net, right)[name], rtol=1e-5, atol=1e-30)


def test_it_stands_in_the_table():
    assert LOSSES[LOSS].targets == "probabilities"
    assert not make("numpy", 1, loss="mean_squared_error").has_accuracy
    assert binary("numpy").has_accuracy


def test_a_file_holds_such_a_network(tmp_path):
    net = binary("numpy")
    net.save(tmp_path / "network.safetensors")
    again = fastnn.load(tmp_path / "network.safetensors", "numpy")
    assert again.loss_name == LOSS
    assert again.loss(X, YES) == net.loss(X, YES)
