"""The CuPy backend beyond the contract: odd shapes, its loop on the device, its errors.

Odd are shapes around its blocks, and of several blocks and chunks.
"""

import gc
import itertools
import math
import weakref

import book
import numpy as np
import pytest
from cuda_on_cpu import cupy_on_cpu

import fastnn
from fastnn.backends.base import OPERATIONS
from fastnn.backends.cupy import differences
from fastnn.backends.cupy import support as tables
from fastnn.backends.cupy.graph import RecordedLoop
from fastnn.backends.cupy.rows import Rows
from fastnn.backends.cupy.sources import MODULES
from fastnn.errors import BackendImportError, DeviceError, DeviceMemoryError, ForeignArrayError
from fastnn.functions import ACTIVATIONS
from fastnn.stepping import runner


@pytest.fixture
def backend(cupy):
    return cupy


def problem(hidden, batch, outputs, features=12, kind="labels"):
    rng = np.random.default_rng(0)
    x, labels = (
        rng.normal(size=(batch, features)) * (rng.random((batch, features)) < 0.5),
        rng.integers(outputs, size=batch),
    )
    return x, {
        "labels": labels,
        "one-hot": book.one_hot(labels, outputs),
        "soft": rng.dirichlet(np.ones(outputs), batch),
    }[kind]


def host(backend, gradients):
    return {name: backend.to_numpy(g).astype(float) for name, g in gradients.items()}


# -- shapes ----------------------------------------------------------------------------------------

#: All three large at once would take the CPU a minute, and no other path of the kernels.
SHAPES = [
    shape
    for shape in itertools.product((1, 7, 50, 129), (1, 3, 100, 1000), (2, 10, 1000))
    if math.prod(shape) < 10_000_000
]


@pytest.mark.parametrize("loss", ["cross_entropy", "mean_squared_error"])
@pytest.mark.parametrize(("hidden", "batch", "outputs"), SHAPES)
def test_gradients_are_those_of_numpy(backend, dtype, hidden, batch, outputs, loss):
    x, t = problem(hidden, batch, outputs)
    net = fastnn.TwoLayerNet(
        12, hidden, outputs, 0.5, loss=loss, backend=backend, dtype=dtype, rng=0
    )
    same = net.to("numpy")
    for method in ("gradient", "numerical_gradient"):
        found, expected = (host(n.backend, getattr(n, method)(x, t)) for n in (net, same))
        largest = max(abs(g).max() for g in expected.values())
        for name, gradient in expected.items():
            assert abs(found[name] - gradient).max() <= (
                1e-9 if dtype == np.float64 else 1e-5
            ) * max(largest, 1e-3)


@pytest.mark.parametrize(("features", "batch"), [(1500, 3), (2, 300)])
def test_more_features_or_samples_than_a_block_holds(backend, features, batch):
    x, t = problem(40, batch, 3, features)
    net = fastnn.TwoLayerNet(features, 40, 3, 0.1, backend=backend, rng=0)
    same = net.to("numpy")
    for method in ("gradient", "numerical_gradient"):
        found, expected = (host(n.backend, getattr(n, method)(x, t)) for n in (net, same))
        for name, gradient in expected.items():
            np.testing.assert_allclose(found[name], gradient, rtol=0, atol=1e-13)


@pytest.mark.parametrize("h", [1e-4, 0.1])
@pytest.mark.parametrize("scale", [0.01, 1, 50])
@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_increments_of_any_size(backend, activation, scale, h):
    """Within the bounds of the series; beyond those of the exponentials, the activation, or all."""
    x, t = problem(7, 5, 3)
    net = fastnn.TwoLayerNet(12, 7, 3, activation=activation, backend=backend, rng=0)
    rng = np.random.default_rng(1)
    net.params |= {
        name: backend.asarray(rng.normal(size=p.shape)) for name, p in net.params.items()
    }
    net.params["W2"] *= scale
    found, expected = (
        host(n.backend, n.numerical_gradient(x, t, h=h)) for n in (net, net.to("numpy"))
    )
    largest = max(abs(g).max() for g in expected.values())
    for name, gradient in expected.items():
        np.testing.assert_allclose(found[name], gradient, rtol=0, atol=1e-12 * largest)


