"""Values, threads and limits at the edge: each kind is mended as a whole, on every backend.

* Steps that are far larger than what they move: the numerical gradient where |h·x| is in the
  hundreds or a million, as with a Unix timestamp as a feature. It is that of the exact differences,
  whatever saturates, and nothing becomes NaN on the way.
* Parameters that cease to be finite in the last step are found like those before it.
* What another thread changes meanwhile may spoil a result, and never memory: labels that kernels
  index with, and samples that are counted before they are copied.
"""

import itertools
from functools import cache

import numpy as np
import pytest
from conftest import ReferenceBackend
from test_numerical_gradient import exact_differences

import fastnn
from fastnn.backends.numba import compressing
from fastnn.functions import ACTIVATIONS, LOSSES

# -- steps far larger than what they move ----------------------------------------------------------


def problem(seed, reach, scale2, logits):
    """One feature of about `reach` / h; output weights and logits of about these sizes.

    Soft targets, so that what two targets contribute does not cancel.
    """
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(2, 2))
    x[:, 0] = rng.uniform(0.1, 1, 2) * reach / 1e-4
    W1 = rng.normal(size=(2, 3))
    W1[0] *= logits / abs(x[:, 0]).max() / scale2
    W2 = np.clip(rng.normal(size=(3, 3)) * scale2, -50, 50)
    t = rng.dirichlet(np.ones(3), 2)
    return x, t, (W1, rng.normal(size=3), W2, rng.normal(size=3))


@cache
def exact(arguments, activation, loss):
    """The same for every backend."""
    x, t, parameters = problem(*arguments)
    return exact_differences(x, t, parameters, activation, loss, 1e-4)


def errors(found, expected):
    """The largest error beside the largest entry; 60 digits are noise below 1e-40."""
    largest = max(float(abs(g).max()) for g in expected)
    return max(
        float(abs(np.asarray(g, object) - difference).max()) / (largest + 1e-40)
        for g, difference in zip(found, expected, strict=True)
    )


REACHES, SCALES, LOGITS = (30, 300, 1e3, 1.7e5, 1e6), (0.1, 2, 50), (1, 30, 1000)


@pytest.mark.parametrize("loss", sorted(LOSSES))
@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_a_feature_as_large_as_a_timestamp(backend, activation, loss):
    worst = {}
    for case in itertools.product(range(2), REACHES, SCALES, LOGITS):
        x, t, parameters = problem(*case)
        arrays = [backend.asarray(a) for a in (x, t, *parameters)]
        with backend.current():
            found = backend.numerical_gradient(*arrays, activation, loss, 1e-4)[1]
        worst[case] = errors([backend.to_numpy(g) for g in found], exact(case, activation, loss))
    wrong = {case: error for case, error in worst.items() if not error <= 1e-12}
    assert not wrong


@pytest.mark.parametrize("loss", sorted(LOSSES))
@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_units_that_are_saturated_on_both_sides(backend, activation, loss):
    """Weights of 1e6 and biases of ±1e5: some units cross over with the step, most do not."""
    rng = np.random.default_rng(0)
    x = np.array([[2e9, 0.5, 0.0], [1e8, -2.0, 1e-3]])
    W1 = np.array([[0.0, 1e-9, 0, 0], [1e6, -1e6, 0, 1.0], [3.0, 0, 1e6, 1]])
    parameters = W1, np.array([1e5, -1e5, -1e5, -1.5]), rng.normal(size=(4, 3)), rng.normal(size=3)
    t = rng.dirichlet(np.ones(3), 2)
    expected = exact_differences(x, t, parameters, activation, loss, 1e-4)
    arrays = [backend.asarray(a) for a in (x, t, *parameters)]
    with backend.current():
        found = backend.numerical_gradient(*arrays, activation, loss, 1e-4)[1]
    assert errors([backend.to_numpy(g) for g in found], expected) <= 1e-12


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_large_steps_in_float32(backend, activation):
    """The squares of these steps are beyond float32, and weights that are alike give zero."""
    rng = np.random.default_rng(0)
    x = np.array([[1.7e9, 0.5], [1e30, 0.0]], np.float32)
    W1 = np.array([[0.0, 0.0, 0.0], [1.0, 2.0, -3.0]], np.float32)
    for W2 in (rng.normal(size=(3, 3)), np.ones((3, 3))):
        parameters = [np.asarray(a, np.float32) for a in (W1, np.zeros(3), W2, np.zeros(3))]
        t = rng.dirichlet(np.ones(3), 2).astype(np.float32)
        expected = exact_differences(x, t, parameters, activation, "cross_entropy", 1e-4)
        arrays = [backend.asarray(a) for a in (x, t, *parameters)]
        with backend.current():
            found = backend.numerical_gradient(*arrays, activation, "cross_entropy", 1e-4)[1]
        largest = max(float(abs(g).max()) for g in expected)
        for g, difference in zip(found, expected, strict=True):
            assert abs(backend.to_numpy(g) - difference.astype(float)).max() <= 1e-6 * largest


