"""NVRTC, NVIDIA's run-time compiler, as PyPI has it (``nvidia-cuda-nvrtc``).

It needs neither a driver nor a GPU.
"""

import ctypes
from importlib.metadata import files


def _library():
    names = ("libnvrtc.so", "nvrtc64_")  # on Linux and on Windows
    return ctypes.CDLL(
        str(next(f for f in files("nvidia-cuda-nvrtc") if f.name.startswith(names)).locate())
    )


nvrtc = _library()


def supported_architectures():
    """What the compiler can compile for, such as 75 for compute capability 7.5."""
    count = ctypes.c_int()
    assert nvrtc.nvrtcGetNumSupportedArchs(ctypes.byref(count)) == 0
    architectures = (ctypes.c_int * count.value)()
    assert nvrtc.nvrtcGetSupportedArchs(architectures) == 0
    return list(architectures)


def compile_for(architecture, source, options, name_expressions):
    """The machine code for an architecture, and the compiler's log.

    An AssertionError with the log if it does not compile.
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
    options = [f"--gpu-architecture=sm_{architecture}", *options]
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
    for name in name_expressions:
        lowered = ctypes.c_char_p()
        assert nvrtc.nvrtcGetLoweredName(program, name.encode(), ctypes.byref(lowered)) == 0
        assert lowered.value in code
    assert nvrtc.nvrtcDestroyProgram(ctypes.byref(program)) == 0
    return code, log


def _bytes(program, size_of, get):
    size = ctypes.c_size_t()
    assert size_of(program, ctypes.byref(size)) == 0
    buffer = ctypes.create_string_buffer(size.value)
    assert get(program, buffer) == 0
    return buffer.raw
