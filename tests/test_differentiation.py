import re
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from smooth_functions import CASES

from fastnn import (
    DivergenceError,
    DtypeError,
    InputError,
    gradient_descent,
    numerical_diff,
    numerical_gradient,
    numerical_gradient_rows,
)
from fastnn.differentiation import SCHEMES
from fastnn.differentiation.compiled import compiled_loop
from fastnn.differentiation.gradient import of_loss

CASES_BY_NAME = {f.__name__: (partial(f, xp=np), x) for f, x in CASES.items()}
EPSILON = np.finfo(float).eps


def book_gradient(f, x, h=1e-4):
    """The book's loop, as the definition of what the result is."""
    gradient = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        original = x[index]
        x[index] = float(original) + h
        above = f(x)
        x[index] = float(original) - h
        below = f(x)
        x[index] = original
        gradient[index] = (above - below) / (2 * h)
    return gradient


def sum_of_squares(x):
    return (x * x).sum()


@numba.njit
def compiled_rosenbrock(x):
    total = x.dtype.type(0)
    for i in range(x.size - 1):
        total += 100 * (x[i + 1] - x[i] ** 2) ** 2 + (1 - x[i]) ** 2
    return total


def vectorized_rosenbrock(x):
    return (100 * (x[..., 1:] - x[..., :-1] ** 2) ** 2 + (1 - x[..., :-1]) ** 2).sum(axis=-1)


@pytest.fixture(scope="session")
def true_gradients(tmp_path_factory):
    """The gradients of all the cases by JAX."""
    pytest.importorskip("jax")
    path = tmp_path_factory.mktemp("jax") / "gradients.npz"
    subprocess.run(
        [sys.executable, str(Path(__file__).with_name("smooth_functions.py")), str(path)],
        check=True,
    )
    with np.load(path) as gradients:
        return dict(gradients)


@pytest.fixture
def point():
    return np.random.default_rng(3).uniform(-1, 1, 12)


# -- the book's function ---------------------------------------------------------------------------


@given(
    arrays(
        np.float64, array_shapes(min_dims=0, max_dims=3, max_side=4), elements=st.floats(-1e3, 1e3)
    )
)
def test_default_is_the_books_loop_to_the_last_bit(x):
    def f(_):  # ignores its argument and reads the array, as the book's functions do
        return np.sin(x).sum() + sum_of_squares(x)

    before = x.tobytes()
    expected = book_gradient(f, x)
    np.testing.assert_array_equal(numerical_gradient(f, x), expected)
    assert x.tobytes() == before


def test_known_values_of_the_book():
    def function_2(x):
        return x[0] ** 2 + x[1] ** 2

    for at, expected in (
        ([3.0, 4.0], [6.0, 8.0]),
        ([0.0, 2.0], [0.0, 4.0]),
        ([3.0, 0.0], [6.0, 0.0]),
    ):
        np.testing.assert_allclose(
            numerical_gradient(function_2, np.array(at)), expected, atol=1e-9
        )
    assert numerical_diff(lambda x: 0.01 * x**2 + 0.1 * x, 5) == 0.1999999999990898
    assert numerical_diff(lambda x: 0.01 * x**2 + 0.1 * x, 10) == 0.2999999999986347


@pytest.mark.parametrize(
    "view",
    [
        lambda a: a[::2, 1::3],
        lambda a: a.T,
        lambda a: np.asfortranarray(a),
        lambda a: a[::-1, ::-1],
    ],
)
@pytest.mark.parametrize(
    "options", [{}, {"vectorized": True}, {"workers": map}, {"scheme": "complex", "h": "auto"}]
)
def test_views_of_any_strides(view, options):
    x = view(np.random.default_rng(0).uniform(-1, 1, (6, 9)))
    axes = (-2, -1) if options.get("vectorized") else None
    gradient = numerical_gradient(lambda x: np.sin(x).sum(axis=axes), x, **options)
    np.testing.assert_allclose(gradient, np.cos(x), atol=1e-8)
    assert gradient.shape == x.shape


@pytest.mark.parametrize("call", range(1, 9))
@pytest.mark.parametrize("scheme", ["central", "forward", "backward"])
def test_array_is_restored_when_f_raises(call, scheme):
    x = np.array([-0.0, np.nan, 1 / 3, 5e-324])[::-1]
    before, calls = x.tobytes(), []

    def f(x):
        calls.append(1)
        if len(calls) == call:
            raise KeyboardInterrupt
        return sum_of_squares(x)

    if call <= (8 if scheme == "central" else 5):
        with pytest.raises(KeyboardInterrupt):
            numerical_gradient(f, x, scheme=scheme)
    else:
        numerical_gradient(f, x, scheme=scheme)
    assert x.tobytes() == before


@pytest.mark.filterwarnings("ignore:the matrix subclass")
def test_matrices_and_other_subclasses_are_taken_as_arrays():
    x = np.matrix([[1.0, 2.0], [3.0, 4.0]])
    np.testing.assert_allclose(
        numerical_gradient(lambda _: (np.asarray(x) ** 2).sum(), x), [[2, 4], [6, 8]]
    )


def test_f_gets_the_callers_memory_by_default_and_copies_otherwise(point):
    for options, shared in (({}, True), ({"workers": map}, False), ({"vectorized": True}, False)):
        seen = []

        def f(x, seen=seen):
            seen.append(np.shares_memory(x, point))
            return (x * x).sum(axis=-1)

        numerical_gradient(f, point, **options)
        assert set(seen) == {shared}


# -- accuracy, against other implementations -------------------------------------------------------


