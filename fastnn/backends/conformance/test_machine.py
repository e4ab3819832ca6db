"""What a backend is beside its operations: instances, copies, the machine."""

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from .drawn import bits


def test_a_backend_names_itself_and_its_device(backend):
    assert isinstance(backend.name, str)
    assert backend.device
    assert backend.name in repr(backend)
    assert backend.device in repr(backend)


def test_a_copy_of_a_backend_is_itself(backend):
    assert copy.copy(backend) is backend
    assert copy.deepcopy({"backend": backend})["backend"] is backend


def test_a_backend_is_pickled(backend, dtype):
    other = pickle.loads(pickle.dumps(backend))
    assert type(other) is type(backend)
    assert repr(other) == repr(backend)
    assert pickle.loads(pickle.dumps(backend)) is other
    other.check_arrays(a=backend.asarray(np.ones(3, dtype)))


def test_one_instance_serves_several_threads(backend, dtype):
    """An operation whose memory is its own gives what it gives alone."""
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=shape).astype(dtype) for shape in ((40, 30), (30, 20), (20,))]

    def results(number):
        with backend.current():
            x, W, b = (backend.asarray(a * dtype.type(number + 1)) for a in arrays)
            z = backend.dense(x, W, b, "sigmoid")
            t = backend.asarray(np.full(40, number, np.intp))
            _, delta = backend.loss_gradient(z, t, "cross_entropy")
            return bits(backend, backend.dense_backward(delta, W, x, "identity"))

    alone = [results(number) for number in range(8)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(results, range(8))) == alone


def test_contexts_can_be_nested(backend, dtype):
    with (
        backend.limit_threads(10),
        backend.current(),
        backend.limit_threads(10**9),
        backend.current(),
    ):
        a = backend.asarray(np.ones((2, 3), dtype))
        assert int(backend.count_correct(a, backend.asarray(np.zeros(2, np.intp)))) == 2


def test_warm_up_and_synchronize_return_nothing(backend, dtype):
    assert backend.warm_up(dtype) is None
    assert backend.warm_up(dtype.name) is None
    assert backend.synchronize() is None