@pytest.mark.parametrize("kind", ["labels", "one-hot", "soft"])
def test_a_batch_that_does_not_fit_is_taken_in_parts(backend, monkeypatch, kind):
    x, t = problem(7, 50, 3, kind=kind)
    net = fastnn.TwoLayerNet(12, 7, 3, 0.5, backend=backend, rng=0)
    whole = host(backend, net.numerical_gradient(x, t))
    for bytes_ in (0, 20_000):  # a sample at a time, and some
        monkeypatch.setattr(differences, "WORKSPACE_BYTES", bytes_)
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
    assert float(value) == pytest.approx(
        float(book.LOSSES[loss][1](y, book.one_hot(t, 33))), rel=16 * float(eps)
    )
    scale = samples if loss == "cross_entropy" else 1
    np.testing.assert_allclose(
        backend.to_numpy(gradient) * scale, expected.astype(float), rtol=0, atol=32 * eps
    )


def test_large_products_are_left_to_cublas(backend, monkeypatch):
    x, t = problem(20, 30, 4)
    net = fastnn.TwoLayerNet(12, 20, 4, 0.5, backend=backend, rng=0)
    own = host(backend, net.gradient(x, t))
    products = []
    matmul = backend.xp.matmul
    monkeypatch.setattr(
        backend.xp, "matmul", lambda *a, **k: products.append(1) or matmul(*a, **k), raising=False
    )
    net.gradient(x, t)
    assert not products
    for support in tables.SUPPORT.values():
        if support.sizes:
            (size, _), *rest = support.sizes
            monkeypatch.setattr(support, "sizes", ((size, 0), *rest))
    for name, gradient in net.gradient(x, t).items():
        np.testing.assert_allclose(backend.to_numpy(gradient), own[name], rtol=0, atol=1e-14)
    assert len(products) == 5
    before = host(backend, net.params)
    fastnn.train(net, x, t, iterations=1, batch_size=30, learning_rate=0.5, rng=0)
    assert all((before[name] != p).any() for name, p in host(backend, net.params).items())


def test_a_large_layer_reads_its_samples_once(backend, monkeypatch):
    """Forward and back; and the smaller of delta and the gradient is what the rate multiplies."""
    for support in tables.SUPPORT.values():
        if support.sizes:
            (size, _), *rest = support.sizes
            monkeypatch.setattr(support, "sizes", ((size, 0), *rest))
    read, gathered = [], Rows.gathered

    def counted(rows):
        if rows._gathered is None and rows.ndim == 2:
            read.append(rows)
        return gathered(rows)

    monkeypatch.setattr(Rows, "gathered", counted)
    for batch in (3, 30):  # fewer and more samples than features
        x, t = problem(20, batch, 4)
        net = fastnn.TwoLayerNet(12, 20, 4, 0.5, backend=backend, rng=0)
        same = net.to("numpy")
        for one in (net, same):
            fastnn.train(one, x, t, iterations=1, batch_size=batch, evaluate_every=0, rng=0)
        assert len(read) == 2  # of the rehearsal, and of the step
        read.clear()
        for name, p in host(backend, net.params).items():
            np.testing.assert_allclose(p, same.params[name], rtol=0, atol=1e-14)


@pytest.mark.parametrize("name", ["dense", "numerical_gradient"])
@pytest.mark.parametrize("units", [1 << 20, (1 << 20) + 1])
def test_indices_that_do_not_fit_32_bits_are_left_to_the_reference(name, units):
    class Shape:
        def __init__(self, *shape):
            self.shape, self.size = shape, math.prod(shape)

        def __len__(self):
            return self.shape[0]

    arguments = {"x": Shape(1, 1), "W": Shape(1, units)}
    arguments |= {"W1": Shape(1, units), "W2": Shape(units, 1024)}
    assert tables.SUPPORT[name].covers(arguments) == (units == 1 << 20)
    arguments["W2"] = Shape(units, 1025)
    assert tables.SUPPORT["numerical_gradient"].covers(arguments) is False


# -- the loop on the device ------------------------------------------------------------------------


@pytest.mark.parametrize("gradient", ["backprop", "numerical"])
def test_losses_are_those_of_numpy(backend, mnist, gradient):
    (x, t), _ = mnist
    iterations = 100 if gradient == "backprop" else 5
    losses = []
    for name in ("numpy", backend):
        net = fastnn.TwoLayerNet(784, 50, 10, backend=name, rng=0)
        options = {"iterations": iterations, "gradient": gradient, "evaluate_every": 0, "rng": 0}
        losses.append(fastnn.train(net, x, t, **options).loss)
    np.testing.assert_allclose(losses[1], losses[0], rtol=0, atol=1e-7)


