"""What a training loop repeats is said, not observed.

Whoever changes a formula is not left to a kernel of the old one.
"""

import signal
import threading
import time
from dataclasses import dataclass

import numpy as np
import pytest
from conftest import ReferenceBackend

import fastnn
from fastnn.backends.base import OPERATIONS
from fastnn.backends.numba.backend import NumbaBackend
from fastnn.backends.numpy import NumpyBackend
from fastnn.backends.steps import PlainDescent, TrainingStep
from fastnn.backends.support import Support, supported
from fastnn.stepping import runner, runners

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 12)) * (RNG.random((60, 12)) < 0.2)  # sparse enough for every kernel
LABELS = RNG.integers(3, size=60)


class Decaying(fastnn.TwoLayerNet):
    """Weights that shrink before each step."""

    def descend(self, x, t, optimizer, out):
        self.params["W1"] *= 0.999
        return super().descend(x, t, optimizer, out)


class Dropping(fastnn.TwoLayerNet):
    """Half of the hidden units are switched off, in place."""

    def _backward(self, x, t, out):
        value, [first, (W2, b2, z1, delta2)] = super()._backward(x, t, out)
        z1[:, :4] = 0
        return value, [first, (W2, b2, z1, delta2)]


class Numerical(fastnn.TwoLayerNet):
    """A numerical gradient of its own."""

    def _incremental_differences(self, x, t, h):
        value, gradients = super()._incremental_differences(x, t, h)
        return value, {name: 0.5 * g for name, g in gradients.items()}


def trained(network, backend, gradient="backprop", **changes):
    net = network(12, 8, 3, 0.5, backend=backend, rng=0)
    vars(net).update(changes)
    loss = fastnn.train(
        net, X, LABELS, iterations=40, batch_size=10, learning_rate=0.5, gradient=gradient, rng=1
    ).loss
    return loss, {name: net.backend.to_numpy(p) for name, p in net.params.items()}


def assert_same(found, expected):
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-9)
    for name, parameter in expected[1].items():
        np.testing.assert_allclose(found[1][name], parameter, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("network", "gradient"),
    [(Decaying, "backprop"), (Dropping, "backprop"), (Numerical, "numerical")],
)
def test_a_network_that_changes_a_formula_trains_by_that(backend, network, gradient):
    expected = trained(network, ReferenceBackend(), gradient)
    assert_same(trained(network, backend, gradient), expected)
    plain = trained(fastnn.TwoLayerNet, ReferenceBackend(), gradient)
    assert abs(expected[1]["W2"] - plain[1]["W2"]).max() > 1e-4  # and that is another training


def test_so_does_a_single_object(backend):
    def buffers_of_one(self, batch_size):
        return {}

    net = fastnn.TwoLayerNet(12, 8, 3, 0.5, backend=backend, rng=0)
    data, options = (
        net.dataset(X, LABELS),
        {"gradient": "backprop", "update": fastnn.SGD(0.5), "batch_size": 10},
    )
    assert net.training_step(data, len, **options) is not None
    net.buffers = buffers_of_one.__get__(net)
    assert net.training_step(data, len, **options) is None


def test_what_is_no_part_of_a_step_may_be_overridden(backend):
    class Talking(fastnn.TwoLayerNet):
        def __init__(self, *sizes, **options):
            super().__init__(*sizes, **options)
            self.name = "anything"

        def predict(self, x):
            return self.backend.to_numpy(super().predict(x))

    net = Talking(12, 8, 3, backend=backend, rng=0)
    step = net.training_step(
        net.dataset(X, LABELS), len, gradient="backprop", update=fastnn.SGD(0.1), batch_size=10
    )
    assert step.params is net.params
    assert (step.network, step.activation, step.loss, step.gradient) == (
        "two_layer",
        "sigmoid",
        "cross_entropy",
        "backprop",
    )


def changing(backend, operation):
    """A backend derived from this one that has the operation of its own, and when it is called."""
    calls = []

    def changed(self, *arguments, **options):
        calls.append(operation)
        return getattr(type(backend), operation)(self, *arguments, **options)

    return type("Changed", (type(backend),), {operation: changed, "name": "changed"})(), calls


