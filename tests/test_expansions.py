"""The numerical gradient in matrix products: what its series take, and what is left to others."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastnn
from fastnn.backends import expansions, incremental
from fastnn.backends.numba.backend import NumbaBackend
from fastnn.functions import ACTIVATIONS, LOSSES

NAMES = "W1", "b1", "W2", "b2"


def network(activation="sigmoid", loss="cross_entropy", *, scale=0.5, seed=0, samples=6):
    rng = np.random.default_rng(seed)
    net = fastnn.TwoLayerNet(5, 4, 3, activation=activation, loss=loss, rng=0)
    for name in NAMES:
        net.params[name][...] = scale * rng.normal(size=net.params[name].shape)
    return net, rng.random((samples, 5)), rng.integers(3, size=samples)


def what_is_left(net, x, t, h=1e-4):
    """(samples, units) and (samples,), as the numerical gradient of the reference has them."""
    found = []
    original = expansions.products

    def products(*arguments):
        found.append(original(*arguments))
        return found[-1]

    incremental.products = products
    try:
        net.numerical_gradient(x, t, h=h)
    finally:
        incremental.products = original
    ((left, others), _), *_ = found
    return left, others


@settings(max_examples=20)
@given(
    st.integers(0, 2**32 - 1), st.sampled_from(sorted(ACTIVATIONS)), st.sampled_from(sorted(LOSSES))
)
def test_the_largest_of_a_batch_leaves_no_less_than_each_sample(seed, activation, loss):
    """The largest sample has next to no first term here: the network is right, and sure of it."""
    rng = np.random.default_rng(seed)
    net, x, t = network(activation, loss, scale=10.0 ** rng.uniform(-2, 1), seed=seed)
    x *= 10.0 ** rng.uniform(-3, 0, (6, 1))
    x[0] *= 10.0 ** rng.uniform(1, 4)
    t[0] = net.predict(x)[0].argmax()
    largest = expansions._largest_input

    def of_each(xp, x, axis=None):
        return largest(xp, x, axis) if axis == 1 else np.full((1, 1), 1e300)

    for h in np.logspace(-7, -1, 40):
        found = what_is_left(net, x, t, h)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(expansions, "_largest_input", of_each)
            expected = what_is_left(net, x, t, h)
        for left, others in zip(found, expected, strict=True):
            assert np.array_equal(left, others)


@pytest.mark.parametrize("loss", sorted(LOSSES))
@pytest.mark.parametrize("activation", ["identity", "sigmoid", "tanh"])
def test_all_of_a_usual_network_is_in_the_products(activation, loss):
    net, x, t = network(activation, loss)
    left, others = what_is_left(net, x, t)
    assert left.shape == (6, 4)
    assert others.shape == (6,)
    assert not left.any()
    assert not others.any()


def test_of_a_relu_what_may_change_sides_is_left_unit_by_unit():
    net, x, t = network("relu")
    x[2] = 0
    net.params["b1"][1] = 5e-5  # within h of the kink for that sample, whose bias is a feature
    left, _ = what_is_left(net, x, t)
    assert left[2, 1]
    assert left.sum() == 1


def test_a_unit_with_large_weights_is_left_alone():
    net, x, t = network()
    net.params["W2"][3] = [30, -30, 0]
    left, _ = what_is_left(net, x, t)
    assert left[:, 3].any()
    assert not left[:, :3].any()


def test_a_large_step_is_left_to_others():
    left, others = what_is_left(*network(), h=0.1)
    assert left.all()
    assert others.all()


def test_where_the_first_terms_vanish_nothing_is_expanded():
    """Soft targets that are the outputs: what is left of the difference is its third power."""
    net, x, _ = network(samples=2)
    left, others = what_is_left(net, x, net.predict(x))
    assert left.all()
    assert others.all()


@given(
    st.sampled_from(sorted(ACTIVATIONS)),
    st.sampled_from(sorted(LOSSES)),
    st.floats(-2, 1.5),
    st.sampled_from([1e-4, 1e-3]),
    st.integers(0, 1000),
)
def test_products_and_differences_agree(activation, loss, exponent, h, seed):
    """Whatever is left: by the products and by the differences alone."""
    net, x, t = network(activation, loss, scale=10**exponent, seed=seed)
    rows = np.eye(3)[t]
    arguments = (np, x, rows, *(net.params[name] for name in NAMES), activation, loss, h)
    value, found = incremental.numerical_gradient(*arguments)
    kept, incremental.ALONG_UNITS = incremental.ALONG_UNITS, {}
    try:
        same_value, expected = incremental.numerical_gradient(*arguments)
    finally:
        incremental.ALONG_UNITS = kept
    assert value == same_value
    largest = max(abs(g).max() for g in expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert abs(ours - theirs).max() <= 1e-13 * largest


@pytest.mark.parametrize("samples", [1, 127, 128, 129, 300])
def test_blocks_of_samples_make_no_difference(samples, monkeypatch):
    net, x, t = network(samples=samples)
    in_blocks = net.numerical_gradient(x, t)
    monkeypatch.setattr(expansions, "SAMPLES", samples)
    for name, gradient in net.numerical_gradient(x, t).items():
        np.testing.assert_allclose(in_blocks[name], gradient, rtol=0, atol=1e-15)


def wrong(name, change):
    """A network whose backpropagation has something changed."""

    class Wrong(fastnn.TwoLayerNet):
        def gradient(self, x, t):
            found = super().gradient(x, t)
            found[name] = change(found[name])
            return found

    return Wrong


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("W1", lambda g: 1.0001 * g),
        ("W1", lambda g: g.T.copy().reshape(g.shape)),
        ("W1", lambda g: np.roll(g, 1, axis=1)),
        ("W1", lambda g: np.where(g == g.max(), 0, g)),
        ("b1", lambda g: -g),
        ("b1", lambda g: g + 1e-6),
        ("W2", lambda g: 100 * g),
        ("W2", lambda g: g[::-1].copy()),
        ("b2", lambda g: 2 * g),
        ("b2", lambda g: g[::-1].copy()),
    ],
)
def test_a_wrong_gradient_is_found(name, change):
    net, x, t = network()
    other = wrong(name, change)(5, 4, 3, rng=0)
    other.params = net.params
    assert fastnn.gradient_check(net, x, t).passed
    assert not fastnn.gradient_check(other, x, t).passed


@pytest.mark.parametrize("loss", ["cross_entropy", "mean_squared_error"])
def test_the_cubes_of_what_is_left_are_not_added_up(loss):
    """They are infinite; the other sample still is in the products."""
    net, x, t = network("relu", loss, samples=2)
    x[0, 1] = 1e120
    left, _ = what_is_left(net, x, np.eye(3)[t])
    assert left.any(axis=1).tolist() == [True, False]
    for gradient in net.numerical_gradient(x, np.eye(3)[t]).values():
        assert np.isfinite(gradient).all()


# -- in compiled code ------------------------------------------------------------------------------


def left_by_numba(monkeypatch, net, x, t, h=1e-4):
    """(samples,) of each layer, as the kernel has them."""
    from fastnn.backends.numba.kernels import workspace

    found, original = [], workspace.borrow
    monkeypatch.setattr(
        workspace, "borrow", lambda *sizes: found.append(original(*sizes)) or found[-1]
    )
    net.numerical_gradient(x, t, h=h)
    (work,) = found
    return work.left[0, 0].copy(), work.left[0, 1].copy()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("loss", ["cross_entropy", "mean_squared_error"])
@pytest.mark.parametrize("activation", ["identity", "sigmoid", "tanh"])
def test_all_of_a_usual_network_is_in_the_product_of_numba(monkeypatch, activation, loss, dtype):
    net, x, t = network(activation, loss)
    other = fastnn.TwoLayerNet(
        5, 4, 3, activation=activation, loss=loss, dtype=dtype, backend="numba"
    )
    other.params = {name: a.astype(dtype) for name, a in net.params.items()}
    for left in left_by_numba(monkeypatch, other, x, t):
        assert not left.any()


@pytest.mark.parametrize("iterations", [0, 500, 3000])
@pytest.mark.parametrize("smoothing", [0, 0.1])
def test_of_mnist_nothing_is_left(monkeypatch, mnist, iterations, smoothing):
    """At both steps that a user is likely to take: all of it is at the price of two products."""
    x, labels = mnist[0]
    net = fastnn.TwoLayerNet(784, 50, 10, backend="numba", rng=0)
    fastnn.train(net, x, labels, iterations=iterations, evaluate_every=0, rng=0)
    x, t = x[:100], (1 - smoothing) * np.eye(10)[labels[:100]] + smoothing / 10
    for h in (1e-4, "auto"):
        left = *left_by_numba(monkeypatch, net, x, t, h=h), *what_is_left(net.to("numpy"), x, t, h)
        assert [a.shape for a in left] == [(100,), (100,), (100, 50), (100,)]
        assert not any(a.any() for a in left)


def test_numba_leaves_a_sample_whose_relu_may_change_sides(monkeypatch):
    net, x, t = network("relu")
    x[2] = 0
    net.params["b1"][1] = 5e-5
    left, others = left_by_numba(monkeypatch, net.to("numba"), x, t)
    assert left.tolist() == [n == 2 for n in range(6)]
    assert not others.any()


@pytest.mark.parametrize("loss", ["cross_entropy", "mean_squared_error"])
@pytest.mark.parametrize("change", ["kink", "infinite cube", "large step"])
def test_numba_and_the_reference_agree_where_some_samples_are_left(loss, change):
    net, x, t = network("relu", loss)
    h = 1e-4
    if change == "kink":
        x[2] = 0
        net.params["b1"][1] = 5e-5
    elif change == "infinite cube":
        x[2, 1] = 1e120
    else:
        x[2] *= 500
    expected = net.numerical_gradient(x, t, h=h)
    for name, gradient in net.to("numba").numerical_gradient(x, t, h=h).items():
        largest = max(abs(g).max() for g in expected.values())
        assert abs(gradient - expected[name]).max() <= 1e-13 * largest


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("units", [1, 7, 16, 17, 24, 32, 40, 56, 70])
def test_both_powers_of_every_vector_of_units(units, dtype):
    """The third power is about 1e-8 of a gradient here, and 1e-5 of one in float32."""
    rng = np.random.default_rng(units)
    x, t = rng.random((9, 40)) * (rng.random((9, 40)) < 0.5), rng.integers(4, size=9)
    net = fastnn.TwoLayerNet(40, units, 4, 0.3, activation="tanh", rng=0)
    other = fastnn.TwoLayerNet(40, units, 4, activation="tanh", dtype=dtype, backend="numba")
    other.params = {name: a.astype(dtype) for name, a in net.params.items()}
    net.params = {name: a.astype("float64") for name, a in other.params.items()}
    h, bound = (1e-4, 1e-14) if dtype == "float64" else (3e-3, 3e-7)
    expected = net.numerical_gradient(x.astype(dtype), t, h=h)
    largest = max(abs(g).max() for g in expected.values())
    for name, gradient in other.numerical_gradient(x.astype(dtype), t, h=h).items():
        assert abs(gradient - expected[name]).max() <= bound * largest


@pytest.mark.parametrize("activation", ["relu", "sigmoid"])
def test_steps_of_which_samples_are_left_and_threads_make_no_difference(activation):
    """A step has a panel of units for each thread; the formulas of a sample depend on all units."""
    rng = np.random.default_rng(0)
    x = rng.random((400, 60)) * (rng.random((400, 60)) < 0.2)
    x[::7] *= 60
    t = rng.integers(10, size=400)
    results = []
    for backend in ("numpy", *map(NumbaBackend, (1, 2, 5))):
        net = fastnn.TwoLayerNet(60, 50, 10, 0.3, activation=activation, backend=backend, rng=0)
        given = {"iterations": 20, "batch_size": 100, "evaluate_every": 0, "rng": 1}
        fastnn.train(net, x, t, gradient="numerical", learning_rate=0.01, **given)
        results.append(net.params)
    reference, first, *others = results
    for name, parameter in first.items():
        np.testing.assert_allclose(parameter, reference[name], rtol=0, atol=1e-11)
        assert all(np.array_equal(other[name], parameter) for other in others)
