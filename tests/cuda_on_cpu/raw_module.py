"""CUDA C++ that runs on the CPU: a ``RawModule`` built by g++, with the interface of CuPy's."""

import ctypes
import hashlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from .watch import Watch

HERE = Path(__file__).parent
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

    They are kept in the temporary directory. With `watched`, each access of memory goes through
    the race detector of `watch`.
    """

    def __init__(
        self,
        *,
        code,
        options=(),
        name_expressions=(),
        enable_cooperative_groups=False,
        watched=False,
    ):
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
        headers = ["cuda.h", "cooperative.h"] if cooperative else ["cuda.h"]
        header = "\n".join((HERE / name).read_text() for name in headers)
        path = _built(f"{header}\n{code}\n{launchers}", options, watched)
        # Keeps the interpreter's lock: there is one set of fibres.
        library = ctypes.PyDLL(str(path))
        self.watch = Watch(library, path, code, cooperative) if watched else None
        kind = CooperativeKernel if cooperative else Kernel
        self._kernels = {
            name: kind(name, library[f"launch_{i}"], library[f"kinds_{i}"], self.watch)
            for i, name in enumerate(name_expressions)
        }

    def get_function(self, name):
        return self._kernels[name]


def _built(source, options, watched):
    """The library of a source, which calls the race detector if it is `watched`."""
    command = [compiler(), "-shared", "-fPIC", "-O2", "-w", *options]
    parts = {"kernels.cpp": source}
    if watched:
        # What the optimizer leaves out nobody watches, so it keeps what the source says.
        command = [*command, "-Og", "-g", "-DRACES", "-ftls-model=initial-exec"]
        instrument = ["-fsanitize=thread", "--param=tsan-instrument-func-entry-exit=0"]
        parts |= {name: (HERE / name).read_text() for name in ("races.cpp", "races.h")}
    digest = hashlib.sha256(repr((parts, command)).encode()).hexdigest()[:16]
    path = Path(tempfile.gettempdir()) / f"fastnn-cuda-on-cpu-{digest}.so"
    if path.is_file():
        return path
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        here, built = Path(folder), Path(folder) / "kernels.so"
        for name, text in parts.items():
            (here / name).write_text(text)
        if watched:
            _run([*command[:1], *command[2:], *instrument, "-c", "kernels.cpp"], here)
            _run([*command, "-O2", "races.cpp", "kernels.o", "-o", str(built)], here)
        else:
            _run([*command, "kernels.cpp", "-o", str(built)], here)
        built.replace(path)
    return path


def _run(command, folder):
    done = subprocess.run(command, cwd=folder, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr


class Kernel:
    """One kernel: called with grid, block and arguments, as CuPy's ``RawKernel`` is."""

    def __init__(self, name, launch, kinds, watch):
        self.name, self.watch, self._launch = name, watch, launch
        kinds.restype = ctypes.c_char_p
        self._kinds = kinds().decode()

    def __call__(self, grid, block, args, memory=None):
        """`memory` is what :meth:`note` said of the arrays that `args` are the addresses of."""
        self._run(grid, block, args, memory)

    def _run(self, grid, block, args, memory, *more):
        kinds, values = zip(*map(self._value, args), strict=True)
        assert "".join(kinds) == self._kinds, f"{self.name} takes {self._kinds}, not {kinds}"
        pointers = (ctypes.c_void_p * len(values))(*[v.ctypes.data for v in values])
        grid, block = ((ctypes.c_uint * 3)(*(*shape, 1, 1)[:3]) for shape in (grid, block))
        if self.watch:
            self.watch.begin(self.name, tuple(grid), tuple(block), memory or self.note(args))
        if fault := self._launch(grid, block, pointers, *more):
            raise RuntimeError(f"{self.name}: {FAULTS[fault]}")

    def note(self, args):
        """Where the arrays lie among these arguments, for a launch that has only addresses."""
        return self.watch and self.watch.note(args)

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

    def __call__(self, grid, block, args, memory=None, *, shared_mem=0):
        if shared_mem > self.max_dynamic_shared_size_bytes:
            raise ValueError(f"{self.name}: {shared_mem:,} bytes of shared memory")
        # Each of its blocks has a multiprocessor to itself.
        if int(np.prod(grid)) > self.MULTIPROCESSORS:
            raise RuntimeError(f"{self.name}: {FAULTS[5]}")
        self._run(grid, block, args, memory, shared_mem)
