"""The CuPy backend: the reference operations on an NVIDIA GPU, and CUDA kernels for training.

The kernels are for the operations that train the book's network.
"""

from __future__ import annotations

import importlib.util
from contextlib import AbstractContextManager
from functools import cached_property
from typing import Any, Self

import numpy as np

from ...errors import (
    BackendImportError,
    BackendNotInstalledError,
    DeviceError,
    ForeignArrayError,
)
from ...validation import (
    Array,
    check_size,
    float_dtype,
    real_array,
    refuse_device_array,
)
from ..base import Availability, Backend, Dataset, Runner, TrainingStep
from ..sharing import shared
from ..support import supported
from . import cooperative, differences, training
from .faults import INSTALL
from .foreign import on_cuda, taken_over
from .kernels import Kernels
from .large import LargeLayers
from .operations import gathered, of_gathered, on_device, operation
from .rows import Rows, RowsDataset
from .support import SUPPORT


class CupyBackend(LargeLayers):
    """Array operations of CuPy on one GPU, with kernels for those that train the book's network.

    Parameters
    ----------
    number : int
        Of the CUDA device.
    """

    name = "cupy"
    #: On an H200 a step takes 6 µs at least. The smallest that was timed on MNIST, 8,000, takes 6.3
    #: there, and Numba on 16 cores beside it 7.5.
    least_work = 5_000
    #: Whether the kernel that stays is compiled for each network's sizes: half a second, once on a
    #: machine, for a third of its instructions less.
    compiles_for_sizes = True

    def __init__(self, number: int = 0) -> None:
        self.xp = self._import()
        self.array_type = self.xp.ndarray
        self._number = number
        self.kernels = Kernels(self.xp)

    @staticmethod
    def _import() -> Any:
        import cupy

        return cupy

    # -- the machine -------------------------------------------------------------------------------

    @classmethod
    def probe(cls) -> Availability:
        if importlib.util.find_spec("cupy") is None:
            return Availability.refused(BackendNotInstalledError, "CuPy is not installed", INSTALL)
        try:
            import cupy

            # Not there if some folder happens to be called cupy.
            failure = cupy.cuda.runtime.CUDARuntimeError
        except Exception as error:  # a CuPy without its CUDA libraries fails in many ways
            reason = f"CuPy is installed but does not import ({type(error).__name__}: {error})"
            return Availability.refused(
                BackendImportError, reason, f"reinstall it: {INSTALL}", error
            )
        try:
            count = cupy.cuda.runtime.getDeviceCount()
            name = cupy.cuda.runtime.getDeviceProperties(0)["name"].decode() if count else ""
        except failure as error:
            reason = f"CuPy finds no CUDA device ({error})"
            remedy = "install an NVIDIA driver, or a newer one, or use backend='numba'"
            return Availability.refused(DeviceError, reason, remedy, error)
        if not count:
            return Availability.refused(
                DeviceError, "there is no CUDA device", "use backend='numba'"
            )
        return Availability(True, name)

    @classmethod
    def create(cls, device: str | None = None, threads: int | None = None) -> Self:
        if threads is not None or device is None:
            return super().create(None, threads)
        number, count = cls.device_number(device), cls._import().cuda.runtime.getDeviceCount()
        if number >= count:
            known = "device 0" if count == 1 else f"devices 0 to {count - 1}"
            raise DeviceError(
                f"there is no CUDA device {number}; this machine has {known}: "
                f"write {f'{cls.name}:{count - 1}'!r}"
            )
        return shared(cls, number)

    @cached_property
    def device(self) -> str:
        return self.xp.cuda.runtime.getDeviceProperties(self._number)["name"].decode()

    @cached_property
    def device_attributes(self) -> dict[str, int]:
        """What CUDA says that the device has, by CUDA's names without their prefix.

        And its ComputeCapability, times ten.
        """
        device = self.xp.cuda.Device(self._number)
        return device.attributes | {"ComputeCapability": int(device.compute_capability)}

    def current(self) -> AbstractContextManager[Any]:
        return self.xp.cuda.Device(self._number)

    @on_device
    def warm_up(self, dtype: Any = "float64") -> None:
        """Compile the kernels, or load them from CuPy's cache on disk.

        All but the one that stays for many steps, which is compiled for each network's sizes.
        What CuPy itself needs for this dtype is loaded, too, and cuBLAS.
        """
        dtype = float_dtype(dtype)
        self._load_cublas(dtype)
        x, b = self.asarray(np.ones((2, 3)), dtype), self.asarray(np.zeros(3), dtype)
        for t in (self.asarray(np.zeros(2, np.intp)), x):
            logits = self.dense(x, self.xp.ones((3, 3), dtype), b)
            self.loss_gradient(logits, t, "cross_entropy")
            self.loss(self.output(logits, "cross_entropy"), t, "cross_entropy")
            self.count_correct(logits, t)
        self.synchronize()

    def _load_cublas(self, dtype: np.dtype) -> None:
        """Make this thread's handle of cuBLAS, which takes longer than many products."""
        one = self.xp.ones((1, 1), dtype)
        self.xp.matmul(one, one)

    @on_device
    def synchronize(self) -> None:
        self.xp.cuda.get_current_stream().synchronize()

    # -- arrays ------------------------------------------------------------------------------------

    @on_device
    def asarray(self, a: Any, dtype: Any = None, *, name: str = "array") -> Array:
        if not isinstance(a, self.array_type) and on_cuda(a):
            a = taken_over(self.xp, self._number, a, name)
        if not isinstance(a, self.array_type):
            refuse_device_array(a, name)
        a = real_array(a, name)
        if dtype is None and a.dtype == np.longdouble:
            dtype = np.float64  # the widest that a GPU has
        host = a if isinstance(a, self.array_type) else np.asarray(a)
        return self.xp.asarray(host, dtype, order="C")

    @on_device
    def to_numpy(self, a: Array) -> np.ndarray:
        return self.xp.asnumpy(gathered(a))

    def check_arrays(self, **arrays: Array) -> None:
        arrays = {name: a.whole if isinstance(a, Rows) else a for name, a in arrays.items()}
        super().check_arrays(**arrays)
        for name, a in arrays.items():
            if a.device.id != self._number:
                raise ForeignArrayError(
                    f"{name} is on CUDA device {a.device.id}, but the backend works on "
                    f"device {self._number}; convert it first: "
                    f"network.backend.asarray(cupy.asnumpy({name}))"
                )

    def dataset(self, x: Array, t: Array) -> Dataset:
        return RowsDataset(self, x, t)

    @on_device
    def empty(self, shape: int | tuple[int, ...], dtype: Any) -> Array:
        check_size(shape, dtype, on_host=False)
        return self.xp.empty(shape, dtype)

    @on_device
    def runner(self, step: TrainingStep) -> Runner | None:
        """One kernel that stays, or graphs of kernels, if the step is made of such.

        See :mod:`fastnn.backends.cupy.cooperative` and :mod:`fastnn.backends.cupy.training`.
        """
        if not self.computes_as(CupyBackend):
            return None
        # For the evaluations: a training's time is not to hold that.
        self._load_cublas(next(iter(step.params.values())).dtype)
        return cooperative.runner(self, self.kernels, step) or training.runner(
            self, self.kernels, step
        )

    # -- operations --------------------------------------------------------------------------------

    take = of_gathered(Backend.take)
    output = of_gathered(Backend.output)
    loss = of_gathered(Backend.loss)
    count_correct = of_gathered(Backend.count_correct)

    @operation
    @supported(SUPPORT["dense"])
    def dense(
        self,
        x: Array,
        W: Array,
        b: Array,
        activation: str = "identity",
        *,
        out: Array | None = None,
    ) -> Array:
        out = self.xp.empty((len(x), W.shape[1]), W.dtype) if out is None else out
        self.kernels.dense(x, W, b, activation, out)
        return out

    @operation
    @supported(SUPPORT["loss_gradient"])
    def loss_gradient(
        self, logits: Array, t: Array, loss: str, *, out: Array | None = None
    ) -> tuple[Array, Array]:
        out = self.xp.empty(logits.shape, logits.dtype) if out is None else out
        return self.kernels.loss_gradient(logits, t, loss, out), out

    @operation
    @supported(SUPPORT["dense_backward"])
    def dense_backward(
        self, delta: Array, W: Array, z: Array, activation: str, *, out: Array | None = None
    ) -> Array:
        out = self.xp.empty(z.shape, z.dtype) if out is None else out
        self.kernels.dense_backward(delta, W, z, activation, out)
        return out

    @operation
    @supported(SUPPORT["dense_gradient"])
    def dense_gradient(self, x: Array, delta: Array) -> tuple[Array, Array]:
        dW, db = (
            self.xp.empty((x.shape[1], delta.shape[1]), delta.dtype),
            self.xp.empty(delta.shape[1], delta.dtype),
        )
        self.kernels.dense_gradient(x, delta, dW, db)
        return dW, db

    @operation
    @supported(SUPPORT["dense_descent"])
    def dense_descent(
        self,
        W: Array,
        b: Array,
        x: Array,
        delta: Array,
        learning_rate: float,
        *,
        out: Array | None = None,
    ) -> None:
        self.kernels.dense_descent(W, b, x, delta, learning_rate)

    @operation
    @supported(SUPPORT["descent"])
    def descent(self, parameter: Array, gradient: Array, learning_rate: float) -> None:
        self.kernels.descent(parameter, gradient, learning_rate)

    @operation
    @supported(SUPPORT["numerical_gradient"])
    def numerical_gradient(
        self,
        x: Array,
        t: Array,
        W1: Array,
        b1: Array,
        W2: Array,
        b2: Array,
        activation: str,
        loss: str,
        h: float,
    ) -> tuple[Array, tuple[Array, Array, Array, Array]]:
        return differences.numerical_gradient(
            self.kernels, x, t, W1, b1, W2, b2, activation, loss, float(h)
        )
