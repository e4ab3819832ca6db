"""What the tests of the public doors share: every way in, and what being refused means."""

import copy

import book
import numpy as np
import pytest

import fastnn
from fastnn import FastnnError, TwoLayerNet, train

RNG = np.random.default_rng(17)
X = RNG.random((6, 5)) * (RNG.random((6, 5)) < 0.6)
LABELS = np.array([0, 1, 2, 2, 1, 0])
T = book.one_hot(LABELS, 3)
VALUES = np.array([1.5, -65.0, 3.0, 0.0, 2.0, 7.25])


def make(backend, outputs=3, **options):
    return TwoLayerNet(5, 4, outputs, 0.5, backend=backend, **({"rng": 3} | options))


def regression(backend, **options):
    return make(backend, 1, loss="mean_squared_error", **options)


def host(net, arrays=None):
    arrays = net.params if arrays is None else arrays
    return {name: net.backend.to_numpy(a).copy() for name, a in arrays.items()}


def uses(net, x=X, t=LABELS):
    """Every way to hand samples and targets to a network."""
    return {
        "loss": lambda: net.loss(x, t),
        "accuracy": lambda: net.accuracy(x, t),
        "gradient": lambda: net.gradient(x, t),
        "incremental": lambda: net.numerical_gradient(x, t),
        "full": lambda: net.numerical_gradient(x, t, method="full"),
        "check": lambda: fastnn.gradient_check(net, x, t),
        "backprop": lambda: train(net, x, t, iterations=2, batch_size=3, rng=0),
        "numerical": lambda: train(
            net, x, t, gradient="numerical", iterations=2, batch_size=3, rng=0
        ),
        "test": lambda: train(net, X, T, x_test=x, t_test=t, iterations=2, batch_size=3, rng=0),
    }


def assert_refused(net, calls, error, match):
    before = host(net)
    for name, call in calls.items():
        with pytest.raises(error, match=match) as caught:
            call()
        assert_is_a_message(caught.value)
        for key, parameter in host(net).items():
            assert parameter.tobytes() == before[key].tobytes(), name


def assert_is_a_message(error):
    assert isinstance(error, FastnnError)
    assert len(str(error).splitlines()) == 1
    assert len(str(error)) <= 300


def assert_same(net, x, t, plain_x=X, plain_t=LABELS):
    """Every result with `x` and `t` is that with plain arrays."""
    found, expected = copy.deepcopy(net), copy.deepcopy(net)
    for name, call in uses(found, x, t).items():
        right = uses(expected, plain_x, plain_t)[name]()
        result = call()
        if isinstance(result, fastnn.GradientReport):
            assert result.passed
            assert right.passed
            continue
        if isinstance(result, fastnn.History):
            result, right = result.loss, right.loss
        if isinstance(result, dict):
            result, right = host(net, result), host(net, right)
        else:
            result, right = {name: result}, {name: right}
        for key in right:
            np.testing.assert_allclose(result[key], right[key], rtol=1e-12, atol=1e-14)
    for name, parameter in host(found).items():
        np.testing.assert_allclose(parameter, host(expected)[name], rtol=1e-12)


def assert_one_line(caught, path=None):
    """An error says what is wrong in one short line, and names the file if there is one."""
    text = str(caught.value)
    assert len(text) <= 300, text
    assert text.isprintable(), text
    if path is not None:
        assert path.name in text
