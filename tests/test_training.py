"""The training loop against the book's, its history, and what it refuses."""

import inspect
import io
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import book
import numpy as np
import pytest
from cuda_on_cpu.backend import CupyOnCpuBackend

import fastnn
from fastnn import DivergenceError, DtypeError, History, InputError, SimpleNet, TwoLayerNet, train
from fastnn.backends.base import Backend, Dataset

RNG = np.random.default_rng(5)
X, LABELS = RNG.random((50, 6)), RNG.integers(4, size=50)
T = book.one_hot(LABELS, 4)


class RecordingBackend(Backend):
    """The reference, keeping the row numbers of every batch."""

    name = "recording"
    xp = np

    def __init__(self):
        self.seen = []

    @property
    def rows(self):
        """Those of the loop: before it, one step on a copy of the network warms up."""
        return self.seen[1:]

    def dataset(self, x, t):
        rows = self.seen

        class Recorded(Dataset):
            def batch(self, numbers, *, out=None):
                rows.append(np.array(numbers))
                return super().batch(numbers, out=out)

        return Recorded(self, x, t)


def small(backend, **options):
    return TwoLayerNet(6, 5, 4, 0.5, **({"backend": backend, "rng": 0} | options))


def host(net):
    return {name: net.backend.to_numpy(p).copy() for name, p in net.params.items()}


def same(one, other):
    return all(one[name].tobytes() == other[name].tobytes() for name in one)


# -- the loop --------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu", "identity"])
@pytest.mark.parametrize(
    ("loss", "learning_rate"), [("cross_entropy", 0.5), ("mean_squared_error", 0.02)]
)
def test_training_is_the_loop_of_the_book(backend, activation, loss, learning_rate):
    recorder = RecordingBackend()
    options = {"iterations": 60, "batch_size": 8, "learning_rate": learning_rate, "rng": 1}
    train(small(recorder), X, T, **options)
    assert len(recorder.rows) == 60
    net = small(backend, activation=activation, loss=loss)
    parameters = {name: p.astype(np.longdouble) for name, p in host(net).items()}
    history = train(net, X, T, **options)
    expected = book.train(
        parameters, X, T, recorder.rows, learning_rate, activation=activation, loss=loss
    )
    np.testing.assert_allclose(history.loss, expected.astype(float), rtol=1e-10)
    for name, parameter in host(net).items():
        np.testing.assert_allclose(parameter, parameters[name].astype(float), rtol=1e-9, atol=1e-12)


def test_simple_net_trains_as_the_book_would(backend):
    recorder = RecordingBackend()
    train(small(recorder), X, T, iterations=60, batch_size=8, rng=1)
    net = SimpleNet(6, 4, backend=backend, rng=0)
    parameters = host(net)
    history = train(net, X, LABELS, iterations=60, batch_size=8, learning_rate=0.5, rng=1)
    expected = book.train(parameters, X, T, recorder.rows, 0.5)
    np.testing.assert_allclose(history.loss, expected, rtol=1e-10)
    np.testing.assert_allclose(host(net)["W"], parameters["W"], rtol=1e-9)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_labels_and_one_hot_targets_train_the_same(backend, dtype):
    nets = [small(backend, dtype=dtype) for _ in range(3)]
    targets = (LABELS, T, LABELS.astype(np.uint8))
    losses = [
        train(net, X, t, iterations=30, batch_size=7, rng=2).loss
        for net, t in zip(nets, targets, strict=True)
    ]
    for net, loss in zip(nets, losses, strict=True):
        assert loss.dtype == dtype
        assert loss.tobytes() == losses[0].tobytes()
        assert same(host(net), host(nets[0]))


def test_batches_are_drawn_with_replacement_from_all_rows():
    recorder = RecordingBackend()
    train(small(recorder), X, T, iterations=100, batch_size=40, rng=1)
    rows = np.array(recorder.rows)
    assert rows.shape == (100, 40)
    assert {*rows.ravel().tolist()} == {*range(50)}
    assert any(len({*batch.tolist()}) < 40 for batch in rows)
    counts = np.bincount(rows.ravel())  # 80 expected of each, with a standard deviation of 9
    assert counts.min() > 35
    assert counts.max() < 125


def test_a_batch_may_be_larger_than_the_data(backend):
    history = train(small(backend), X[:3], LABELS[:3], iterations=4, batch_size=10, rng=1)
    assert history.iterations == [0, 1, 2, 3]


