"""The numerical gradient in two kernels: what is in the products, and what is evaluated."""

import numpy as np
import pytest

import fastnn
from fastnn.backends import expansions, incremental
from fastnn.backends.cupy import products
from fastnn.functions import ACTIVATIONS

LOSSES = "cross_entropy", "mean_squared_error"


def network(backend, activation="sigmoid", loss="cross_entropy", scale=1.0, dtype="float64"):
    """A network, samples and soft targets; W2 is as large as `scale`."""
    rng = np.random.default_rng(0)
    net = fastnn.TwoLayerNet(
        12, 7, 3, activation=activation, loss=loss, backend=backend, dtype=dtype, rng=0
    )
    for name, p in net.params.items():
        values = rng.normal(size=p.shape) * (scale if name == "W2" else 1)
        net.params[name] = backend.asarray(values, dtype)
    x = rng.normal(size=(30, 12)) * (rng.random((30, 12)) < 0.5)
    return net, x, rng.dirichlet(np.ones(3), 30)


@pytest.fixture
def launched(cupy_on_the_cpu, monkeypatch):
    """The names of the kernels."""
    seen, launch = [], cupy_on_the_cpu.kernels.launch

    def note(name, grid, block, arguments, **options):
        seen.append(name)
        launch(name, grid, block, arguments, **options)

    monkeypatch.setattr(cupy_on_the_cpu.kernels, "launch", note)
    return seen


@pytest.mark.parametrize("kind", ["labels", "soft"])
@pytest.mark.parametrize("scale", [0.1, 1, 20])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_two_kernels_find_what_numpy_finds(
    cupy_on_the_cpu, launched, dtype, activation, loss, scale, kind
):
    """Whatever is in the products: most of it at the first step, and little at the last."""
    net, x, t = network(cupy_on_the_cpu, activation, loss, scale, dtype)
    t = t.argmax(axis=1) if kind == "labels" else t
    same = net.to("numpy")
    for h in (1e-4, 1e-3, 1e-2):
        launched.clear()
        found, expected = (n.numerical_gradient(x, t, h=h) for n in (net, same))
        assert [name.split("<")[0] for name in launched] == ["expand", "assemble"]
        largest = max(abs(g).max() for g in expected.values())
        tolerance = 1e-13 if dtype == np.float64 else 2e-6
        for name, gradient in expected.items():
            difference = cupy_on_the_cpu.to_numpy(found[name]) - gradient
            assert abs(difference).max() <= tolerance * largest


@pytest.mark.parametrize("h", [1e-4, 1e-3, 1e-2])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
@pytest.mark.parametrize("scale", [1, 8])
def test_the_bound_is_that_of_the_reference(
    cupy_on_the_cpu, monkeypatch, activation, loss, scale, h
):
    net, x, t = network(cupy_on_the_cpu, activation, loss, scale)
    memories, left, original = [], [], expansions.products

    class Memory(products.Memory):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            memories.append(self)

    monkeypatch.setattr(products, "Memory", Memory)
    monkeypatch.setattr(incremental, "products", lambda *a: left.append(original(*a)) or left[-1])
    net.numerical_gradient(x, t, h=h)
    net.to("numpy").numerical_gradient(x, t, h=h)
    ((units, outputs), _), *_ = left
    of_units, bounds = (cupy_on_the_cpu.to_numpy(memories[0].arrays[i]) for i in (5, 6))
    allowed = expansions.OMITTED * bounds.max(axis=0)
    assert (~(of_units <= allowed[0]) == units).all()
    assert (~(bounds[:, 3] <= allowed[2]) == outputs).all()


def test_a_large_step_is_left_to_the_other_kernels(cupy_on_the_cpu, launched):
    net, x, t = network(cupy_on_the_cpu)
    for h, kernel in ((0.039, "expand<double>"), (0.041, "hidden_differences<double>")):
        launched.clear()
        net.numerical_gradient(x, t, h=h)
        assert kernel in launched


@pytest.mark.parametrize("scale", [1, 50])
@pytest.mark.parametrize("activation", ["sigmoid", "relu"])
def test_steps_of_training(cupy_on_the_cpu, launched, activation, scale):
    """What is evaluated reads W2 as it was before the step, which other blocks make meanwhile."""
    net, x, t = network(cupy_on_the_cpu, activation, scale=scale)
    same = net.to("numpy")
    options = {"iterations": 5, "batch_size": 10, "gradient": "numerical", "evaluate_every": 0}
    launched.clear()
    losses = [
        fastnn.train(one, x, t, learning_rate=1e-3, rng=0, progress=False, **options).loss
        for one in (net, same)
    ]
    names = {name.split("<")[0] for name in launched}
    assert names == {"begin", "fetch", "expand", "assemble", "collect"}
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-9)
    for name, p in same.params.items():
        np.testing.assert_allclose(
            cupy_on_the_cpu.to_numpy(net.params[name]), p, rtol=0, atol=1e-10 * abs(p).max()
        )
