"""Races between the threads of the CUDA kernels: a detector sees each access of memory.

``nox -s races`` runs the same over many more shapes.
"""

import numpy as np
import pytest
from cuda_on_cpu import raw_module
from cuda_on_cpu.races import WatchedBackend, without_each_barrier
from cuda_on_cpu.workload import FEW

from fastnn.backends.cupy.sources import MODULES

pytestmark = pytest.mark.skipif(
    not raw_module.compiler(), reason="there is no g++ to build the CUDA kernels for the CPU"
)


@pytest.fixture(scope="module")
def backend():
    return WatchedBackend()


@pytest.mark.parametrize("work", FEW, ids=lambda work: "-".join(map(str, work)))
def test_no_kernel_races(backend, work):
    work.run(backend)
    assert not backend.findings()


def test_every_kernel_was_watched(backend):
    launched = {kernel for watch in backend.watches for kernel, *_ in watch.launches}
    assert launched == {name for sources in MODULES.values() for name in sources.expressions}


def test_no_barrier_can_be_left_out(backend):
    """Without any one of them, a race or a read before any write is found."""
    found = dict(without_each_barrier(backend))
    assert len(found) >= 15
    assert not [place for place, lines in found.items() if not lines]
    assert not backend.findings()  # and with all of them nothing


# -- the detector ----------------------------------------------------------------------------------

KERNELS = """
__global__ void neighbour(double* values) {
    values[threadIdx.x] += values[(threadIdx.x + 1) % blockDim.x];
}

__global__ void waiting(double* values) {
    const double next = values[(threadIdx.x + 1) % blockDim.x];
    __syncthreads();
    values[threadIdx.x] += next;
}

__global__ void one_place(double* values) { values[blockIdx.x / 2] = 1; }

__global__ void own_place(double* values) { values[blockIdx.x * blockDim.x + threadIdx.x] = 1; }

__global__ void read_of_other_block(const double* in, double* out) {
    out[blockIdx.x] = in[blockIdx.x ? blockIdx.x - 1 : 0];
}

__global__ void unwritten(double* values) {
    __shared__ double shared[8];
    if (threadIdx.x) shared[threadIdx.x] = 1;
    __syncthreads();
    values[threadIdx.x] = shared[0] + shared[threadIdx.x];
}

__global__ void one_too_many(double* values, long long size) {
    for (long long i = threadIdx.x; i <= size; i += blockDim.x) values[i] = 0;
}

__global__ void through_a_pointer(double* const* values) { values[threadIdx.x][0] = 1; }
"""


@pytest.fixture(scope="module")
def module():
    names = [line.split("(")[0].split()[-1] for line in KERNELS.split("\n") if "__global__" in line]
    return raw_module.RawModule(code=KERNELS, name_expressions=names, watched=True)


def found_in(module, name, grid, block, *args):
    module.get_function(name)((grid,), (block,), args)
    return " ".join(module.watch.findings())


@pytest.mark.parametrize(
    ("name", "grid", "block", "found"),
    [
        ("neighbour", 1, 8, "a read and a write by two threads of a block, kernels"),
        ("waiting", 1, 8, ""),
        ("one_place", 2, 1, "two writes by two blocks"),
        ("one_place", 1, 2, "two writes by two threads of a block"),
        ("own_place", 4, 2, ""),
        ("unwritten", 1, 8, "a read of shared memory that nobody has written"),
        ("unwritten", 2, 8, "a read of shared memory that nobody has written"),
    ],
)
def test_what_is_found(module, name, grid, block, found):
    text = found_in(module, name, grid, block, np.ones(8))
    assert found in text
    assert bool(found) == bool(text)


def test_a_read_of_what_another_block_writes(module):
    values = np.ones(8)
    assert not found_in(module, "read_of_other_block", 8, 1, values, np.ones(8))
    assert "two blocks" in found_in(module, "read_of_other_block", 8, 1, values, values)


def test_a_place_outside_of_an_array(module):
    """Also where it is part of a larger array; and a pointer may lead to another."""
    outside, room = "an access outside of every array", np.ones(20)
    assert not found_in(module, "one_too_many", 1, 4, room, 19)
    assert outside in found_in(module, "one_too_many", 1, 4, room[:8], 8)
    other = np.ones(1)
    assert not found_in(module, "own_place", 1, 1, other)
    pointers = np.array([room.ctypes.data, other.ctypes.data], np.uint64)
    assert not found_in(module, "through_a_pointer", 1, 2, pointers)
    room = None
    assert outside in found_in(module, "through_a_pointer", 1, 2, pointers)


def test_a_barrier_that_is_left_out(module):
    number = module.watch.barriers.index("kernels.cu:8")
    with module.watch.without(number):
        assert "a read and a write" in found_in(module, "waiting", 1, 8, np.ones(8))
    assert not found_in(module, "waiting", 1, 8, np.ones(8))
