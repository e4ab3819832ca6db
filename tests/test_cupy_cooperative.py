"""The kernel that stays for many steps, its blocks real threads on the CPU."""

import book
import numpy as np
import pytest
from cuda_on_cpu import raw_module

import fastnn
from fastnn.backends.cupy import cooperative
from fastnn.backends.cupy.sources import MODULES, OPTIONS, TYPES
from fastnn.functions import ACTIVATIONS
from fastnn.stepping import runner


@pytest.fixture
def backend(cupy):
    return cupy


@pytest.fixture
def launched(backend, monkeypatch):
    """The names of the kernels, and the blocks of each."""
    seen, launch = [], backend.kernels.launch

    def note(name, grid, *arguments, **options):
        seen.append((name, grid[0]))
        launch(name, grid, *arguments, **options)

    monkeypatch.setattr(backend.kernels, "launch", note)
    return seen


def problem(features=12, outputs=3, samples=60, kind="labels"):
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(samples, features)), rng.integers(outputs, size=samples)
    if kind == "soft":
        return x, rng.dirichlet(np.ones(outputs), samples)
    return x, labels if kind == "labels" else book.one_hot(labels, outputs)


def trained(backend, x, t, hidden, dtype="float64", steps=3, batch=10, schedule=None, **options):
    """The losses, and the parameters after them."""
    outputs = t.shape[1] if t.ndim == 2 else t.max() + 1
    net = fastnn.TwoLayerNet(
        x.shape[1], hidden, outputs, 0.5, backend=backend, dtype=dtype, rng=0, **options
    )
    rate = 0.1 if options.get("loss") != "mean_squared_error" else 0.1 / batch / hidden
    losses = fastnn.train(
        net,
        x,
        t,
        iterations=steps,
        batch_size=batch,
        learning_rate=schedule or rate,
        evaluate_every=0,
        progress=False,
        rng=0,
    ).loss
    return losses, {name: net.backend.to_numpy(p) for name, p in net.params.items()}


def assert_same(found, expected, tolerance):
    np.testing.assert_allclose(found[0], expected[0], rtol=tolerance, atol=tolerance)
    for name, parameter in expected[1].items():
        scale = max(abs(parameter).max(), 1)
        np.testing.assert_allclose(found[1][name], parameter, rtol=0, atol=tolerance * scale)


def test_ten_thousand_steps_are_those_of_numpy(backend, launched):
    x, t = problem()
    found, expected = (trained(b, x, t, 7, steps=10_000, batch=2) for b in (backend, "numpy"))
    assert {name for name, _ in launched} == {"train<double>"}
    assert_same(found, expected, 1e-9)
    assert expected[0][-1] < 0.1  # and they have learnt


#: Around the kernel's ROWS, COLUMNS and SHARES: features, units, outputs, samples of a batch.
SIZES = (
    (1, 1, 2, 1),
    (31, 16, 3, 15),
    (32, 17, 32, 16),
    (33, 33, 9, 17),
    (8, 128, 2, 9),
    (160, 3, 31, 17),  # more tiles than multiprocessors
    (12, 50, 10, 150),  # more samples than are loaded at a time, and many times those of blocks
    (16, 24, 16, 40),  # columns that are copied 16 bytes at a time
)


@pytest.mark.parametrize("loss", ["cross_entropy", "mean_squared_error"])
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_steps_are_those_of_numpy(backend, launched, dtype, sizes, loss):
    features, hidden, outputs, batch = sizes
    x, t = problem(features, outputs, 200)
    options = {"dtype": dtype, "batch": batch, "loss": loss}
    found, expected = (trained(b, x, t, hidden, **options) for b in (backend, "numpy"))
    assert all(name.startswith("train<") for name, _ in launched)
    assert_same(found, expected, 1e-12 if dtype == np.float64 else 2e-5)


@pytest.mark.parametrize("kind", ["one-hot", "soft"])
@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_activations_and_targets(backend, launched, activation, kind):
    x, t = problem(kind=kind)
    options = {"activation": activation}
    found, expected = (trained(b, x, t, 7, **options) for b in (backend, "numpy"))
    assert all(name.startswith("train<") for name, _ in launched)
    assert_same(found, expected, 1e-12)


