"""fastnn.functions against known values, SciPy and extended precision."""

import itertools

import book
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fastnn import DtypeError, FastnnError, InputError, functions
from fastnn.functions import (
    cross_entropy_error,
    identity_function,
    maxout,
    mean_squared_error,
    relu,
    relu_grad,
    sigmoid,
    sigmoid_grad,
    softmax,
    step_function,
    sum_squared_error,
    tanh,
)

BOOK_Y = np.array([0.1, 0.05, 0.6, 0.0, 0.05, 0.1, 0.0, 0.1, 0.0, 0.0])
BOOK_T = np.array([0, 0, 1, 0, 0, 0, 0, 0, 0, 0])
ELEMENTWISE = [identity_function, step_function, sigmoid, sigmoid_grad, relu, relu_grad, tanh]

shapes = hnp.array_shapes(min_dims=1, max_dims=2, max_side=6)
float_dtypes = st.sampled_from([np.float32, np.float64])


def arrays(bound=1e4):
    elements = st.floats(-bound, bound, width=32)
    return float_dtypes.flatmap(lambda dtype: hnp.arrays(dtype, shapes, elements=elements))


@st.composite
def probabilities_and_labels(draw, dtypes=float_dtypes):
    samples, classes = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    logits = draw(hnp.arrays(np.float64, (samples, classes), elements=st.floats(-30, 30)))
    labels = draw(
        hnp.arrays(
            draw(st.sampled_from(["u1", "i4", "i8"])), samples, elements=st.integers(0, classes - 1)
        )
    )
    return book.softmax(logits).astype(draw(dtypes)), labels


# -- known values ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "t", [np.array(2), 2, [2], BOOK_T, BOOK_T.astype(np.float32), BOOK_T.tolist()], ids=repr
)
def test_losses_of_the_book_example(t):
    assert float(cross_entropy_error(BOOK_Y, t)) == pytest.approx(0.510825457099338, rel=1e-15)
    assert float(mean_squared_error(BOOK_Y, t)) == pytest.approx(0.0975, rel=1e-15)
    assert sum_squared_error(BOOK_Y, t) == mean_squared_error(BOOK_Y, t)


def test_the_book_counter_example():
    y = np.array([0.1, 0.05, 0.1, 0.0, 0.05, 0.1, 0.0, 0.6, 0.0, 0.0])
    assert float(cross_entropy_error(y, BOOK_T)) == pytest.approx(2.302584092994546, rel=1e-15)
    assert float(mean_squared_error(y, BOOK_T)) == pytest.approx(0.5975, rel=1e-15)


def test_cross_entropy_of_an_impossible_target_is_finite():
    assert float(cross_entropy_error(np.array([1.0, 0.0]), 1)) == pytest.approx(
        -np.log(1e-7), rel=1e-15
    )


def test_cross_entropy_is_a_mean_and_squared_error_a_sum_over_the_batch():
    y, t = np.tile(BOOK_Y, (4, 1)), np.full(4, 2)
    assert float(cross_entropy_error(y, t)) == pytest.approx(0.510825457099338, rel=1e-15)
    assert float(mean_squared_error(y, t)) == pytest.approx(4 * 0.0975, rel=1e-15)


def test_softmax_of_the_book_example():
    expected = [0.01821127, 0.24519181, 0.73659691]
    np.testing.assert_allclose(softmax(np.array([0.3, 2.9, 4.0])), expected, rtol=1e-6)


def test_activations_at_zero():
    zero = np.array([-0.0, 0.0])
    for function, expected in [
        (step_function, 0),
        (sigmoid, 0.5),
        (sigmoid_grad, 0.25),
        (relu, 0),
        (relu_grad, 0),
        (tanh, 0),
    ]:
        np.testing.assert_array_equal(function(zero), [expected, expected])


def test_maxout():
    x = np.arange(12.0).reshape(2, 6)[:, ::-1]
    np.testing.assert_array_equal(maxout(x), [5, 11])
    np.testing.assert_array_equal(maxout(x, pieces=3), [[5, 2], [11, 8]])
    np.testing.assert_array_equal(maxout(x, pieces=1), x)
    assert maxout(x.astype(np.float32), 2).dtype == np.float32


