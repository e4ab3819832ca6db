"""What enters and leaves a backend, and what is refused."""

from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ...errors import DtypeError, ForeignArrayError
from ...networks import TwoLayerNet
from .drawn import Drawn, in_context, is_c_contiguous, seeds, sides


@given(seeds)
def test_arrays_survive_the_doors(backend, dtype, seed):
    d = Drawn(backend, dtype, seed)
    host = d.rng.normal(size=(3, 4)).astype(d.dtype)
    for array in (host, np.asfortranarray(host), host[::-1], host.tolist()):
        device = backend.asarray(array, d.dtype)
        backend.check_arrays(array=device)
        assert is_c_contiguous(device)
        assert backend.dtype_of(device) == d.dtype
        np.testing.assert_array_equal(backend.to_numpy(device), np.asarray(array, d.dtype))


def test_an_array_of_the_backend_enters_row_by_row(backend, dtype):
    """Where the library knows the order of elements in memory."""
    host = np.arange(6, dtype=dtype).reshape(2, 3)
    turned = backend.asarray(host.copy()).T
    for entered in (backend.asarray(turned), backend.asarray(turned, dtype)):
        assert is_c_contiguous(entered)
        np.testing.assert_array_equal(backend.to_numpy(entered), host.T)


@pytest.mark.parametrize("kind", ["u1", "i4", "?", "f2", ">f8", ">i2"])
def test_any_real_dtype_enters(backend, dtype, kind):
    entered = backend.asarray(np.array([0, 1, 1], kind), dtype)
    assert backend.dtype_of(entered) == dtype
    np.testing.assert_array_equal(backend.to_numpy(entered), [0, 1, 1])


def test_an_array_that_fits_is_not_copied(backend, dtype):
    a = backend.asarray(np.ones((2, 3), dtype))
    assert backend.asarray(a) is a
    assert backend.asarray(a, dtype) is a


@pytest.mark.parametrize(
    "a", [np.array([1j]), np.array(["x"]), None, np.array(["2020"], "M8[D]")], ids=repr
)
def test_only_real_numbers_enter(backend, a):
    with pytest.raises(DtypeError):
        backend.asarray(a)


class OnAGpu:
    """Like the arrays of every library that lives on CUDA devices."""

    shape, dtype = (3,), np.dtype(float)
    __cuda_array_interface__: ClassVar = {
        "shape": (3,),
        "typestr": "<f8",
        "data": (0, False),
        "version": 3,
    }

    def __array__(self, dtype=None, copy=None):
        raise AssertionError("copied from the device silently")


class OnTheHost(OnAGpu):
    """Like a PyTorch tensor on the host: the attribute is there, but reading it raises."""

    @property
    def __cuda_array_interface__(self):
        raise AttributeError("not on a CUDA device")

    def __array__(self, dtype=None, copy=None):
        return np.arange(3.0).astype(dtype or float)


def test_an_array_on_a_device_does_not_enter_the_host_silently(backend):
    net = TwoLayerNet(3, 4, 2, backend=backend, rng=0)
    for call in (
        backend.asarray,
        net.predict,
        lambda a: net.gradient(a, 1),
        lambda a: net.loss(np.ones((3, 3)), a),
    ):
        with pytest.raises(ForeignArrayError, match="OnAGpu"):
            call(OnAGpu())


def test_an_array_of_another_library_on_the_host_enters(backend):
    np.testing.assert_array_equal(backend.to_numpy(backend.asarray(OnTheHost())), [0, 1, 2])


def test_check_arrays_names_what_is_foreign(backend):
    with pytest.raises(
        ForeignArrayError, match=rf"W1 is a builtins\.list.*{backend.name}.*asarray\(W1\)"
    ):
        backend.check_arrays(W1=[1.0])


def test_empty(backend, dtype):
    for shape in ((2, 3), (4,), 5, 0, ()):
        array = backend.empty(shape, dtype)
        backend.check_arrays(array=array)
        assert tuple(array.shape) == (shape if isinstance(shape, tuple) else (shape,))
        assert backend.dtype_of(array) == dtype


@given(sides, sides, st.sampled_from([0.0, -3.5, np.nan, np.inf, -np.inf, 1e-40]), seeds)
@in_context
def test_largest_and_all_finite(backend, dtype, n, i, value, seed):
    d = Drawn(backend, dtype, seed)
    host = d.rng.normal(size=(n, i)).astype(dtype) * dtype.type(1e-3)
    host[d.rng.integers(n), d.rng.integers(i)] = value
    a, _ = d.enter(host)
    expected = np.abs(host).max()  # NaN wherever it is
    assert np.array_equal(dtype.type(backend.largest(a)), expected, equal_nan=True)
    assert bool(backend.all_finite(a)) is bool(np.isfinite(expected))
    d.assert_unmodified()