@pytest.mark.parametrize("name", CASES_BY_NAME)
@pytest.mark.parametrize("h", [1e-4, 1e-6, 1e-8])
def test_forward_difference_is_as_accurate_as_scipys(name, h, true_gradients):
    scipy_optimize = pytest.importorskip("scipy.optimize")
    f, x = CASES_BY_NAME[name]
    ours = abs(numerical_gradient(f, x.copy(), h=h, scheme="forward") - true_gradients[name])
    theirs = abs(scipy_optimize.approx_fprime(x, f, h) - true_gradients[name])
    assert (ours <= theirs).all()


@pytest.mark.parametrize("name", CASES_BY_NAME)
@pytest.mark.parametrize("h", [1e-2, 1e-4])
def test_central_difference_is_as_accurate_as_numdifftools(name, h, true_gradients):
    numdifftools = pytest.importorskip("numdifftools")
    f, x = CASES_BY_NAME[name]
    ours = abs(numerical_gradient(f, x.copy(), h=h) - true_gradients[name])
    theirs = abs(numdifftools.Gradient(f, step=h, order=2)(x) - true_gradients[name])
    # Of f, different in each: their x + h is not the same to the last bit.
    rounding = EPSILON * abs(f(x)) / h
    assert (ours <= theirs + rounding).all()


@pytest.mark.parametrize(
    "f", [np.sin, np.exp, np.arctan, np.tanh, lambda x: x**5, lambda x: 1 / (1 + x * x)]
)
@pytest.mark.parametrize("h", [1e-2, 1e-4])
def test_derivative_is_as_accurate_as_scipys(f, h):
    numdifftools = pytest.importorskip("numdifftools")
    differentiate = pytest.importorskip("scipy.differentiate")
    x = np.linspace(-2, 2, 9)
    true = numdifftools.Derivative(f, order=8, method="complex")(x)
    ours = abs(numerical_diff(f, x, h) - true)
    theirs = differentiate.derivative(f, x, initial_step=h, order=2, maxiter=1)
    assert (ours <= abs(theirs.df - true) + 2 * EPSILON * abs(f(x)) / h).all()


@pytest.mark.parametrize("name", CASES_BY_NAME)
@pytest.mark.parametrize("scheme", ["central", "forward", "backward"])
def test_automatic_step_and_error_estimate(name, scheme, true_gradients):
    f, x = CASES_BY_NAME[name]
    gradient, estimate = numerical_gradient(f, x.copy(), h="auto", scheme=scheme, return_error=True)
    error = abs(gradient - true_gradients[name])
    assert (error <= 4 * estimate).all()
    # Neither is the estimate so large that it says nothing, nor the error: not much above what
    # ε^(2/3) or ε^(1/2) allow.
    limit = 1e-8 if scheme == "central" else 1e-5
    size = abs(true_gradients[name]).max() + abs(f(x)) + 1
    assert error.max() <= limit * size
    assert estimate.max() <= 10 * limit * size


# Whose max is not analytic.
@pytest.mark.parametrize("name", sorted(CASES_BY_NAME.keys() - {"logsumexp", "network_loss"}))
def test_complex_step_is_exact_to_rounding(name, true_gradients):
    f, x = CASES_BY_NAME[name]
    gradient, estimate = numerical_gradient(f, x, h="auto", scheme="complex", return_error=True)
    np.testing.assert_allclose(
        gradient, true_gradients[name], rtol=1e-13, atol=1e-13 * abs(true_gradients[name]).max()
    )
    assert (estimate <= 1e-14 * abs(gradient) + 1e-300).all()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_float32_with_the_automatic_step(scheme):
    x = np.linspace(-1, 1, 7, dtype=np.float32)
    gradient = numerical_gradient(lambda x: np.exp(x).sum(), x, h="auto", scheme=scheme)
    assert gradient.dtype == np.float32
    np.testing.assert_allclose(
        gradient, np.exp(x), rtol=3e-3 if scheme in ("forward", "backward") else 3e-4
    )


def test_derivative_error_estimate():
    derivative, estimate = numerical_diff(np.exp, np.linspace(-1, 1, 5), h=1e-3, return_error=True)
    error = abs(derivative - np.exp(np.linspace(-1, 1, 5)))
    # Truncation alone at this step, which two steps reveal.
    np.testing.assert_allclose(error, estimate, rtol=0.01)


# -- vectorized, compiled, workers -----------------------------------------------------------------


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(
    ("f", "options"),
    [
        (vectorized_rosenbrock, {"vectorized": True}),
        (compiled_rosenbrock, {}),
        (compiled_rosenbrock, {"workers": 2}),
        (compiled_rosenbrock, {"workers": map}),
        (vectorized_rosenbrock, {"workers": map}),
    ],
)
def test_every_way_gives_the_same(f, options, scheme, point):
    expected = numerical_gradient(vectorized_rosenbrock, point, scheme=scheme)
    before = point.tobytes()
    point.flags.writeable = False  # copies are perturbed
    np.testing.assert_allclose(
        numerical_gradient(f, point, scheme=scheme, **options), expected, rtol=1e-8, atol=1e-8
    )
    assert point.tobytes() == before


# One block, more tasks than 128, blocks of a few points.
@pytest.mark.parametrize("size", [1, 129, 1000])
def test_blocks_and_tasks_cover_every_element(size):
    x = np.linspace(-1, 1, size)
    compiled = numba.njit(lambda x: (x**3).sum())
    for gradient in (
        numerical_gradient(lambda x: (x**3).sum(axis=1), x, vectorized=True),
        numerical_gradient(lambda x: (x**3).sum(), x, workers=map),
        numerical_gradient(compiled, x),
    ):
        np.testing.assert_allclose(gradient, 3 * x**2, atol=1e-7)