@pytest.fixture
def graphs(backend, monkeypatch):
    """No kernel stays: steps become graphs."""
    monkeypatch.setitem(backend.device_attributes, "CooperativeLaunch", 0)


@pytest.fixture
def graphs_on_the_cpu(cupy_on_the_cpu, monkeypatch):
    monkeypatch.setitem(cupy_on_the_cpu.device_attributes, "CooperativeLaunch", 0)


def launches(backend, monkeypatch):
    """The names of the kernels launched from now on."""
    seen, function = [], backend.kernels._function
    monkeypatch.setattr(
        backend.kernels, "_function", lambda name, *more: seen.append(name) or function(name, *more)
    )
    return seen


@pytest.mark.usefixtures("graphs")
@pytest.mark.parametrize("loss", ["cross_entropy", "mean_squared_error"])
@pytest.mark.parametrize("kind", ["labels", "soft"])
@pytest.mark.parametrize(
    ("hidden", "batch", "outputs", "features"),
    [(50, 100, 10, 12), (1, 1, 2, 1), (7, 3, 64, 1500), (129, 1000, 10, 12), (1024, 3, 1, 5)],
)
def test_two_kernels_make_a_step(
    backend, dtype, monkeypatch, hidden, batch, outputs, features, kind, loss
):
    if loss == "cross_entropy":
        outputs = max(outputs, 2)  # of one, all would be certain
    x, t = problem(hidden, batch, outputs, features, kind)
    names = launches(backend, monkeypatch)
    rate = 0.5 if loss == "cross_entropy" else 0.1 / batch
    nets, losses = [], []
    for one in (backend, "numpy"):
        net = fastnn.TwoLayerNet(
            features,
            hidden,
            outputs,
            0.1,
            loss=loss,
            activation="tanh",
            backend=one,
            dtype=dtype,
            rng=0,
        )
        options = {
            "iterations": 3,
            "batch_size": batch,
            "learning_rate": rate,
            "evaluate_every": 0,
            "rng": 0,
        }
        losses.append(fastnn.train(net, x, t, **options).loss)
        nets.append(host(net.backend, net.params))
    assert any(name.startswith("pass") for name in names)
    tolerance = 1e-12 if dtype == np.float64 else 1e-5
    np.testing.assert_allclose(losses[0], losses[1], rtol=tolerance)
    for name, parameter in nets[1].items():
        np.testing.assert_allclose(
            nets[0][name], parameter, rtol=0, atol=tolerance * abs(parameter).max()
        )


@pytest.mark.parametrize(("hidden", "outputs"), [(1025, 3), (7, 65)])
def test_what_two_kernels_cannot_make_is_recorded_as_it_is(backend, monkeypatch, hidden, outputs):
    x, t = problem(hidden, 4, outputs)
    names = launches(backend, monkeypatch)
    fastnn.train(
        fastnn.TwoLayerNet(12, hidden, outputs, backend=backend, rng=0),
        x,
        t,
        iterations=2,
        batch_size=4,
        rng=0,
    )
    assert "loss_gradient<double>" in names
    assert "pass<double>" not in names


def unrecorded(monkeypatch):
    """How many steps a loop makes that it could not record."""
    seen, original = [], RecordedLoop._unrecorded
    monkeypatch.setattr(
        RecordedLoop,
        "_unrecorded",
        lambda loop, rows, losses: seen.append(len(rows)) or original(loop, rows, losses),
    )
    return seen


@pytest.mark.usefixtures("graphs")
def test_a_network_that_states_no_step_is_not_recorded(backend, monkeypatch):
    class Waiting(fastnn.TwoLayerNet):
        def descend(self, x, t, optimizer, out):
            value = super().descend(x, t, optimizer, out)
            return self.backend.asarray(float(value))  # which waits, and so cannot be recorded

    x, t = problem(7, 60, 3)
    names = launches(backend, monkeypatch)
    losses = []
    for network in (Waiting, fastnn.TwoLayerNet):
        net = network(12, 7, 3, backend=backend, rng=0)
        losses.append(fastnn.train(net, x, t, iterations=12, batch_size=10, rng=0).loss)
        assert ("begin" in names) == (network is fastnn.TwoLayerNet)
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-12)