def test_the_number_of_blocks_changes_no_bit(backend, launched, monkeypatch, dtype):
    x, t = problem(100)
    results = []
    for multiprocessors in (1, 2, 3, 4):
        monkeypatch.setitem(backend.device_attributes, "MultiProcessorCount", multiprocessors)
        launched.clear()
        losses, params = trained(backend, x, t, 20, dtype)
        assert {blocks for _, blocks in launched} == {multiprocessors}
        results.append([losses.tobytes(), *(p.tobytes() for p in params.values())])
    assert all(result == results[0] for result in results)


@pytest.mark.parametrize(
    ("sizes", "multiprocessors", "expected"),
    [
        ((100, 784, 50, 10), 132, (100, 116)),
        ((100, 784, 50, 10), 58, (100, 58)),
        ((128, 784, 50, 10), 132, (100, 128)),
        ((10, 3072, 50, 10), 132, (388, 132)),
        ((1, 1, 1, 2), 132, (1, 2)),
    ],
)
def test_how_many_blocks_there_are(sizes, multiprocessors, expected):
    found = cooperative.plan(*sizes, 4, multiprocessors)
    assert (found.tiles, found.blocks) == expected


def test_the_shared_memory_is_what_the_kernel_uses(cupy_on_the_cpu, monkeypatch):
    """A number less, and it writes behind it."""
    x, t = problem(100)
    original = cooperative.shared_bytes
    for hidden in (7, 50):
        for dtype in (np.float32, np.float64):
            trained(cupy_on_the_cpu, x, t, hidden, dtype, steps=1)
            with monkeypatch.context() as patch:
                patch.setattr(
                    cooperative, "shared_bytes", lambda *sizes: original(*sizes) - sizes[-1]
                )
                with pytest.raises(fastnn.errors.DeviceError, match="shared memory"):
                    trained(cupy_on_the_cpu, x, t, hidden, dtype, steps=1)


def test_a_schedule_goes_along(backend, launched):
    x, t = problem()
    found, expected = (
        trained(b, x, t, 7, steps=9, schedule=lambda step: 0.5 / (1 + step))
        for b in (backend, "numpy")
    )
    assert {name for name, _ in launched} == {"train<double>"}
    assert_same(found, expected, 1e-12)


@pytest.fixture
def stated(backend):
    """A network, its runner, and the row numbers and rates of seven steps."""
    x, t = problem()
    net = fastnn.TwoLayerNet(12, 7, 3, 0.5, backend=backend, rng=0)
    options = {"gradient": "backprop", "batch_size": 5, "optimizer": fastnn.SGD()}
    run = runner(net, net.dataset(x, t), **options)
    rows = np.random.default_rng(1).integers(60, size=(7, 5))
    return net, run, rows, np.full(7, 0.1)


def test_many_steps_take_several_launches(backend, launched, stated, monkeypatch):
    net, run, rows, rates = stated
    losses = backend.empty(14, "float64")
    run(backend.asarray(rows), losses[::2], rates)  # which lie apart
    first = backend.to_numpy(net.params["W1"])
    again = fastnn.TwoLayerNet(12, 7, 3, 0.5, backend=backend, rng=0)
    net.params |= again.params  # others by now
    monkeypatch.setattr(cooperative, "MOST_STEPS", 3)
    launched.clear()
    same = backend.empty(7, "float64")
    run(backend.asarray(rows), same, rates)
    assert [name for name, _ in launched] == 3 * ["train<double>"]
    assert (backend.to_numpy(net.params["W1"]) == first).all()
    assert (backend.to_numpy(same) == backend.to_numpy(losses)[::2]).all()


def test_parameters_that_lie_otherwise_are_trained_step_by_step(backend, launched, stated):
    net, run, rows, rates = stated
    same = fastnn.TwoLayerNet(12, 7, 3, 0.5, backend=backend, rng=0)
    found, expected = (backend.empty(7, "float64") for _ in range(2))
    run(backend.asarray(rows), expected, rates)
    trained = backend.to_numpy(net.params["W1"])
    net.params |= same.params
    net.params["W1"] = backend.asarray(
        np.ascontiguousarray(backend.to_numpy(same.params["W1"]).T)
    ).T
    launched.clear()
    run(backend.asarray(rows), found, rates)
    assert all(not name.startswith("train<") for name, _ in launched)
    np.testing.assert_allclose(backend.to_numpy(found), backend.to_numpy(expected), rtol=1e-12)
    np.testing.assert_allclose(backend.to_numpy(net.params["W1"]), trained, rtol=0, atol=1e-13)


