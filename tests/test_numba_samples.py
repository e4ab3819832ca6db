"""Compressed samples, against the dense ones that they were made of."""

import numpy as np
import pytest

from fastnn.backends.numba.backend import NumbaBackend
from fastnn.backends.numba.samples import SparseRows


@pytest.mark.parametrize("rows", [[], [3], [4, 0, 4, 2, 1], range(20)], ids=len)
@pytest.mark.parametrize("features", [1, 7, 300])
def test_gathered_rows_are_those_of_the_samples(dtype, features, rows):
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(20, features)) * (rng.random((20, features)) < 0.1)).astype(dtype)
    x[4] = 0
    rows = np.array(rows, np.int64)
    batch, _ = NumbaBackend(1).dataset(x, np.zeros(20, np.intp)).batch(rows)
    assert isinstance(batch, SparseRows)
    found = batch.gathered()
    assert found.dtype == dtype
    assert np.array_equal(found, x[rows])
