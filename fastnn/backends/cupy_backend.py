"""The CuPy backend: the reference operations on an NVIDIA GPU, with CUDA kernels for those that train the book's network."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property, wraps
from typing import Any, Self

import numpy as np

from ..errors import BackendError, BackendImportError, BackendNotInstalledError, DeviceError, DeviceMemoryError, ForeignArrayError
from ..validation import Array, real_array
from .base import OPERATIONS, Availability, Backend, Dataset
from .cupy_graph import RecordedLoop
from .cupy_kernels import LARGEST_FUSED, Kernels, Rows
from .recorder import Recorder, two_layer_step

_INSTALL = "pip install 'fastnn[cuda12]' or 'fastnn[cuda13]', whichever CUDA the driver supports (nvidia-smi shows it)"

#: What CUDA's libraries call it when there is no memory for what CuPy's pool does not hold: kernels, graphs, handles.
_MEMORY_FAILURES = ("cudaErrorMemoryAllocation", "CUDA_ERROR_OUT_OF_MEMORY", "CUBLAS_STATUS_ALLOC_FAILED")
#: What CuPy calls it when it is installed without CUDA's headers, which it needs to compile.
_NO_HEADERS = "Failed to find CUDA headers"

#: From how many multiplications on a product of matrices is left to cuBLAS: below, launching it and what follows it takes longer.
LARGE_PRODUCT = 1 << 25


class RowsDataset(Dataset):
    """Samples and targets on the device; a batch is row numbers, and the kernels gather."""

    def buffer(self, size: int) -> None:
        return None

    def batch(self, rows: Array, *, out: Array | None = None) -> tuple[Any, Any]:
        return Rows(self.x, rows), Rows(self.t, rows)


def _on_device(method: Callable[..., Any]) -> Callable[..., Any]:
    """Run a method on the backend's device, with CuPy's errors turned into those of fastnn."""

    @wraps(method)
    def run(self: CupyBackend, *args: Any, **kwargs: Any) -> Any:
        with self._reporting(method.__name__), self.current():
            return method(self, *args, **kwargs)

    return run


def _gathered(a: Any) -> Array:
    return a.gathered() if isinstance(a, Rows) else a


class CupyBackend(Backend):
    """Array operations of CuPy on one GPU, with kernels of fastnn in place of those that train the book's network.

    Parameters
    ----------
    number : int
        Of the CUDA device.
    """

    name = "cupy"
    #: An estimate, not measured: launching the two kernels of a step takes about as long as Numba takes for so many on MNIST.
    least_work = 400_000

    def __init__(self, number: int = 0) -> None:
        self.xp = self._import()
        self.array_type = self.xp.ndarray
        self._number = number
        self._kernels = Kernels(self.xp)
        self._recorder = Recorder(self, OPERATIONS)

    @staticmethod
    def _import() -> Any:
        import cupy

        return cupy

    # -- the machine ---------------------------------------------------------------------------------------------------

    @classmethod
    def probe(cls) -> Availability:
        if importlib.util.find_spec("cupy") is None:
            return Availability.refused(BackendNotInstalledError, "CuPy is not installed", _INSTALL)
        try:
            import cupy

            failure = cupy.cuda.runtime.CUDARuntimeError  # not there if some folder happens to be called cupy
        except Exception as error:  # a CuPy without its CUDA libraries fails in many ways
            reason = f"CuPy is installed but does not import ({type(error).__name__}: {error})"
            return Availability.refused(BackendImportError, reason, f"reinstall it: {_INSTALL}", error)
        try:
            count = cupy.cuda.runtime.getDeviceCount()
            name = cupy.cuda.runtime.getDeviceProperties(0)["name"].decode() if count else ""
        except failure as error:
            reason = f"CuPy finds no CUDA device ({error})"
            remedy = "install an NVIDIA driver, or a newer one, or use backend='numba'"
            return Availability.refused(DeviceError, reason, remedy, error)
        if not count:
            return Availability.refused(DeviceError, "there is no CUDA device", "use backend='numba'")
        return Availability(True, name)

    @classmethod
    def on_device(cls, number: int) -> Self:
        count = cls._import().cuda.runtime.getDeviceCount()
        if number >= count:
            known = "device 0" if count == 1 else f"devices 0 to {count - 1}"
            raise DeviceError(f"there is no CUDA device {number}; this machine has {known}: write {f'{cls.name}:{count - 1}'!r}")
        return cls(number)

    @cached_property
    def device(self) -> str:
        return self.xp.cuda.runtime.getDeviceProperties(self._number)["name"].decode()

    def current(self) -> AbstractContextManager[Any]:
        return self.xp.cuda.Device(self._number)

    @_on_device
    def warm_up(self, dtype: Any = "float64") -> None:
        """Compile every kernel, or load it from CuPy's cache on disk, and load what CuPy itself needs for this dtype."""
        x, b = self.asarray(np.ones((2, 3)), dtype), self.asarray(np.zeros(3), dtype)
        for t in (self.asarray(np.zeros(2, np.intp)), x):
            logits = self.dense(x, self.xp.ones((3, 3), dtype), b)
            self.loss_gradient(logits, t, "cross_entropy")
            self.loss(self.output(logits, "cross_entropy"), t, "cross_entropy")
            self.count_correct(logits, t)
        self.synchronize()

    @_on_device
    def synchronize(self) -> None:
        self.xp.cuda.get_current_stream().synchronize()

    @contextmanager
    def _reporting(self, operation: str) -> Iterator[None]:
        """CuPy's errors as errors of fastnn that name the operation and say what to do."""
        cuda = self.xp.cuda
        try:
            yield
        except (BackendError, NotImplementedError):  # from a call within this one; for the loop, which must not record a step
            raise
        except cuda.compiler.CompileException as error:
            raise DeviceError(
                f"{operation}: the CUDA kernels do not compile for this GPU ({error}); reinstall CuPy: {_INSTALL}"
            ) from error
        except (ImportError, cuda.memory.OutOfMemoryError, RuntimeError) as error:
            if isinstance(error, ImportError) or _NO_HEADERS in str(error):
                raise BackendImportError(
                    f"{operation}: CuPy does not find a part of CUDA ({error}); reinstall it with CUDA's libraries: {_INSTALL}"
                ) from error
            # The runtime, the driver, cuBLAS and NVRTC have errors of their own, all of them RuntimeErrors.
            if isinstance(error, cuda.memory.OutOfMemoryError) or any(name in str(error) for name in _MEMORY_FAILURES):
                with self.current():
                    free, total = cuda.runtime.memGetInfo()
                raise DeviceMemoryError(
                    f"{operation}: the memory of the GPU is exhausted ({error}); {free:,} of its {total:,} bytes are free. Use a "
                    "smaller batch or network, dtype 'float32', or end other programs on the GPU; what CuPy keeps for reuse "
                    "cupy.get_default_memory_pool().free_all_blocks() returns"
                ) from error
            raise DeviceError(
                f"{operation}: the GPU reports {error}, from this operation or, as it works behind, from an earlier one. If the "
                "error says that the driver or the PTX is not supported, update the driver or install the other extra: "
                f"{_INSTALL}. Otherwise start a new process, as this one may not reach the GPU any more; with "
                "CUDA_LAUNCH_BLOCKING=1 in its environment the error comes from the operation at fault"
            ) from error

    # -- arrays --------------------------------------------------------------------------------------------------------

    @_on_device
    def asarray(self, a: Any, dtype: Any = None, *, name: str = "array") -> Array:
        a = real_array(a, name)
        if dtype is None and a.dtype == np.longdouble:
            dtype = np.float64  # the widest that a GPU has
        return self.xp.asarray(a, dtype, order="C")

    @_on_device
    def to_numpy(self, a: Array) -> np.ndarray:
        return self.xp.asnumpy(_gathered(a))

    def check_arrays(self, **arrays: Array) -> None:
        super().check_arrays(**arrays)
        for name, a in arrays.items():
            if a.device.id != self._number:
                raise ForeignArrayError(
                    f"{name} is on CUDA device {a.device.id}, but the backend works on device {self._number}; convert it first: "
                    f"network.backend.asarray(cupy.asnumpy({name}))"
                )

    def _check(self, **arrays: Any) -> None:
        self.check_arrays(**{name: a.whole if isinstance(a, Rows) else a for name, a in arrays.items() if a is not None})

    def dataset(self, x: Array, t: Array) -> Dataset:
        return RowsDataset(self, x, t)

    @_on_device
    def empty(self, shape: int | tuple[int, ...], dtype: Any) -> Array:
        return self.xp.empty(shape, dtype)

    @_on_device
    def compile(self, step: Callable[..., Array]) -> Callable[[Array, Array], None]:
        loop = RecordedLoop(self, self._kernels, step, self._fused, super().compile(step))

        def run(rows: Array, losses: Array) -> None:
            with self._reporting("a step of training"), self.current():
                self._check(rows=rows, losses=losses)
                loop(rows, losses)

        return run

    def _fused(self, step: Callable[..., Array], rows: Array) -> Callable[..., Array]:
        """The step itself or, if they can make it, two kernels. It is tried out with these rows, while the stream is captured."""
        found = two_layer_step(self._recorder.record(lambda: step(rows)) or [])
        if found is None or not isinstance(found.x, Rows) or not isinstance(found.t, Rows):
            return step
        x, t, W1, W2 = found.x, found.t, found.W1, found.W2
        possible = (
            x.numbers is rows
            and t.numbers is rows
            and all(size <= largest for size, largest in zip(W2.shape, LARGEST_FUSED, strict=True))
            and len(rows) * W1.size < LARGE_PRODUCT
            and all(p.flags.c_contiguous for p in (W1, found.b1, W2, found.b2))
        )
        if not possible:
            return step
        return lambda rows: self._kernels.step(Rows(x.whole, rows), Rows(t.whole, rows), found)

    # -- operations ----------------------------------------------------------------------------------------------------

    @_on_device
    def take(self, a: Array, rows: Array, *, out: Array | None = None) -> Array:
        self._check(a=a, rows=rows, out=out)
        return super().take(a, rows, out=out)

    @_on_device
    def dense(self, x: Array, W: Array, b: Array, activation: str = "identity", *, out: Array | None = None) -> Array:
        self._check(x=x, W=W, b=b, out=out)
        if len(x) * W.size >= LARGE_PRODUCT:
            return super().dense(_gathered(x), W, b, activation, out=out)
        out = self.xp.empty((len(x), W.shape[1]), W.dtype) if out is None else out
        self._kernels.dense(x, W, b, activation, out)
        return out

    @_on_device
    def output(self, logits: Array, loss: str, *, out: Array | None = None) -> Array:
        self._check(logits=logits, out=out)
        return super().output(logits, loss, out=out)

    @_on_device
    def loss(self, y: Array, t: Array, loss: str) -> Array:
        self._check(y=y, t=t)
        return super().loss(y, _gathered(t), loss)

    @_on_device
    def loss_gradient(self, logits: Array, t: Array, loss: str, *, out: Array | None = None) -> tuple[Array, Array]:
        self._check(logits=logits, t=t, out=out)
        out = self.xp.empty(logits.shape, logits.dtype) if out is None else out
        return self._kernels.loss_gradient(logits, t, loss, out), out

    @_on_device
    def count_correct(self, logits: Array, t: Array) -> Array:
        self._check(logits=logits, t=t)
        return super().count_correct(logits, _gathered(t))

    @_on_device
    def dense_backward(self, delta: Array, W: Array, z: Array, activation: str, *, out: Array | None = None) -> Array:
        self._check(delta=delta, W=W, z=z, out=out)
        if len(delta) * W.size >= LARGE_PRODUCT:
            return super().dense_backward(delta, W, z, activation, out=out)
        out = self.xp.empty(z.shape, z.dtype) if out is None else out
        self._kernels.dense_backward(delta, W, z, activation, out)
        return out

    @_on_device
    def dense_gradient(self, x: Array, delta: Array) -> tuple[Array, Array]:
        self._check(x=x, delta=delta)
        features, units = x.shape[1], delta.shape[1]
        if len(x) * features * units >= LARGE_PRODUCT:
            return super().dense_gradient(_gathered(x), delta)
        dW, db = self.xp.empty((features, units), delta.dtype), self.xp.empty(units, delta.dtype)
        self._kernels.dense_gradient(x, delta, dW, db)
        return dW, db

    @_on_device
    def dense_descent(self, W: Array, b: Array, x: Array, delta: Array, learning_rate: float, *, out: Array | None = None) -> None:
        self._check(W=W, b=b, x=x, delta=delta, out=out)
        contiguous = W.flags.c_contiguous and b.flags.c_contiguous
        if len(x) * W.size >= LARGE_PRODUCT or not contiguous:
            super().dense_descent(W, b, _gathered(x), delta, learning_rate, out=out)
        else:
            self._kernels.dense_descent(W, b, x, delta, learning_rate)

    @_on_device
    def descent(self, parameter: Array, gradient: Array, learning_rate: float) -> None:
        self._check(parameter=parameter, gradient=gradient)
        if parameter.flags.c_contiguous:
            self._kernels.descent(parameter, gradient, learning_rate)
        else:
            super().descent(parameter, gradient, learning_rate)

    @_on_device
    def numerical_gradient(
        self, x: Array, t: Array, W1: Array, b1: Array, W2: Array, b2: Array, activation: str, loss: str, h: float
    ) -> tuple[Array, tuple[Array, Array, Array, Array]]:
        self._check(x=x, t=t, W1=W1, b1=b1, W2=W2, b2=b2)
        return self._kernels.numerical_gradient(x, t, W1, b1, W2, b2, activation, loss, float(h))