@pytest.mark.parametrize("sizes", [(200, 50, 10, 90), (30, 7, 3, 5), (5, 16, 17, 40)])
def test_compiled_for_its_sizes_the_kernel_does_the_same(backend, monkeypatch, dtype, sizes):
    features, hidden, outputs, batch = sizes
    x, t = problem(features, outputs, 200)
    found = []
    for constant in (False, True):
        monkeypatch.setattr(type(backend), "compiles_for_sizes", constant)
        found.append(trained(backend, 0.1 * x, t, hidden, dtype, steps=5, batch=batch))
    real = "float" if dtype == np.float32 else "double"
    compiled = [of for name, of in backend.kernels._functions if name.startswith(f"train<{real}")]
    assert any({f"-DTRAIN_SAMPLES={batch}", f"-DTRAIN_UNITS={hidden}"} <= {*of} for of in compiled)
    assert_same(*found, 1e-12 if dtype == np.float64 else 1e-5)


@pytest.mark.parametrize(
    ("hidden", "outputs", "batch", "attributes"),
    [
        (129, 3, 5, {}),
        (7, 33, 5, {}),
        (7, 3, 257, {}),
        (7, 3, 5, {"CooperativeLaunch": 0}),
        (7, 3, 5, {"ComputeCapability": 75}),
        (7, 3, 5, {"MaxSharedMemoryPerBlockOptin": 4 << 10}),
    ],
)
def test_everything_else_goes_to_two_kernels(
    backend, launched, monkeypatch, hidden, outputs, batch, attributes
):
    for name, value in attributes.items():
        monkeypatch.setitem(backend.device_attributes, name, value)
    x, t = problem(outputs=outputs, samples=300)
    t[0] = outputs - 1
    trained(backend, x, t, hidden, batch=batch)
    names = [name for name, _ in launched]
    assert "pass<double>" in names
    assert not any(name.startswith("train<") for name in names)


PRODUCT = """
template <class T> __global__ void product(const T* a, const T* b, T* c, integer steps) {
    const int lane = thread_number(), row = lane / 4, quarter = lane % 4;
    const int numbers = 4 * SLOTS<T> * steps;
    Product<T> sums;
    for (int step = 0; step < steps; step++) {
        T of_a[2][SLOTS<T>], of_b[SLOTS<T>];
        for (int s = 0; s < SLOTS<T>; s++) {
            const int k = (4 * step + quarter) * SLOTS<T> + s;
            for (int r = 0; r < 2; r++) of_a[r][s] = a[(row + 8 * r) * numbers + k];
            of_b[s] = b[k * PRODUCT_COLUMNS + row];
        }
        sums.add(of_a, of_b);
    }
    for (int r = 0; r < 2; r++)
        for (int j = 0; j < 2; j++)
            c[(row + 8 * r) * PRODUCT_COLUMNS + 2 * quarter + j] = sums(r, j);
}
"""


def test_a_warp_multiplies_matrices(backend, dtype):
    """As exactly as its type, which it has fewer bits of: those alone err a thousand times more."""
    steps, slots = 5, 2 if dtype == np.float32 else 1
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(16, 4 * slots * steps)), rng.normal(size=(4 * slots * steps, 8))
    a, b = (np.exp(3 * m).astype(dtype) * rng.choice([-1, 1], m.shape) for m in (a, b))
    module = backend.xp.RawModule(
        code=MODULES["cooperative"].source() + PRODUCT,
        options=OPTIONS,
        name_expressions=[name := f"product<{TYPES[np.dtype(dtype)]}>"],
        enable_cooperative_groups=True,
    )
    c = backend.empty((16, 8), dtype)
    arguments = [backend.asarray(m, dtype) for m in (a, b)]
    module.get_function(name)((1,), (32,), (*arguments, c, steps), shared_mem=8)
    error = abs(backend.to_numpy(c) - a.astype(np.longdouble) @ b)
    assert (error <= 16 * np.finfo(dtype).eps * (abs(a) @ abs(b))).all()