# -- against SciPy and extended precision ----------------------------------------------------------


@given(arrays())
def test_activations_match_scipy_and_numpy(x):
    special = pytest.importorskip("scipy.special")
    eps, tiny = np.finfo(x.dtype).eps, np.finfo(x.dtype).tiny
    np.testing.assert_allclose(sigmoid(x), special.expit(x), rtol=8 * eps, atol=tiny)
    np.testing.assert_allclose(softmax(x), special.softmax(x, axis=-1), rtol=16 * eps, atol=tiny)
    np.testing.assert_array_equal(relu(x), np.where(x > 0, x, 0))
    np.testing.assert_array_equal(relu_grad(x), np.heaviside(x, 0))
    np.testing.assert_array_equal(step_function(x), np.heaviside(x, 0))
    np.testing.assert_array_equal(identity_function(x), x)
    np.testing.assert_allclose(tanh(x), np.tanh(x.astype(np.longdouble)), rtol=8 * eps, atol=tiny)


@pytest.mark.parametrize(
    "x",
    [-1e4, -745.2, -720.0, -708.0, -300.0, -37.0, -1e-3, 0.0, 1e-300, 1.0, 36.0, 37.0, 708.0, 1e4],
)
def test_sigmoid_and_its_derivative_in_the_tails(x):
    mpmath = pytest.importorskip("mpmath")
    with mpmath.workdps(50):
        exact = 1 / (1 + mpmath.exp(-mpmath.mpf(x)))
        slope = exact * (1 / (1 + mpmath.exp(mpmath.mpf(x))))
    tiny, eps = np.finfo(float).tiny, np.finfo(float).eps
    assert float(sigmoid(np.array(x))) == pytest.approx(float(exact), rel=4 * eps, abs=tiny)
    assert float(sigmoid_grad(np.array(x))) == pytest.approx(float(slope), rel=8 * eps, abs=tiny)


@given(probabilities_and_labels(), st.booleans())
def test_losses_match_extended_precision(pair, soften):
    y, labels = pair
    t = book.one_hot(labels, y.shape[1])
    t = ((t + 0.1) / (t + 0.1).sum(axis=1, keepdims=True) if soften else t).astype(y.dtype)
    wide_y, wide_t = y.astype(np.longdouble), t.astype(np.longdouble)
    eps = np.finfo(y.dtype).eps
    expected = book.cross_entropy_error(wide_y, wide_t)
    assert abs(cross_entropy_error(y, t) - expected) <= 16 * eps * (1 + abs(expected))
    np.testing.assert_allclose(
        mean_squared_error(y, t),
        book.mean_squared_error(wide_y, wide_t),
        rtol=16 * eps,
        atol=eps**2,
    )


def test_cross_entropy_agrees_with_log_softmax():
    special = pytest.importorskip("scipy.special")
    logits = np.random.default_rng(0).normal(size=(50, 7))
    labels = np.arange(50) % 7
    expected = -special.log_softmax(logits, axis=1)[np.arange(50), labels].mean()
    # The guard's share.
    assert float(cross_entropy_error(softmax(logits), labels)) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("function", [sigmoid, tanh, relu])
def test_derivatives_of_the_table_match_central_differences(function):
    x = np.linspace(-4, 4, 101) + 0.013
    derivative = functions.ACTIVATIONS[function.__name__].derivative(np, function(x))
    np.testing.assert_allclose(
        derivative, (function(x + 1e-5) - function(x - 1e-5)) / 2e-5, atol=1e-9
    )


def test_gradients_take_the_pre_activation():
    x = np.linspace(-4, 4, 101) + 0.013
    for function, gradient in [(sigmoid, sigmoid_grad), (relu, relu_grad)]:
        np.testing.assert_allclose(
            gradient(x), (function(x + 1e-5) - function(x - 1e-5)) / 2e-5, atol=1e-9
        )