def test_the_batches_of_a_seed_do_not_depend_on_length_or_evaluations():
    runs = []
    for iterations, evaluate_every in [(100, None), (30, 0), (77, 3)]:
        recorder = RecordingBackend()
        train(
            small(recorder),
            X,
            T,
            iterations=iterations,
            batch_size=8,
            evaluate_every=evaluate_every,
            rng=1,
        )
        runs.append(np.array(recorder.rows))
    for rows in runs[1:]:
        np.testing.assert_array_equal(rows, runs[0][: len(rows)])


def test_the_same_seed_gives_the_same_run(backend):
    runs = []
    for rng in (3, 3, np.random.default_rng(3), np.int64(3), 4):
        net = small(backend)
        loss = train(net, X, T, iterations=40, batch_size=8, rng=rng).loss
        runs.append((loss.tobytes(), *(p.tobytes() for p in host(net).values())))
    assert runs[0] == runs[1] == runs[2] == runs[3]
    assert runs[0] != runs[4]


def test_a_generator_goes_on_where_it_was():
    first, second, rng = small("numpy"), small("numpy"), np.random.default_rng(3)
    losses = [train(first, X, T, iterations=12, batch_size=8, rng=rng).loss for _ in range(2)]
    assert (losses[0] != losses[1]).all()
    np.testing.assert_array_equal(
        losses[0], train(second, X, T, iterations=12, batch_size=8, rng=3).loss
    )


def test_a_backend_serves_several_threads(backend):
    def run(seed):
        net = small(backend, rng=seed)
        return train(
            net, X, T, iterations=100, batch_size=8, rng=seed, evaluate_every=0
        ).loss.tobytes()

    alone = [run(seed) for seed in range(4)]
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(run, range(4))) == alone


# -- MNIST -----------------------------------------------------------------------------------------


def test_the_first_losses_on_mnist_are_those_of_numpy(backend, mnist):
    if isinstance(backend, CupyOnCpuBackend):
        pytest.skip("test_cupy_backend.py has them")
    (x, t), _ = mnist
    losses = []
    for one in ("numpy", backend):
        net = TwoLayerNet(784, 50, 10, backend=one, rng=0)
        losses.append(
            train(net, x[:10_000], t[:10_000], iterations=100, rng=0, evaluate_every=0).loss
        )
    np.testing.assert_allclose(losses[1], losses[0], rtol=0, atol=1e-9)


def test_numpy_and_numba_agree_on_mnist(mnist):
    (x, t), _ = mnist
    losses = []
    for name in ("numpy", "numba", "numpy", "numba"):
        net = TwoLayerNet(784, 50, 10, backend=name, rng=0)
        losses.append(train(net, x, t, iterations=100, rng=0, evaluate_every=0).loss)
    np.testing.assert_allclose(losses[0], losses[1], rtol=0, atol=1e-9)
    assert losses[0].tobytes() == losses[2].tobytes()
    assert losses[1].tobytes() == losses[3].tobytes()


def test_an_epoch_of_mnist_learns(backend, mnist):
    if isinstance(backend, CupyOnCpuBackend):
        pytest.skip(
            "kernels that the CPU runs thread by thread take a minute; "
            "test_cupy_backend.py makes the first steps"
        )
    (x, t), (x_test, t_test) = mnist
    net = TwoLayerNet(784, 50, 10, backend=backend, dtype="float32", rng=0)
    history = train(net, x, t, x_test=x_test, t_test=t_test, iterations=601, rng=0)
    assert history.iterations == [0, 600]
    assert history.test_accuracy[0] < 0.4
    assert history.test_accuracy[1] > 0.7
    assert history.test_accuracy[1] == net.accuracy(x_test, t_test)
    assert history.train_accuracy[1] == net.accuracy(x, t)
    assert history.loss[-50:].mean() < 1.2 < 2.2 < history.loss[:10].mean()


# -- the history -----------------------------------------------------------------------------------


def test_the_book_evaluates_seventeen_times(backend):
    """10,000 iterations with 600 to an epoch, as batches of 100 make it of MNIST."""
    assert inspect.signature(train).parameters["batch_size"].default == 100
    x, t = np.tile(X[:, :1], (12, 1)), np.tile(LABELS % 2, 12)
    assert len(x) == 600
    net = TwoLayerNet(1, 1, 2, backend=backend, dtype="float32", rng=0)
    options = {"iterations": 10_000, "batch_size": 1, "rng": 0}
    history = train(net, x, t, x_test=x[:9], t_test=t[:9], **options)
    assert history.iterations == list(range(0, 10_000, 600))
    assert len(history.train_accuracy) == len(history.test_accuracy) == 17
    assert history.loss.shape == (10_000,)


