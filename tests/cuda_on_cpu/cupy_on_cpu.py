"""As much of CuPy as the backend uses, over NumPy arrays.

Kernels run on the CPU, and graphs are lists of their launches.

Whatever moves data between host and device, or makes the host wait, is counted in `waits`. While a
stream is captured everything but kernels and allocations is refused with the error that CuPy has
for calls of cuBLAS.
"""

import contextlib
import sys
import threading
from types import SimpleNamespace

import numpy as np

from . import raw_module

#: How often the host has waited for the device or copied, by what made it.
waits: dict[str, int] = {}


class _Thread(threading.local):
    captured: list | None = None  # the launches since a stream began to be captured
    pool = None  # the memory pool in use instead of NumPy's
    device = 0  # the current one


_thread = _Thread()

#: The device on which all arrays are.
home = 0


def _wait(what):
    if _thread.captured is not None:
        raise RuntimeError(f"the current stream is capturing, so {what} is disallowed")
    waits[what] = waits.get(what, 0) + 1


def _refuse_capture():
    if _thread.captured is not None:
        raise NotImplementedError("only kernels can be captured here")


def _refuse_another_device():
    if _thread.device != home:
        raise ValueError(
            f"the device where the array resides ({home}) "
            f"is different from the current device ({_thread.device})"
        )


class ndarray(np.ndarray):  # noqa: N801
    """An array "on the device": results, also scalars, stay there until a method takes them off."""

    def __array_namespace__(self, api_version=None):
        return sys.modules[__name__]  # as the type of CuPy's arrays comes from CuPy

    @property
    def device(self):
        return SimpleNamespace(id=home)

    @property
    def data(self):
        return SimpleNamespace(ptr=self.ctypes.data)

    def __array_ufunc__(self, ufunc, method, *inputs, out=(), **kwargs):
        _refuse_capture()
        _refuse_another_device()
        inputs = [_host(a) for a in inputs]
        if out:
            kwargs["out"] = tuple(_host(a) for a in out)
        with np.errstate(all="ignore"):  # a device does not warn
            result = getattr(ufunc, method)(*inputs, **kwargs)
        if out:
            return out[0]
        return tuple(_device(a) for a in result) if isinstance(result, tuple) else _device(result)

    def __array_wrap__(self, array, context=None, return_scalar=False):
        return array.view(ndarray)

    def __getitem__(self, key):
        return _device(super().__getitem__(key))

    def __setitem__(self, key, value):
        _refuse_capture()
        _refuse_another_device()
        super().__setitem__(key, value)

    def __float__(self):
        _wait("float")
        return float(self.view(np.ndarray))

    def __int__(self):
        _wait("int")
        return int(self.view(np.ndarray))

    def __bool__(self):
        _wait("bool")
        return bool(self.view(np.ndarray))

    def tolist(self):
        _wait("tolist")
        return super().tolist()

    def argmax(self, *args, **kwargs):
        return _device(self.view(np.ndarray).argmax(*args, **kwargs))


def _host(a):
    return a.view(np.ndarray) if isinstance(a, ndarray) else a


def _device(a):
    return np.asarray(a).view(ndarray)


def asarray(a, dtype=None, order=None):
    if isinstance(a, ndarray):
        return np.asanyarray(a, dtype, order=order)
    _wait("asarray")
    return np.array(a, dtype, order=order).view(ndarray)


def from_dlpack(a):
    """The same memory, also where it says to be on a device."""
    return np.from_dlpack(a).view(ndarray)


#: Bytes before and after an array.
_GUARD = 256


def asnumpy(a):
    _wait("asnumpy")
    return a.view(np.ndarray).copy()


def empty(shape, dtype=float):
    """Memory of its own, some way from all other, whose values no result should hold: NaN, -1."""
    size = np.dtype(dtype).itemsize * int(np.prod(shape, dtype=np.int64))
    room = np.full(size + 2 * _GUARD, 0xFF, np.uint8)
    array = room[_GUARD : _GUARD + size].view(dtype).reshape(shape)
    if _thread.pool is not None:
        _thread.pool.kept.append(array)
    return array.view(ndarray)


def zeros(shape, dtype=float):
    return np.zeros(shape, dtype).view(ndarray)


def ones(shape, dtype=float):
    return np.ones(shape, dtype).view(ndarray)


