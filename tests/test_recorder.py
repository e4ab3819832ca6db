"""Recording what a step asks of its backend."""

import threading

import numpy as np
import pytest

import fastnn
from fastnn.backends.base import OPERATIONS
from fastnn.backends.recorder import Recorder, numerical_step, two_layer_step
from fastnn.training import sgd_step


@pytest.fixture
def network():
    return fastnn.TwoLayerNet(4, 3, 2, rng=0, backend="numpy")


def step_of(network, gradient="backprop"):
    x, t = np.random.default_rng(0).normal(size=(10, 4)), np.arange(10) % 2
    data = network.dataset(x, t)
    return sgd_step(network, data, gradient, 5, 0.1), data, np.arange(5)


def test_a_step_is_recognized_and_not_made(network):
    step, data, rows = step_of(network)
    before = {name: p.copy() for name, p in network.params.items()}
    found = two_layer_step(Recorder(network.backend, OPERATIONS).record(lambda: step(rows)))
    assert all(np.array_equal(before[name], p) for name, p in network.params.items())
    assert all(getattr(found, name) is p for name, p in network.params.items())
    assert (found.activation, found.loss, found.learning_rate) == ("sigmoid", "cross_entropy", 0.1)
    for batch, whole in ((found.x, data.x), (found.t, data.t)):
        assert found.taken[id(batch)][0] is whole
        assert found.taken[id(batch)][1] is rows
    assert not set(OPERATIONS) & set(vars(network.backend))


def test_a_step_by_numerical_gradient_is_recognized_and_not_made(network):
    step, data, rows = step_of(network, "numerical")
    before = {name: p.copy() for name, p in network.params.items()}
    recorded = Recorder(network.backend, OPERATIONS).record(lambda: step(rows))
    found = numerical_step(recorded)
    assert all(np.array_equal(before[name], p) for name, p in network.params.items())
    assert all(getattr(found, name) is p for name, p in network.params.items())
    assert (found.activation, found.loss, found.h, found.learning_rate) == ("sigmoid", "cross_entropy", 1e-4, 0.1)
    assert found.taken[id(found.t)] == (data.t, rows)
    assert two_layer_step(recorded) is None
    descents = [i for i, call in enumerate(recorded) if call.name == "descent"]
    swapped = [recorded[i] for i in (*range(descents[0]), *reversed(descents))]
    for other in (recorded[:-1], swapped, []):
        assert numerical_step(other) is None


@pytest.mark.parametrize("calls", [[], ["dense"], ["dense", "dense", "loss_gradient", "dense_backward", "dense_descent"]])
def test_other_steps_are_not(network, calls):
    step, _, rows = step_of(network)
    recorded = Recorder(network.backend, OPERATIONS).record(lambda: step(rows))
    assert two_layer_step([call for call in recorded if call.name in calls][: len(calls)]) is None


def test_nor_is_one_that_works_on_other_arrays(network):
    step, _, rows = step_of(network)
    recorded = Recorder(network.backend, OPERATIONS).record(lambda: step(rows))
    i = next(i for i, call in enumerate(recorded) if call.name == "dense_backward")
    delta, W2, z1, activation = recorded[i].arguments
    recorded[i] = recorded[i]._replace(arguments=(delta, W2.copy(), z1, activation))
    assert two_layer_step(recorded) is None


def test_an_operation_without_a_known_result_ends_the_recording(network):
    network = fastnn.SimpleNet(4, 2, rng=0, backend="numpy")
    step, _, rows = step_of(network, "numerical")
    assert Recorder(network.backend, OPERATIONS).record(lambda: step(rows)) is None
    assert not set(OPERATIONS) & set(vars(network.backend))


def test_operations_are_as_before_when_the_recorded_step_fails(network):
    with pytest.raises(ZeroDivisionError):
        Recorder(network.backend, ("dense",)).record(lambda: 1 / 0)
    assert "dense" not in vars(network.backend)


def test_threads_record_one_after_the_other_and_others_compute_meanwhile():
    backend = fastnn.get_backend("numpy")
    recorder, found, done = Recorder(backend, ("dense",)), [], threading.Event()
    x, W, b, out = np.ones((2, 3)), np.ones((3, 2)), np.zeros(2), np.zeros((2, 2))

    def record():
        found.extend([c.name for c in recorder.record(lambda: backend.dense(x, W, b, out=out))] for _ in range(50))

    def compute():
        while not done.is_set():
            assert backend.dense(x, W, b).sum() == 12

    threads = [threading.Thread(target=record) for _ in range(4)]
    other = threading.Thread(target=compute)
    for thread in (*threads, other):
        thread.start()
    for thread in threads:
        thread.join()
    done.set()
    other.join()
    assert found == [["dense"]] * 200
    assert not out.any()