# -- properties ------------------------------------------------------------------------------------


@given(arrays())
def test_softmax_sums_to_one(x):
    y = softmax(x)
    assert ((y >= 0) & (y <= 1)).all()
    np.testing.assert_allclose(y.sum(axis=-1), 1, rtol=8 * np.finfo(x.dtype).eps)


@given(arrays(bound=100), st.integers(-1000, 1000))
def test_softmax_does_not_notice_a_shift(x, shift):
    x = np.round(x * 8) / 8  # eighths, so that the shift itself is exact in both dtypes
    np.testing.assert_allclose(
        softmax(x + x.dtype.type(shift)), softmax(x), rtol=4 * np.finfo(x.dtype).eps
    )


@given(arrays())
def test_sigmoid_is_symmetric_and_its_derivative_even(x):
    np.testing.assert_allclose(sigmoid(x) + sigmoid(-x), 1, rtol=2 * np.finfo(x.dtype).eps)
    np.testing.assert_array_equal(sigmoid_grad(x), sigmoid_grad(-x))


@given(probabilities_and_labels())
def test_label_and_one_hot_targets_agree_exactly(pair):
    y, labels = pair
    assume(y.shape[1] > 1)  # the targets of one output are values to the squared error
    t = book.one_hot(labels, y.shape[1])
    for loss, target in itertools.product(
        (cross_entropy_error, mean_squared_error), (t, t.astype(y.dtype), t.astype(int))
    ):
        assert loss(y, labels) == loss(y, target)


@given(probabilities_and_labels())
def test_one_sample_is_a_batch_of_one(pair):
    y, labels = pair
    assume(y.shape[1] > 1)
    t = book.one_hot(labels, y.shape[1])
    for loss in (cross_entropy_error, mean_squared_error):
        assert (
            loss(y[0], labels[0])
            == loss(y[0], t[0])
            == loss(y[:1], labels[:1])
            == loss(y[:1], t[:1])
        )


@given(arrays())
def test_one_row_of_a_batch_is_one_sample(x):
    x = np.atleast_2d(x)
    for function in [*ELEMENTWISE, softmax]:
        np.testing.assert_array_equal(function(x)[0], function(x[0]))


@pytest.mark.parametrize("columns", [1, 3, 10, 20, 21])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_many_rows_of_softmax_are_as_one(columns, kind):
    x = np.random.default_rng(0).normal(scale=30, size=(70, columns)).astype(kind)
    before, out = x.copy(), np.empty_like(x)
    y = softmax(x)
    assert y.flags.c_contiguous
    assert softmax(x, out=out) is out
    np.testing.assert_array_equal(out, y)
    np.testing.assert_array_equal(x, before)
    np.testing.assert_allclose(
        y, np.stack([softmax(row) for row in x]), rtol=columns * np.finfo(kind).eps
    )


# -- dtypes, shapes, warnings ----------------------------------------------------------------------


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, np.longdouble])
@pytest.mark.parametrize("function", [*ELEMENTWISE, softmax, maxout], ids=lambda f: f.__name__)
def test_a_floating_dtype_is_kept(function, kind):
    for shape in [(4,), (3, 4)]:
        x = np.linspace(-2, 2, np.prod(shape), dtype=kind).reshape(shape)
        before = x.copy()
        assert function(x).dtype == kind
        np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("function", ELEMENTWISE, ids=lambda f: f.__name__)
@pytest.mark.parametrize("x", [np.array(0.5, np.float32), np.float32(0.5)], ids=["0-d", "scalar"])
def test_a_scalar_is_taken(function, x):
    result = function(x)
    assert np.shape(result) == ()
    assert result.dtype == np.float32
    assert result == function(np.array([0.5], np.float32))[0]


