"""Steps of training that a network states, in the backend's own way or over its operations."""

from functools import cache
from itertools import pairwise, product

import numpy as np
import pytest

from ...errors import InputError
from ...functions import ACTIVATIONS, LOSSES, Activation
from ...networks import SimpleNet, TwoLayerNet
from ...optimizers import SGD
from ...stepping import single_step
from . import oracle

SAMPLES, FEATURES, UNITS, OUTPUTS = 60, 5, 3, 3

#: How many batches the calls of one runner get: none, one, more than a backend may take at once,
#: some.
CALLS = 0, 1, 70, 3

RATES = {"cross_entropy": 0.5, "mean_squared_error": 0.01, "binary_cross_entropy": 0.5}


def representable(a):
    """The same numbers in both dtypes."""
    return a.astype(np.float32).astype(np.float64)


@cache
def problem(network, samples, targets, batch_size):
    """Parameters, samples, targets as they are given and as rows, and the rows of all batches."""
    rng = np.random.default_rng(0)
    shapes = {"W1": (FEATURES, UNITS), "b1": (UNITS,), "W2": (UNITS, OUTPUTS), "b2": (OUTPUTS,)}
    shapes = shapes if network == "two_layer" else {"W": (FEATURES, OUTPUTS)}
    params = {name: representable(rng.normal(size=shape)) for name, shape in shapes.items()}
    x = representable(rng.normal(size=(SAMPLES, FEATURES)))
    if samples == "sparse":
        x[rng.random(x.shape) < 0.85] = 0
    labels = rng.integers(OUTPUTS, size=SAMPLES)
    soft = representable(rng.dirichlet(np.ones(OUTPUTS), SAMPLES))
    t, rows = (labels, oracle.one_hot(labels, OUTPUTS)) if targets == "labels" else (soft, soft)
    return params, x, t, rows, rng.integers(SAMPLES, size=(sum(CALLS), batch_size))


@cache
def expected(network, samples, targets, batch_size, gradient, activation, loss):
    """The losses of the book's loop, and the parameters after each call."""
    params, x, _, t, batches = problem(network, samples, targets, batch_size)
    params = {name: p.astype(np.longdouble) for name, p in params.items()}
    options = {"activation": activation, "loss": loss, "learning_rate": RATES[loss]}
    options["h"] = None if gradient == "backprop" else 1e-4
    losses, after = [], []
    for start, end in pairwise(np.cumsum((0, *CALLS))):
        losses.append(
            oracle.train(params, *map(np.longdouble, (x, t)), batches[start:end], **options)
        )
        after.append(dict(params))
    return losses, after


class Training:
    """Steps of a network on the backend, with parameters laid out in memory by `lay_out`.

    Attributes
    ----------
    own : callable or None
        What the backend has for them.
    """

    def __init__(self, backend, dtype, case, lay_out=lambda a: a):
        network, samples, targets, batch_size, gradient, activation, loss = case
        params, x, t, _, batches = problem(network, samples, targets, batch_size)
        options = {"loss": loss, "backend": backend, "dtype": dtype}
        self.net = net = (
            TwoLayerNet(FEATURES, UNITS, OUTPUTS, activation=activation, **options)
            if network == "two_layer"
            else SimpleNet(FEATURES, OUTPUTS, **options)
        )
        self.params = {
            name: lay_out(backend.asarray(p.astype(dtype))) for name, p in params.items()
        }
        net.params.update(self.params)
        self.batches = backend.asarray(batches)
        self.losses = backend.empty(len(batches), dtype)
        data = net.dataset(x, t)
        with backend.current():
            update = SGD(RATES[loss])
            self.operations = single_step(net, data, gradient, batch_size, update)
            self.rate, options = RATES[loss], {"gradient": gradient, "update": update}
            step = net.training_step(data, self.operations, batch_size=batch_size, **options)
            self.own = backend.runner(step)

    def run(self, rows, losses):
        if self.own is not None:
            return self.own(rows, losses, np.full(rows.shape[0], self.rate))
        for i in range(rows.shape[0]):
            losses[i] = self.operations(rows[i, ...], self.rate)
        return None

    def host(self):
        return {name: self.net.backend.to_numpy(p).copy() for name, p in self.params.items()}

    def assert_makes_the_steps(self, case):
        """Those of the book's loop, call by call."""
        backend, dtype = self.net.backend, self.net.dtype
        # The book's loop over all parameters subtracts two losses of the dtype of the network.
        full = case[0] == "simple" and case[4] == "numerical"
        eps = float(np.finfo(dtype).eps)
        tolerance = 50 * eps ** (2 / 3) if full else 500 * eps
        for (start, end), losses, params in zip(
            pairwise(np.cumsum((0, *CALLS)).tolist()), *expected(*case), strict=True
        ):
            with backend.current():
                assert self.run(self.batches[start:end, ...], self.losses[start:end, ...]) is None
            found = backend.to_numpy(self.losses)[start:end]
            np.testing.assert_allclose(found, losses, rtol=tolerance, atol=tolerance)
            for name, parameter in self.host().items():
                np.testing.assert_allclose(parameter, params[name], rtol=tolerance, atol=tolerance)