def test_an_infinite_weight_makes_an_infinite_sum(backend, launched, dtype):
    """And no NaN, although half of it is one."""
    net = fastnn.TwoLayerNet(12, 7, 3, 0.5, backend=backend, dtype=dtype, rng=0)
    W1 = backend.to_numpy(net.params["W1"]).copy()
    W1[3, 2], W1[4, 5] = np.inf, -np.inf
    net.params["W1"] = backend.asarray(W1)
    x, t = abs(problem()[0]), problem()[1]
    options = {"gradient": "backprop", "batch_size": 5, "optimizer": fastnn.SGD()}
    run, losses = runner(net, net.dataset(x, t), **options), backend.empty(1, dtype)
    expected = net.to("numpy").loss(x[:5].astype(dtype), t[:5])
    run(backend.asarray(np.arange(5)[None]), losses, np.zeros(1))
    assert {name.partition("<")[0] for name, _ in launched} == {"train"}
    np.testing.assert_allclose(backend.to_numpy(losses), expected, rtol=1e-6)


# -- the harness -----------------------------------------------------------------------------------

KERNELS = """
__global__ void pass_on(double* values, unsigned* arrived, long long rounds) {
    for (int round = 0; round < rounds; round++) {
        const int next = (blockIdx.x + 1) % gridDim.x;
        const double value = fresh(values + next * blockDim.x + threadIdx.x);
        for (int half = 0; half < 2; half++) {
            __syncthreads();
            if (threadIdx.x == 0) {
                add_arrival(arrived);
                while (int(arrivals(arrived) - (2 * round + half + 1) * gridDim.x) < 0) {}
            }
            __syncthreads();
            if (half == 0) values[blockIdx.x * blockDim.x + threadIdx.x] = value;
        }
    }
}
__global__ void diverge(double* values) {
    if (blockIdx.x && threadIdx.x) __syncthreads();
    if (blockIdx.x == 0 && threadIdx.x == 0)
        while (arrivals((unsigned*)values) == 0) {}
}
__global__ void fresh_memory(double* values) { *values = ((double*)shared_memory())[threadIdx.x]; }
__global__ void behind(double* values) { ((double*)shared_memory())[blockDim.x] = *values; }
"""


@pytest.fixture(scope="module")
def kernel():
    if not raw_module.compiler():
        pytest.skip("there is no g++ to build the CUDA kernels for the CPU; apt-get install g++")
    names = ("pass_on", "diverge", "fresh_memory", "behind")
    return raw_module.RawModule(
        code=KERNELS, name_expressions=names, enable_cooperative_groups=True
    ).get_function


def test_blocks_wait_for_one_another(kernel):
    values = np.arange(12.0)
    kernel("pass_on")((4,), (3,), (values, np.zeros(1, np.uint32), 401), shared_mem=8)
    assert values.tolist() == np.roll(np.arange(12.0), -3).tolist()


def test_a_block_that_fails_ends_the_others(kernel):
    with pytest.raises(RuntimeError, match="a barrier that not all threads reach"):
        kernel("diverge")((2,), (4,), (np.zeros(1),), shared_mem=8)


def test_shared_memory_holds_nothing_at_first(kernel):
    values = np.zeros(1)
    kernel("fresh_memory")((1,), (1,), (values,), shared_mem=8)
    assert np.isnan(values).all()


def test_what_is_written_behind_shared_memory_is_an_error(kernel):
    with pytest.raises(RuntimeError, match="shared memory that was not asked for"):
        kernel("behind")((1,), (4,), (np.zeros(1),), shared_mem=32)


def test_more_blocks_or_memory_than_there_are_is_an_error(kernel):
    most = raw_module.CooperativeKernel.MULTIPROCESSORS
    with pytest.raises(RuntimeError, match="too many blocks"):
        kernel("fresh_memory")((most + 1,), (1,), (np.zeros(1),), shared_mem=8)
    with pytest.raises(ValueError, match="49,160 bytes of shared memory"):
        kernel("fresh_memory")((1,), (1,), (np.zeros(1),), shared_mem=(48 << 10) + 8)