@pytest.mark.parametrize(
    "operation",
    sorted(
        set(OPERATIONS) - {"take", "output", "two_layer_output", "loss", "count_correct", "descent"}
    ),
)
def test_a_backend_that_changes_an_operation_is_asked_for_it(backend, operation):
    made, calls = changing(backend, operation)
    gradient = "numerical" if operation in ("numerical_gradient", "descent") else "backprop"
    if operation == "dense_gradient":
        fastnn.TwoLayerNet(12, 8, 3, backend=made, rng=0).gradient(X, LABELS)
    else:
        fastnn.train(
            fastnn.TwoLayerNet(12, 8, 3, backend=made, rng=0),
            X,
            LABELS,
            iterations=5,
            batch_size=10,
            gradient=gradient,
        )
    assert len(calls) >= (1 if operation == "dense_gradient" else 5)


def test_what_a_table_does_not_name_is_refused():
    """A later version of a step may have more fields: no kernel of today makes it."""

    @dataclass(frozen=True)
    class WeightedStep(TrainingStep):
        penalty: str | None = None

    net = fastnn.TwoLayerNet(12, 8, 3, backend=NumbaBackend(1), rng=0)
    fields = {
        "network": "two_layer",
        "params": net.params,
        "activation": "sigmoid",
        "loss": "cross_entropy",
        "gradient": "backprop",
        "h": 1e-4,
        "update": fastnn.SGD(0.1),
        "batch_size": 10,
        "operations": len,
        "data": net.dataset(X, LABELS),
    }
    assert net.backend.runner(WeightedStep(**fields)) is not None
    assert net.backend.runner(WeightedStep(**fields, penalty="l2")) is None

    class Unknown(PlainDescent):
        name = "unknown"

    assert net.backend.runner(WeightedStep(**fields | {"update": Unknown()})) is None


def test_a_table_without_an_entry_asks_for_nothing():
    assert Support().covers({"activation": "softplus"})
    assert not Support(activation={"relu"}).covers({"activation": "softplus"})
    assert not Support(contiguous=("W",)).covers({"W": np.ones((3, 2)).T})
    assert not Support(sizes=((lambda W, **_: W.size, 5),)).covers({"W": np.ones((3, 2))})


def test_an_argument_that_is_left_out_counts_as_its_default():
    class Relu(NumpyBackend):
        name = "relu"

        @supported(Support(activation=("relu",)))
        def dense(self, x, W, b, activation="identity", *, out=None):
            raise AssertionError("called for identity")

    ones = np.ones((2, 2))
    np.testing.assert_array_equal(Relu().dense(ones, ones, ones[0]), 3 * ones)
    with pytest.raises(AssertionError, match="called"):
        Relu().dense(ones, ones, ones[0], "relu")


# -- the loop --------------------------------------------------------------------------------------


@pytest.mark.parametrize("gradient", ["backprop", "numerical"])
def test_a_batch_of_another_size_than_stated_is_refused(backend, gradient):
    net = fastnn.TwoLayerNet(12, 8, 3, 0.5, backend=backend, rng=0)
    options = {"gradient": gradient, "batch_size": 10, "optimizer": fastnn.SGD()}
    run = runner(net, net.dataset(X, LABELS), **options)
    if backend.name in ("numba", "cupy"):  # which have memory for batches of that size
        before = {name: backend.to_numpy(p).copy() for name, p in net.params.items()}
        for size in (11, 1000) if getattr(run, "smaller", False) else (11, 1000, 1):
            rows = backend.asarray(np.zeros((2, size), np.int64))
            with pytest.raises(fastnn.InputError, match=f"batches of {size} rows for steps of 10"):
                run(rows, backend.empty(2, "float64"), np.zeros(2))
        assert all(
            np.array_equal(before[name], backend.to_numpy(p)) for name, p in net.params.items()
        )


