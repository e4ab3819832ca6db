"""What is compiled: no function twice, and no kernel for what another one does as well."""

import gc

import numpy as np
import pytest
from numba import njit, typeof

import fastnn
from fastnn.backends.numba.kernels import backprop_steps, jit, numerical_steps


@pytest.fixture
def net():
    return fastnn.TwoLayerNet(30, 20, 3, backend="numba", rng=0)


@pytest.fixture
def x():
    rng = np.random.default_rng(0)
    return rng.normal(size=(200, 30)) * (rng.random((200, 30)) < 0.2)


def tripled(x):
    raise NotImplementedError


@jit.overloads(tripled)
def overload_tripled(x):
    return lambda x: 3 * x


def test_what_only_compiled_code_calls_becomes_machine_code_within_that_alone():
    by_itself = njit(lambda x: 5 * x)
    part = jit.inner(lambda x: 2 * x)
    whole = njit(lambda x: part(x) + tripled(x) + by_itself(x))
    assert whole(1.5) == 15

    def compiled(dispatcher):
        (found,) = dispatcher.overloads.values()
        return found

    library = compiled(whole).library
    of_parts = [each for each in library._linking_libraries if type(each) is jit.LibraryOfParts]
    assert len(of_parts) == 2  # that of the overload, too
    engine = library.codegen._engine
    assert engine.is_symbol_defined(compiled(by_itself).fndesc.llvm_func_name)
    assert not engine.is_symbol_defined(compiled(part).fndesc.llvm_func_name)


@pytest.mark.parametrize(
    ("compiled_as", "counts"),
    [(jit.kernel, False), (jit.separate, False), (jit.allocating_kernel, True)],
)
def test_references_are_counted_only_where_arrays_are_made(compiled_as, counts):
    def step(x, stop, out):
        while out[0] < stop:
            x, half = x[1:], x[: x.size // 2]
            out[0] += x[0] + half[0]

    function = compiled_as(step)
    function._cache = type(njit(step)._cache)()  # nothing from the disk
    array = typeof(np.ones(3))
    function.compile((array, typeof(1.0), array))
    (code,) = function.inspect_llvm().values()
    assert ("NRT_" in code) == counts


def seen(x):
    raise NotImplementedError


@jit.overloads(seen)
def overload_seen(x):
    seen.threshold = gc.get_threshold()[0]  # while it is compiled
    return lambda x: x


@pytest.mark.parametrize(
    ("usual", "expected", "value"),  # of another type each, so that it is compiled
    [(700, 100_000, 2), (200_000, 200_000, 2.0), (0, 0, np.float32(2))],
)
def test_python_searches_seldom_for_cycles_while_it_compiles(usual, expected, value):
    before = gc.get_threshold()
    gc.set_threshold(usual, 5, 5)
    try:
        inner = jit.inner(lambda x: seen(x))
        inner.py_func.__module__ = "fastnn.tests"
        whole = njit(lambda x: inner(x))
        assert whole(value) == 2
        assert gc.get_threshold()[0] == usual
        assert seen.threshold == expected
    finally:
        gc.set_threshold(*before)


@pytest.mark.parametrize("kernel", [backprop_steps.descent_steps, numerical_steps.descent_steps])
def test_labels_and_rows_of_targets_share_a_kernel(net, x, kernel):
    gradient = "numerical" if kernel is numerical_steps.descent_steps else "backprop"
    labels, options = np.arange(200) % 3, {"iterations": 3, "batch_size": 10, "rng": 0}
    fastnn.train(net, x, labels, gradient=gradient, **options)
    before = len(kernel.overloads)
    for targets in (np.eye(3)[labels], np.eye(3)[labels] * 0.4 + 0.2):
        fastnn.train(net, x, targets, gradient=gradient, **options)
    assert len(kernel.overloads) == before


def test_the_numerical_gradient_of_rows_is_that_kernel_of_labels(net, x):
    labels = np.arange(200) % 3
    net.numerical_gradient(x, labels)
    before = len(net.backend.kernels.numerical_gradient.differences.overloads)
    for targets in (np.eye(3)[labels], np.eye(3)[labels] * 0.4 + 0.2):
        net.numerical_gradient(x, targets)
    assert len(net.backend.kernels.numerical_gradient.differences.overloads) == before


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("units", range(1, 36))
def test_products_of_any_width(x, dtype, units):
    """Narrow ones go a part of a vector at a time: nothing beside them is written."""
    backend, rng = fastnn.get_backend("numba"), np.random.default_rng(units)
    samples = backend.kept_samples(x.astype(dtype), np.dtype(dtype))
    W, b = (rng.normal(size=shape).astype(dtype) for shape in ((30, units), units))
    delta = rng.normal(size=(200, units)).astype(dtype)
    room = np.full((202, units), 7, dtype)
    found = backend.dense(samples, W, b, out=room[1:-1])
    tolerance = 1e-13 if dtype == "float64" else 1e-4
    np.testing.assert_allclose(found, x @ W + b, rtol=tolerance, atol=tolerance)
    assert (room[[0, -1]] == 7).all()
    room = np.full((32, units), 7, dtype)
    room[1:-1] = W
    backend.dense_descent(room[1:-1], b.copy(), samples, delta, 0.5)
    np.testing.assert_allclose(
        room[1:-1], W - 0.5 * (x.T @ delta), rtol=10 * tolerance, atol=10 * tolerance
    )
    assert (room[[0, -1]] == 7).all()
