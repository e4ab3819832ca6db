"""Memory for large arrays: zeros, which begin where huge pages do, and are given back."""

import gc
import mmap
import os
import pickle
import re
from pathlib import Path

import numpy as np
import pytest

from fastnn import memory

MIB = 2**20
HUGE = Path("/sys/kernel/mm/transparent_hugepage/enabled")


@pytest.mark.parametrize("dtype", ["float64", "float32", "uint8"])
@pytest.mark.parametrize("shape", [(), (0, 3), (7, 5), (1024, 1024), (3, 1234, 2001)])
def test_zeros_are_numpys(shape, dtype):
    found = memory.zeros(shape, dtype)
    assert (found.shape, found.dtype) == (shape, np.dtype(dtype))
    assert found.flags.c_contiguous
    assert found.flags.aligned
    assert not found.any()
    found += 1
    assert (found == 1).all()
    assert (pickle.loads(pickle.dumps(found)) == found).all()


def test_they_are_apart():
    first, second = memory.zeros((MIB,), "float64"), memory.zeros((MIB,), "float64")
    first += 1
    assert not second.any()


def resident(what="Rss"):
    """Bytes of this process that are in memory."""
    found = re.search(rf"^{what}:\s+(\d+) kB", Path("/proc/self/smaps_rollup").read_text(), re.M)
    return int(found[1]) * 1024


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="asks Linux")
def test_what_is_not_touched_takes_no_memory_and_all_of_it_is_given_back():
    gc.collect()
    before = resident()
    array = memory.zeros((256 * MIB,), "uint8")
    assert resident() < before + 8 * MIB
    array[::4096] = 1
    view = array[MIB:]
    del array
    assert view[-4096] == 1
    assert resident() > before + 250 * MIB
    del view
    assert resident() < before + 16 * MIB


@pytest.mark.skipif(
    not HUGE.exists() or "[never]" in HUGE.read_text(), reason="the system has no huge pages"
)
def test_they_are_in_huge_pages():
    before = resident("AnonHugePages")
    array = memory.zeros((64 * MIB,), "uint8")
    array[::4096] = 1
    # Whatever the system has of them free; of none there would be none.
    assert resident("AnonHugePages") > before
    assert array.ctypes.data % memory.HUGE_PAGE == 0


def test_where_there_are_no_huge_pages_they_are_zeros_all_the_same(monkeypatch):
    monkeypatch.delattr(mmap, "MADV_HUGEPAGE", raising=False)
    assert not memory.zeros((MIB,), "float64").any()


def test_a_kernel_that_does_not_know_huge_pages_gives_zeros(monkeypatch):
    monkeypatch.setattr(mmap, "MADV_HUGEPAGE", -1, raising=False)  # EINVAL
    assert not memory.zeros((MIB,), "float64").any()


def test_what_does_not_fit_is_said_by_numpy():
    with pytest.raises(MemoryError, match="Unable to allocate"):
        memory.zeros((2**50,), "float64")


FORKS = """
import os
from fastnn import memory

array = memory.zeros((2**20,), "float64")
array[0] = 1
if (child := os.fork()) == 0:
    kept = array[0] == 1
    array[:] = 2
    os._exit(0 if kept else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert array[0] == 1 and not array[1:].any()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_has_a_copy_of_its_own(python):
    done = python("-c", FORKS)
    assert done.code == 0, done.err
