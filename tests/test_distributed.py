"""Training on a cluster: the bits of one worker on any number, and what becomes of lost ones."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastnn
from fastnn import (
    Adam,
    Callback,
    CheckpointError,
    ClusterError,
    DivergenceError,
    DtypeError,
    EarlyStopping,
    InputError,
    SimpleNet,
    TwoLayerNet,
    numerical_gradient,
)

pytest.importorskip("distributed")
da = pytest.importorskip("dask.array")

from dask import delayed  # noqa: E402
from distributed import Client, LocalCluster  # noqa: E402

from fastnn import distributed  # noqa: E402
from fastnn.distributed import cluster as cluster_module  # noqa: E402
from fastnn.distributed.placement import placed  # noqa: E402
from fastnn.distributed.summation import subtotals, total  # noqa: E402

ROWS = (40, 7, 33, 1, 25, 60, 34)
FEATURES = 12

_rng = np.random.default_rng(0)
X = _rng.random((sum(ROWS), FEATURES))
X[X < 0.6] = 0
T = _rng.integers(5, size=len(X))
#: From a graph, so that whatever is lost can be computed again.
x, t = da.from_array(X, chunks=(ROWS, FEATURES)), da.from_array(T, chunks=(ROWS,))

STEPS = {"iterations": 24, "batch_size": 20, "evaluate_every": 8, "rng": 3}


def local_cluster(count):
    """Workers of one thread, each a process of its own, named from 0 on."""
    return LocalCluster(
        n_workers=count,
        threads_per_worker=1,
        processes=True,
        memory_limit=0,
        dashboard_address=":0",
        silence_logs=logging.CRITICAL,
    )


@pytest.fixture(scope="module")
def client():
    with local_cluster(4) as local, Client(local) as client:
        yield client


@pytest.fixture
def mortal(client):
    """A client of three workers that a test may kill."""
    with local_cluster(3) as local, Client(local, set_as_default=False) as mortal:
        yield mortal


def network(backend="numpy", dtype="float64", **options):
    return TwoLayerNet(FEATURES, 6, 5, 0.5, backend=backend, dtype=dtype, rng=1, **options)


def trained(client, count, *, make=network, data=(x, t), **options):
    """A network trained on so many workers, and the history."""
    net = make()
    options = STEPS | options
    history = distributed.train(net, *data, client=client, workers=range(count), **options)
    return net, history


def same(found, expected):
    (net, history), (other, of_other) = found, expected
    for name, p in other.params.items():
        np.testing.assert_array_equal(net.params[name], p, strict=True)
    np.testing.assert_array_equal(history.loss, of_other.loss, strict=True)
    assert history.to_dict() | {"seconds": 0} == of_other.to_dict() | {"seconds": 0}


def close(found, expected, tolerance=1e-12):
    (net, history), (other, of_other) = found, expected
    for name, p in other.params.items():
        np.testing.assert_allclose(net.params[name], p, rtol=0, atol=tolerance)
    np.testing.assert_allclose(history.loss, of_other.loss, rtol=tolerance)
    assert history.iterations == of_other.iterations
    assert history.train_accuracy == of_other.train_accuracy
    assert history.test_accuracy == of_other.test_accuracy
    assert history.validation_accuracy == of_other.validation_accuracy
    np.testing.assert_allclose(history.validation_loss, of_other.validation_loss, rtol=tolerance)


def alone(make=network, data=(X, T), **options):
    """The same on one machine."""
    net = make()
    return net, fastnn.train(net, *data, **STEPS | options)


class Watch(Callback):
    """Calls something after an iteration."""

    def __init__(self, iteration, action):
        self.every, self._action = iteration, action
        self.places = []

    def on_iteration(self, state):
        self.places.append(state.data.places)
        if state.iteration == self.every:
            self._action(state)


# -- the same result, wherever it is computed ------------------------------------------------------


@pytest.mark.parametrize("gradient", ["backprop", "numerical"])
@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_the_same_bits_on_any_number_of_workers(client, backend, gradient):
    options = {"gradient": gradient, "learning_rate": 0.5, "sampling": "shuffle"}

    def make():
        return network(backend)

    watch = Watch(8, lambda _: None)
    first = trained(client, 1, make=make, **options)
    for count in (2, 3):
        same(trained(client, count, make=make, **options), first)
    same(trained(client, 4, make=make, callbacks=[watch], **options), first)
    assert len(watch.places[0]) == 4, "each worker has some of the blocks"
    assert sorted(n for some in watch.places[0].values() for n in some) == list(range(7))
    close(first, alone(make, **options))


@pytest.mark.parametrize("name", ["momentum", "nesterov", "adagrad", "rmsprop", "adam"])
def test_optimizers(client, name):
    options = {"optimizer": name, "learning_rate": 0.01}
    found = trained(client, 3, **options)
    same(found, trained(client, 1, **options))
    close(found, alone(**options))


def test_float32(client):
    def make():
        return network("numba", "float32")

    found = trained(client, 4, make=make)
    same(found, trained(client, 1, make=make))
    close(found, alone(make), 1e-5)
    assert found[1].loss.dtype == np.float32


def test_the_squared_error_is_a_sum(client):
    def make():
        return TwoLayerNet(FEATURES, 6, 1, 0.5, loss="mean_squared_error", rng=1)

    targets = X @ np.linspace(-1, 1, FEATURES)
    options = {"learning_rate": 0.001, "evaluate_every": 0}
    data = x, da.from_array(targets, chunks=(ROWS,))
    found = trained(client, 4, make=make, data=data, **options)
    same(found, trained(client, 1, make=make, data=data, **options))
    close(found, alone(make, (X, targets), **options))
    watched = options | {"evaluate_every": 8}
    found = trained(client, 3, make=make, data=data, validation=data, **watched)
    close(found, alone(make, (X, targets), validation=(X, targets), **watched))


@pytest.mark.parametrize("gradient", ["backprop", "numerical"])
def test_the_full_numerical_gradient_of_another_network(client, gradient):
    def make():
        return SimpleNet(FEATURES, 5, rng=1)

    options = {"iterations": 4, "gradient": gradient, "evaluate_every": 0}
    found = trained(client, 3, make=make, **options)
    same(found, trained(client, 1, make=make, **options))
    # Of a sum over blocks, so that the quotient's rounding, ε / h, is another one.
    close(found, alone(make, **options), 1e-12 if gradient == "backprop" else 1e-10)


@pytest.mark.parametrize("gradient", ["backprop", "numerical"])
def test_sample_weights(client, gradient):
    weights = np.random.default_rng(4).integers(3, size=len(X)).astype(float)
    weights[40:47] = 0  # a mortal block
    given = {"sample_weight": da.from_array(weights, chunks=(ROWS,)), "gradient": gradient}
    found = trained(client, 4, **given)
    same(found, trained(client, 1, **given))
    close(found, alone(sample_weight=weights, gradient=gradient))
    light = np.zeros(len(X))
    light[50] = 2  # in most batches no sample weighs anything
    found = trained(client, 2, sample_weight=da.from_array(light, chunks=(ROWS,)))
    close(found, alone(sample_weight=light))
    assert not found[1].loss.all()


def test_sets_that_are_evaluated_and_early_stopping(client):
    """Those on the cluster and those in memory give what they give on one machine."""
    pair, here = (x[:80], t[:80]), (X[:80], T[:80])
    options = {"x_test": X[80:], "t_test": T[80:], "learning_rate": 2.0, "iterations": 120}
    expected = alone(validation=here, early_stopping=EarlyStopping(2), **options)
    assert expected[1].stopped == "early stopping"
    for samples in (pair, here):
        found = trained(client, 3, validation=samples, early_stopping=EarlyStopping(2), **options)
        close(found, expected)
        assert found[1].best_iteration == expected[1].best_iteration
    options |= {"x_test": x[80:], "t_test": t[80:]}
    close(trained(client, 2, validation=here, early_stopping=EarlyStopping(2), **options), expected)


def test_targets_that_are_rows(client):
    close(
        trained(client, 3, data=(x, da.from_array(np.eye(5)[T], chunks=(ROWS, 5)))),
        alone(data=(X, np.eye(5)[T])),
    )


def test_blocks_that_are_empty_or_fewer_than_workers(client):
    rows = (0, 100, 0, 100)
    data = da.from_array(X, chunks=((200,), FEATURES)), da.from_array(T, chunks=200)
    data = data[0].rechunk({0: rows}), data[1].rechunk({0: rows})
    watch = Watch(8, lambda _: None)
    found = trained(client, 4, data=data, callbacks=[watch])
    assert [len(some) for some in watch.places[0].values()] == [1, 1]
    close(found, alone())


def test_threads_of_a_worker_and_workers_in_this_process(client):
    """In one process with the client, several blocks at a time."""
    with Client(
        processes=False, n_workers=2, threads_per_worker=3, dashboard_address=":0"
    ) as threads:
        net = network()
        history = distributed.train(net, x, t, client=threads, **STEPS)
        full, options = SimpleNet(FEATURES, 5, rng=1), {"iterations": 3, "gradient": "numerical"}
        of_full = distributed.train(full, x, t, client=threads, **STEPS | options)
    same((net, history), trained(client, 1))
    expected = trained(client, 1, make=lambda: SimpleNet(FEATURES, 5, rng=1), **options)
    same((full, of_full), expected)


@pytest.mark.parametrize("gradient", ["backprop", "numerical"])
def test_every_backend(backend, dtype, gradient):
    """On workers in this process, which have what only the tests have."""
    weights = np.arange(len(X)) % 3

    def make():
        return network(backend, dtype)

    options = {"iterations": 6, "batch_size": 9, "gradient": gradient, "evaluate_every": 3}
    options |= {"rng": 0, "optimizer": "momentum"}
    net, other = make(), make()
    with Client(
        processes=False, n_workers=2, threads_per_worker=2, dashboard_address=":0"
    ) as threads:
        options |= {"client": threads, "validation": (x[:80], t[:80])}
        options |= {"sample_weight": da.from_array(weights, chunks=(ROWS,))}
        history = distributed.train(net, x, t, **options)
    del options["client"]
    options |= {"validation": (X[:80], T[:80]), "sample_weight": weights}
    expected = fastnn.train(other, X, T, **options)
    tolerance = 1e-12 if dtype == np.float64 else 1e-5
    np.testing.assert_allclose(history.loss, expected.loss, rtol=tolerance)
    np.testing.assert_allclose(history.validation_loss, expected.validation_loss, rtol=tolerance)
    assert history.validation_accuracy == expected.validation_accuracy
    for name, p in net.params.items():
        found, wanted = (net.backend.to_numpy(a) for a in (p, other.params[name]))
        np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerance)


def test_another_backend_on_the_workers(client):
    found = trained(client, 2, backend="numba")
    close(found, alone())
    same(found, trained(client, 1, backend="numba"))
    assert found[0].backend.name == "numpy"


def test_without_a_detour_by_the_scheduler(client):
    with Client(client.scheduler.address, direct_to_workers=True) as direct:
        found = trained(direct, 3)
    same(found, trained(client, 1))


def test_a_history_that_is_continued_and_epochs(client):
    net, history = trained(client, 2, rng=1)
    options = {"epochs": 2, "batch_size": 20, "history": history, "rng": 2, "evaluate_every": 8}
    more = distributed.train(net, x, t, client=client, **options)
    other, past = alone(rng=1)
    close((net, more), (other, fastnn.train(other, X, T, **options | {"history": past})))


def test_divergence(client):
    with pytest.raises(DivergenceError, match="learning_rate"):
        trained(
            client,
            2,
            make=lambda: TwoLayerNet(FEATURES, 3, 1, loss="mean_squared_error", rng=0),
            data=(x, t.astype(float)),
            learning_rate=1e6,
            evaluate_every=0,
        )


# -- lost workers, lost data, a lost scheduler -----------------------------------------------------


def pids(client):
    return client.run(os.getpid)


def killing(client, which):
    """A callback that kills the worker with some of the blocks after iteration 8."""
    found = pids(client)

    def kill(state):
        os.kill(found[list(state.data.places)[which]], signal.SIGKILL)

    return Watch(8, kill)


@pytest.mark.parametrize(("persisted", "backend"), [(False, "numpy"), (True, "numba")])
def test_a_worker_that_is_killed(client, mortal, persisted, backend, caplog):
    data = mortal.persist([x, t]) if persisted else (x, t)
    expected = trained(client, 1, make=lambda: network(backend))
    watch = killing(mortal, 1)
    net = network(backend)
    with caplog.at_level(logging.WARNING, "fastnn"):
        history = distributed.train(net, *data, client=mortal, callbacks=[watch], **STEPS)
    same((net, history), expected)
    before, after = watch.places[0], watch.places[-1]
    assert before.keys() != after.keys()
    assert sorted(n for some in after.values() for n in some) == list(range(7))
    [lost] = [record.getMessage() for record in caplog.records if "is lost" in record.getMessage()]
    assert f"{list(before)[1]} is lost" in lost


def test_a_worker_that_is_killed_at_any_time(client, mortal):
    expected = trained(client, 1, iterations=150)
    net, found = network(), pids(mortal)
    victim = next(iter(found.values()))
    timer = threading.Timer(0.5, os.kill, (victim, signal.SIGKILL))
    timer.start()
    history = distributed.train(net, x, t, client=mortal, **STEPS | {"iterations": 150})
    timer.join()
    same((net, history), expected)


def test_parts_that_are_lost_as_soon_as_they_are_there(client, mortal, monkeypatch):
    """Dask says so until it has computed them again; that is no reason to give up."""
    wait, lost = cluster_module.Cluster.wait, []

    def wait_and_lose(self, futures, watch):
        wait(self, futures, watch)
        if not lost:
            lost.append(futures[0].key)
            mortal._handle_lost_data(key=lost[0])
            assert futures[0].status == "lost"

    monkeypatch.setattr(cluster_module.Cluster, "wait", wait_and_lose)
    net = network()
    history = distributed.train(net, x, t, client=mortal, **STEPS)
    assert lost
    same((net, history), trained(client, 1))


@pytest.mark.parametrize("lost", [False, True])
def test_an_answer_that_comes_as_the_wait_for_it_ends(client, lost):
    """A worker that is slow is not lost; one that says itself that it has timed out is."""

    class Late:
        calls = 0

        def result(self, timeout):
            self.calls += 1
            if self.calls == 1 or lost:
                raise TimeoutError(f"timed out after {timeout} s")
            return "answer"

        def done(self):
            return True

    cluster = cluster_module.Cluster(client, None)
    [address, *_] = cluster.workers()
    if lost:
        with pytest.raises(cluster_module.LostError, match="timed out"):
            cluster.result(Late(), address)
    else:
        assert cluster.result(Late(), address) == "answer"


def test_all_workers_are_killed_and_come_again(client, mortal):
    found = pids(mortal)

    def kill(state):
        for pid in found.values():
            os.kill(pid, signal.SIGKILL)

    net = network()
    history = distributed.train(net, x, t, client=mortal, callbacks=[Watch(8, kill)], **STEPS)
    same((net, history), trained(client, 1))


def test_data_that_are_gone(client, mortal, tmp_path):
    """They were scattered, so nobody can compute them again."""
    parts = [mortal.scatter(block) for block in np.split(X, np.cumsum(ROWS)[:-1])]
    scattered = da.concatenate(
        [
            da.from_delayed(delayed(part), (rows, FEATURES), float)
            for part, rows in zip(parts, ROWS, strict=True)
        ]
    )
    path = tmp_path / "training.safetensors"
    has = {a: len(keys) for a, keys in mortal.has_what(list(mortal.nthreads())).items()}
    net, found = network(), pids(mortal)
    victims = [address for address, count in has.items() if count]

    def kill(state):
        for address in victims:
            os.kill(found[address], signal.SIGKILL)

    options = STEPS | {"checkpoint": path, "checkpoint_every": 4, "callbacks": [Watch(8, kill)]}
    with pytest.raises(ClusterError, match="cannot be computed again") as caught:
        distributed.train(net, scattered, t, client=mortal, **options)
    assert str(path)[-20:] in str(caught.value)
    assert_short(caught.value)
    del scattered, parts
    # It goes on from there, with data that there are, and elsewhere.
    same(distributed.resume(path, x, t, client=client), trained(client, 1))


def test_blocks_that_are_others_when_they_are_computed_again(mortal):
    noise = x.map_blocks(
        lambda block: block + int.from_bytes(os.urandom(4)) * 2.0**-40, dtype=float
    )
    with pytest.raises(ClusterError, match="is not what it was"):
        distributed.train(
            network(), noise, t, client=mortal, callbacks=[killing(mortal, 0)], **STEPS
        )


def test_a_source_that_is_gone(mortal, tmp_path):
    path = tmp_path / "rows.npy"
    np.save(path, X)
    rows = da.from_delayed(delayed(np.load)(str(path)), X.shape, float).rechunk({0: ROWS})
    watch = killing(mortal, 0)
    action = watch._action
    watch._action = lambda state: (path.unlink(), action(state))
    with pytest.raises(ClusterError, match=r"computed again .*FileNotFoundError"):
        distributed.train(network(), rows, t, client=mortal, callbacks=[watch], **STEPS)


@pytest.fixture
def scheduler(tmp_path):
    """A scheduler and two workers, each of them a process, and a client."""
    file = tmp_path / "scheduler.json"
    options = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": tmp_path}
    start = [sys.executable, "-m", "dask"]
    arguments = ["scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
    process = subprocess.Popen([*start, *arguments, "--scheduler-file", file], **options)
    arguments = ["worker", "--scheduler-file", file, "--nworkers", "2", "--nthreads", "1"]
    workers = subprocess.Popen(
        [*start, *arguments, "--no-dashboard", "--death-timeout", "20"], **options
    )
    try:
        deadline = time.monotonic() + 30
        while not file.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        client = Client(scheduler_file=str(file), timeout=30)
        try:
            client.wait_for_workers(2, timeout=60)
            yield process, client
        finally:
            client.close(timeout=1)
    finally:
        for each in (process, workers):
            each.terminate()
        for each in (process, workers):
            each.wait(30)


def test_the_scheduler_is_killed(scheduler, tmp_path, client):
    process, lost = scheduler
    path = tmp_path / "training.safetensors"
    options = STEPS | {"checkpoint": path, "checkpoint_every": 4}
    watch = Watch(8, lambda _: process.kill())
    started = time.monotonic()
    with pytest.raises(ClusterError, match=r"scheduler at .* does not answer") as caught:
        distributed.train(network(), x, t, client=lost, callbacks=[watch], **options)
    assert time.monotonic() - started < 20
    assert_short(caught.value)
    assert path.name in str(caught.value)
    same(distributed.resume(path, x, t, client=client, workers=[0, 1, 2]), trained(client, 1))


@pytest.mark.parametrize("closes", ["the client", "the cluster"])
def test_the_client_is_closed(closes, tmp_path, client):
    """In good order, by whoever it is: there is no scheduler to ask then."""
    path = tmp_path / "training.safetensors"
    options = STEPS | {"checkpoint": path, "checkpoint_every": 4}
    with (
        local_cluster(2) as cluster,
        Client(cluster, set_as_default=False) as closed,
    ):
        watch = Watch(8, lambda _: (closed if closes == "the client" else cluster).close())
        with pytest.raises(ClusterError, match=r"scheduler at tcp:.* does not answer") as caught:
            distributed.train(network(), x, t, client=closed, callbacks=[watch], **options)
    assert_short(caught.value)
    assert path.name in str(caught.value)
    same(distributed.resume(path, x, t, client=client, workers=[0, 1, 2]), trained(client, 1))


# -- checkpoints -----------------------------------------------------------------------------------


class PowerCutError(Exception):
    pass


def cut(state):
    raise PowerCutError


def begun(client, path, **options):
    with pytest.raises(PowerCutError):
        trained(client, 2, checkpoint=path, callbacks=[Watch(8, cut)], **options)
    return path


def test_resuming_on_another_number_of_workers(client, tmp_path):
    weights = da.from_array(np.linspace(0, 2, len(X)), chunks=(ROWS,))
    options = {
        "optimizer": Adam(weight_decay=0.01),
        "sampling": "shuffle",
        "checkpoint_every": 3,
        "sample_weight": weights,
        "validation": (x[:80], t[:80]),
        "early_stopping": EarlyStopping(50),
    }
    expected = trained(client, 3, **options)
    options |= {"optimizer": Adam(weight_decay=0.01)}
    path = begun(client, tmp_path / "training.safetensors", **options)
    data = {"sample_weight": weights, "validation": (x[:80], t[:80])}
    found = distributed.resume(path, x, t, client=client, workers=[3], **data)
    same(found, expected)
    same(distributed.resume(path, x, t, client=client, **data), expected)  # it has ended


def test_what_a_checkpoint_was_not_made_of_is_refused(client, tmp_path):
    path = begun(client, tmp_path / "training.safetensors")
    before = path.read_bytes()
    for data in ((x + 1e-9, t), (x.rechunk({0: 100}), t.rechunk({0: 100})), (x, t[::-1])):
        data = data[0], data[1].rechunk({0: data[0].chunks[0]})
        with pytest.raises(InputError, match="these are other data, or in other blocks, of SHA"):
            distributed.resume(path, *data, client=client)
    with pytest.raises(InputError, match=r"arrays on a cluster.*; go on with fastnn.distributed"):
        fastnn.resume(path, X, T)
    with pytest.raises(DtypeError, match=r"x_train is a dask.array.core.Array, which is"):
        fastnn.resume(path, x, t)
    here = tmp_path / "here.safetensors"
    fastnn.train(TwoLayerNet(FEATURES, 4, 5, rng=0), X, T, **STEPS, checkpoint=here)
    with pytest.raises(InputError, match=r"arrays in memory; go on with fastnn.resume and"):
        distributed.resume(here, x, t, client=client)
    with pytest.raises(InputError, match="batch_size=3"):
        distributed.resume(path, x, t, client=client, batch_size=3)
    with pytest.raises(CheckpointError):
        distributed.resume(tmp_path / "none", x, t, client=client)
    assert path.read_bytes() == before


# -- what is refused -------------------------------------------------------------------------------


def assert_short(error):
    assert isinstance(error, fastnn.errors.FastnnError)
    assert len(str(error)) <= fastnn.errors.LONGEST
    assert "\n" not in str(error)


def columns():
    return x.rechunk({1: 5})


def unknown():
    return x[da.from_array(T, chunks=(ROWS,)) >= 0]


REFUSED = {
    "an array of NumPy": (lambda: {"x": X}, DtypeError, "no dask.array.*from_array"),
    "labels of NumPy": (lambda: {"t": T}, DtypeError, "t_train is a .* no dask.array"),
    "columns": (lambda: {"x": columns()}, InputError, r"x_train.rechunk\(\{1: -1\}\)"),
    "unknown sizes": (lambda: {"x": unknown()}, InputError, "compute_chunk_sizes"),
    "other blocks": (lambda: {"t": t.rechunk(50)}, InputError, r"t_train.rechunk\(\{0: x_train"),
    "too few labels": (lambda: {"t": t[:-1]}, InputError, "199 rows, and x_train 200"),
    "features": (lambda: {"x": x[:, :4]}, InputError, "4 features, but the network takes 12"),
    "one dimension": (lambda: {"x": x[:, 0]}, InputError, r"\(samples, features\)"),
    "nothing": (lambda: {"x": x[:0], "t": t[:0]}, InputError, "holds nothing"),
    "labels": (lambda: {"t": t + 3}, InputError, "in block 0: t_train"),
    "not finite": (lambda: {"x": da.where(x > 0.9, np.nan, x)}, InputError, "in block 0: .*nan"),
    "strings": (lambda: {"t": t.astype(str)}, DtypeError, "in block 0: t_train"),
    "weights": (lambda: {"sample_weight": -da.ones(200, chunks=(ROWS,))}, InputError, "weight"),
    "no weights": (lambda: {"sample_weight": da.zeros(200, chunks=(ROWS,))}, InputError, "to 0"),
    "weights of NumPy": (lambda: {"sample_weight": np.ones(200)}, DtypeError, "sample_weight is"),
    "columns of weights": (lambda: {"sample_weight": x}, InputError, "an entry for each sample"),
    "a fraction": (lambda: {"validation": 0.2}, InputError, "no fraction .* give a pair"),
    "no client": (lambda: {"client": None}, DtypeError, "client=None is none; give .*Client"),
    "an address": (lambda: {"client": "tcp://x:1"}, DtypeError, "client='tcp://x:1' is none"),
    "no workers": (lambda: {"workers": []}, InputError, "workers is empty"),
    "another worker": (lambda: {"workers": ["7"]}, InputError, "'7', which is none of this"),
    "a number of workers": (lambda: {"workers": 2}, DtypeError, "workers=2 is no list"),
    "a backend": (lambda: {"backend": "abacus"}, fastnn.UnknownBackendError, "abacus"),
    "no network": (lambda: {"net": "net"}, DtypeError, "is no network"),
    "batch size": (lambda: {"batch_size": 0}, InputError, "batch_size"),
    "gradient": (lambda: {"gradient": "exact"}, InputError, "gradient"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(client, name):
    make, error, match = REFUSED[name]
    given = {"x": x, "t": t, "net": network(), "client": client} | STEPS | make()
    rng = given["rng"] = np.random.default_rng(0)
    before, net = rng.bit_generator.state, given["net"]
    with pytest.raises(error, match=match) as caught:
        distributed.train(given.pop("net"), given.pop("x"), given.pop("t"), **given)
    assert_short(caught.value)
    assert rng.bit_generator.state == before
    if isinstance(net, TwoLayerNet):
        np.testing.assert_array_equal(net.params["W1"], network().params["W1"])


def test_clients_that_cannot_be_used(client):
    closed = Client(client.scheduler.address, set_as_default=False)
    closed.close()
    with pytest.raises(InputError, match="client is closed") as caught:
        trained(closed, 1)
    assert_short(caught.value)
    point = np.ones(3)
    with pytest.raises(InputError, match="workers is a client that is closed"):
        numerical_gradient(np.sum, point, workers=closed)


def test_no_workers(monkeypatch):
    monkeypatch.setattr(cluster_module, "PATIENCE", 0.2)
    with (
        Client(n_workers=0, processes=False, dashboard_address=":0") as none,
        pytest.raises(ClusterError, match="no worker is left") as caught,
    ):
        distributed.train(network(), x, t, client=none)
    assert_short(caught.value)


def test_without_dask(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ImportError, match=r"pip install fastnn\[dask\]"):
        distributed.train(network(), x, t, client=None)


def test_dask_is_not_imported_before_it_is_needed(python):
    code = """