@pytest.mark.parametrize("gradient", ["backprop", "numerical"])
@pytest.mark.parametrize("samples", ["dense", "sparse"])
def test_smaller_batches_are_those_of_a_runner_of_their_size(backend, gradient, samples):
    x = X if samples == "sparse" else X + 1.5
    found = []
    for sizes in ({10}, {10, 7, 1}):
        net, optimizer = fastnn.TwoLayerNet(12, 8, 3, backend=backend, rng=0), fastnn.Momentum(0.5)
        data, losses = net.dataset(x, LABELS), []
        options = {"gradient": gradient, "optimizer": optimizer}
        with backend.current():
            of_size = runners(net, data, sizes, **options)
            for size in (10, 7, 1, 10):
                if size not in of_size:
                    of_size[size] = runner(net, data, batch_size=size, **options)
                rows = backend.asarray(np.arange(2 * size).reshape(2, size) * 7 % 60)
                of_calls = backend.empty(2, "float64")
                of_size[size](rows, of_calls, np.full(2, 0.5))
                losses.append(backend.to_numpy(of_calls))
        found.append([*losses, *map(backend.to_numpy, net.params.values())])
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("update", [fastnn.SGD, fastnn.Adam])
@pytest.mark.parametrize("features", [12, 20_000])  # of which two threads make the copies
def test_parameters_may_stay_where_the_steps_are_made(update, features):
    x = np.zeros((60, features))
    x[:, :12] = X
    rows, losses, rates = np.arange(20).reshape(2, 10), np.empty(2), np.full(2, 0.1)

    def made():
        net = fastnn.TwoLayerNet(features, 8, 3, backend=NumbaBackend(2), rng=0)
        return net, runner(
            net,
            net.dataset(x, LABELS),
            gradient="backprop",
            batch_size=10,
            optimizer=update(0.1),
        )

    net, run = made()
    at_once = []
    for _ in range(3):
        run(rows, losses, rates)
        at_once.append({name: p.copy() for name, p in net.params.items()})
    net, run = made()
    before = {name: p.copy() for name, p in net.params.items()}

    def interrupted():
        with run.keeping():
            run(rows, losses, rates)
            for name, p in net.params.items():
                np.testing.assert_array_equal(p, before[name])
            run(rows, losses, rates)
            run.bring()
            for name, p in net.params.items():
                np.testing.assert_array_equal(p, at_once[1][name])
            run(rows, losses, rates)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    for name, p in net.params.items():
        np.testing.assert_array_equal(p, at_once[2][name])
    net.params["b1"][...] = 1  # from now on each call asks again
    run(rows, losses, rates)
    assert (np.abs(net.params["b1"] - 1) < 0.5).all()