@pytest.mark.usefixtures("graphs_on_the_cpu")
@pytest.mark.parametrize(
    "error",
    [
        cupy_on_cpu.cuda.runtime.CUDARuntimeError(
            "cudaErrorStreamCaptureInvalidated: operation failed"
        ),
        cupy_on_cpu.cuda.driver.CUDADriverError(
            "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED: operation failed"
        ),
    ],
)
def test_a_capture_that_something_else_broke_off_is_done_without(
    cupy_on_the_cpu, monkeypatch, error
):
    x, t = problem(7, 60, 3)
    nets = [fastnn.TwoLayerNet(12, 7, 3, backend=cupy_on_the_cpu, rng=0) for _ in range(2)]
    losses = [fastnn.train(nets[0], x, t, iterations=40, batch_size=10, rng=0).loss]

    def end_capture(stream, end=cupy_on_cpu.cuda.Stream.end_capture):
        end(stream)
        raise error

    monkeypatch.setattr(cupy_on_cpu.cuda.Stream, "end_capture", end_capture)
    losses.append(fastnn.train(nets[1], x, t, iterations=40, batch_size=10, rng=0).loss)
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-12)


def test_a_capture_that_was_broken_off_once_is_done_again(cupy_on_the_cpu, monkeypatch, caplog):
    error = cupy_on_cpu.cuda.runtime.CUDARuntimeError("cudaErrorStreamCaptureInvalidated: failed")
    faults, seen = [error], unrecorded(monkeypatch)

    def end_capture(stream, end=cupy_on_cpu.cuda.Stream.end_capture):
        graph = end(stream)
        if faults:
            raise faults.pop()
        return graph

    monkeypatch.setattr(cupy_on_cpu.cuda.Stream, "end_capture", end_capture)
    x, t = problem(7, 60, 3)
    net = fastnn.TwoLayerNet(12, 7, 3, backend=cupy_on_the_cpu, rng=0)
    fastnn.train(net, x, t, iterations=4, batch_size=10, gradient="numerical", rng=0)
    assert not faults
    assert not seen
    assert "broken off (cudaErrorStreamCaptureInvalidated: failed); it is tried" in caplog.text


def numerical_loop(backend):
    """A runner of steps that graphs make, and row numbers for 47 of them."""
    x, t = problem(7, 60, 3)
    net = fastnn.TwoLayerNet(12, 7, 3, backend=backend, rng=0)
    options = {"gradient": "numerical", "batch_size": 10, "optimizer": fastnn.SGD()}
    rows = backend.asarray(np.random.default_rng(0).integers(60, size=(47, 10)))
    return runner(net, net.dataset(x, t), **options), rows


def test_few_steps_are_few_graphs(cupy_on_the_cpu, monkeypatch):
    launched, launch = [], cupy_on_cpu.Graph.launch
    monkeypatch.setattr(
        cupy_on_cpu.Graph, "launch", lambda graph: launched.append(graph) or launch(graph)
    )
    for steps, graphs in ((47, 6), (15, 5), (8, 1), (3, 3)):
        run, rows = numerical_loop(cupy_on_the_cpu)
        launched.clear()
        losses = cupy_on_the_cpu.empty(steps, "float64")
        run(rows[:steps], losses, np.full(steps, 0.1))
        assert len(launched) == graphs
        run, _ = numerical_loop(fastnn.get_backend("numpy"))
        expected = np.empty(steps)
        run(np.asarray(rows[:steps]), expected, np.full(steps, 0.1))
        np.testing.assert_allclose(cupy_on_the_cpu.to_numpy(losses), expected, atol=1e-12)


def test_captures_share_a_stream_and_a_pool(cupy_on_the_cpu, monkeypatch):
    """CuPy keeps memory for each stream there ever was."""
    streams, pools = [], []
    stream, pool = cupy_on_cpu.cuda.Stream, cupy_on_cpu.cuda.MemoryPool
    monkeypatch.setattr(
        cupy_on_cpu.cuda, "Stream", lambda **o: streams.append(stream(**o)) or streams[-1]
    )
    monkeypatch.setattr(cupy_on_cpu.cuda, "MemoryPool", lambda *a: pools.append(1) or pool(*a))
    backend = type(cupy_on_the_cpu)()
    for trainings in (1, 2, 3):
        run, rows = numerical_loop(backend)
        run(rows, backend.empty(47, "float64"), np.full(47, 0.1))
        assert len(streams) == 1
        assert len(pools) == trainings


