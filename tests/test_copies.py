"""Backends, networks, histories and errors can be copied, pickled and sent: names and arrays."""

import copy
import inspect
import pickle
import threading
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest

import fastnn
from fastnn import errors
from fastnn.backends import _BUILTIN, available_backends
from fastnn.backends import numpy as numpy_backend
from fastnn.backends.base import Backend
from fastnn.backends.numba.backend import NumbaBackend

X, T = np.random.default_rng(0).random((20, 4)), np.arange(20) % 3

NETWORKS = {
    "TwoLayerNet": lambda backend: fastnn.TwoLayerNet(
        4, 5, 3, 0.5, activation="tanh", backend=backend, rng=0
    ),
    "SimpleNet": lambda backend: fastnn.SimpleNet(4, 3, backend=backend, rng=0),
}


def through_pickle(a):
    return pickle.loads(pickle.dumps(a))


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, through_pickle])
def test_a_backend_is_itself(backend, copied):
    same = copied(backend)
    assert type(same) is type(backend)
    assert same.name == backend.name
    if copied is not through_pickle:
        assert same is backend
    assert through_pickle(same) is through_pickle(backend)  # one in a process


@pytest.mark.parametrize("copied", [copy.deepcopy, through_pickle])
@pytest.mark.parametrize("make", NETWORKS.values(), ids=list(NETWORKS))
def test_a_network_is_copied_with_its_parameters(backend, make, copied):
    net = make(backend)
    same = copied(net)
    host = {name: backend.to_numpy(p).copy() for name, p in net.params.items()}
    assert type(same.backend) is type(backend)
    assert vars(same).keys() == vars(net).keys()
    for name, parameter in same.params.items():
        same.backend.check_arrays(**{name: parameter})
        assert backend.to_numpy(parameter).tobytes() == host[name].tobytes()
    losses = [
        fastnn.train(n, X, T, iterations=5, batch_size=4, rng=0).loss.tobytes()
        for n in (same, make(backend))
    ]
    assert losses[0] == losses[1]
    # Not by this.
    assert all(np.array_equal(backend.to_numpy(p), host[name]) for name, p in net.params.items())
    assert same.gradient(X, T).keys() == net.params.keys()


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, through_pickle])
def test_a_history_and_a_report_are_copied(copied):
    net = NETWORKS["TwoLayerNet"]("numpy")
    history = fastnn.train(net, X, T, x_test=X, t_test=T, iterations=7, batch_size=4, rng=0)
    same = copied(history)
    assert same.loss.tobytes() == history.loss.tobytes()
    assert (same.iterations, same.train_accuracy, same.seconds) == (
        history.iterations,
        history.train_accuracy,
        history.seconds,
    )
    report = fastnn.gradient_check(net, X, T)
    assert copied(report) == report


@pytest.mark.parametrize("name", [n for n, c in vars(errors).items() if inspect.isclass(c)])
def test_an_error_is_copied_with_its_message(name):
    error = getattr(errors, name)("W1 is wrong; assign another")
    for same in (copy.deepcopy(error), through_pickle(error)):
        assert type(same) is type(error)
        assert str(same) == str(error)
    # What reads it without calling it, as Dask does of what its workers raise.
    assert type(type(error).__new__(type(error), str(error))) is type(error)


def test_what_probing_found_is_copied():
    found = available_backends()
    same = through_pickle(found)
    assert same.keys() == found.keys()
    assert [f[:4] for f in same.values()] == [f[:4] for f in found.values()]


def trained(net):
    """In another process: the loss of a training, and on what."""
    return fastnn.train(net, X, T, iterations=5, batch_size=4, rng=0).loss, repr(net.backend), net


@pytest.mark.parametrize("name", ["numpy", "numba", "torch"])
def test_a_network_works_in_a_spawned_process(name):
    if not available_backends()[name].available:
        pytest.skip(available_backends()[name].reason)
    nets = [fastnn.TwoLayerNet(4, 5, 3, 0.5, backend=name, rng=0)]
    if name != "torch":
        chosen = fastnn.get_backend(name, threads=1)
        nets.append(fastnn.TwoLayerNet(4, 5, 3, 0.5, backend=chosen, rng=0))
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        for net in nets:
            loss, backend, back = pool.submit(trained, net).result()
            assert backend == repr(net.backend)
            assert loss.tobytes() == trained(net)[0].tobytes()
            assert back.backend is net.backend
            for parameter, expected in zip(back.params.values(), net.params.values(), strict=True):
                np.testing.assert_array_equal(
                    net.backend.to_numpy(parameter), net.backend.to_numpy(expected)
                )


# -- one instance ----------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"threads": 3}], ids=repr)
def test_threads_that_ask_at_once_get_the_same_instance(monkeypatch, options):
    monkeypatch.setattr("fastnn.backends.sharing._instances", {})
    barrier, found = threading.Barrier(8), []

    def ask():
        barrier.wait()
        found.append(fastnn.get_backend("numba", **options))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len({id(backend) for backend in found}) == 1


