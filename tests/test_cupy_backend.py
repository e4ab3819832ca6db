"""The CuPy backend beyond the contract: shapes around its blocks, several blocks and chunks, its loop on the device, its errors."""

import book
import numpy as np
import pytest

import fastnn
from fastnn.backends import availability, cupy_backend, cupy_kernels


@pytest.fixture(params=["cpu", pytest.param("gpu", marks=pytest.mark.gpu)])
def backend(request):
    """The backend over kernels that run on the CPU, and on a GPU where there is one."""
    if request.param == "cpu":
        return request.getfixturevalue("cupy_on_the_cpu")
    if not (found := availability("cupy")).available:
        pytest.skip(f"{found.reason}; {found.remedy}")
    return fastnn.get_backend("cupy")


def problem(hidden, batch, outputs, features=12, kind="labels"):
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(batch, features)) * (rng.random((batch, features)) < 0.5), rng.integers(outputs, size=batch)
    return x, {"labels": labels, "one-hot": book.one_hot(labels, outputs), "soft": rng.dirichlet(np.ones(outputs), batch)}[kind]


def host(backend, gradients):
    return {name: backend.to_numpy(g).astype(float) for name, g in gradients.items()}


# -- shapes --------------------------------------------------------------------------------------------------------------

SHAPES = [(1, 1, 2), (7, 3, 2), (50, 100, 10), (129, 3, 10), (7, 1000, 10), (50, 3, 1000), (129, 100, 2), (1, 100, 1000)]


@pytest.mark.parametrize("loss", ["cross_entropy", "mean_squared_error"])
@pytest.mark.parametrize(("hidden", "batch", "outputs"), SHAPES)
def test_gradients_are_those_of_numpy(backend, dtype, hidden, batch, outputs, loss):
    x, t = problem(hidden, batch, outputs)
    net = fastnn.TwoLayerNet(12, hidden, outputs, 0.5, loss=loss, backend=backend, dtype=dtype, rng=0)
    same = net.to("numpy")
    for method in ("gradient", "numerical_gradient"):
        found, expected = (host(n.backend, getattr(n, method)(x, t)) for n in (net, same))
        largest = max(abs(g).max() for g in expected.values())
        for name, gradient in expected.items():
            assert abs(found[name] - gradient).max() <= (1e-9 if dtype == np.float64 else 1e-5) * max(largest, 1e-3)


@pytest.mark.parametrize("kind", ["labels", "one-hot", "soft"])
def test_a_batch_that_does_not_fit_is_taken_in_parts(backend, monkeypatch, kind):
    x, t = problem(7, 50, 3, kind=kind)
    net = fastnn.TwoLayerNet(12, 7, 3, 0.5, backend=backend, rng=0)
    whole = host(backend, net.numerical_gradient(x, t))
    for bytes_ in (0, 20_000):  # a sample at a time, and some
        monkeypatch.setattr(cupy_kernels, "WORKSPACE_BYTES", bytes_)
        for name, gradient in net.numerical_gradient(x, t).items():
            np.testing.assert_allclose(backend.to_numpy(gradient), whole[name], rtol=0, atol=1e-14)


@pytest.mark.parametrize("samples", [100, 3000])  # one block, and several with a second kernel
@pytest.mark.parametrize("loss", ["cross_entropy", "mean_squared_error"])
def test_the_loss_of_many_blocks(backend, dtype, samples, loss):
    rng = np.random.default_rng(0)
    logits, t = rng.normal(size=(samples, 33)).astype(dtype), rng.integers(33, size=samples)
    value, gradient = backend.loss_gradient(backend.asarray(logits), backend.asarray(t), loss)
    y = book.LOSSES[loss][0](logits.astype(np.longdouble))
    expected = y - book.one_hot(t, 33)
    eps = np.finfo(dtype).eps
    assert float(value) == pytest.approx(float(book.LOSSES[loss][1](y, book.one_hot(t, 33))), rel=16 * float(eps))
    scale = samples if loss == "cross_entropy" else 1
    np.testing.assert_allclose(backend.to_numpy(gradient) * scale, expected.astype(float), rtol=0, atol=32 * eps)


def test_large_products_are_left_to_cublas(backend, monkeypatch):
    x, t = problem(20, 30, 4)
    net = fastnn.TwoLayerNet(12, 20, 4, 0.5, backend=backend, rng=0)
    own = host(backend, net.gradient(x, t))
    products = []
    matmul = backend.xp.matmul
    monkeypatch.setattr(backend.xp, "matmul", lambda *a, **k: products.append(1) or matmul(*a, **k), raising=False)
    net.gradient(x, t)
    assert not products
    monkeypatch.setattr(cupy_backend, "LARGE_PRODUCT", 1)
    for name, gradient in net.gradient(x, t).items():
        np.testing.assert_allclose(backend.to_numpy(gradient), own[name], rtol=0, atol=1e-14)
    assert len(products) == 5
    before = host(backend, net.params)
    fastnn.train(net, x, t, iterations=1, batch_size=30, learning_rate=0.5, rng=0)
    assert all((before[name] != p).any() for name, p in host(backend, net.params).items())
