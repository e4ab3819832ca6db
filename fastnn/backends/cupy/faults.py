"""CuPy's errors as errors of fastnn that name the operation and say what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ...errors import BackendError, BackendImportError, DeviceError, DeviceMemoryError
from ..base import Backend

INSTALL = (
    "pip install 'fastnn[cuda12]' or 'fastnn[cuda13]', "
    "whichever CUDA the driver supports (nvidia-smi shows it)"
)

#: What CUDA's libraries call it when there is no memory for what CuPy's pool does not hold:
#: kernels, graphs, handles.
_MEMORY_FAILURES = (
    "cudaErrorMemoryAllocation",
    "CUDA_ERROR_OUT_OF_MEMORY",
    "CUBLAS_STATUS_ALLOC_FAILED",
)
#: What CuPy calls it when it is installed without CUDA's headers, which it needs to compile.
_NO_HEADERS = "Failed to find CUDA headers"


@contextmanager
def reporting(backend: Backend, operation: str) -> Iterator[None]:
    """What is done in this context reports as this operation."""
    cuda = backend.xp.cuda
    try:
        yield
    except (BackendError, NotImplementedError):  # from a call within this one
        raise
    except cuda.compiler.CompileException as error:
        raise DeviceError(
            f"{operation}: the CUDA kernels do not compile for this GPU ({error}); "
            f"reinstall CuPy: {INSTALL}"
        ) from error
    except (ImportError, cuda.memory.OutOfMemoryError, RuntimeError) as error:
        if isinstance(error, ImportError) or _NO_HEADERS in str(error):
            raise BackendImportError(
                f"{operation}: CuPy does not find a part of CUDA ({error}); "
                f"reinstall it with CUDA's libraries: {INSTALL}"
            ) from error
        # The runtime, the driver, cuBLAS and NVRTC have errors of their own, all of them
        # RuntimeErrors.
        if isinstance(error, cuda.memory.OutOfMemoryError) or any(
            name in str(error) for name in _MEMORY_FAILURES
        ):
            with backend.current():
                free, total = cuda.runtime.memGetInfo()
            raise DeviceMemoryError(
                f"{operation}: the memory of the GPU is exhausted ({error}); "
                f"{free:,} of its {total:,} bytes are free. Use a smaller batch or network, dtype "
                "'float32', or cupy.get_default_memory_pool().free_all_blocks()"
            ) from error
        raise DeviceError(
            f"{operation}: the GPU reports {error}, perhaps of an earlier operation; if the driver "
            "or the PTX is not supported, update the driver or install the other of cuda12 and "
            "cuda13; otherwise start a new process, with CUDA_LAUNCH_BLOCKING=1 to see which it is"
        ) from error