@pytest.mark.parametrize(
    "options", [{}, {"vectorized": True}, {"h": "auto"}, {"return_error": True}]
)
@pytest.mark.parametrize("scheme", ["central", "forward", "complex"])
def test_arrays_of_every_backend(backend, scheme, options):
    if backend.name == "torch":
        pytest.skip("tensors do not tell their namespace, and are read as NumPy's arrays")
    host = np.linspace(-1, 1, 12).reshape(3, 4)
    x = backend.asarray(host)
    for differentiate, axes in ((numerical_gradient, (-2, -1)), (numerical_gradient_rows, -1)):
        gradient = differentiate(
            lambda x, axes=axes: backend.xp.sum(x * x * x, axis=axes), x, scheme=scheme, **options
        )
        gradient = gradient[0] if isinstance(gradient, tuple) else gradient
        assert isinstance(gradient, backend.array_type)
        np.testing.assert_allclose(backend.to_numpy(gradient), 3 * host**2, atol=1e-3)
        np.testing.assert_array_equal(backend.to_numpy(x), host)


def test_a_scalar_read_from_the_array_is_a_view_on_some_backends(backend):
    x = backend.asarray(np.array([3.0, 4.0]))
    np.testing.assert_allclose(backend.to_numpy(numerical_gradient(lambda x: x[0], x)), [1, 0])


def test_blocks_are_of_bounded_size():
    lengths = []

    def f(x):
        lengths.append(len(x))
        return x.sum(axis=(1, 2))

    numerical_gradient(f, np.zeros((30, 40)), vectorized=True)
    assert sum(lengths) == 2 * 1200
    assert len(set(lengths)) == 1
    assert lengths[0] * 1200 * 8 <= 2**17


@pytest.mark.parametrize("size", [1, 3, 129, 1000])
@pytest.mark.parametrize("scheme", ["central", "backward"])
def test_every_point_of_every_block_differs_in_one_element(size, scheme):
    x = np.random.default_rng(0).uniform(-1, 1, size)
    changed = []

    def f(points):
        changed.extend(np.argwhere(points != x)[:, 1])
        # F at x itself.
        assert ((points != x).sum(axis=1) == 1).all() or (scheme == "backward" and len(points) == 1)
        return points.sum(axis=1)

    numerical_gradient(f, x, vectorized=True, scheme=scheme)
    counts = np.bincount(changed, minlength=size)
    # The last block may repeat elements.
    assert set(counts) <= ({2, 4} if scheme == "central" else {1, 2})
    assert (counts > counts.min()).mean() < 0.01


def test_a_vectorized_function_cannot_change_the_points(point):
    def f(points):
        points *= 2
        return points.sum(axis=1)

    with pytest.raises(ValueError, match="read-only"):
        numerical_gradient(f, point, vectorized=True)
    with pytest.raises(ValueError, match="read-only"):
        numerical_gradient_rows(f, point.reshape(3, 4), vectorized=True)


def test_compiled_once_for_each_function():
    f = numba.njit(lambda x: (x * x * x).sum())
    numerical_gradient(f, np.ones(2))
    compiled = len(compiled_loop().signatures)
    for size in (3, 100):
        for scheme in ("central", "forward"):
            numerical_gradient(f, np.ones(size), scheme=scheme)
    numerical_gradient_rows(f, np.ones((3, 4)))
    assert len(compiled_loop().signatures) == compiled


def test_exception_in_a_compiled_function_arrives(point):
    @numba.njit
    def f(x):
        if x[3] > 0.5:
            raise ValueError("too large")
        return x[0]

    point[3] = 0.49999
    with pytest.raises(ValueError, match="too large"):
        numerical_gradient(f, point)


def test_compiled_functions_in_many_threads(point):
    expected = numerical_gradient(vectorized_rosenbrock, point)
    with ThreadPoolExecutor(4) as pool:
        for gradient in pool.map(
            lambda _: numerical_gradient(compiled_rosenbrock, point), range(20)
        ):
            np.testing.assert_allclose(gradient, expected, rtol=1e-8)


def test_a_parallel_compiled_function():
    @numba.njit(parallel=True)
    def f(x):
        total = 0.0
        for i in numba.prange(x.size):
            total += x[i] ** 3
        return total

    x = np.linspace(-1, 1, 200)
    np.testing.assert_allclose(numerical_gradient(f, x), 3 * x**2, atol=1e-7)


def test_processes(python, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        """
import os
import numpy as np
from fastnn import numerical_gradient

def f(x):
    return (x**3).sum() + 0 * os.getpid()

def pid(x):
    return float(os.getpid())

if __name__ == "__main__":
    x = np.linspace(-1, 1, 20)
    for workers in (2, -1):
        np.testing.assert_allclose(numerical_gradient(f, x, workers=workers), 3 * x**2, atol=1e-7)
    assert abs(numerical_gradient(pid, x, workers=2, scheme="forward")).max() > 0  # f ran elsewhere
    try:
        numerical_gradient(lambda x: 0.0, x, workers=2)
    except ValueError as error:
        print(error)
"""
    )
    code, out, err = python("-W", "ignore::DeprecationWarning", script)
    assert code == 0, err
    assert "define it with def" in out


def test_vectorized_and_workers_exclude_each_other(point):
    with pytest.raises(InputError, match="exclude"):
        numerical_gradient(vectorized_rosenbrock, point, vectorized=True, workers=2)


@pytest.mark.parametrize(
    ("workers", "error"), [(0, InputError), (1.5, DtypeError), (True, DtypeError)]
)
def test_workers_must_be_a_count_or_a_map(point, workers, error):
    with pytest.raises(error, match="workers"):
        numerical_gradient(sum_of_squares, point, workers=workers)


# -- what x, h and f may be ------------------------------------------------------------------------


