"""An activation or a loss that is added to fastnn.functions works on every backend at once."""

import book
import numpy as np
import pytest

import fastnn
from fastnn.functions import ACTIVATIONS, LOSSES, Activation, Loss

RNG = np.random.default_rng(0)
X = RNG.normal(size=(30, 6)) * (RNG.random((30, 6)) < 0.4)
T = RNG.normal(size=(30, 3)) * 2
LABELS = RNG.integers(3, size=30)


def softplus_increment(xp, a, u):
    """log1p(sigmoid(a)·expm1(u))."""
    return xp.log1p(xp.expm1(u) / (1 + xp.exp(-a)))


SOFTPLUS = Activation(
    lambda xp, a: xp.log1p(xp.exp(a)), lambda xp, z: 1 - xp.exp(-z), softplus_increment
)


def huber(xp, y, t):
    d = abs(y - t)
    return xp.sum(xp.where(d <= 1, d * d / 2, d - 0.5)) / y.shape[0]


def huber_gradient(xp, y, t):
    d = y - t
    return xp.where(abs(d) <= 1, d, xp.sign(d)) / y.shape[0]


HUBER = Loss(lambda xp, logits: xp.astype(logits, logits.dtype), huber, huber_gradient)

#: The same for the oracle, in whatever precision.
book_activation = (lambda a: np.log1p(np.exp(a)), lambda a: 1 / (1 + np.exp(-a)))
book_loss = (lambda a: a, lambda y, t: huber(np, y, t))


@pytest.fixture(
    params=[("softplus", "huber"), ("softplus", "cross_entropy"), ("sigmoid", "huber")],
    ids="-".join,
)
def names(request, monkeypatch):
    """Two names, of which one at least is new."""
    monkeypatch.setitem(ACTIVATIONS, "softplus", SOFTPLUS)
    monkeypatch.setitem(LOSSES, "huber", HUBER)
    monkeypatch.setitem(book.ACTIVATIONS, "softplus", book_activation)
    monkeypatch.setitem(book.LOSSES, "huber", book_loss)
    return request.param


def network(backend, names, dtype="float64"):
    activation, loss = names
    return fastnn.TwoLayerNet(
        6, 5, 3, 0.5, activation=activation, loss=loss, backend=backend, dtype=dtype, rng=0
    )


def targets(names):
    return LABELS if names[1] == "cross_entropy" else T


def wide(net):
    return {name: net.backend.to_numpy(p).astype(np.longdouble) for name, p in net.params.items()}


def slope(parameters, t, names, h=1e-6):
    """The gradient of the oracle's loss, by central differences in extended precision."""
    activation, loss = names

    def value():
        return book.loss(parameters, X.astype(np.longdouble), t, activation=activation, loss=loss)

    return {
        name: book.numerical_gradient(value, p, h=np.longdouble(h))
        for name, p in parameters.items()
    }


def rows(names):
    return (book.one_hot(LABELS, 3) if names[1] == "cross_entropy" else T).astype(np.longdouble)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_predictions_losses_and_gradients(backend, names, dtype):
    net, t = network(backend, names, dtype), targets(names)
    activation, loss = names
    rtol = 1e-4 if dtype == "float32" else 1e-10
    expected = book.predict(wide(net), X, activation, loss).astype(float)
    np.testing.assert_allclose(backend.to_numpy(net.predict(X)), expected, rtol=rtol, atol=rtol)
    assert net.loss(X, t) == pytest.approx(
        float(book.loss(wide(net), X, rows(names), activation, loss)), rel=rtol
    )
    exact = slope(wide(net), rows(names), names)
    for method in ("gradient", "numerical_gradient"):
        for name, found in getattr(net, method)(X, t).items():
            # The book's gradient leaves out the guard of the cross-entropy.
            np.testing.assert_allclose(
                backend.to_numpy(found).astype(float),
                exact[name].astype(float),
                rtol=0,
                atol=max(rtol, 2e-6),
            )
    assert fastnn.gradient_check(net, X, t).passed
    if dtype == "float64":
        assert fastnn.gradient_check(net, X, t, method="full").passed


@pytest.mark.parametrize("gradient", ["backprop", "numerical"])
def test_training(backend, names, gradient):
    net, t = network(backend, names), targets(names)
    draws = np.random.default_rng(1).integers(30, size=(40, 8))
    parameters, losses, before = wide(net), [], net.loss(X, t)
    for batch in draws:
        x, r = X[batch].astype(np.longdouble), rows(names)[batch]
        activation, loss = names

        def value(x=x, r=r, activation=activation, loss=loss):
            return book.loss(parameters, x, r, activation=activation, loss=loss)

        losses.append(value())
        steps = {
            name: book.numerical_gradient(value, p, h=np.longdouble(1e-6))
            for name, p in parameters.items()
        }
        for name, step in steps.items():
            parameters[name] -= 0.2 * step
    found = fastnn.train(
        net, X, t, iterations=40, batch_size=8, learning_rate=0.2, gradient=gradient, rng=1
    ).loss
    np.testing.assert_allclose(found, np.array(losses, float), rtol=1e-5)
    assert net.loss(X, t) < before


def test_an_activation_needs_no_increment(backend, monkeypatch):
    monkeypatch.setitem(ACTIVATIONS, "softplus", SOFTPLUS._replace(increment=None))
    net = fastnn.TwoLayerNet(6, 5, 3, 0.5, activation="softplus", backend=backend, rng=0)
    found = {name: backend.to_numpy(g) for name, g in net.numerical_gradient(X, LABELS).items()}
    monkeypatch.setitem(ACTIVATIONS, "softplus", SOFTPLUS)
    for name, expected in net.numerical_gradient(X, LABELS).items():
        np.testing.assert_allclose(found[name], backend.to_numpy(expected), rtol=0, atol=1e-9)


def test_a_wrong_derivative_is_found(backend, monkeypatch):
    monkeypatch.setitem(
        ACTIVATIONS, "softplus", SOFTPLUS._replace(derivative=lambda xp, z: 1 - 0.9 * xp.exp(-z))
    )
    net = fastnn.TwoLayerNet(6, 5, 3, 0.5, activation="softplus", backend=backend, rng=0)
    assert not fastnn.gradient_check(net, X, LABELS).passed
    monkeypatch.setitem(
        LOSSES, "huber", HUBER._replace(gradient=lambda _, y, t: (y - t) / y.shape[0])
    )
    net = fastnn.TwoLayerNet(6, 5, 3, 0.5, loss="huber", backend=backend, rng=0)
    assert not fastnn.gradient_check(net, X, T).passed