import sys, fastnn
fastnn.distributed.train
assert not {"dask", "distributed"} & sys.modules.keys()
"""
    done = python("-c", code)
    assert done.code == 0, done.err


def test_nothing_stays_on_the_workers(client):
    before = {key for keys in client.has_what().values() for key in keys}
    trained(client, 4)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        actors = client.run(lambda dask_worker: len(dask_worker.state.actors))
        after = {key for keys in client.has_what().values() for key in keys}
        if not any(actors.values()) and after <= before:
            return
        time.sleep(0.05)
    raise AssertionError((actors, after - before))


def test_the_dashboard_is_logged_and_progress_shown(client, caplog, monkeypatch, capsys):
    monkeypatch.setattr("fastnn.progress._is_terminal", lambda _: True)
    with caplog.at_level(logging.INFO, "fastnn"):
        trained(client, 2, progress=True)
    assert "training on 2 workers; the dashboard is at" in caplog.text
    shown = capsys.readouterr().err
    assert "loading" in shown
    assert "24/24" in shown


# -- the order of the sum, and the place of the parts ----------------------------------------------


@given(st.data())
def test_the_sum_does_not_depend_on_who_has_what(data):
    count = data.draw(st.integers(1, 40))
    active = sorted(data.draw(st.sets(st.integers(0, count - 1), min_size=1)))
    leaves = {n: str(n) for n in active}

    def add(a, b):
        return f"({a}+{b})"

    expected = total(subtotals(leaves, active, count, add), active, count, add)
    owners = data.draw(st.lists(st.integers(0, 3), min_size=len(active), max_size=len(active)))
    found = {}
    for owner in set(owners):
        own = {n: leaves[n] for n, who in zip(active, owners, strict=True) if who == owner}
        found |= subtotals(own, active, count, add)
    assert total(found, active, count, add) == expected
    assert [int(n) for n in expected.replace("(", "").replace(")", "").split("+")] == active


def test_neighbours_are_added_where_they_are():
    leaves = dict.fromkeys(range(64), 1)
    assert subtotals(leaves, range(64), 64, int.__add__) == {(0, 64): 64}
    half = dict.fromkeys(range(32), 1)
    assert subtotals(half, range(64), 64, int.__add__) == {(0, 32): 32}


@given(
    st.dictionaries(st.integers(0, 50), st.integers(1, 100), min_size=1),
    st.dictionaries(st.sampled_from("abcde"), st.integers(0, 500), min_size=1),
    st.data(),
)
def test_every_part_has_a_place_and_the_load_is_even(rows, before, data):
    workers = sorted(before)
    have = {n: data.draw(st.lists(st.sampled_from("abcxyz"), max_size=2)) for n in rows}
    found = placed(rows, have, workers, before)
    assert sorted(n for some in found.values() for n in some) == sorted(rows)
    assert found.keys() <= set(workers)
    if not any(before.values()):
        loads = [sum(rows[n] for n in some) for some in found.values()]
        assert max(loads) <= sum(rows.values()) / len(workers) + max(rows.values()) + 1e-9


# -- an expensive function, and a search -----------------------------------------------------------


def cubes(p):
    return float((p**3).sum())


def test_the_gradient_of_a_function_on_a_cluster(client):
    point = np.linspace(-1, 1, 9)
    f = lambda p: cubes_here(p)  # noqa: E731 - by value: the workers do not have this module
    cubes_here = eval("lambda p: float((p**3).sum())")
    expected = numerical_gradient(f, point)
    for workers in (client, client.map):
        np.testing.assert_array_equal(
            numerical_gradient(f, point, workers=workers, h=1e-4), expected
        )

    def broken(p):
        raise KeyError("of f itself")

    with pytest.raises(KeyError, match="of f itself"):
        numerical_gradient(broken, point, workers=client)


@pytest.mark.parametrize("form", ["client", "client.map"])
def test_the_cluster_of_a_function_is_closed(form):
    def slow(p):
        import time

        time.sleep(0.1)
        return float((p**2).sum())

    with (
        local_cluster(1) as cluster,
        Client(cluster, set_as_default=False) as lost,
    ):

        def close():
            while not lost.futures:  # nothing is asked of it yet
                time.sleep(0.01)
            lost.close()

        closing = threading.Thread(target=close, daemon=True)
        closing.start()
        workers = lost if form == "client" else lost.map
        with pytest.raises(ClusterError, match="lost what it was to evaluate"):
            numerical_gradient(slow, np.linspace(-1, 1, 50), workers=workers)
        closing.join(30)


def misses(dask_worker=None):
    """How many kernels this process has compiled, for it did not find them, and has loaded."""
    from importlib import import_module
    from pkgutil import iter_modules

    package = import_module("fastnn.backends.numba.kernels")
    for module in iter_modules(package.__path__):
        import_module(f"{package.__name__}.{module.name}")
    stats = [kernel.stats for kernel in import_module(f"{package.__name__}.jit").KEPT.values()]
    return tuple(
        sum(sum(getattr(s, of).values()) for s in stats) for of in ("cache_misses", "cache_hits")
    )


def test_a_search_finds_its_kernels_and_data(client, monkeypatch):
    """Through joblib: what was compiled once is loaded by each worker, and data are sent once."""
    joblib = pytest.importorskip("joblib")

    def fit(rate, rows, labels):
        net = TwoLayerNet(FEATURES, 6, 5, backend="numba", rng=1)
        fastnn.train(net, rows, labels, iterations=30, learning_rate=rate, rng=2)
        return net.loss(rows, labels)

    rates = [0.1, 0.2, 0.5, 1.0, 2.0, 4.0]
    expected = [fit(rate, X, T) for rate in rates]  # compiles
    before = client.run(misses)
    scattered = []
    scatter = Client.scatter
    monkeypatch.setattr(
        Client, "scatter", lambda self, d, **o: scattered.append(d) or scatter(self, d, **o)
    )
    with joblib.parallel_backend("dask", client=client, scatter=[X, T]):
        found = joblib.Parallel()(joblib.delayed(fit)(rate, X, T) for rate in rates)
    assert found == expected
    assert len(scattered) == 1
    after = client.run(misses)
    assert {a: after[a][0] for a in after} == {a: before[a][0] for a in after}, "compiled again"
    assert any(after[a][1] > before[a][1] for a in after)  # it is told of those that are loaded


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")  # it ends after 15 epochs
def test_a_search_of_scikit_learn(client, monkeypatch):
    pytest.importorskip("sklearn")
    pytest.importorskip("joblib")
    classifier = getattr(fastnn, "TwoLayerClassifier", None)
    if classifier is None:
        pytest.skip("fastnn has no TwoLayerClassifier")
    import joblib
    from sklearn.model_selection import GridSearchCV

    options = {"hidden_layer_sizes": 6, "max_iter": 15, "tol": 0, "random_state": 0}
    model = classifier(backend="numba", n_iter_no_change=1000, **options)
    grid = {"learning_rate_init": [0.001, 0.01, 0.1], "alpha": [0.0, 0.01]}
    model.fit(X, T)
    with joblib.parallel_backend("threading", n_jobs=1):
        expected = GridSearchCV(model, grid, cv=2).fit(X, T)
    before = client.run(misses)
    scattered = []
    scatter = Client.scatter
    monkeypatch.setattr(
        Client, "scatter", lambda self, d, **o: scattered.append(d) or scatter(self, d, **o)
    )
    with joblib.parallel_backend("dask", client=client, scatter=[X, T]):
        found = GridSearchCV(model, grid, cv=2).fit(X, T)
    np.testing.assert_array_equal(
        found.cv_results_["mean_test_score"], expected.cv_results_["mean_test_score"]
    )
    assert found.best_params_ == expected.best_params_
    assert sum(value is X for data in scattered for value in data) == 1
    after = client.run(misses)
    assert {a: after[a][0] for a in after} == {a: before[a][0] for a in after}, "compiled again"


def test_the_extra_is_declared():
    import tomllib

    project = tomllib.loads(Path(fastnn.__file__).parents[1].joinpath("pyproject.toml").read_text())
    needed = project["project"]["optional-dependencies"]["dask"]
    assert {entry.partition(">=")[0] for entry in needed} == {"distributed", "dask[array]"}