def test_the_losses_of_a_graph_are_one_array(cupy_on_the_cpu, monkeypatch):
    recordings, record = [], RecordedLoop._record
    monkeypatch.setattr(
        RecordedLoop, "_record", lambda *a: recordings.append(record(*a)) or recordings[-1]
    )
    monkeypatch.setattr(cupy_on_the_cpu, "device_attributes", {})  # no kernel that stays
    x, t = problem(7, 60, 3)
    net = fastnn.TwoLayerNet(12, 7, 3, backend=cupy_on_the_cpu, rng=0)
    fastnn.train(net, x, t, iterations=40, batch_size=10, rng=0)
    steps = [len(recording.results) for recording in recordings]
    assert {32, 8} <= set(steps)
    for recording in recordings:
        addresses = [loss.data.ptr for loss in recording.results]
        assert np.diff(addresses).tolist() == [8] * (len(addresses) - 1)


@pytest.mark.parametrize("gradient", ["backprop", "numerical"])
def test_nothing_is_set_up_while_the_clock_runs(cupy_on_the_cpu, monkeypatch, gradient):
    """Graphs are recorded, and cuBLAS is loaded, before a training begins."""
    monkeypatch.setattr(cupy_on_the_cpu, "device_attributes", {})  # no kernel that stays
    done, record, matmul = [], RecordedLoop._record, np.matmul
    monkeypatch.setattr(RecordedLoop, "_record", lambda *a: done.append("graph") or record(*a))
    monkeypatch.setattr(
        cupy_on_cpu, "matmul", lambda *a: done.append("cuBLAS") or matmul(*a), raising=False
    )

    class Clock(fastnn.Callback):
        def on_begin(self, state):
            done.append("begin")

    x, t = problem(7, 60, 3)
    net = fastnn.TwoLayerNet(12, 7, 3, backend=cupy_on_the_cpu, rng=0)
    fastnn.train(
        net, x, t, iterations=45, batch_size=10, gradient=gradient, callbacks=[Clock()], rng=0
    )
    before, after = done[: done.index("begin")], done[done.index("begin") + 1 :]
    assert {"graph", "cuBLAS"} <= set(before)
    assert not after
    done.clear()
    cupy_on_the_cpu.warm_up("float32")
    assert "cuBLAS" in done


def test_losses_may_lie_apart(backend):
    one, found = backend.asarray(np.ones((1, 1))), []
    data = backend.dataset(
        backend.asarray(np.arange(4.0).reshape(4, 1)), backend.asarray(np.zeros(4, np.intp))
    )

    def step(rows, out):
        x, t = data.batch(rows)
        return backend.loss_gradient(backend.dense(x, one, one[0]), t, "mean_squared_error")[0]

    numbers = np.arange(8).reshape(4, 2) % 4
    for rows, losses in (
        (backend.asarray(numbers[:, :1].copy()), backend.empty(4, "float64")),
        (backend.asarray(numbers)[:, :1], backend.empty(8, "float64")[::2]),
    ):
        RecordedLoop(backend, backend.kernels, step)(rows, losses)
        found.append(backend.to_numpy(losses).tolist())
    assert found[0] == found[1] == [0, 2, 0, 2]


@pytest.mark.usefixtures("graphs_on_the_cpu")
def test_a_recording_keeps_what_it_works_on(cupy_on_the_cpu):
    x, t = problem(7, 60, 3)
    net = fastnn.TwoLayerNet(12, 7, 3, backend=cupy_on_the_cpu, rng=0)
    options = {"gradient": "backprop", "batch_size": 10, "optimizer": fastnn.SGD()}
    run, rates = runner(net, net.dataset(x, t), **options), np.full(1, 0.1)
    rows, losses = (
        cupy_on_the_cpu.asarray(np.zeros((1, 10), np.int64)),
        cupy_on_the_cpu.empty(1, "float64"),
    )
    run(rows, losses, rates)
    W1 = weakref.ref(net.params["W1"])
    net.params["W1"] = net.params["W1"].copy()
    gc.collect()
    assert W1() is not None
    run(rows, losses, rates)
    del run
    gc.collect()
    assert W1() is None


