"""Compressed samples, against the dense ones that they were made of."""

import os
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastnn.backends.base import Backend
from fastnn.backends.conformance import oracle
from fastnn.backends.numba.backend import NumbaBackend
from fastnn.backends.numba.compressing import compress_all, in_pieces
from fastnn.backends.numba.kernels.helpers import NOBODY
from fastnn.backends.numba.samples import SparseRows


@pytest.mark.parametrize("rows", [[], [3], [4, 0, 4, 2, 1], range(20)], ids=len)
@pytest.mark.parametrize("features", [1, 7, 300])
def test_gathered_rows_are_those_of_the_samples(dtype, features, rows):
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(20, features)) * (rng.random((20, features)) < 0.1)).astype(dtype)
    x[4] = 0
    rows = np.array(rows, np.int64)
    backend = NumbaBackend(1)
    kept = backend.kept_samples(x, x.dtype)
    batch, _ = backend.dataset(kept, np.zeros(20, np.intp)).batch(rows)
    assert isinstance(batch, SparseRows)
    found = batch.gathered()
    assert found.dtype == dtype
    assert np.array_equal(found, x[rows])


@pytest.mark.parametrize("features", [2**16, 2**16 + 1])
def test_the_last_of_many_features_has_a_number(features):
    x = np.zeros((3, features))
    x[[0, 1, 2], [0, features - 1, 40_000]] = 1, 2, 3
    W, backend = np.random.default_rng(0).normal(size=(features, 2)), NumbaBackend(1)
    sparse = pytest.importorskip("scipy.sparse").csr_array(x)
    for kept in (backend.kept_samples(x, x.dtype), backend.sparse_samples(sparse, x.dtype)):
        assert kept.samples[1].itemsize == (2 if features == 2**16 else 4)
        assert np.array_equal(kept.gathered(), x)
        found = backend.dense(kept, W, np.zeros(2))
        np.testing.assert_allclose(found, x @ W, rtol=1e-15)


@given(
    st.integers(200, 1200),
    st.sampled_from([1, 2, 7, 8, 127, 130]),
    st.integers(1, 70),
    st.sampled_from([0.05, 0.25, 0.6]),
    st.sampled_from([1, 3]),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=25)
def test_weights_that_take_turns_in_the_cache(dtype, features, rows, units, density, parts, seed):
    """Many samples go through the weights some features at a time, few through all at once.

    Each product is summed in the same order, so that all bits are the same; and it is right.
    """
    backend, rng = NumbaBackend(1), np.random.default_rng(seed)
    x = rng.normal(size=(rows + 3, features)) * (rng.random((rows + 3, features)) < density)
    samples = SparseRows(
        compress_all(backend.kernels, x.astype(dtype), x.size, dtype)[0],
        rng.permutation(rows + 3)[:rows],
        features,
    )
    x = x.astype(dtype)[samples.rows].astype(np.longdouble)
    W, b = (rng.normal(size=shape).astype(dtype) for shape in ((features, units), units))
    found = backend.dense(samples, W, b)
    every = [backend.dense(samples._replace(rows=row[None]), W, b)[0] for row in samples.rows]
    assert np.array_equal(found, every)
    bound = features * np.finfo(dtype).eps
    assert (abs(found - (x @ W + b)) <= bound * (abs(x) @ abs(W) + abs(b))).all()

    delta, rate = rng.normal(size=(rows, units)).astype(dtype), dtype.type(0.25)
    whole, one_by_one, descend = W.copy(), W.copy(), backend.kernels.layers.sparse_descent
    for n, row in enumerate(samples.rows):
        some = samples.samples, row[None], delta[n : n + 1], rate, False, one_by_one
        descend(NOBODY, (1, np.zeros(2, np.int64), 1, *some))
    every = samples.samples, samples.rows, delta, rate, False, whole
    descend(NOBODY, (1, np.zeros(1 + parts, np.int64), parts, *every))
    assert np.array_equal(whole, one_by_one)
    dW, _ = backend.dense_gradient(samples, delta)
    from_zeros = np.zeros_like(W)
    backend.dense_descent(from_zeros, np.zeros_like(b), samples, delta, -1.0)
    assert np.array_equal(dW, from_zeros)
    bound *= rows
    assert (
        abs(whole - (W - rate * (x.T @ delta))) <= bound * (abs(W) + abs(x.T) @ abs(delta))
    ).all()


