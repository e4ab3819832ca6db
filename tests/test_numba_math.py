"""The elementary functions of compiled code, against extended precision."""

import numpy as np
import pytest
from numba import njit

from fastnn.backends.numba.kernels import elementary
from fastnn.backends.numba.kernels.jit import FASTMATH

EXACT = {
    "exp": np.exp,
    "expm1": np.expm1,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "tanh": np.tanh,
}

#: Units in the last place, as the module's docstring says.
BOUNDS = {"exp": 2, "expm1": 2, "sigmoid": 4, "tanh": 4}


def apply(name, x):
    function = getattr(elementary, name)

    @njit(fastmath=FASTMATH)
    def loop(x, out):
        for i in range(x.size):
            out[i] = function(x[i])

    out = np.empty_like(x)
    loop(x, out)
    return out


@pytest.mark.parametrize("name", EXACT)
def test_accurate_to_the_last_places(name, dtype):
    limit = 700 if dtype == np.float64 else 85
    rng = np.random.default_rng(1)
    tiny = rng.uniform(-1, 1, 2000) * 10.0 ** rng.uniform(-8, 0, 2000)
    x = np.concatenate(
        [rng.uniform(-limit, limit, 5000), rng.uniform(-2, 2, 5000), tiny, [0.0]]
    ).astype(dtype)
    exact = EXACT[name](x.astype(np.longdouble))
    places = np.abs(apply(name, x) - exact) / np.spacing(np.abs(exact.astype(dtype)))
    assert places.max() <= BOUNDS[name]


@pytest.mark.parametrize("name", EXACT)
def test_the_ends_are_finite_and_nan_stays(name, dtype):
    found = apply(name, np.array([np.nan, np.inf, -np.inf, 1e4, -1e4], dtype))
    assert np.isnan(found[0])
    assert np.isfinite(found[1:]).all()
    low = {"exp": 0, "expm1": -1, "sigmoid": 0, "tanh": -1}[name]
    np.testing.assert_allclose(found[[2, 4]], low, atol=2 * np.finfo(dtype).tiny)