@pytest.mark.parametrize("method", ["full", "incremental"])
def test_a_gradient_beyond_the_dtype_is_told(backend, method):
    loss = {"activation": "identity", "loss": "mean_squared_error"}
    net = fastnn.TwoLayerNet(2, 3, 2, backend=backend, dtype="float32", rng=0, **loss)
    with (
        np.errstate(all="ignore"),
        pytest.warns(RuntimeWarning, match="W1, .*is not finite.* beyond the range of float32"),
    ):
        net.numerical_gradient(np.full((3, 2), 1e30), np.eye(2)[[0, 1, 1]], 0.01, method)


def test_training_on_timestamps_gives_the_same_losses_everywhere(backend):
    rng = np.random.default_rng(0)
    x = np.column_stack([rng.uniform(1.6e9, 1.7e9, 20), rng.normal(size=(20, 3))])
    t = rng.integers(3, size=20)
    losses = []
    for where in (ReferenceBackend(), backend):
        net = fastnn.TwoLayerNet(4, 5, 3, backend=where, rng=0)
        options = {"iterations": 20, "batch_size": 5, "learning_rate": 1e-4, "rng": 1}
        losses.append(fastnn.train(net, x, t, gradient="numerical", **options).loss)
    assert np.isfinite(losses[0]).all()
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-10)


# -- parameters that cease to be finite ------------------------------------------------------------


@pytest.mark.parametrize("gradient", ["backprop", "numerical"])
@pytest.mark.parametrize("evaluate_every", [None, 0, 1])
@pytest.mark.parametrize("cls", [fastnn.TwoLayerNet, fastnn.SimpleNet])
def test_a_last_step_that_diverges_is_an_error(backend, cls, evaluate_every, gradient):
    sizes = (4, 5, 3) if cls is fastnn.TwoLayerNet else (4, 3)
    net = cls(*sizes, loss="mean_squared_error", backend=backend, dtype="float32", rng=0)
    with pytest.raises(
        fastnn.DivergenceError,
        match=r"the parameters are not finite after iteration 0: training diverged, "
        r"and they are of no use any more; start again with a learning_rate smaller than 3e\+38",
    ):
        fastnn.train(
            net,
            np.full((6, 4), 100.0),
            np.full((6, 3), 50.0),
            iterations=1,
            batch_size=5,
            learning_rate=3e38,
            gradient=gradient,
            evaluate_every=evaluate_every,
        )


def test_no_accuracy_is_told_of_parameters_that_are_not_finite(backend):
    """A unit whose weight is infinite is 1: the loss stays finite, and training would go on."""
    net = fastnn.TwoLayerNet(2, 3, 2, backend=backend, dtype="float32", rng=0)
    W1 = np.ones((2, 3), np.float32)
    W1[0, 0] = np.inf
    net.params["W1"] = backend.asarray(W1)
    options = {"iterations": 50, "batch_size": 1, "learning_rate": 0.0}
    for evaluate_every in (0, 1, 7):
        with pytest.raises(fastnn.DivergenceError, match="the parameters are not finite"):
            fastnn.train(
                net, np.ones((10, 2)), np.zeros(10, int), evaluate_every=evaluate_every, **options
            )