def test_integers_are_refused_with_the_fix():
    for x in (np.array([1, 2]), [1, 2], np.array([True])):
        with pytest.raises(TypeError, match=re.escape("x.astype(float)")):
            numerical_gradient(sum_of_squares, x)
    with pytest.raises(DtypeError, match=re.escape("init_x.astype(float)")):
        gradient_descent(sum_of_squares, np.array([1, 2]))
    # Makes new points: no harm done.
    assert numerical_diff(lambda x: x * x, np.array([1, 2])) == pytest.approx([2, 4])


@pytest.mark.parametrize("h", [2**62, 2.0**62, 1e30])
def test_a_step_whose_square_is_beyond_float32(h):
    x = np.linspace(0, 1, 5, dtype=np.float32)
    assert numerical_diff(lambda v: 3 * v, x, h=h) == pytest.approx(3, rel=1e-6)
    for scheme in ("central", "forward", "backward"):
        gradient = numerical_gradient(lambda v: np.float64(v.sum()), x.copy(), h=h, scheme=scheme)
        assert gradient == pytest.approx(1, rel=1e-6)


def test_float32_with_the_books_step_warns_of_noise():
    x = np.linspace(0, 1, 5, dtype=np.float32)
    with pytest.warns(
        RuntimeWarning, match=r"float32.*0\.001 of f.*h='auto'.*astype\(float\)"
    ) as caught:
        numerical_gradient(sum_of_squares, x)
    assert caught[0].filename == __file__
    with pytest.warns(RuntimeWarning, match="noisy") as caught:
        numerical_diff(np.sin, x)
    assert caught[0].filename == __file__
    with pytest.warns(RuntimeWarning, match="noisy") as caught:
        numerical_gradient_rows(sum_of_squares, np.stack([x, x]))
    assert [warning.filename for warning in caught] == [__file__]
    with pytest.warns(RuntimeWarning, match="noisy") as caught:
        numerical_gradient(sum_of_squares, x, scheme="forward")
    assert caught[0].filename == __file__
    numerical_gradient(sum_of_squares, x, h=5e-3)  # no warning


def test_a_step_lost_in_a_large_element_warns():
    with pytest.warns(RuntimeWarning, match=r"h=0.0001 is lost.*3e\+13.*h='auto'"):
        gradient = numerical_gradient(sum_of_squares, np.array([1.0, 3e13]))
    np.testing.assert_array_equal(gradient[1], 0)
    np.testing.assert_allclose(
        numerical_gradient(sum_of_squares, np.array([3e13]), h="auto"), [6e13], rtol=1e-8
    )


def test_read_only_arrays():
    x = np.array([3.0, 4.0])
    x.flags.writeable = False
    with pytest.raises(InputError, match=re.escape("np.array(x)")):
        numerical_gradient(sum_of_squares, x)
    with pytest.raises(InputError, match=re.escape("np.array(X)")):
        numerical_gradient_rows(sum_of_squares, x[None])
    for options in ({"vectorized": True}, {"workers": map}):
        gradient = numerical_gradient(lambda x: (x * x).sum(axis=-1), x, **options)
        np.testing.assert_allclose(gradient, [6, 8])
    np.testing.assert_allclose(
        gradient_descent(sum_of_squares, x, lr=0.5, step_num=1), [0, 0], atol=1e-8
    )


@pytest.mark.parametrize("x", [np.array(3.0), np.float64(3.0), 3.0])
def test_zero_dimensions(x):
    gradient = numerical_gradient(lambda x: x**2, x)
    assert gradient.shape == ()
    assert float(gradient) == pytest.approx(6)
    compiled = numerical_gradient(numba.njit(lambda x: x[()] ** 2), x)
    assert float(compiled) == pytest.approx(6)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("options", [{}, {"vectorized": True}, {"workers": map}])
def test_empty_arrays(scheme, options):
    gradient, error = numerical_gradient(
        pytest.fail, np.empty((3, 0)), scheme=scheme, return_error=True, **options
    )
    assert gradient.shape == error.shape == (3, 0)
    assert numerical_gradient_rows(pytest.fail, np.empty((0, 3)), scheme=scheme).shape == (0, 3)


