"""The CUDA kernels without a GPU: NVRTC compiles them for every kind.

The harness that runs them on the CPU is tested here, too.
"""

from functools import cache

import numpy as np
import pytest
from cuda_on_cpu import raw_module

from fastnn.backends.cupy.sources import MODULES, OPTIONS

# -- NVRTC -----------------------------------------------------------------------------------------


def kinds(*architectures):
    """Pairs of an architecture and a module that is for it."""
    return [
        (architecture, module)
        for architecture in (*architectures, "newest")
        for module, sources in sorted(MODULES.items())
        if architecture == "newest" or architecture >= sources.capability
    ]


@cache
def compiled(architecture, module):
    """What NVRTC makes of a module for an architecture: compiled once, which takes seconds."""
    nvrtc = pytest.importorskip("nvrtc")
    if architecture == "newest":
        architecture = max(nvrtc.supported_architectures())
    options, sources = (*OPTIONS, *nvrtc.CUPY_OPTIONS), MODULES[module]
    return nvrtc.compile_for(architecture, sources.source(), options, sources.expressions)


everywhere = pytest.mark.parametrize(("architecture", "module"), kinds(75, 80, 86, 89, 90))


@everywhere
def test_the_kernels_compile(architecture, module):
    made = compiled(architecture, module)
    assert made.code.startswith(b"\x7fELF")
    assert not made.warnings


@everywhere
def test_no_kernel_spills(architecture, module):
    found = compiled(architecture, module).resources
    spilling = {n: r for n, r in found.items() if r.spill_stores or r.spill_loads}
    assert not spilling
    assert all(r.shared <= 48 * 1024 and r.registers <= 255 for r in found.values())


def test_a_spill_shows():
    nvrtc = pytest.importorskip("nvrtc")
    code = """
    __global__ void __launch_bounds__(1024, 2) spilling(double* a, int n) {
        double v[64];
    #pragma unroll
        for (int i = 0; i < 64; i++) v[i] = a[i * n];
        for (int step = 0; step < n; step++)
    #pragma unroll
            for (int i = 0; i < 64; i++) v[i] += v[(i + 7) % 64] * v[(i * 5 + 1) % 64];
    #pragma unroll
        for (int i = 0; i < 64; i++) a[i * n] = v[i];
    }
    """
    found = nvrtc.compile_for(90, code, (), ["spilling"]).resources["spilling"]
    assert found.spill_stores > 0
    assert found.spill_loads > 0
    assert found.shared == 0


def test_a_kernel_that_is_wrong_does_not_compile():
    nvrtc = pytest.importorskip("nvrtc")
    with pytest.raises(AssertionError, match="undeclared_name"):
        nvrtc.compile_for(
            90, "__global__ void kernel(int* out) { out[0] = undeclared_name; }", (), ["kernel"]
        )


# -- the harness -----------------------------------------------------------------------------------

KERNELS = """
__global__ void geometry(long long* out, long long size) {
    const long long row = (long long)blockIdx.x * blockDim.y + threadIdx.y;
    const long long place = row * blockDim.x + threadIdx.x;
    if (place < size) out[place] = 1000 * blockIdx.x + 10 * threadIdx.y + threadIdx.x;
}

template <bool WAIT> __global__ void reverse(double* values) {
    __shared__ double shared[64];
    shared[threadIdx.x] = values[threadIdx.x];
    if (WAIT) __syncthreads();
    values[threadIdx.x] = shared[blockDim.x - 1 - threadIdx.x];
}

__global__ void diverge(double* values) {
    if (threadIdx.x) __syncthreads();
    values[threadIdx.x] = 1;
}
"""


@pytest.fixture(scope="module")
def kernel():
    if not raw_module.compiler():
        pytest.skip("there is no g++ to build the CUDA kernels for the CPU; apt-get install g++")
    names = ("geometry", "reverse<true>", "reverse<false>", "diverge")
    return raw_module.RawModule(code=KERNELS, name_expressions=names).get_function


def test_every_thread_of_every_block_runs_once(kernel):
    out = np.zeros(30, np.int64)
    kernel("geometry")((3,), (5, 2), (out, out.size))
    assert out.tolist() == [
        1000 * block + 10 * y + x for block in range(3) for y in range(2) for x in range(5)
    ]


def test_threads_meet_at_a_barrier(kernel):
    values = np.arange(64.0)
    kernel("reverse<true>")((1,), (64,), (values,))
    assert values.tolist() == list(range(64))[::-1]


def test_a_missing_barrier_shows(kernel):
    values = np.arange(64.0)
    kernel("reverse<false>")((1,), (64,), (values,))
    assert values.tolist() != list(range(64))[::-1]


def test_a_barrier_that_some_threads_miss_is_an_error(kernel):
    values = np.zeros(8)
    with pytest.raises(RuntimeError, match="diverge: a barrier that not all threads reach"):
        kernel("diverge")((1,), (8,), (values,))
    kernel("reverse<true>")((1,), (8,), (values,))  # and the harness goes on


@pytest.mark.parametrize(
    ("grid", "block", "message"),
    [
        ((1,), (1025,), "too many threads"),
        ((1,), (64, 17), "too many threads"),
        ((0,), (8,), "empty"),
        ((1, 65536), (8,), "blocks"),
    ],
)
def test_what_cuda_would_not_launch_is_an_error(kernel, grid, block, message):
    with pytest.raises(RuntimeError, match=message):
        kernel("reverse<true>")(grid, block, (np.zeros(2000),))


@pytest.mark.parametrize(
    "arguments", [(np.zeros(8),), (8, np.zeros(8, np.int64)), (np.zeros(8, np.int64), 8.0)]
)
def test_arguments_that_do_not_fit_are_an_error(kernel, arguments):
    with pytest.raises(AssertionError, match="geometry takes Pq"):
        kernel("geometry")((1,), (8,), arguments)