def test_extended_precision_becomes_double(backend):
    x, t = problem(7, 6, 3)
    net = fastnn.TwoLayerNet(12, 7, 3, backend=backend, rng=0)
    assert net.loss(x.astype(np.longdouble), t) == net.loss(x, t)
    assert backend.asarray(np.ones(2, np.longdouble)).dtype == np.float64


def test_the_kernels_can_be_written_in_any_encoding():
    assert all(sources.source().isascii() for sources in MODULES.values())


@pytest.mark.usefixtures("graphs_on_the_cpu")
def test_the_memory_of_a_recording_is_given_back(cupy_on_the_cpu, monkeypatch):
    pools, pool = [], cupy_on_cpu.cuda.MemoryPool
    monkeypatch.setattr(
        cupy_on_cpu.cuda, "MemoryPool", lambda *a: pools.append(pool(*a)) or pools[-1]
    )
    x, t = problem(7, 60, 3)
    net = fastnn.TwoLayerNet(12, 7, 3, backend=cupy_on_the_cpu, rng=0)
    options = {"gradient": "backprop", "batch_size": 10, "optimizer": fastnn.SGD()}
    run = runner(net, net.dataset(x, t), **options)
    rows = cupy_on_the_cpu.asarray(np.zeros((33, 10), np.int64))
    run(rows, cupy_on_the_cpu.empty(33, "float64"), np.full(33, 0.1))
    assert any(p.kept for p in pools)
    del run
    gc.collect()
    assert not any(p.kept for p in pools)


@pytest.mark.usefixtures("graphs_on_the_cpu")
@pytest.mark.parametrize("gradient", ["backprop", "numerical"])
@pytest.mark.parametrize("kind", ["labels", "one-hot"])
def test_every_step_is_recorded(cupy_on_the_cpu, monkeypatch, gradient, kind):
    """None is made by the training loop itself, and none by the loop of graphs for want of one."""
    names, seen = launches(cupy_on_the_cpu, monkeypatch), unrecorded(monkeypatch)
    x, t = problem(7, 60, 3, kind=kind)
    nets = [fastnn.TwoLayerNet(12, 7, 3, backend=cupy_on_the_cpu, rng=0)]
    # By differences, a SimpleNet has only the loop of the book, of array operations.
    if gradient == "backprop":
        nets.append(fastnn.SimpleNet(12, 3, backend=cupy_on_the_cpu, rng=0))
    for net in nets:
        names.clear()
        assert (
            len(
                fastnn.train(net, x, t, iterations=70, batch_size=10, gradient=gradient, rng=0).loss
            )
            == 70
        )
        assert "begin" in names
        assert not seen


@pytest.mark.usefixtures("graphs_on_the_cpu")
def test_nothing_waits_inside_a_piece(cupy_on_the_cpu, monkeypatch):
    # As many steps in each piece whatever the time they take: 1, 64, and the rest.
    monkeypatch.setattr("fastnn.loop.PIECE", 1e9)
    seen = []
    for samples in (60, 50):  # iterations to an epoch
        x, t = problem(7, samples, 3)
        net = fastnn.TwoLayerNet(12, 7, 3, backend=cupy_on_the_cpu, rng=0)
        for epochs in (1, 3):
            cupy_on_cpu.waits.clear()
            fastnn.train(
                net, x, t, x_test=x, t_test=t, iterations=epochs * samples, batch_size=1, rng=0
            )
            seen.append(dict(cupy_on_cpu.waits))
    short, long = seen[:2]
    assert seen[2:] == seen[:2]  # whatever the number of iterations
    # Of one more piece the row numbers go in and the losses come out, and of two more evaluations
    # two accuracies each.
    assert {what: long.get(what, 0) - short.get(what, 0) for what in long} == dict.fromkeys(
        long, 0
    ) | {"asarray": 1, "asnumpy": 5}


def test_a_batch_of_another_size_is_recorded_anew(backend):
    data = backend.dataset(
        backend.asarray(np.arange(10.0).reshape(10, 1)), backend.asarray(np.zeros(10, np.intp))
    )
    one, zero = backend.asarray(np.ones((1, 1))), backend.asarray(np.zeros(1))

    def step(rows, out):
        x, t = data.batch(rows)
        return backend.loss_gradient(backend.dense(x, one, zero), t, "mean_squared_error")[0]

    run, losses = RecordedLoop(backend, backend.kernels, step), backend.empty(2, "float64")
    for rows in ([[3], [4]], [[3, 4], [5, 6]], [[7], [8]]):
        run(backend.asarray(np.array(rows)), losses)
        x = np.array(rows, float)
        np.testing.assert_allclose(backend.to_numpy(losses), ((x - 1) ** 2).sum(axis=1) / 2)