@pytest.mark.parametrize("scheme", ["central", "forward", "backward"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_of_f_that_are_not_finite_show_in_the_gradient(bad, scheme):
    x = np.array([0.0, 2.0])
    gradient = numerical_gradient(lambda x: bad if x[1] != 2 else x[0], x, scheme=scheme)
    assert gradient[0] == pytest.approx(1)
    assert not np.isfinite(gradient[1])


@pytest.mark.parametrize(
    "returned",
    [1, np.float32(1), np.int64(1), True, np.array(1.0), np.array([1.0]), np.ones((1, 1))],
)
def test_f_may_return_any_single_number(returned):
    np.testing.assert_array_equal(
        numerical_gradient(lambda _: returned, np.ones(3), h=1e-3), np.zeros(3)
    )


@pytest.mark.parametrize(
    ("returned", "error", "message"),
    [
        (np.ones(3), InputError, r"shape \(3,\).*sum.*numerical_diff.*numerical_gradient_rows"),
        ([1.0, 2.0], InputError, r"shape \(2,\)"),
        (np.empty(0), InputError, r"shape \(0,\)"),
        (1j, InputError, "complex128"),
        (None, DtypeError, "NoneType"),
        ("1", DtypeError, "str"),
    ],
)
@pytest.mark.parametrize("options", [{}, {"workers": map}])
def test_f_must_return_a_number(returned, error, message, options):
    x = np.ones(3)
    with pytest.raises(error, match=message):
        numerical_gradient(lambda _: returned, x, **options)
    assert (x == 1).all()


@pytest.mark.parametrize("scheme", ["central", "forward", "backward"])
def test_f_may_return_a_view_of_its_argument(scheme):
    np.testing.assert_allclose(
        numerical_gradient(lambda x: x[1:2], np.array([3.0, 4.0, 5.0]), scheme=scheme), [0, 1, 0]
    )


def test_a_compiled_function_must_return_a_number(point):
    with pytest.raises(InputError, match=r"shape \(12,\)"):
        numerical_gradient(numba.njit(lambda x: 2 * x), point)


@pytest.mark.parametrize("returned", [np.ones(()), np.ones((1, 1)), [None]])
def test_a_vectorized_function_must_return_one_number_for_each_point(returned):
    with pytest.raises(InputError, match="one number for each"):
        numerical_gradient(lambda _: returned, np.ones(3), vectorized=True)


def test_a_complex_step_needs_complex_arithmetic(point):
    for f in (lambda x: abs(x).sum(), lambda _: sum_of_squares(point)):
        with pytest.raises(InputError, match="scheme='complex'"):
            numerical_gradient(f, point, scheme="complex")


@pytest.mark.parametrize("h", [0, -1e-4, np.nan, np.inf, "automatic"])
def test_impossible_steps(h):
    for call in (partial(numerical_gradient, sum_of_squares), partial(numerical_diff, np.sin)):
        with pytest.raises(InputError, match="h="):
            call(np.ones(2), h=h)


def test_impossible_arguments():
    with pytest.raises(InputError, match="central"):
        numerical_gradient(sum_of_squares, np.ones(2), scheme="centre")
    with pytest.raises(DtypeError, match="complex128"):
        numerical_gradient(sum_of_squares, np.ones(2, complex))
    with pytest.raises(InputError, match="numerical_gradient"):
        numerical_diff(sum_of_squares, np.ones(2))


# -- functions that reuse, change or round what they work with -------------------------------------


@pytest.mark.parametrize("options", [{}, {"h": "auto"}, {"return_error": True, "h": 1e-3}])
def test_a_derivative_of_a_function_that_writes_into_one_array(options):
    out = np.empty(3)
    derivative = numerical_diff(
        lambda v: np.multiply(v, v, out=out), np.array([1.0, 2.0, 3.0]), **options
    )
    np.testing.assert_allclose(
        derivative[0] if isinstance(derivative, tuple) else derivative, [2, 4, 6], rtol=1e-6
    )


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("h", [1e-4, "auto"])
@pytest.mark.parametrize("options", [{}, {"vectorized": True}, {"workers": map}])
def test_a_function_that_returns_one_array_each_time(scheme, h, options):
    kept = {}

    def f(x):
        value = (x * x).sum(axis=-1)
        out = kept.setdefault((value.shape, value.dtype), np.empty(value.shape, value.dtype))
        out[...] = value
        return out

    x = np.array([1.0, 2.0, 3.0])
    np.testing.assert_allclose(
        numerical_gradient(f, x, scheme=scheme, h=h, **options), 2 * x, rtol=2e-4
    )
    if "workers" not in options:
        gradient = numerical_gradient_rows(f, np.stack([x, -x]), scheme=scheme, h=h, **options)
        np.testing.assert_allclose(gradient, [2 * x, -2 * x], rtol=2e-4)


class OneOfASeries:
    """One element, which can be taken out, as in a Series of pandas."""

    shape = (1,)
    dtype = "Float64"  # a dtype that NumPy does not know

    def __init__(self, value):
        self.value = value

    def item(self):
        return self.value


class OnlyAFloat:
    def __init__(self, value):
        self.value = value

    def __float__(self):
        return float(self.value)


def sparse(value):
    return pytest.importorskip("scipy.sparse").csr_matrix([[value]])


def tensor(value):
    return pytest.importorskip("torch").tensor(value)


def tensor_with_gradient(value):
    return pytest.importorskip("torch").tensor([[value]], requires_grad=True)


def bfloat16_array(value):
    return np.array(value, pytest.importorskip("ml_dtypes").bfloat16)


@pytest.mark.parametrize("kind", [OneOfASeries, OnlyAFloat, sparse, tensor, tensor_with_gradient])
@pytest.mark.parametrize(
    "options", [{}, {"h": "auto"}, {"scheme": "forward"}, {"workers": map}, {"return_error": True}]
)
def test_a_number_of_any_library(kind, options):
    def f(x):
        return kind(float(np.square(x).sum()))

    x = np.array([1.0, 2.0, 3.0])
    with warnings.catch_warnings():  # PyTorch's default is float32
        warnings.filterwarnings(
            "ignore" if "tensor" in kind.__name__ else "error", message=".*noisy"
        )
        gradient = numerical_gradient(f, x, **options)
        np.testing.assert_allclose(
            gradient[0] if isinstance(gradient, tuple) else gradient, 2 * x, atol=0.1
        )
        np.testing.assert_allclose(numerical_gradient_rows(f, x[None]), [2 * x], atol=0.1)


@pytest.mark.parametrize("kind", [tensor, bfloat16_array])
def test_a_coarse_number_of_another_library_chooses_the_step(kind):
    gradient, error = numerical_gradient(
        lambda x: kind(float(x.sum())), np.array([0.25]), h="auto", return_error=True
    )
    assert abs(gradient[0] - 1) <= error[0] < 1


def test_a_vectorized_function_of_another_library():
    torch = pytest.importorskip("torch")
    x = np.array([1.0, 2.0, 3.0])
    gradient = numerical_gradient(lambda p: (torch.tensor(p) ** 2).sum(dim=1), x, vectorized=True)
    np.testing.assert_allclose(gradient, 2 * x, atol=1e-6)


@pytest.mark.parametrize(
    "returned", [OneOfASeries("1"), np.datetime64("2020"), np.zeros((), "V4"), object()]
)
def test_no_numbers(returned):
    with pytest.raises(DtypeError, match="must return a number"):
        numerical_gradient(lambda _: returned, np.ones(2))


def doubled(x):
    x *= 2
    return (x * x).sum()


def clipped(x):
    np.maximum(x, 0, out=x)
    return (x * x).sum()


def sorted_in_place(x):
    x.sort()
    return x @ np.arange(x.size)


def with_a_fixed_end(x):
    x[-1] = 0
    return (x * x).sum()


def once_only():
    calls = []

    def f(x):
        if len(calls) == 1:
            x[-1] += 1
        calls.append(1)
        return (x * x).sum()

    return f


@pytest.mark.parametrize("f", [doubled, clipped, sorted_in_place, with_a_fixed_end, once_only()])
@pytest.mark.parametrize("options", [{}, {"h": "auto"}, {"scheme": "backward"}])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, ">f8"])
@pytest.mark.filterwarnings("ignore:the derivative is noisy")
def test_a_function_that_changes_the_callers_array_is_refused(f, options, dtype):
    f = once_only() if f.__name__ == "f" else f
    for x in (
        np.array([0.5, 0.0, 0.75], dtype),
        np.array([0.5, 0.0, 0.75, 9], dtype)[:3],
        np.array([[0.5, 3], [0.0, 3]], dtype)[:, 0],
    ):
        before = x.tobytes()
        with pytest.raises(InputError, match=r"f changed its argument.*copy"):
            numerical_gradient(f, x, **options)
        assert x.tobytes() == before
        with pytest.raises(InputError, match="f changed its argument"):
            numerical_gradient_rows(f if f.__name__ != "f" else once_only(), x[None], **options)
        assert x.tobytes() == before
        f = once_only() if f.__name__ == "f" else f