def step_of(network="two_layer", samples="sparse", targets="labels", batch_size=3, **formulas):
    chosen = {"gradient": "backprop", "activation": "sigmoid", "loss": "cross_entropy"} | formulas
    return network, samples, targets, batch_size, *chosen.values()


@pytest.mark.parametrize("targets", ["labels", "soft"])
@pytest.mark.parametrize("samples", ["dense", "sparse"])
@pytest.mark.parametrize(
    ("network", "gradient", "batch_size"),
    [
        *product(["two_layer", "simple"], ["backprop"], [1, 7, 40]),
        *product(["two_layer"], ["numerical"], [1, 3]),
        ("simple", "numerical", 3),  # takes two losses for each parameter
    ],
)
def test_steps_are_those_of_the_book(
    backend, dtype, network, gradient, samples, targets, batch_size
):
    case = step_of(network, samples, targets, batch_size, gradient=gradient)
    Training(backend, dtype, case).assert_makes_the_steps(case)


@pytest.mark.parametrize("loss", sorted(LOSSES))
@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
@pytest.mark.parametrize("samples", ["dense", "sparse"])
def test_steps_are_those_of_the_book_for_all_formulas(backend, dtype, samples, activation, loss):
    case = step_of(samples=samples, activation=activation, loss=loss)
    Training(backend, dtype, case).assert_makes_the_steps(case)


@pytest.mark.parametrize("gradient", ["backprop", "numerical"])
@pytest.mark.parametrize("samples", ["dense", "sparse"])
def test_an_activation_that_is_new_is_trained(backend, dtype, samples, gradient, monkeypatch):
    """Whatever no kernel knows goes to the reference."""
    softplus = Activation(
        lambda xp, a: xp.log1p(xp.exp(a)),
        lambda xp, z: -xp.expm1(-z),
        lambda xp, a, u: xp.log1p(xp.expm1(u) / (1 + xp.exp(-a))),
    )
    plain = (lambda a: np.log1p(np.exp(a)), lambda a: 1 / (1 + np.exp(-a)))
    monkeypatch.setitem(ACTIVATIONS, "softplus", softplus)
    monkeypatch.setitem(oracle.ACTIVATIONS, "softplus", plain)
    case = step_of(samples=samples, gradient=gradient, activation="softplus")
    Training(backend, dtype, case).assert_makes_the_steps(case)


@pytest.mark.parametrize("layout", ["columns", "every other"])
@pytest.mark.parametrize("gradient", ["backprop", "numerical"])
@pytest.mark.parametrize("samples", ["dense", "sparse"])
def test_parameters_are_trained_in_place_however_they_lie_in_memory(
    backend, dtype, samples, gradient, layout
):
    def lay_out(a):
        if layout == "columns":
            laid = backend.empty(a.shape[::-1], dtype)
            laid = laid.T if a.ndim == 2 else laid
        else:
            every_other = (slice(None, None, 2),) * a.ndim
            laid = backend.empty(tuple(2 * size for size in a.shape), dtype)[every_other]
        laid[...] = a
        return laid

    case = step_of(samples=samples, gradient=gradient)
    Training(backend, dtype, case, lay_out).assert_makes_the_steps(case)


@pytest.mark.parametrize("gradient", ["backprop", "numerical"])
@pytest.mark.parametrize("samples", ["dense", "sparse"])
@pytest.mark.parametrize("network", ["two_layer", "simple"])
def test_a_batch_of_another_size_is_refused(backend, dtype, network, samples, gradient):
    training = Training(backend, dtype, step_of(network, samples, gradient=gradient))
    if training.own is None:
        pytest.skip("the backend has no way of its own for this step")
    before = training.host()
    others = [backend.asarray(np.zeros((2, 9), np.int64))]
    if not getattr(training.own, "smaller", False):
        others.append(training.batches[:, :-1])
    for other in others:
        with pytest.raises(InputError), backend.current():
            training.own(other, training.losses, np.zeros(other.shape[0]))
    for name, parameter in training.host().items():
        np.testing.assert_array_equal(parameter, before[name])