@pytest.mark.parametrize("name", ["numpy", "numba"])
def test_threads_are_chosen_at_run_time_and_said(name):
    backend = fastnn.get_backend(name, threads=1)
    assert backend is fastnn.get_backend(name, threads=1)
    assert backend is not fastnn.get_backend(name)
    assert "1 thread>" in repr(backend)
    assert "2 threads>" in repr(fastnn.get_backend(name, threads=2))
    assert repr(fastnn.TwoLayerNet(2, 3, 4, backend=backend).backend) == repr(backend)
    if name == "numba":
        assert backend.pool.size == 1
        assert NumbaBackend(3).pool.size == 3


def test_the_threads_of_numpy_are_those_of_its_blas(monkeypatch):
    from threadpoolctl import threadpool_info, threadpool_limits

    def blas():
        return {
            library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"
        }

    monkeypatch.setattr(
        numpy_backend.processor, "_threads_pay", lambda *_: pytest.fail("they were chosen")
    )
    with threadpool_limits(2, user_api="blas"):
        for threads in (1, 2):
            with fastnn.get_backend("numpy", threads=threads).limit_threads(4_000_000):
                assert blas() == {threads}


@pytest.mark.parametrize(
    ("name", "threads", "error"),
    [
        ("numpy", 0, fastnn.InputError),
        ("numba", -2, fastnn.InputError),
        ("numba", 1.5, fastnn.DtypeError),
        ("auto", 0, fastnn.InputError),
    ],
)
def test_a_number_of_threads_is_checked(name, threads, error):
    with pytest.raises(error, match=f"threads={threads}"):
        fastnn.get_backend(name, threads=threads)


def test_threads_are_not_for_backends_without_and_not_for_instances():
    class Plain(Backend):
        name, xp = "plain", np

    with pytest.raises(fastnn.InputError, match="threads=2 is not for the backend 'plain'"):
        Plain.create(threads=2)
    with pytest.raises(fastnn.DtypeError, match="goes with a backend's name"):
        fastnn.get_backend(Plain(), threads=2)


def test_auto_takes_threads():
    assert "2 threads>" in repr(fastnn.get_backend("auto", threads=2)) or not _BUILTIN


# -- devices ---------------------------------------------------------------------------------------


def test_what_a_device_lacks_is_refused_with_the_reason():
    array_api_strict = pytest.importorskip("array_api_strict")
    from fastnn.backends.array_api import ArrayApiBackend

    class NoDoubles:
        """Like Apple's GPUs."""

        __name__ = "no_doubles"

        def __getattr__(self, name):
            return getattr(array_api_strict, name)

        def asarray(self, a, **options):
            made = array_api_strict.asarray(a, **options)
            if isinstance(a, np.ndarray) and made.dtype == array_api_strict.float64:
                raise TypeError("no float64 here")
            return made

        def zeros(self, shape, *, dtype=None, **options):
            if dtype == array_api_strict.float64:
                raise TypeError("no float64 here")
            return array_api_strict.zeros(shape, dtype=dtype, **options)

    backend = ArrayApiBackend(NoDoubles())
    with pytest.raises(fastnn.DeviceError, match=r"has no float64; use dtype='float32'"):
        fastnn.TwoLayerNet(4, 5, 3, backend=backend)
    with pytest.raises(fastnn.DeviceError, match=r"has no float64; use dtype='float32'"):
        fastnn.TwoLayerNet(4, 5, 3).to(backend)
    net = fastnn.TwoLayerNet(4, 5, 3, 0.5, backend=backend, dtype="float32", rng=0)
    expected = fastnn.TwoLayerNet(4, 5, 3, 0.5, dtype="float32", rng=0)
    losses = [
        fastnn.train(n, X, T, iterations=9, batch_size=4, rng=0).loss for n in (net, expected)
    ]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)
    with pytest.raises(fastnn.DeviceError, match="method='full' for a numerical gradient"):
        net.numerical_gradient(X, T)


@pytest.mark.torch
def test_the_devices_of_pytorch():
    pytest.importorskip("torch")
    pytest.importorskip("array_api_compat")
    assert fastnn.get_backend("torch:cpu").name == "torch"
    assert fastnn.get_backend("torch:cpu") is fastnn.get_backend("torch:cpu")
    for device in ("abacus", "cuda:99", ""):
        with pytest.raises(fastnn.DeviceError, match=r"PyTorch cannot use the device.*'torch:cpu'"):
            fastnn.get_backend(f"torch:{device}")


class OnADevice:
    """Like the arrays of JAX and PyTorch in the memory of a GPU."""

    shape, dtype = (3,), np.dtype(float)

    def __dlpack_device__(self):
        return (2, 0)

    def __array__(self, dtype=None, copy=None):
        raise AssertionError("copied from the device silently")


def test_an_array_in_the_memory_of_a_device_does_not_enter_silently(backend):
    net = fastnn.TwoLayerNet(3, 4, 2, backend=backend, rng=0)
    for call in (
        backend.asarray,
        net.predict,
        lambda a: net.gradient(a, 1),
        fastnn.functions.sigmoid,
    ):
        with pytest.raises(fastnn.ForeignArrayError, match=r"OnADevice (in|on) .*device"):
            call(OnADevice())