def test_elements_that_are_not_a_number_are_no_change():
    x = np.array([np.nan, 1.0])
    for options in ({}, {"h": "auto"}):
        np.testing.assert_allclose(numerical_gradient(lambda x: x[1] ** 2, x, **options)[1], 2)


@pytest.mark.parametrize(
    ("f", "options"),
    [
        (doubled, {"workers": map}),
        (doubled, {"scheme": "complex"}),
        (numba.njit(doubled), {}),
        (numba.njit(doubled), {"workers": map}),
        (numba.njit(doubled), {"scheme": "complex"}),
    ],
)
def test_a_function_may_change_its_copy(f, options):
    for x in (np.array([1.0, 2.0, 3.0]), np.linspace(-1, 1, 200)):
        np.testing.assert_allclose(numerical_gradient(f, x, **options), 8 * x, atol=1e-7)
    if "workers" not in options:
        np.testing.assert_allclose(
            numerical_gradient_rows(f, np.ones((2, 3)), **options)
            if options or f is not doubled
            else 8,
            8,
            rtol=1e-7,
        )


def test_a_compiled_function_that_changes_another_element():
    @numba.njit
    def f(x):
        x[0] += 1
        return x[0] + x[1] ** 2 + x[2] ** 2

    np.testing.assert_allclose(
        numerical_gradient(f, np.array([1.0, 2.0, 3.0])), [1, 4, 6], rtol=1e-7
    )


def in_float32(x):
    return np.sum(np.float32(x) ** 2, axis=-1)


@pytest.mark.parametrize("scheme", ["central", "forward", "backward"])
@pytest.mark.parametrize("options", [{}, {"workers": map}, {"vectorized": True}])
def test_step_and_estimate_follow_a_function_that_computes_in_float32(scheme, options):
    x = np.array([1.0, 2.0, 3.0])
    gradient, error = numerical_gradient(
        in_float32, x, h="auto", scheme=scheme, return_error=True, **options
    )
    assert (abs(gradient - 2 * x) <= error).all()
    np.testing.assert_allclose(gradient, 2 * x, atol=2e-2 if scheme != "central" else 2e-3)
    assert error.max() < 0.1
    if "workers" not in options:
        gradient = numerical_gradient_rows(in_float32, x[None], h="auto", scheme=scheme, **options)
        np.testing.assert_allclose(gradient, [2 * x], atol=2e-2)
    derivative, error = numerical_diff(lambda v: np.float32(v) ** 2, x, h="auto", return_error=True)
    assert (abs(derivative - 2 * x) <= error).all()


def test_step_follows_a_compiled_function_that_computes_in_float32():
    f = numba.njit(lambda x: np.float32(x[0]) * np.float32(x[0]))
    np.testing.assert_allclose(numerical_gradient(f, np.array([1.0]), h="auto"), [2], atol=1e-3)
    with pytest.warns(RuntimeWarning, match="f returns float32"):
        numerical_gradient(f, np.array([1.0]))


@pytest.mark.parametrize(
    "options", [{}, {"scheme": "forward"}, {"workers": map}, {"vectorized": True}]
)
def test_a_function_that_computes_in_float32_warns_of_noise(options):
    x = np.array([1.0, 2.0, 3.0])
    with pytest.warns(RuntimeWarning, match=r"f returns float32.*0\.001 of f.*h='auto'") as caught:
        numerical_gradient(in_float32, x, **options)
    assert [warning.filename for warning in caught] == [__file__]
    with pytest.warns(RuntimeWarning, match="f returns float32") as caught:
        numerical_gradient_rows(in_float32, x[None])
    assert [warning.filename for warning in caught] == [__file__]
    with pytest.warns(RuntimeWarning, match="f returns float32") as caught:
        numerical_diff(lambda v: np.float32(v) ** 2, x)
    assert [warning.filename for warning in caught] == [__file__]
    numerical_gradient(in_float32, x, h=5e-3, **options)  # no warning


