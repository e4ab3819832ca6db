"""The CuPy backend: the reference operations on an NVIDIA GPU."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np

from ..errors import BackendImportError, BackendNotInstalledError, DeviceError
from ..validation import Array, real_array
from .base import Availability, Backend

_INSTALL = "pip install 'fastnn[cuda12]' or 'fastnn[cuda13]', whichever CUDA the driver supports (nvidia-smi shows it)"


class CupyBackend(Backend):
    """Array operations of CuPy on one GPU."""

    name = "cupy"

    def __init__(self) -> None:
        import cupy

        self.xp = cupy
        self.array_type = cupy.ndarray

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
            return Availability.refused(DeviceError, reason, "install an NVIDIA driver, or use backend='numba'", error)
        if not count:
            return Availability.refused(DeviceError, "there is no CUDA device", "use backend='numba'")
        return Availability(True, name)

    def asarray(self, a: Any, dtype: Any = None, *, name: str = "array") -> Array:
        a = a if isinstance(a, self.array_type) else np.asarray(a)
        return self.xp.asarray(real_array(a, name), dtype, order="C")

    def to_numpy(self, a: Array) -> np.ndarray:
        return self.xp.asnumpy(a)

    def synchronize(self) -> None:
        self.xp.cuda.get_current_stream().synchronize()
