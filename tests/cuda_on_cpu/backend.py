"""The CuPy backend over kernels that g++ has built, with NumPy arrays in place of device memory."""

from fastnn.backends.cupy.backend import CupyBackend

from . import cupy_on_cpu


class CupyOnCpuBackend(CupyBackend):
    """The CuPy backend on the CPU."""

    compiles_for_sizes = False  # which takes g++ seconds

    @staticmethod
    def _import():
        return cupy_on_cpu