def test_the_fix_that_is_named_for_a_point_that_cannot_be_changed_works():
    jax = pytest.importorskip("jax")
    read_only = np.array([3.0, 4.0])
    read_only.flags.writeable = False

    class Series:  # a Series of pandas gives its memory read-only, and so does a copy
        def __array__(self, dtype=None, copy=None):
            return read_only.copy() if copy else read_only

    for x in (jax.numpy.asarray(read_only, "float32"), read_only, read_only.view(), Series()):
        with pytest.raises(InputError, match=re.escape("pass np.array(x)")):
            numerical_gradient(sum_of_squares, x, h="auto")
        np.testing.assert_allclose(
            numerical_gradient(sum_of_squares, np.array(x), h="auto"), [6, 8], rtol=1e-3
        )
        np.testing.assert_allclose(
            numerical_gradient(sum_of_squares, x, h="auto", workers=map), [6, 8], rtol=1e-3
        )


# -- arrays of any library that keeps the standard -------------------------------------------------


@pytest.fixture
def strict():
    return pytest.importorskip("array_api_strict")


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(
    "options", [{}, {"h": "auto"}, {"vectorized": True}, {"h": "auto", "return_error": True}]
)
def test_strict_arrays(strict, scheme, options):
    host = np.linspace(-1, 1, 12).reshape(3, 4)
    x = strict.asarray(host)
    for differentiate, axes in ((numerical_gradient, (-2, -1)), (numerical_gradient_rows, -1)):
        gradient = differentiate(
            lambda p, axes=axes: strict.sum(p * p * p, axis=axes), x, scheme=scheme, **options
        )
        gradient = gradient[0] if isinstance(gradient, tuple) else gradient
        assert isinstance(gradient, type(x))
        assert gradient.dtype == x.dtype
        np.testing.assert_allclose(np.from_dlpack(gradient), 3 * host**2, atol=1e-3)
        np.testing.assert_array_equal(np.from_dlpack(x), host)


def test_strict_arrays_in_blocks(strict, monkeypatch):
    monkeypatch.setattr("fastnn.differentiation.blocks.DEVICE_BLOCK_BYTES", 2**16)
    host, lengths = np.linspace(-1, 1, 333), []

    def f(points):
        lengths.append(points.shape)
        points *= 1.0  # a new block each time
        points[:, 0] = 0.0
        return strict.sum(points * points, axis=1)

    gradient = numerical_gradient(f, strict.asarray(host), vectorized=True)
    np.testing.assert_allclose(
        np.from_dlpack(gradient), np.where(np.arange(333) > 0, 2 * host, 0), atol=1e-7
    )
    assert len(set(lengths)) == 1
    assert len(lengths) > 1


def test_what_else_is_strict(strict):
    x = strict.asarray([3.0, 4.0])

    def f(p):
        return strict.sum(p * p)

    x0, path = gradient_descent(f, x, lr=0.1, return_path=True)
    np.testing.assert_allclose(np.from_dlpack(x0), [0, 0], atol=1e-6)
    assert path.shape == (101, 2)
    derivative = numerical_diff(lambda v: strict.sin(v), x, h="auto")
    np.testing.assert_allclose(np.from_dlpack(derivative), np.cos([3, 4]), atol=1e-8)
    assert float(numerical_gradient(lambda p: p * p, strict.asarray(3.0))) == pytest.approx(6)
    assert numerical_gradient(pytest.fail, strict.zeros((0, 3))).shape == (0, 3)
    for g in (lambda p: float(f(p)), lambda p: np.float64(float(f(p))), lambda p: f(p)[None]):
        for scheme in ("central", "forward"):
            np.testing.assert_allclose(
                np.from_dlpack(numerical_gradient(g, x, scheme=scheme)), [6, 8], atol=1e-3
            )
    x32 = strict.asarray([3.0, 4.0], dtype=strict.float32)
    np.testing.assert_allclose(
        np.from_dlpack(numerical_gradient(f, x32, h="auto")), [6, 8], rtol=1e-3
    )
    with pytest.warns(RuntimeWarning, match="h=0.0001 is lost"):
        numerical_gradient(f, strict.asarray([1.0, 3e13]))
    with pytest.raises(InputError, match="vectorized=True"):
        numerical_gradient(f, x, workers=map)


def test_a_function_that_changes_a_strict_array_is_refused(strict):
    x = strict.asarray([1.0, 2.0, 3.0])

    def doubles(p):
        p *= 2.0
        return strict.sum(p)

    def fixes_the_first(p):
        p[0] = 0.0
        return strict.sum(p)

    for f in (doubles, fixes_the_first):
        with pytest.raises(InputError, match="f changed its argument"):
            numerical_gradient(f, x)
        np.testing.assert_array_equal(np.from_dlpack(x), [1, 2, 3])
    np.testing.assert_allclose(
        np.from_dlpack(numerical_gradient(doubles, x, scheme="complex")), [2, 2, 2]
    )


@pytest.mark.parametrize("h", [1e-4, "auto"])
def test_the_gradient_of_a_loss_in_a_tensor(h):
    torch = pytest.importorskip("torch")
    xp = pytest.importorskip("array_api_compat.torch")
    W = torch.linspace(-1, 1, 12, dtype=torch.float64).reshape(3, 4)
    before = W.clone()
    gradient = of_loss(lambda _: (W**3).sum(), W, h=h, xp=xp)
    assert isinstance(gradient, torch.Tensor)
    torch.testing.assert_close(gradient, 3 * W**2, atol=1e-6, rtol=0)
    assert torch.equal(W, before)


# -- rows ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", SCHEMES)
def test_rows_are_points_by_themselves(scheme):
    X = np.random.default_rng(1).uniform(-1, 1, (5, 4))
    expected = np.array(
        [numerical_gradient(vectorized_rosenbrock, row, scheme=scheme) for row in X]
    )
    before = X.tobytes()
    for f, options in (
        (vectorized_rosenbrock, {}),
        (vectorized_rosenbrock, {"vectorized": True}),
        (compiled_rosenbrock, {}),
    ):
        gradient = numerical_gradient_rows(f, X, scheme=scheme, **options)
        np.testing.assert_allclose(gradient, expected, rtol=1e-8, atol=1e-8)
    assert X.tobytes() == before