def ascontiguousarray(a):
    return np.ascontiguousarray(a).view(ndarray)


def arange(*args, **kwargs):
    return np.arange(*args, **kwargs).view(ndarray)


def __getattr__(name):
    function = getattr(np, name)
    if isinstance(function, type) or not callable(function):
        return function

    def of_arrays(*arguments, **options):
        given = [
            *arguments,
            *(a for argument in arguments if isinstance(argument, list | tuple) for a in argument),
        ]
        if not any(isinstance(a, ndarray) for a in given):
            return function(*arguments, **options)
        _refuse_capture()
        result = function(*arguments, **options)
        return tuple(map(_device, result)) if isinstance(result, tuple) else _device(result)

    return of_arrays


class RawModule(raw_module.RawModule):
    def get_function(self, name):
        kernel = super().get_function(name)

        def launch(grid, block, args, **options):
            _refuse_another_device()
            assert all(not isinstance(a, np.ndarray) or isinstance(a, ndarray) for a in args), (
                "a host array reached a kernel"
            )
            if _thread.captured is None:
                kernel(grid, block, args, **options)
            else:
                # The addresses are what is captured: keeping the arrays alive is up to the backend.
                memory = kernel.note(args)
                args = [np.uint64(a.ctypes.data) if isinstance(a, ndarray) else a for a in args]
                _thread.captured.append(lambda: kernel(grid, block, args, memory, **options))

        return _Function(kernel, launch)


class _Function:
    """A kernel with CuPy's attributes, the launch of which is checked."""

    def __init__(self, kernel, launch):
        self.__dict__.update(_kernel=kernel, _launch=launch)

    def __call__(self, *arguments, **options):
        self._launch(*arguments, **options)

    def __getattr__(self, name):
        return getattr(self._kernel, name)

    def __setattr__(self, name, value):
        setattr(self._kernel, name, value)


class Graph:
    def __init__(self, launches):
        self._launches = launches

    def launch(self, stream=None):
        for launch in self._launches:
            launch()


class Stream(contextlib.nullcontext):
    def __init__(self, non_blocking=False):
        super().__init__()

    def begin_capture(self):
        _thread.captured = []

    def end_capture(self):
        launches, _thread.captured = _thread.captured, None
        return Graph(launches)

    def synchronize(self):
        _wait("synchronize")


class MemoryPool:
    """Keeps for as long as it lives what is allocated while it is in use.

    So a pool keeps the memory that graphs refer to.
    """

    def __init__(self, malloc=None):
        self.kept = []

    def malloc(self, size):
        raise AssertionError("here, NumPy allocates")

    def free_all_blocks(self):
        self.kept.clear()


_default_pool = MemoryPool()


def get_default_memory_pool():
    return _default_pool


#: What the devices say of themselves; without "CooperativeLaunch" no kernel stays.
attributes = {
    "CooperativeLaunch": 1,
    "MultiProcessorCount": raw_module.CooperativeKernel.MULTIPROCESSORS,
    "MaxSharedMemoryPerBlockOptin": 227 << 10,
}


class _Device:
    compute_capability = "90"

    def __init__(self, number):
        self._number, self.attributes = number, attributes

    def __enter__(self):
        self._before, _thread.device = _thread.device, self._number

    def __exit__(self, *error):
        _thread.device = self._before


@contextlib.contextmanager
def using_allocator(malloc):
    _thread.pool = malloc.__self__
    try:
        yield
    finally:
        _thread.pool = None


def _error(name, *bases):
    return type(name, bases, {})


cuda = SimpleNamespace(
    Device=_Device,
    Stream=Stream,
    MemoryPool=MemoryPool,
    using_allocator=using_allocator,
    get_current_stream=lambda: Stream(),
    compiler=SimpleNamespace(CompileException=_error("CompileException", Exception)),
    driver=SimpleNamespace(CUDADriverError=_error("CUDADriverError", RuntimeError)),
    memory=SimpleNamespace(OutOfMemoryError=_error("OutOfMemoryError", MemoryError)),
    runtime=SimpleNamespace(
        CUDARuntimeError=_error("CUDARuntimeError", RuntimeError),
        getDeviceCount=lambda: home + 1,
        getDeviceProperties=lambda _: {"name": b"a GPU played by the CPU"},
        memGetInfo=lambda: (0, 1 << 30),
    ),
)
