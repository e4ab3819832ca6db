"""CUDA C++ that runs on the CPU: a ``RawModule`` built by g++, with the interface of CuPy's."""

import ctypes
import hashlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

HEADER = Path(__file__).with_name("cuda.h")
#: What follows it for kernels whose blocks wait for one another.
COOPERATIVE_HEADER = Path(__file__).with_name("cooperative.h")
FAULTS = (
    "",
    "too many threads in a block",
    "an empty grid or block",
    "too many blocks",
    "a barrier that not all threads reach",
    "too many blocks in a cooperative launch, or no memory for them",
    "shared memory that was not asked for",
)


def compiler():
    """g++, or None; jumps between stacks are what glibc is known to allow."""
    return shutil.which("g++") if sys.platform == "linux" else None


class RawModule:
    """The kernels of a source by their name expressions, compiled once for each source.

    They are kept in the temporary directory.
    """

    def __init__(self, *, code, options=(), name_expressions=(), enable_cooperative_groups=False):
        cooperative = enable_cooperative_groups
        launch = "launch_cooperative" if cooperative else "launch"
        more = ", unsigned shared_bytes", ", shared_bytes"
        parameter, argument = more if cooperative else ("", "")
        launchers = "".join(
            f'extern "C" int launch_{i}'
            f"(const unsigned* grid, const unsigned* block, void** arguments{parameter}) "
            f"{{ return cuda_on_cpu::{launch}({name}, grid, block, arguments{argument}); }}\n"
            f'extern "C" const char* kinds_{i}() {{ return cuda_on_cpu::kinds({name}); }}\n'
            for i, name in enumerate(name_expressions)
        )
        headers = [HEADER, COOPERATIVE_HEADER] if cooperative else [HEADER]
        header = "\n".join(path.read_text() for path in headers)
        source = f"{header}\n{code}\n{launchers}"
        command = [compiler(), "-shared", "-fPIC", "-O2", "-w", "-x", "c++", *options]
        digest = hashlib.sha256(repr((source, command)).encode()).hexdigest()[:16]
        path = Path(tempfile.gettempdir()) / f"fastnn-cuda-on-cpu-{digest}.so"
        if not path.is_file():
            with tempfile.TemporaryDirectory(dir=path.parent) as folder:
                built = Path(folder) / "kernels.so"
                done = subprocess.run(
                    [*command, "-o", str(built), "-"], input=source, text=True, capture_output=True
                )
                assert done.returncode == 0, done.stderr
                built.replace(path)
        # Keeps the interpreter's lock: there is one set of fibres.
        library = ctypes.PyDLL(str(path))
        kind = CooperativeKernel if cooperative else Kernel
        self._kernels = {
            name: kind(name, library[f"launch_{i}"], library[f"kinds_{i}"])
            for i, name in enumerate(name_expressions)
        }

    def get_function(self, name):
        return self._kernels[name]


class Kernel:
    """One kernel: called with grid, block and arguments, as CuPy's ``RawKernel`` is."""

    def __init__(self, name, launch, kinds):
        self.name, self._launch = name, launch
        kinds.restype = ctypes.c_char_p
        self._kinds = kinds().decode()

    def __call__(self, grid, block, args):
        self._run(grid, block, args)

    def _run(self, grid, block, args, *more):
        kinds, values = zip(*map(self._value, args), strict=True)
        assert "".join(kinds) == self._kinds, f"{self.name} takes {self._kinds}, not {kinds}"
        pointers = (ctypes.c_void_p * len(values))(*[v.ctypes.data for v in values])
        grid, block = ((ctypes.c_uint * 3)(*(*shape, 1, 1)[:3]) for shape in (grid, block))
        if fault := self._launch(grid, block, pointers, *more):
            raise RuntimeError(f"{self.name}: {FAULTS[fault]}")

    @staticmethod
    def _value(a):
        """An argument's kind, and its 64 bits in memory as CuPy passes them.

        It is an array's address, or a Python number.
        """
        if isinstance(a, np.ndarray):
            assert a.flags.c_contiguous
            return "P", np.array(a.ctypes.data, np.uint64)
        kind = {np.uint64: "P", int: "q", float: "d"}[type(a)]
        return kind, np.array(a, {"P": np.uint64, "q": np.int64, "d": np.float64}[kind])


class CooperativeKernel(Kernel):
    """A kernel whose blocks wait for one another, each of which takes shared memory."""

    #: Of the device that there is not.
    MULTIPROCESSORS = 4

    #: Without asking, as everywhere.
    max_dynamic_shared_size_bytes = 48 << 10

    def __call__(self, grid, block, args, *, shared_mem=0):
        if shared_mem > self.max_dynamic_shared_size_bytes:
            raise ValueError(f"{self.name}: {shared_mem:,} bytes of shared memory")
        # Each of its blocks has a multiprocessor to itself.
        if int(np.prod(grid)) > self.MULTIPROCESSORS:
            raise RuntimeError(f"{self.name}: {FAULTS[5]}")
        self._run(grid, block, args, shared_mem)