@pytest.mark.parametrize("gradient", ["backprop", "numerical"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_what_ends_a_call_between_two_pieces_loses_no_step(monkeypatch, gradient, error):
    monkeypatch.setattr("fastnn.backends.numba.support.INTERRUPTIBLE", 1)  # a piece for each step
    backend, steps = NumbaBackend(2), 7
    net = fastnn.TwoLayerNet(12, 8, 3, 0.5, backend=backend, rng=0)
    strided = {name: np.asfortranarray(p) for name, p in net.params.items()}
    for params in (net.params, strided):
        one = fastnn.TwoLayerNet(12, 8, 3, 0.5, backend=backend, rng=0)
        one.params = {name: p.copy(order="K") for name, p in params.items()}
        other = fastnn.TwoLayerNet(12, 8, 3, 0.5, backend=backend, rng=0)
        options = {"gradient": gradient, "batch_size": 10, "optimizer": fastnn.SGD()}
        rates = np.full(20, 0.5)
        rows = np.random.default_rng(1).integers(60, size=(20, 10))
        runner(other, other.dataset(X, LABELS), **options)(
            rows[:steps], np.empty(steps), rates[:steps]
        )

        pieces, run = iter(range(steps)), backend.pool.run

        def interrupted(*call, pieces=pieces, run=run):
            if next(pieces, None) is None:
                raise error
            run(*call)

        with monkeypatch.context() as patch:
            patch.setattr(backend.pool, "run", interrupted)
            with pytest.raises(error):
                runner(one, one.dataset(X, LABELS), **options)(rows, np.empty(20), rates)
        for name, parameter in other.params.items():
            np.testing.assert_array_equal(one.params[name], parameter)


def test_a_signal_ends_a_long_call_with_its_steps_made():
    """A real one: SIGINT while the kernel runs."""
    x, t = np.random.default_rng(0).random((4000, 200)), np.arange(4000) % 10
    net = fastnn.TwoLayerNet(200, 200, 10, backend="numba", rng=0)
    fastnn.train(net, x, t, iterations=1, batch_size=100, evaluate_every=0)  # compiles it
    before = net.params["W1"].copy()
    threading.Timer(1.0, lambda: signal.raise_signal(signal.SIGINT)).start()
    started = time.perf_counter()
    with pytest.warns(fastnn.InterruptWarning, match="interrupted by SIGINT after"):
        history = fastnn.train(
            net, x, t, iterations=10_000_000, batch_size=100, evaluate_every=0, rng=0
        )
    assert time.perf_counter() - started < 30
    assert history.stopped == "interrupted"
    assert (net.params["W1"] != before).any()
    assert all(np.isfinite(p).all() for p in net.params.values())


def test_a_full_batch_sets_up_once_for_many_steps(monkeypatch):
    backend = NumbaBackend(1)
    entered, enter = [], backend.kernels.panels.Copies.entering
    monkeypatch.setattr(
        backend.kernels.panels.Copies,
        "entering",
        lambda *arguments: entered.append(1) or enter(*arguments),
    )
    net = fastnn.TwoLayerNet(12, 8, 3, backend=backend, rng=0)
    fastnn.train(net, X, LABELS, iterations=320, batch_size=60, evaluate_every=0, rng=0)
    assert len(entered) <= 1 + 10


@pytest.mark.parametrize("gradient", ["backprop", "numerical"])
def test_strided_parameters_are_trained_in_place(backend, gradient):
    """As they come from another library: weight.numpy().T."""
    nets = [fastnn.TwoLayerNet(12, 8, 3, 0.5, backend=backend, rng=0) for _ in range(2)]
    if not hasattr(nets[0].params["W1"], "flags"):
        pytest.skip("this library knows no layout")
    nets[1].params = {name: p.T.copy().T for name, p in nets[0].params.items()}
    assigned = dict(nets[1].params)
    for _ in range(2):  # the second time with parameters that have changed
        losses = [
            fastnn.train(
                net,
                X,
                LABELS,
                iterations=20,
                batch_size=10,
                learning_rate=0.5,
                gradient=gradient,
                rng=1,
            ).loss
            for net in nets
        ]
        np.testing.assert_allclose(losses[1], losses[0], rtol=1e-10)
    for name, parameter in nets[0].params.items():
        assert nets[1].params[name] is assigned[name]
        np.testing.assert_allclose(
            backend.to_numpy(assigned[name]), backend.to_numpy(parameter), rtol=1e-9, atol=1e-12
        )
    gradients = [net.numerical_gradient(X, LABELS) for net in nets]
    for name, expected in gradients[0].items():
        np.testing.assert_allclose(
            backend.to_numpy(gradients[1][name]), backend.to_numpy(expected), rtol=0, atol=1e-12
        )


def test_parameters_that_are_assigned_between_calls_are_the_ones_trained(backend):
    net, other = (fastnn.TwoLayerNet(12, 8, 3, 0.5, backend=backend, rng=seed) for seed in (0, 1))
    options = {"gradient": "backprop", "batch_size": 10, "optimizer": fastnn.SGD()}
    run, rates = runner(net, net.dataset(X, LABELS), **options), np.full(3, 0.5)
    rows, losses = backend.asarray(np.zeros((3, 10), np.int64)), backend.empty(3, "float64")
    with backend.current():
        run(rows, losses, rates)
        for name, parameter in other.params.items():
            net.params[name] = backend.asarray(backend.to_numpy(parameter).copy())
        run(rows, losses, rates)
    expected = backend.empty(3, "float64")
    with backend.current():
        runner(other, other.dataset(X, LABELS), **options)(rows, expected, rates)
    np.testing.assert_allclose(backend.to_numpy(losses), backend.to_numpy(expected), rtol=1e-12)
    for name, parameter in other.params.items():
        np.testing.assert_allclose(
            backend.to_numpy(net.params[name]), backend.to_numpy(parameter), rtol=1e-12
        )


@pytest.mark.parametrize("operation", ["dense", "output", "two_layer_output"])
def test_a_backend_that_changes_an_operation_is_asked_for_a_prediction(backend, operation):
    made, calls = changing(backend, operation)
    net = fastnn.TwoLayerNet(12, 8, 3, backend=made, rng=0)
    expected = fastnn.TwoLayerNet(12, 8, 3, backend=backend, rng=0).predict(X[:2])
    found = net.predict(X[:2])
    assert len(calls) == (2 if operation == "dense" else 1)
    np.testing.assert_allclose(made.to_numpy(found), backend.to_numpy(expected), rtol=1e-12)


def test_a_network_with_logits_of_its_own_predicts_with_them(backend):
    class Warm(fastnn.TwoLayerNet):
        def _logits(self, x):
            return super()._logits(x) / 10

    classes = Warm, fastnn.TwoLayerNet, fastnn.TwoLayerNet
    nets = [cls(12, 8, 3, 1.0, backend=backend, rng=0) for cls in classes]
    nets[1]._logits = nets[0]._logits
    *own, ours = (backend.to_numpy(net.predict(X[:2])) for net in nets)
    expected = ours**0.1 / (ours**0.1).sum(axis=1, keepdims=True)
    for found in own:
        np.testing.assert_allclose(found, expected, rtol=1e-9)