# -- errors ----------------------------------------------------------------------------------------


def operations(backend, W):
    """A call of each operation, with W among its arguments."""
    x, b, t = (
        backend.asarray(np.ones((3, 3))),
        backend.asarray(np.zeros(3)),
        backend.asarray(np.zeros(3, np.intp)),
    )
    return {
        "take": lambda: backend.take(W, t),
        "dense": lambda: backend.dense(x, W, b),
        "output": lambda: backend.output(W, "cross_entropy"),
        "two_layer_output": lambda: backend.two_layer_output(
            x, W, b, x, b, "sigmoid", "cross_entropy"
        ),
        "loss": lambda: backend.loss(W, t, "cross_entropy"),
        "loss_gradient": lambda: backend.loss_gradient(W, t, "cross_entropy"),
        "count_correct": lambda: backend.count_correct(W, t),
        "dense_backward": lambda: backend.dense_backward(x, W, x, "relu"),
        "dense_gradient": lambda: backend.dense_gradient(x, W),
        "dense_descent": lambda: backend.dense_descent(W, b, x, x, 0.1),
        "descent": lambda: backend.descent(W, x, 0.1),
        "numerical_gradient": lambda: backend.numerical_gradient(
            x, t, W, b, x, b, "sigmoid", "cross_entropy", 1e-4
        ),
    }


class Tensor:
    """Of another library, in the memory of a CUDA device."""

    requires_grad = False

    def __init__(self, array, device=0, requires_grad=False):
        self._array, self._device, self.requires_grad = array, device, requires_grad

    def __dlpack__(self, **_):
        return self._array.__dlpack__()

    def __dlpack_device__(self):
        return 2, self._device


def test_a_tensor_on_the_same_device_is_taken_over(cupy_on_the_cpu):
    x, t = problem(7, 60, 3)
    found = cupy_on_the_cpu.asarray(Tensor(x))
    assert isinstance(found, cupy_on_cpu.ndarray)
    assert found.data.ptr == x.ctypes.data
    losses = []
    for some in ((x, t), (Tensor(x), Tensor(t))):
        net = fastnn.TwoLayerNet(12, 7, 3, backend=cupy_on_the_cpu, rng=0)
        losses.append(fastnn.train(net, *some, iterations=5, batch_size=10, rng=0).loss.tolist())
        losses[-1] += [net.loss(*some), *cupy_on_the_cpu.to_numpy(net.predict(some[0])).flat]
    assert losses[0] == losses[1]


@pytest.mark.parametrize(
    ("tensor", "error", "message"),
    [
        (
            Tensor(np.ones(3), 1),
            ForeignArrayError,
            r"x is a \S*Tensor on CUDA device 1, but the backend works on device 0; copy it there",
        ),
        (Tensor(np.ones(3), requires_grad=True), fastnn.DtypeError, r"x\.detach\(\)"),
        (Tensor("no array"), ForeignArrayError, r"x is a \S*Tensor .* cannot take over: .*convert"),
        (Tensor(np.ones(3) * 1j), fastnn.DtypeError, "complex"),
    ],
)
def test_a_tensor_that_cannot_be_taken_over(cupy_on_the_cpu, tensor, error, message):
    with pytest.raises(error, match=message) as caught:
        cupy_on_the_cpu.asarray(tensor, name="x")
    assert len(str(caught.value)) <= 300


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_array_on_the_host_is_refused(backend, name):
    W = np.ones((3, 3))
    with pytest.raises(ForeignArrayError, match=r"numpy\.ndarray.*convert it first"):
        operations(backend, W)[name]()
    assert (W == 1).all()


def test_an_array_on_another_device_is_refused(cupy_on_the_cpu, monkeypatch):
    W = cupy_on_the_cpu.asarray(np.ones((3, 3)))
    monkeypatch.setattr(cupy_on_cpu, "home", 1)
    with pytest.raises(
        ForeignArrayError, match="W is on CUDA device 1, but the backend works on device 0"
    ):
        cupy_on_the_cpu.check_arrays(W=W)


