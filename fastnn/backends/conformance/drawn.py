"""What the tests draw, on the backend and in extended precision, and bounds on errors."""

import inspect
from functools import wraps

import numpy as np
from hypothesis import strategies as st

from ...functions import ACTIVATIONS, LOSSES
from . import oracle

sides = st.integers(1, 9)
seeds = st.integers(0, 2**32 - 1)
activations = st.sampled_from(sorted(ACTIVATIONS))
losses = st.sampled_from(sorted(LOSSES))
target_kinds = st.sampled_from(["labels", "one-hot", "soft"])


class Drawn:
    """Arrays of a magnitude of their own each, on the backend and in extended precision."""

    def __init__(self, backend, dtype, seed):
        self.backend, self.dtype, self.rng = backend, dtype, np.random.default_rng(seed)
        self.kept = []

    def array(self, *shape, zeros=0.0):
        values = self.rng.normal(size=shape) * self.rng.choice([0.01, 1.0, 20.0])
        values[self.rng.random(shape) < zeros] = 0
        return self.enter(values.astype(self.dtype))

    def targets(self, n, k, kind):
        """On the backend as `kind` says, and in extended precision as rows."""
        labels = self.rng.integers(k, size=n)
        if kind == "labels":
            return self.enter(labels.astype(np.intp))[0], oracle.one_hot(labels, k).astype(
                np.longdouble
            )
        return self.enter(
            (
                oracle.one_hot(labels, k) if kind == "one-hot" else self.rng.dirichlet([1.0] * k, n)
            ).astype(self.dtype)
        )

    def enter(self, host):
        device = self._laid_out(self.backend.asarray(host.copy()))
        self.kept.append((device, host))
        return device, host.astype(np.longdouble)

    def _laid_out(self, array):
        """The same elements by rows, by columns or with gaps, where a library has views."""
        layout = self.rng.choice(["rows", "columns", "gaps"])
        if layout == "rows" or 0 in array.shape:
            return array
        dtype = self.backend.dtype_of(array)
        if layout == "gaps":
            wide = self.backend.empty(tuple(2 * size for size in array.shape), dtype)
            laid_out = wide[(slice(None, None, 2),) * array.ndim]
        else:
            laid_out = self.backend.empty(array.shape[::-1], dtype)
            laid_out = laid_out.T if array.ndim == 2 else laid_out
        laid_out[...] = array
        return laid_out

    def out(self, *shape):
        return self.backend.asarray(np.full(shape, np.nan, self.dtype))

    def assert_unmodified(self):
        for device, host in self.kept:
            np.testing.assert_array_equal(self.backend.to_numpy(device), host)

    def assert_close(self, result, expected, bound, operations):
        """|result − expected| ≤ operations · eps · bound, of the right dtype, shape and library."""
        if np.ndim(expected):
            self.backend.check_arrays(result=result)
        found = self.backend.to_numpy(result)
        assert found.dtype == self.dtype
        assert found.shape == np.shape(expected)
        info = np.finfo(self.dtype)
        excess = np.abs(found.astype(np.longdouble) - expected) - operations * (
            info.eps * bound + info.tiny
        )
        assert (excess <= 0).all(), f"off by up to {np.max(excess)} beyond the bound"


def in_context(test):
    """Decorate a test of operations, which are called inside ``backend.current()``."""
    signature = inspect.signature(test)

    @wraps(test)
    def run(*arguments, **options):
        with signature.bind(*arguments, **options).arguments["backend"].current():
            test(*arguments, **options)

    return run


def bits(backend, array):
    return backend.to_numpy(array).tobytes()


def is_c_contiguous(array):
    """Whether the elements lie in memory row by row; where the library does not say, they do."""
    flags = getattr(array, "flags", None)
    return flags is None or flags.c_contiguous