@pytest.mark.parametrize("function", [cross_entropy_error, mean_squared_error])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_losses_keep_the_dtype_of_the_prediction(function, kind):
    y = BOOK_Y.astype(kind)
    for t in (
        2,
        BOOK_T,
        BOOK_T.astype(np.float64),
        BOOK_T.astype(np.float32),
        BOOK_T.astype(np.uint8),
    ):
        result = function(y, t)
        assert np.shape(result) == ()
        assert result.dtype == kind


@pytest.mark.parametrize("function", [*ELEMENTWISE, softmax], ids=lambda f: f.__name__)
def test_integers_lists_and_booleans_are_numbers(function):
    expected = function(np.array([-1.0, 0.0, 2.0]))
    np.testing.assert_array_equal(function(np.array([-1, 0, 2])), expected)
    np.testing.assert_array_equal(function([-1, 0, 2]), expected)
    np.testing.assert_array_equal(function(np.array([False, True])), function(np.array([0.0, 1.0])))


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("function", [*ELEMENTWISE, softmax, maxout], ids=lambda f: f.__name__)
def test_extreme_arguments_raise_no_floating_point_warning(function, kind):
    edge = [1e4, 1e3, 800, 710, 90, 40, 1e-4]
    x = np.array([[*edge, 0.0], [*np.negative(edge), -0.0]], kind)
    with np.errstate(all="raise"):
        for argument in (x, x[0], x[1], x.T.copy()):
            assert np.isfinite(function(argument)).all()


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_losses_of_certain_predictions_raise_no_floating_point_warning(kind):
    y = np.array([[1, 0], [0, 1]], kind)
    with np.errstate(all="raise"):
        for t in ([0, 0], [[1, 0], [1, 0]], [[0.5, 0.5], [1, 0]]):
            assert np.isfinite(cross_entropy_error(y, t))
            assert np.isfinite(mean_squared_error(y, t))


@pytest.mark.parametrize("function", [sigmoid, tanh, relu, softmax])
def test_out_is_written_and_returned(function, dtype):
    x = np.linspace(-3, 3, 12, dtype=dtype).reshape(3, 4)
    expected = function(x)
    out = np.full_like(x, np.nan)
    assert function(x, out=out) is out or function(x, out=out).base is out
    np.testing.assert_array_equal(out, expected)
    function(x, out=x)
    np.testing.assert_array_equal(x, expected)


# -- bad input -------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", [*ELEMENTWISE, softmax, maxout], ids=lambda f: f.__name__)
@pytest.mark.parametrize(
    "x", [np.array([1j]), np.array(["a"]), np.array([None]), np.array(["2020"], "M8[Y]")], ids=repr
)
def test_only_real_numbers_are_taken(function, x):
    with pytest.raises(DtypeError, match="x is of dtype"):
        function(x)


@pytest.mark.parametrize("function", [*ELEMENTWISE, softmax, maxout], ids=lambda f: f.__name__)
def test_a_ragged_list_is_refused(function):
    with pytest.raises(InputError, match="x is not a rectangular array"):
        function([[1, 2], [3]])


@pytest.mark.parametrize(
    "function", [sigmoid, softmax, relu, step_function], ids=lambda f: f.__name__
)
def test_an_array_of_another_library_is_converted_or_refused(function):
    class Tensor:
        """Like tensors of other libraries on the host: a shape, its own dtype, a way to NumPy."""

        shape = (2,)
        dtype = "float64"

        def __array__(self, dtype=None, copy=None):
            return np.array([1.0, 2.0], dtype)

    try:
        result = function(Tensor())
    except FastnnError:
        return
    np.testing.assert_array_equal(result, function(np.array([1.0, 2.0])))