def test_everything_happens_on_the_backends_device(cupy_on_the_cpu, monkeypatch):
    """With another device current, CuPy refuses to work on the arrays of this one, or warns."""
    monkeypatch.setattr(cupy_on_cpu, "home", 1)
    backend = type(cupy_on_the_cpu).create("1")
    backend.warm_up()
    x, t = problem(7, 60, 3)
    net = fastnn.TwoLayerNet(12, 7, 3, backend=backend, rng=0)
    same = net.to("numpy")
    history = fastnn.train(net, x, t, x_test=x, t_test=t, iterations=40, batch_size=10, rng=0)
    np.testing.assert_allclose(
        history.loss, fastnn.train(same, x, t, iterations=40, batch_size=10, rng=0).loss, rtol=1e-12
    )
    assert net.loss(x, t) == pytest.approx(same.loss(x, t))
    assert net.accuracy(x, t) == same.accuracy(x, t)
    for method in ("full", "incremental"):
        assert net.numerical_gradient(x[:2], t[:2], method=method).keys() == net.params.keys()
    for method in ("incremental", "projection"):
        assert fastnn.gradient_check(net, x, t, method=method).passed


def test_an_unknown_device_is_refused(cupy_on_the_cpu):
    assert type(cupy_on_the_cpu).create("0").device == cupy_on_the_cpu.device
    with pytest.raises(
        DeviceError, match="no CUDA device 1; this machine has device 0: write 'cupy:0'"
    ):
        type(cupy_on_the_cpu).create("1")


@pytest.mark.parametrize(
    ("fault", "error", "message"),
    [
        (
            lambda c: c.runtime.CUDARuntimeError("cudaErrorIllegalAddress"),
            DeviceError,
            "cudaErrorIllegalAddress.*new process",
        ),
        (
            lambda c: c.driver.CUDADriverError("CUDA_ERROR_UNSUPPORTED_PTX_VERSION"),
            DeviceError,
            "PTX.*update the driver",
        ),
        (
            lambda _: RuntimeError("CUBLAS_STATUS_EXECUTION_FAILED"),
            DeviceError,
            "CUBLAS_STATUS_EXECUTION_FAILED.*new process",
        ),
        (
            lambda _: RuntimeError("CUBLAS_STATUS_ALLOC_FAILED"),
            DeviceMemoryError,
            "ALLOC_FAILED.*0 of its.*smaller",
        ),
        (
            lambda c: c.driver.CUDADriverError("CUDA_ERROR_OUT_OF_MEMORY"),
            DeviceMemoryError,
            "OUT_OF_MEMORY.*0 of its.*smaller",
        ),
        (lambda _: ImportError("libnvrtc.so.12"), BackendImportError, r"libnvrtc\.so\.12.*cuda12"),
        (
            lambda _: RuntimeError("Failed to find CUDA headers. Please install"),
            BackendImportError,
            "CUDA headers.*cuda12",
        ),
        (
            lambda c: c.compiler.CompileException("no such arch"),
            DeviceError,
            "do not compile.*no such arch.*reinstall",
        ),
        (
            lambda c: c.memory.OutOfMemoryError("allocating 8,000 bytes"),
            DeviceMemoryError,
            "8,000 bytes.*0 of its.*smaller",
        ),
    ],
)
def test_a_fault_names_the_operation_and_the_remedy(
    cupy_on_the_cpu, monkeypatch, fault, error, message
):
    backend, W = cupy_on_the_cpu, cupy_on_the_cpu.asarray(np.ones((3, 3)))
    calls = operations(backend, W) | {
        "asarray": lambda: backend.asarray([1.0]),
        "empty": lambda: backend.empty(3, "float32"),
    }
    del calls["two_layer_output"]  # made of others, which are named

    device = backend.xp.cuda.Device
    for name, call in calls.items():
        faults = [fault(backend.xp.cuda)]

        def fail(number, faults=faults):
            if faults:
                raise faults.pop()
            return device(number)

        with monkeypatch.context() as patch:
            patch.setattr(backend.xp.cuda, "Device", fail)
            with pytest.raises(error, match=f"(?s)^{name}: .*{message}") as caught:
                call()
        assert caught.value.__cause__ is not None
        assert (backend.to_numpy(W) == 1).all()
        usual = {
            DeviceMemoryError: MemoryError,
            BackendImportError: ImportError,
            DeviceError: RuntimeError,
        }
        assert isinstance(caught.value, usual[error])
