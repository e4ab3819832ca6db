"""Columns some vectors at a time: which functions have their turn, and for which columns."""

import numpy as np
import pytest

from fastnn.backends.numba.compilers import compile_together
from fastnn.backends.numba.kernels.columns import PaddedColumns
from fastnn.backends.numba.kernels.jit import kernel
from fastnn.backends.numba.kernels.pointers import pointers_to
from fastnn.backends.numba.kernels.vectors import WIDE, load, store


def counting(blocks, width, last_width=None):
    before, last_width = (blocks - 1) * width, last_width or width

    def count(j, last, W, one):
        if blocks > 1:
            store(W, (0, j), load(W, (0, j), before) + one)
        store(W, (0, last), load(W, (0, last), last_width) + one)

    return count


COUNTING = PaddedColumns(counting)
_count = COUNTING.all


@kernel
def count(pointers, used, W, one):
    _count(pointers, used, W, one)


@pytest.mark.parametrize("used", [*range(1, 100), 127, 128, 129, 160, 1000])
def test_each_column_has_one_turn(dtype, used):
    """Half a vector more than are used at most, by functions of which others are not compiled."""
    lanes = WIDE // np.dtype(dtype).itemsize
    W, one = np.zeros((1, -(-used // lanes) * lanes), dtype), np.dtype(dtype).type(1)
    stages = COUNTING.stages([used], W, one)
    compile_together([stage for stage in stages if stage is not None], 1)
    count(pointers_to(stages), used, W, one)
    turns = int(W.sum())
    assert used <= turns < used + lanes // 2
    assert W[0, :turns].tolist() == [1] * turns
    assert len(stages) == PaddedColumns.COUNT
    assert 1 <= sum(stage is not None for stage in stages) <= 3


def test_several_matrices_have_the_functions_of_each():
    W = np.zeros((1, 32))
    few, many, both = (
        {k for k, stage in enumerate(COUNTING.stages(used, W, 1.0)) if stage is not None}
        for used in ([3], [28], [3, 28])
    )
    assert (few, many, both) == ({0}, {6}, {0, 6})
    assert COUNTING.stages((), W, 1.0) == [None] * PaddedColumns.COUNT