@pytest.mark.parametrize(
    ("batch_size", "evaluate_every", "expected"),
    [
        (10, None, [0, 5, 10]),
        (7, None, [0, 7]),  # 50 / 7 = 7.14: the book's float modulo fires at 0 and never again
        (26, None, list(range(12))),
        (50, None, list(range(12))),
        (51, None, list(range(12))),
        (7, 0, []),
        (7, 1, list(range(12))),
        (7, 4, [0, 4, 8]),
        (10, 3, [0, 3, 6, 9]),
        (10, 12, [0]),
        (10, 1000, [0]),
    ],
)
def test_evaluations_come_when_they_should(backend, batch_size, evaluate_every, expected):
    net = small(backend)
    options = {
        "iterations": 12,
        "batch_size": batch_size,
        "evaluate_every": evaluate_every,
        "rng": 0,
    }
    history = train(net, X, T, x_test=X[:7], t_test=LABELS[:7], **options)
    assert isinstance(history, History)
    assert history.iterations == expected
    assert len(history.train_accuracy) == len(history.test_accuracy) == len(expected)
    assert all(
        type(value) is float and 0 <= value <= 1
        for value in history.train_accuracy + history.test_accuracy
    )
    assert history.loss.shape == (12,)
    assert isinstance(history.loss, np.ndarray)
    without_test = train(small(backend), X, T, **options)
    assert without_test.test_accuracy == []
    assert without_test.train_accuracy == history.train_accuracy
    np.testing.assert_array_equal(without_test.loss, history.loss)


def test_accuracies_are_those_after_the_update(backend):
    """Of all samples, also when they are more than are evaluated at a time."""
    x, t = np.tile(X, (90, 1)), np.tile(LABELS, 90)  # 4500 samples
    history = train(
        small(backend),
        x,
        t,
        x_test=X,
        t_test=T,
        iterations=6,
        batch_size=8,
        learning_rate=2,
        evaluate_every=1,
        rng=0,
    )
    for iteration in range(6):
        net = small(backend)
        train(
            net,
            x,
            t,
            iterations=iteration + 1,
            batch_size=8,
            learning_rate=2,
            evaluate_every=0,
            rng=0,
        )
        assert history.train_accuracy[iteration] == pytest.approx(net.accuracy(x, t), abs=1e-15)
        assert history.test_accuracy[iteration] == net.accuracy(X, T)


def test_seconds_are_those_of_the_loop(backend):
    started = time.perf_counter()
    history = train(small(backend), X, T, iterations=20, batch_size=8)
    assert 0 < history.seconds <= time.perf_counter() - started


def test_no_iterations_change_nothing(backend):
    net = small(backend)
    before = host(net)
    history = train(net, X, T, iterations=0, batch_size=8)
    assert history.loss.shape == (0,)
    assert history.iterations == history.train_accuracy == []
    assert same(host(net), before)


def test_a_learning_rate_of_zero_changes_nothing(backend):
    net = small(backend)
    before = host(net)
    assert (
        len({*train(net, X, T, iterations=5, batch_size=50, learning_rate=0, rng=0).loss.tolist()})
        > 1
    )
    assert same(host(net), before)


def test_data_are_not_changed(backend):
    x, t, labels = X.copy(), T.copy(), LABELS.copy()
    for targets in (t, labels):
        train(small(backend), x, targets, x_test=x, t_test=targets, iterations=10, batch_size=8)
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(t, T)
    np.testing.assert_array_equal(labels, LABELS)


def test_parameters_are_updated_in_place(backend):
    net = small(backend)
    before = dict(net.params)
    train(net, X, T, iterations=3, batch_size=8)
    assert all(net.params[name] is parameter for name, parameter in before.items())


