"""The numerical gradient against the book's loop in extended precision, where nothing cancels."""

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from . import oracle
from .drawn import Drawn, activations, in_context, losses, seeds, target_kinds

few = st.integers(1, 4)


@example(  # of two samples whose gradients nearly cancel out
    n=2, i=3, j=1, k=2, activation="relu", loss="cross_entropy", kind="labels", h=1e-4, seed=92
)
@given(few, few, few, few, activations, losses, target_kinds, st.sampled_from([1e-4, 1e-2]), seeds)
@in_context
def test_numerical_gradient(backend, dtype, n, i, j, k, activation, loss, kind, h, seed):
    d = Drawn(backend, dtype, seed)
    (x, wide_x), (t, wide_t) = d.array(n, i, zeros=0.4), d.targets(n, k, kind)
    params, wide = {}, {}
    for name, shape in {"W1": (i, j), "b1": (j,), "W2": (j, k), "b2": (k,)}.items():
        params[name], wide[name] = d.array(*shape)
    value, gradients = backend.numerical_gradient(x, t, *params.values(), activation, loss, h)
    problem = wide, wide_x, wide_t
    y = oracle.predict(wide, wide_x, activation, loss)
    whole = oracle.loss_of(y, wide_t, loss, np.float64)
    expected = oracle.differences(*problem, h, activation=activation, loss=loss)
    d.assert_close(value, whole, 1 + whole + oracle.lost_digits(y, wide_t, loss, np.float64), 64)
    largest = max(np.abs(g).max() for g in expected.values())
    noise = 16 * np.finfo(np.longdouble).eps * float(1 + whole) / h  # of the book's loop
    # The gradients of the samples, which may nearly cancel out, have been rounded.
    each = [oracle.gradient(wide, wide_x[[m]], wide_t[[m]], activation, loss) for m in range(n)]
    share = n if loss != "mean_squared_error" else 1
    summed = max(sum(np.abs(g[name]) for g in each).max() for name in expected) / share
    eps = np.finfo(dtype).eps
    bound = max(eps * max(largest, summed), 1e-12 * largest)
    limits = {"rtol": 4 * eps, "atol": float(bound + noise)}
    for gradient, (name, exact) in zip(gradients, expected.items(), strict=True):
        backend.check_arrays(**{name: gradient})
        found = backend.to_numpy(gradient)
        assert found.dtype == dtype
        np.testing.assert_allclose(found, exact.astype(float), **limits)
    d.assert_unmodified()
