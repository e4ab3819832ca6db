"""Samples and targets as a backend keeps them, and the batches that it hands out."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from .drawn import Drawn, in_context, seeds, sides, target_kinds


@given(st.integers(1, 30), sides, st.integers(1, 40), target_kinds, seeds)
@in_context
def test_a_dataset_hands_out_its_rows(backend, dtype, n, i, size, kind, seed):
    d = Drawn(backend, dtype, seed)
    (x, wide_x), (t, _) = d.array(n, i), d.targets(n, 3, kind)
    data = backend.dataset(x, t)
    assert len(data) == n
    host_t = backend.to_numpy(t)
    weights, bias = backend.asarray(np.eye(i, dtype=d.dtype)), backend.asarray(np.zeros(i, d.dtype))
    rows = d.rng.integers(n, size=size)

    def dense(samples):  # samples may be of the backend's own kind, and operations take them
        return backend.to_numpy(backend.dense(samples, weights, bias))

    buffer = data.buffer(size)
    for options in ({}, {"out": buffer}):
        batch_x, batch_t = data.batch(backend.asarray(rows), **options)
        np.testing.assert_array_equal(dense(batch_x), wide_x[rows].astype(d.dtype))
        np.testing.assert_array_equal(backend.to_numpy(batch_t), host_t[rows])
    assert buffer is None or batch_x is buffer
    chunks = list(data.chunks(size))
    np.testing.assert_array_equal(
        np.concatenate([dense(chunk) for chunk, _ in chunks]), wide_x.astype(d.dtype)
    )
    np.testing.assert_array_equal(
        np.concatenate([backend.to_numpy(chunk) for _, chunk in chunks]), host_t
    )
    assert all(chunk.shape[0] == size for _, chunk in chunks[:-1])
    d.assert_unmodified()