def test_a_learning_rate_beyond_the_dtype_is_refused(backend):
    x, t = np.ones((10, 2)), np.zeros(10, int)
    net = fastnn.TwoLayerNet(2, 3, 2, backend=backend, dtype="float32", rng=0)
    for gradient in ("backprop", "numerical"):
        with pytest.raises(fastnn.InputError, match=r"learning_rate=1e\+39 .* float32"):
            fastnn.train(net, x, t, learning_rate=1e39, iterations=1, gradient=gradient)
    net = fastnn.TwoLayerNet(2, 3, 2, backend=backend, dtype="float64", rng=0)
    fastnn.train(net, x, t, learning_rate=1e39, iterations=0)


# -- arrays that another thread changes ------------------------------------------------------------

CHANGED = """
import sys, threading
import numpy as np
import fastnn
name, what = sys.argv[1:]
rng = np.random.default_rng(0)
x = rng.random((400, 64)) * (rng.random((400, 64)) < 0.1)
t = rng.integers(3, size=400)
stop = threading.Event()

def change():
    while not stop.is_set():
        if what == "labels":
            t[:] = 2**62
            t[:] = -(2**62)
            t[:] = 1
        else:
            x[:] = 1.0
            x[:] = 0.0

thread = threading.Thread(target=change)
net = fastnn.TwoLayerNet(64, 8, 3, backend=name, rng=0)
calls = [
    lambda: fastnn.train(net, x, t, iterations=40, batch_size=50, learning_rate=1e-3),
    lambda: fastnn.train(net, x, t, iterations=2, batch_size=50, gradient="numerical"),
    lambda: net.loss(x, t),
    lambda: net.gradient(x, t),
    lambda: net.numerical_gradient(x[:50], t[:50]),
]
for call in calls:
    call()
thread.start()
for _ in range(15):
    for call in calls:
        try:
            call()
        except (fastnn.FastnnError, IndexError):
            pass
stop.set()
thread.join()
print("survived")
"""


@pytest.mark.parametrize("what", ["labels", "samples"])
@pytest.mark.parametrize("name", ["numpy", "numba"])
def test_another_thread_changes_the_data(python, name, what):
    done = python("-c", CHANGED, name, what)
    assert (done.code, done.out) == (0, "survived\n"), done.err


@pytest.mark.parametrize("before", [0.0, 0.01, 0.5])
def test_samples_that_became_more_since_they_were_counted(before, dtype):
    """The memory behind what was asked for is left alone, and all of the values are there."""
    rng = np.random.default_rng(0)
    x = rng.random((20, 37)).astype(dtype)
    numba = fastnn.get_backend("numba")
    count = int(before * x.size)
    found, largest = compressing.compress_all(numba.kernels, x, count, dtype)
    (indptr, indices, values), room = found, int(before * x.size) + 64 // x.itemsize
    assert largest == x.max()
    assert indptr.tolist() == list(range(0, 21 * 37, 37))
    assert values.tobytes() == x.tobytes()
    assert indices.tolist() == list(range(37)) * 20
    guarded = np.full(room + 50, 9, np.uint16), np.full(room + 50, 9, dtype)
    inside = [a[:room] for a in guarded]
    assert numba.kernels.compression.compress(x, indptr, *inside) == -1
    assert all((a[room:] == 9).all() for a in guarded)


def test_labels_that_numba_indexes_with_are_its_own():
    t = np.array([0, 1, 1])
    data = fastnn.get_backend("numba").dataset(np.ones((3, 2)), t)
    t[:] = 7
    assert data.t.tolist() == [0, 1, 1]


# -- a system that gives no more threads -----------------------------------------------------------

NO_THREADS = """
import threading
import numpy as np, numba
import fastnn

@numba.njit
def f(p):
    return np.sum(p * p)

x = np.arange(100.0)
f(x)

def refuse(*_):
    raise RuntimeError("can't start new thread")

threading.Thread.start = refuse
assert np.allclose(fastnn.numerical_gradient(f, x), 2 * x, atol=1e-6)
for name in ("numpy", "numba"):
    net = fastnn.TwoLayerNet(100, 50, 3, backend=name, rng=0)
    fastnn.train(net, np.ones((200, 100)), np.zeros(200, int), iterations=3)
print("done")
"""


def test_one_thread_will_do(python):
    done = python("-c", NO_THREADS)
    assert (done.code, done.out) == (0, "done\n"), done.err