def test_progress_goes_to_standard_error_and_only_if_asked_for(capfd, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    train(small("numpy"), X, T, iterations=10, batch_size=8, progress=True)  # to no terminal
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    train(small("numpy"), X, T, iterations=10, batch_size=8)
    assert terminal.getvalue() == ""
    history = train(
        small("numpy"), X, T, iterations=10, batch_size=8, evaluate_every=3, rng=0, progress=True
    )
    last = terminal.getvalue().split("\r")[-1]
    assert "10/10" in last
    assert f"loss={history.loss.mean():.3g}" in last
    assert f"accuracy={history.train_accuracy[-1]:.3g}" in last
    assert "it/s" in last
    assert capfd.readouterr() == ("", "")


# -- what it refuses -------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("evaluate_every", [None, 0])
def test_divergence_is_an_error_and_no_flood_of_warnings(backend, dtype, evaluate_every):
    net = TwoLayerNet(
        6,
        5,
        4,
        0.5,
        activation="identity",
        loss="mean_squared_error",
        backend=backend,
        dtype=dtype,
        rng=0,
    )
    with pytest.raises(
        DivergenceError, match=r"iteration \d+.*learning_rate smaller than 1000"
    ) as caught:
        train(
            net,
            X,
            T,
            iterations=200,
            batch_size=8,
            learning_rate=1000,
            evaluate_every=evaluate_every,
            rng=0,
        )
    assert isinstance(caught.value, ArithmeticError)


def test_divergence_names_the_first_iteration_that_is_not_finite():
    net = SimpleNet(1, 1, loss="mean_squared_error", rng=0)
    net.W = np.array([[1e200]])
    with pytest.raises(DivergenceError, match="the loss is inf at iteration 0"):
        train(net, [[1.0]], [[0.0]], iterations=3, batch_size=1)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"iterations": -1}, InputError, "iterations=-1"),
        ({"iterations": 10.0}, DtypeError, "iterations=10.0"),
        ({"iterations": True}, DtypeError, "iterations=True"),
        ({"batch_size": 0}, InputError, "batch_size=0"),
        ({"batch_size": -5}, InputError, "batch_size=-5"),
        ({"batch_size": 2.5}, DtypeError, "batch_size=2.5"),
        ({"learning_rate": -0.1}, InputError, "learning_rate=-0.1"),
        ({"learning_rate": np.nan}, InputError, "learning_rate=nan"),
        ({"learning_rate": np.inf}, InputError, "learning_rate=inf"),
        ({"learning_rate": "fast"}, DtypeError, "learning_rate='fast'"),
        ({"learning_rate": 1j}, DtypeError, "learning_rate=1j"),
        ({"gradient": "guess"}, InputError, "gradient='guess'.*'backprop'"),
        ({"evaluate_every": -1}, InputError, "evaluate_every=-1"),
        ({"evaluate_every": 1.5}, DtypeError, "evaluate_every=1.5"),
        ({"rng": "seed"}, InputError, "rng='seed'"),
        ({"x_test": X}, fastnn.FastnnError, "t_test"),
        ({"t_test": T}, fastnn.FastnnError, "x_test"),
        ({"x_test": X[:, :5], "t_test": T}, InputError, "x_test has 5 features.*takes 6"),
        ({"x_test": X, "t_test": T[:9]}, InputError, r"t_test has shape \(9, 4\)"),
        ({"x_test": X, "t_test": LABELS + 1}, InputError, "t_test holds the label 4"),
        ({"x_train": X[:, :5]}, InputError, "x_train has 5 features.*takes 6"),
        (
            {"x_train": X.reshape(50, 2, 3)},
            InputError,
            r"x_train has shape \(50, 2, 3\).*x_train.reshape",
        ),
        ({"x_train": X[:49]}, InputError, r"t_train has shape \(50, 4\)"),
        ({"x_train": X[:0], "t_train": T[:0]}, InputError, "x_train.*holds nothing"),
        ({"x_train": np.where(X > 0.9, np.nan, X)}, InputError, r"x_train\[\d+, \d\] is nan"),
        ({"x_train": X + 1j}, DtypeError, "x_train.*complex128"),
        ({"t_train": LABELS[:49]}, InputError, "t_train holds 49 labels.*50 samples"),
        ({"t_train": LABELS - 1}, InputError, "t_train holds the label -1"),
        ({"t_train": LABELS + 0.5}, DtypeError, r"t_train holds \d\.5"),
        ({"t_train": np.where(T > 0, np.inf, T)}, InputError, r"t_train\[0, \d\] is inf"),
        ({"x_train": X[0], "t_train": T[0]}, InputError, "t_train"),
    ],
)
def test_bad_arguments_change_nothing(backend, options, error, message):
    net, rng = small(backend), np.random.default_rng(0)
    before = host(net)
    arguments = {"x_train": X, "t_train": T, "iterations": 5, "batch_size": 8, "rng": rng} | options
    with pytest.raises(error, match=message):
        train(net, **arguments)
    assert same(host(net), before)
    assert rng.bit_generator.state == np.random.default_rng(0).bit_generator.state


def test_a_parameter_that_cannot_be_written_changes_nothing():
    net = small("numpy")
    net.params["b1"] = np.broadcast_to(0.0, 5)
    before = host(net)
    with pytest.raises(fastnn.FastnnError, match=r"params\['b1'\]"):
        train(net, X, T, iterations=5, batch_size=8)
    assert same(host(net), before)


def test_options_of_train_are_by_keyword_only():
    with pytest.raises(TypeError, match="positional"):
        train(small("numpy"), X, T, X, T)