def test_rows_of_images():
    X = np.random.default_rng(1).uniform(-1, 1, (3, 2, 4))
    for options in ({}, {"vectorized": True}):
        gradient, _ = numerical_gradient_rows(
            lambda x: np.sin(x).sum(axis=(-2, -1)), X, return_error=True, **options
        )
        np.testing.assert_allclose(gradient, np.cos(X), atol=1e-8)


def test_vectorized_rows_take_two_calls_a_column():
    calls = []
    numerical_gradient_rows(
        lambda X: calls.append(len(X)) or X.sum(axis=1), np.zeros((1000, 3)), vectorized=True
    )
    assert calls == [1000] * 6


def test_a_single_point_is_not_rows():
    with pytest.raises(InputError, match="numerical_gradient"):
        numerical_gradient_rows(sum_of_squares, np.ones(3))


# -- descent ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lr", "expected"),
    [(0.1, [-6.11110793e-10, 8.14814391e-10]), (1e-10, [-2.99999994, 3.99999992])],
)
def test_descent_gives_the_books_results(lr, expected):
    init_x = np.array([-3.0, 4.0])
    np.testing.assert_allclose(
        gradient_descent(sum_of_squares, init_x, lr, 100), expected, rtol=2e-9
    )
    np.testing.assert_array_equal(init_x, [-3, 4])


@pytest.mark.filterwarnings("ignore:h=0.0001 is lost")
def test_descent_with_too_large_a_rate_ends_where_the_books_does():
    x = gradient_descent(lambda x: x[0] ** 2 + x[1] ** 2, np.array([-3.0, 4.0]), lr=10.0)
    np.testing.assert_allclose(x, [-2.58983747e13, -1.29524862e12], rtol=1e-8)


def test_path_holds_every_point_and_the_last():
    x, path = gradient_descent(
        sum_of_squares, np.array([-3.0, 4.0]), lr=0.1, step_num=20, return_path=True
    )
    assert path.shape == (21, 2)
    np.testing.assert_array_equal(path[0], [-3, 4])
    np.testing.assert_array_equal(path[-1], x)
    np.testing.assert_allclose(path[1:], 0.8 * path[:-1], rtol=1e-9)
    assert gradient_descent(sum_of_squares, np.ones(2), step_num=0, return_path=True)[1].shape == (
        1,
        2,
    )


def test_descent_of_a_compiled_function_in_float32():
    x = gradient_descent(
        compiled_rosenbrock, np.array([0.9, 0.9], np.float32), lr=0.001, step_num=2000
    )
    assert x.dtype == np.float32
    np.testing.assert_allclose(x, [1, 1], atol=0.07)


def test_diverging_descent_stops():
    with (
        pytest.raises(DivergenceError, match=r"after step 2 of 100.*lr smaller than 1"),
        np.errstate(over="ignore"),
    ):
        gradient_descent(lambda x: np.exp(x * x).sum(), np.array([3.0]), lr=1.0)


@pytest.mark.parametrize(
    ("lr", "step_num", "name"), [(-1, 1, "lr"), (np.nan, 1, "lr"), (0.1, -1, "step_num")]
)
def test_impossible_descents(lr, step_num, name):
    with pytest.raises(InputError, match=name):
        gradient_descent(sum_of_squares, np.ones(2), lr, step_num)


CALLS = {
    "numerical_diff": lambda f, x, **options: numerical_diff(f, x, **options),
    "numerical_gradient": lambda f, x, **options: numerical_gradient(f, x, **options),
    "rows": lambda f, x, **options: numerical_gradient_rows(f, x[None], **options)[0],
}


@pytest.mark.parametrize("call", [*CALLS.values(), gradient_descent], ids=[*CALLS, "descent"])
@pytest.mark.parametrize("f", [None, 7, "sin", [abs], np.sin(1.0)])
def test_what_cannot_be_called_is_no_function(call, f):
    x = np.array([1.0, 2.0])
    with pytest.raises(DtypeError, match=r"^f=.*; give a function$"):
        call(f, x)
    assert x.tolist() == [1, 2]


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize(("dtype", "h"), [("float16", 1e5), ("float32", 1e38), ("float64", 1e308)])
def test_a_step_beyond_the_range_of_x_is_refused(call, dtype, h):
    x = np.array([1.0, 2.0], dtype)
    with pytest.raises(InputError, match=f"beyond the range of x, which is of dtype {dtype}"):
        call(lambda p: (p * p).sum(axis=-1), x, h=h)
    assert x.tolist() == [1, 2]


@pytest.mark.parametrize("scheme", [*SCHEMES, None])
@pytest.mark.parametrize("vectorized", [False, True])
def test_at_infinity_the_derivative_is_no_number(scheme, vectorized):
    """And nothing warns of how it came about; beside it, the others are right."""
    x = np.array([np.inf, 3.0, -np.inf, np.nan])
    with np.errstate(invalid="ignore"):  # in f, and so the caller's
        if scheme is None:
            found = numerical_diff(lambda p: p * p, x, h="auto", return_error=vectorized)
            found = found[0] if vectorized else found
        else:
            options = {"scheme": scheme, "vectorized": vectorized}
            X = x[:, None]
            found = numerical_gradient_rows(
                lambda p: (p * p).sum(axis=-1), X, h="auto", **options, return_error=vectorized
            )
            found = (found[0] if vectorized else found)[:, 0]
    assert np.isfinite(found).tolist() == [False, True, False, False]
    assert found[1] == pytest.approx(6, rel=1e-6)


def test_a_class_is_no_number():
    with pytest.raises(DtypeError, match="f returned a type; it must return a number"):
        numerical_gradient(lambda _: np.float64, np.ones(2))