class Slow:
    """Samples of which some pieces come late, and in any order."""

    def __init__(self, x, late):
        self._x, self._late, self.shape = x, late, x.shape

    def __len__(self):
        return len(self._x)

    def __getitem__(self, some):
        time.sleep(0.02 if self._late[some.start] else 0)
        return self._x[some]


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.uint8])
@pytest.mark.parametrize("late", ["the first", "every third"])
def test_pieces_are_joined_in_order(dtype, kind, late, monkeypatch):
    monkeypatch.setattr("fastnn.streams.SMALL_PIECE", 7 * 30 * 8)  # seven rows
    rng = np.random.default_rng(0)
    x = (rng.integers(1, 9, (200, 30)) * (rng.random((200, 30)) < 0.1)).astype(kind)
    x[40:60] = 0
    at = np.arange(200)
    backend = NumbaBackend(3)
    slow = Slow(x, at == 0 if late == "the first" else at % 21 == 0)
    found = in_pieces(backend.kernels, backend.pool, slow, dtype)
    rows, columns = np.nonzero(x)
    indptr, indices, values = found.samples
    assert (indptr.dtype, indices.dtype, values.dtype) == (np.intp, np.uint16, dtype)
    np.testing.assert_array_equal(indptr, np.searchsorted(rows, np.arange(201)))
    np.testing.assert_array_equal(indices, columns)
    np.testing.assert_array_equal(values, x[rows, columns])
    np.testing.assert_array_equal(found.gathered(), x)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_pieces_that_are_not_finite_are_not_compressed(dtype, value, monkeypatch):
    monkeypatch.setattr("fastnn.streams.SMALL_PIECE", 7 * 30 * 8)
    x = np.zeros((200, 30))
    backend = NumbaBackend(2)
    for row in (0, 93, 199):
        x[row, 29] = value
        found = in_pieces(backend.kernels, backend.pool, x, dtype)
        assert (found is None) == (not np.isfinite(value) or dtype == np.float32)
        x[row] = 0


def test_samples_with_few_zeros_at_the_end_stay_as_they_are(dtype, monkeypatch):
    monkeypatch.setattr("fastnn.streams.SMALL_PIECE", 7 * 30 * 8)
    backend, x = NumbaBackend(2), np.zeros((200, 30), dtype)
    x[150:] = 1  # a quarter, as many as may be
    assert np.array_equal(in_pieces(backend.kernels, backend.pool, x, dtype).gathered(), x)
    x[0, 0] = 1
    assert in_pieces(backend.kernels, backend.pool, x, dtype) is None


#: Compressing as the kernels do it, on the processor that NUMBA_CPU_NAME says.
COMPRESSING = """
import numpy as np
from fastnn.backends import get_backend
from fastnn.backends.numba.compressing import compress_all
from fastnn.backends.numba.kernels.vectors import COMPRESSES

backend, rng = get_backend("numba"), np.random.default_rng(0)
for dtype in ("float32", "float64"):
    for columns in (1, 7, 16, 50, 64):
        for zeros in (0.0, 0.5, 0.95, 1.0):
            x = rng.normal(size=(9, columns)).astype(dtype)
            x[rng.random(x.shape) < zeros] = 0
            x[0, 0] = -0.0
            found, largest = compress_all(backend.kernels, x, np.count_nonzero(x), x.dtype)
            indptr, indices, values = found
            assert largest == abs(x).max()
            rows, expected = np.nonzero(x)
            assert np.array_equal(indptr, np.searchsorted(rows, np.arange(10)))
            assert np.array_equal(indices, expected)
            assert np.array_equal(values, x[rows, expected])
print(COMPRESSES)
"""


@pytest.mark.parametrize("features", [None, ""])
def test_samples_are_compressed_on_any_processor(features, tmp_path):
    """The instruction for that is one of AVX-512; without it the code is another."""
    generic = {} if features is None else {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}
    environment = os.environ | generic | {"NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", COMPRESSING], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert features is None or done.stdout == "False\n"


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu", "identity"])
@pytest.mark.parametrize(
    ("rows", "features", "units", "outputs"), [(1, 784, 50, 10), (3, 5, 1, 2), (2, 1, 70, 3)]
)
def test_a_few_samples_are_predicted_in_one_call(
    dtype, activation, rows, features, units, outputs, monkeypatch
):
    backend, rng = NumbaBackend(1), np.random.default_rng(0)
    x = rng.normal(size=(rows, features)) * (rng.random((rows, features)) < 0.3)
    x[-1] = 0
    shapes = (features, units), (units,), (units, outputs), (outputs,)
    parameters = [rng.normal(scale=0.3, size=shape).astype(dtype) for shape in shapes]
    x = x.astype(dtype)
    formulas = activation, "cross_entropy"
    with monkeypatch.context() as patch:
        for name in ("dense", "output"):  # of the class: as if it had none
            patch.setattr(NumbaBackend, name, None)
        found = backend.two_layer_output(x, *parameters, *formulas)
    W1, b1, W2, b2 = (p.astype(np.longdouble) for p in parameters)
    z = oracle.ACTIVATIONS[activation][0](x.astype(np.longdouble) @ W1 + b1)
    expected = oracle.softmax(z @ W2 + b2)
    assert found.dtype == dtype
    np.testing.assert_allclose(
        found.astype(np.longdouble), expected, rtol=300 * np.finfo(dtype).eps
    )
    by_operations = Backend.two_layer_output(backend, x, *parameters, *formulas)
    np.testing.assert_allclose(found, by_operations, rtol=300 * np.finfo(dtype).eps)
