"""NVRTC, NVIDIA's run-time compiler, as PyPI has it (``nvidia-cuda-nvrtc``).

It needs neither a driver nor a GPU, and ptxas is part of it: ``python -m tests.nvrtc`` prints the
registers, spills and shared memory of every kernel on every kind of GPU, or on those given.
"""

import ctypes
import os
import re
import sys
from importlib.metadata import files
from typing import NamedTuple

from fastnn.backends.cupy.sources import MODULES, OPTIONS

#: What CuPy adds to the options.
CUPY_OPTIONS = ("-ftz=true", "--device-as-default-execution-space")


#: The distribution that has it; that of CUDA 12 is nvidia-cuda-nvrtc-cu12 (``nox -s nvrtc12``).
DISTRIBUTION = os.environ.get("FASTNN_NVRTC", "nvidia-cuda-nvrtc")


def _library():
    names = ("libnvrtc.so", "nvrtc64_")  # on Linux and on Windows
    found = next(f for f in files(DISTRIBUTION) if f.name.startswith(names))
    return ctypes.CDLL(str(found.locate()))


nvrtc = _library()


def supported_architectures():
    """What the compiler can compile for, such as 75 for compute capability 7.5."""
    count = ctypes.c_int()
    assert nvrtc.nvrtcGetNumSupportedArchs(ctypes.byref(count)) == 0
    architectures = (ctypes.c_int * count.value)()
    assert nvrtc.nvrtcGetSupportedArchs(architectures) == 0
    return list(architectures)


class Resources(NamedTuple):
    """What a thread (shared memory: a block) of a kernel takes, as ptxas counts it."""

    registers: int
    stack: int
    spill_stores: int
    spill_loads: int
    shared: int


class Compiled(NamedTuple):
    """The machine code for an architecture, and what the compiler says.

    That is what each kernel takes, by its name expression, and warnings apart.
    """

    code: bytes
    warnings: str
    resources: dict[str, Resources]


#: Of one kernel in the report that ptxas makes with -v.
_ENTRY = re.compile(
    r"Compiling entry function '(?P<name>\w+)'.*?"
    r"(?P<stack>\d+) bytes stack frame, (?P<stores>\d+) bytes spill stores, "
    r"(?P<loads>\d+) bytes spill loads.*?Used (?P<registers>\d+) registers(?P<rest>[^\n]*)",
    re.DOTALL,
)

#: A line of that report, and no remark with a number in parentheses, nor a warning.
_REPORT = re.compile(r"ptxas info\s*: [^(].*|(ptxas\s*\.)?\s*\d+ bytes stack frame,.*|")


def compile_for(architecture, source, options, name_expressions):
    """What becomes of kernels on an architecture: see :class:`Compiled`.

    An AssertionError with the log if they do not compile.
    """
    program = ctypes.c_void_p()
    assert (
        nvrtc.nvrtcCreateProgram(
            ctypes.byref(program), source.encode(), b"kernels.cu", 0, None, None
        )
        == 0
    )
    for name in name_expressions:
        assert nvrtc.nvrtcAddNameExpression(program, name.encode()) == 0
    options = [f"--gpu-architecture=sm_{architecture}", "--ptxas-options=-v", *options]
    failed = nvrtc.nvrtcCompileProgram(
        program, len(options), (ctypes.c_char_p * len(options))(*[o.encode() for o in options])
    )
    log = (
        _bytes(program, nvrtc.nvrtcGetProgramLogSize, nvrtc.nvrtcGetProgramLog)
        .rstrip(b"\0")
        .decode()
    )
    assert not failed, log
    code = _bytes(program, nvrtc.nvrtcGetCUBINSize, nvrtc.nvrtcGetCUBIN)
    names = {}
    for name in name_expressions:
        lowered = ctypes.c_char_p()
        assert nvrtc.nvrtcGetLoweredName(program, name.encode(), ctypes.byref(lowered)) == 0
        assert lowered.value in code
        names[lowered.value.decode()] = name
    assert len(names) == len(name_expressions)
    assert nvrtc.nvrtcDestroyProgram(ctypes.byref(program)) == 0
    warnings = [line for line in log.splitlines() if not _REPORT.fullmatch(line)]
    return Compiled(code, "\n".join(warnings), _resources(log, names))


def _resources(log, names):
    """What each kernel takes: name expressions to :class:`Resources`."""
    found = {}
    for entry in _ENTRY.finditer(log):
        if entry["name"] not in names:
            continue  # not a template, so compiled whether named or not
        shared = re.search(r"(\d+) bytes smem", entry["rest"])
        sizes = (entry[size] for size in ("registers", "stack", "stores", "loads"))
        found[names[entry["name"]]] = Resources(*map(int, sizes), int(shared[1]) if shared else 0)
    assert found.keys() == set(names.values()), log
    return found


def _bytes(program, size_of, get):
    size = ctypes.c_size_t()
    assert size_of(program, ctypes.byref(size)) == 0
    buffer = ctypes.create_string_buffer(size.value)
    assert get(program, buffer) == 0
    return buffer.raw


def table(architectures):
    """The resources of every kernel of the CuPy backend, a line each, as text."""
    head = "".join(f"  {f'sm_{a}':>12}" for a in architectures)
    lines = [f"{'registers / spills / shared bytes':40}{head}"]
    for sources in MODULES.values():
        code, options, names = sources.source(), (*OPTIONS, *CUPY_OPTIONS), sources.expressions
        of = [a for a in architectures if a >= sources.capability]
        found = {a: compile_for(a, code, options, names).resources for a in of}
        for name in names:
            cells = (found.get(a, {}).get(name) for a in architectures)
            taken = (
                f"{c.registers}/{c.spill_stores + c.spill_loads}/{c.shared}" if c else ""
                for c in cells
            )
            lines.append(f"{name:40}" + "".join(f"  {one:>12}" for one in taken))
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(f"{table([int(a) for a in sys.argv[1:]] or supported_architectures())}\n")
