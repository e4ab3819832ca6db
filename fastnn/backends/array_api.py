"""Any library of the array API standard whose arrays can be changed in place.

PyTorch and array-api-strict are such libraries.

Nothing is overridden but where arrays are: all work is the reference's. PyTorch brings GPUs of
Apple (``"torch:mps"``), AMD and NVIDIA (``"torch:cuda"``) and Intel (``"torch:xpu"``).
"""

from __future__ import annotations

import importlib
import importlib.util
from functools import cached_property
from types import ModuleType
from typing import Any, Self

import numpy as np

from ..errors import BackendImportError, BackendNotInstalledError, DeviceError, ForeignArrayError
from ..validation import Array, check_size, shown
from . import processor
from .availability import Availability
from .base import Backend
from .sharing import recreated, shared


class ArrayApiBackend(Backend):
    """The reference over the namespace of an array library, on one of its devices.

    Parameters
    ----------
    xp : namespace
        Of the array API standard, such as the module ``array_api_strict`` or
        ``array_api_compat.torch``.
    device : optional
        As the library names it; by default the one that it takes by itself.

    Examples
    --------
    >>> import array_api_strict
    >>> from fastnn import TwoLayerNet
    >>> network = TwoLayerNet(4, 3, 2, backend=ArrayApiBackend(array_api_strict), rng=0)
    >>> network.predict([0.0, 1.0, 2.0, 3.0]).shape
    (2,)
    """

    name = "array_api"

    def __init__(self, xp: Any, device: Any = None) -> None:
        self.xp = xp
        self._options = {} if device is None else {"device": device}
        self._where = xp.asarray(0.0, **self._options).device

    @property
    def device(self) -> str:
        """What the work runs on, for people to read."""
        return f"{self.xp.__name__}, {self._where}"

    def __reduce__(self) -> Any:
        arguments, options = self._made_with
        # A module is found by its name in another process.
        if arguments and isinstance(arguments[0], ModuleType):
            return _with_module, (type(self), arguments[0].__name__, arguments[1:], options)
        return super().__reduce__()

    # -- arrays ------------------------------------------------------------------------------------

    @cached_property
    def _has_float64(self) -> bool:
        try:
            self.xp.zeros(1, dtype=self.xp.float64, **self._options)
        except Exception:  # each library has an error of its own for it
            return False
        return True

    def check_dtype(self, dtype: np.dtype) -> None:
        if dtype == np.float64 and not self._has_float64:
            raise DeviceError(
                f"the device {self._where} has no float64; use dtype='float32', "
                "and method='full' for a numerical gradient, or another device"
            )

    def from_numpy(self, host: np.ndarray) -> Array:
        if host.dtype.kind == "f" and host.dtype.itemsize > 4 and not self._has_float64:
            # All that the device can hold, and what its networks compute in.
            host = host.astype(np.float32)
        kind = host.dtype.newbyteorder("=")
        if not hasattr(self.xp, kind.name):
            kind = np.dtype(np.float64 if kind.kind == "f" else np.int64)
        # A copy: the library might share its memory with the caller's array.
        return self.xp.asarray(host.astype(kind), **self._options)

    def to_numpy(self, a: Array) -> np.ndarray:
        try:
            return np.asarray(a)
        except (TypeError, RuntimeError):  # in the memory of a device
            return np.asarray(a.to("cpu") if hasattr(a, "to") else a.to_device("cpu"))

    def empty(self, shape: int | tuple[int, ...], dtype: Any) -> Array:
        check_size(shape, dtype, on_host="cpu" in str(self._where).lower())
        return self.xp.empty(shape, dtype=self.native_dtype(dtype), **self._options)

    def check_arrays(self, **arrays: Array) -> None:
        super().check_arrays(**arrays)
        for name, a in arrays.items():
            if a.device != self._where:
                raise ForeignArrayError(
                    f"{name} is on the device {a.device}, "
                    f"but the backend works on {self._where}; move it there yourself"
                )


class TorchBackend(ArrayApiBackend):
    """PyTorch, through array-api-compat, on any of its devices.

    Parameters
    ----------
    device : str, optional
        ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``, ``"xpu"``, ...: by default what PyTorch
        takes by itself.
    """

    name = "torch"
    _INSTALL = "pip install 'fastnn[torch]'"

    def __init__(self, device: str | None = None) -> None:
        import array_api_compat.torch

        super().__init__(array_api_compat.torch, device)

    @classmethod
    def create(cls, device: str | None = None, threads: int | None = None) -> Self:
        if threads is not None or device is None:
            return super().create(None, threads)
        try:
            return shared(cls, device)
        except Exception as error:
            # PyTorch has several for a device that it does not know, or that is not there.
            reason = str(error).strip().partition("\n")[0]
            raise DeviceError(
                f"PyTorch cannot use the device {shown(device)} here ({reason}); "
                f"write {cls.name!r} or {f'{cls.name}:cpu'!r}"
            ) from error

    @classmethod
    def probe(cls) -> Availability:
        for module in ("torch", "array_api_compat"):
            if importlib.util.find_spec(module) is None:
                return Availability.refused(
                    BackendNotInstalledError, f"{module} is not installed", cls._INSTALL
                )
        try:
            import array_api_compat.torch as torch

            where = torch.asarray(0.0).device
        except Exception as error:  # a library of its own is missing, say
            reason = f"PyTorch is installed but does not work ({type(error).__name__}: {error})"
            return Availability.refused(
                BackendImportError, reason, f"reinstall it: {cls._INSTALL}", error
            )
        return Availability(True, f"{where}" if where.type != "cpu" else processor.cpu_name())

    @property
    def device(self) -> str:
        return processor.cpu_name() if self._where.type == "cpu" else str(self._where)


def _with_module(
    cls: type[ArrayApiBackend], xp: str, rest: tuple[Any, ...], options: dict[str, Any]
) -> ArrayApiBackend:
    return recreated(cls, (importlib.import_module(xp), *rest), options)