@pytest.mark.parametrize("loss", [cross_entropy_error, mean_squared_error])
@pytest.mark.parametrize(
    ("y", "t", "error", "message"),
    [
        (np.full((3, 4), 0.25), [0, 1], InputError, "2 labels.*3 samples"),
        (np.full((3, 4), 0.25), [0, 1, 4], InputError, "label 4"),
        (np.full((3, 4), 0.25), [0, -1, 2], InputError, "label -1"),
        (np.full((3, 4), 0.25), [0.0, 1.0, 2.0], DtypeError, "integer"),
        (np.full((3, 4), 0.25), [0.5, 1.0, 2.0], DtypeError, r"integer.*0\.5"),
        (np.full((3, 4), 0.25), [np.nan, 1.0, 2.0], DtypeError, "integer.*nan"),
        (np.full((3, 4), 0.25), [np.inf, 1.0, 2.0], DtypeError, "integer.*inf"),
        (np.full((3, 4), 0.25), [True, False, True], DtypeError, "integer"),
        (np.full((3, 4), 0.25), np.zeros((3, 3)), InputError, r"\(3, 3\)"),
        (np.full((3, 4), 0.25), np.zeros((3, 1)), InputError, r"\(3, 1\)"),
        (np.full((3, 4), 0.25), np.zeros((4, 3)), InputError, r"\(4, 3\)"),
        (np.full((3, 4), 0.25), np.zeros((3, 4, 1)), InputError, r"\(3, 4, 1\)"),
        (np.full((3, 4), 0.25), 1, InputError, r"\(\)"),
        (np.full((3, 4), 0.25), np.full((3, 4), np.nan), InputError, "nan"),
        (np.full((3, 4), 0.25), np.full((3, 4), 1j), DtypeError, "complex"),
        (np.full((4, 4), 0.25), [0.0, 0.0, 1.0, 0.0], DtypeError, "integer"),
        (np.full(4, 0.25), [0, 1], InputError, "2 labels.*1 samples"),
        (np.full(4, 0.25), 4, InputError, "label 4"),
        (np.full(4, 0.25), 1.0, DtypeError, "integer"),
        (np.full((1, 2, 3), 0.25), [0], InputError, r"y has shape \(1, 2, 3\)"),
        (np.array(0.25), 0, InputError, r"y has shape \(\)"),
        (np.empty((0, 4)), np.empty(0, int), InputError, r"y has shape \(0, 4\)"),
        (np.full((3, 4), 1j), [0, 1, 2], DtypeError, "y is of dtype complex128"),
    ],
)
def test_targets_that_do_not_fit_are_refused(loss, y, t, error, message):
    with pytest.raises(error, match=message):
        loss(y, t)


@pytest.mark.parametrize(
    ("x", "pieces", "error"),
    [
        (np.ones(6), 4, InputError),
        (np.ones(6), 0, InputError),
        (np.ones(6), 2.0, DtypeError),
        (np.ones((3, 0)), None, InputError),
        (np.array(1.0), None, InputError),
    ],
)
def test_maxout_refuses_pieces_that_do_not_fit(x, pieces, error):
    with pytest.raises(error):
        maxout(x, pieces)


@pytest.mark.parametrize("x", [np.array(1.0), np.ones((3, 0))], ids=["0-d", "empty"])
def test_softmax_needs_a_last_axis(x):
    with pytest.raises(InputError, match="softmax needs at least one value"):
        softmax(x)


READ_ONLY = np.zeros(2)
READ_ONLY.flags.writeable = False


@pytest.mark.parametrize(
    "function", [functions.sigmoid, functions.tanh, functions.relu, functions.softmax]
)
@pytest.mark.parametrize(
    ("out", "what"),
    [
        (7, "a builtins.int,"),
        (np.ndarray, "a builtins.type,"),
        ([0.0, 0.0], "a builtins.list,"),
        (np.zeros(3), r"shape \(3,\) and dtype float64"),
        (np.zeros((1, 2)), r"shape \(1, 2\)"),
        (np.zeros(2, np.float32), "dtype float32"),
        (np.zeros(2, np.int64), "dtype int64"),
        (np.zeros(2).view(np.matrix), "matrix of shape"),
        (READ_ONLY, "read-only"),
    ],
)
def test_what_is_no_array_like_the_result_is_not_written_to(function, out, what):
    before = np.array(out, copy=True)
    with pytest.raises(InputError, match=f"^out .*{what}"):
        function(np.array([1.0, -2.0]), out=out)
    assert np.array_equal(before, np.array(out))
