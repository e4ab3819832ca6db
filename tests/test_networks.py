"""SimpleNet and TwoLayerNet against the book's formulas and its loop of central differences."""

import itertools

import book
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import fastnn
from fastnn import (
    DtypeError,
    FastnnError,
    ForeignArrayError,
    InputError,
    SimpleNet,
    TwoLayerNet,
    numerical_gradient,
)
from fastnn.backends.base import Backend
from fastnn.functions import ACTIVATIONS, LOSSES
from fastnn.validation import numpy_dtype

RNG = np.random.default_rng(20)
X, LABELS = RNG.random((7, 5)), np.array([0, 1, 2, 0, 1, 2, 2])
T = book.one_hot(LABELS, 3)

NETS = {
    "SimpleNet": lambda **options: SimpleNet(5, 3, **options),
    "TwoLayerNet": lambda **options: TwoLayerNet(5, 4, 3, 0.5, **options),
}


@pytest.fixture(params=NETS)
def make(request, backend):
    """A constructor of small networks with 5 features and 3 classes on the backend."""
    return lambda **options: NETS[request.param](**({"backend": backend, "rng": 3} | options))


def host(net, arrays=None):
    """Copies on the host of the parameters, or of other arrays by name."""
    return {
        name: net.backend.to_numpy(a).copy()
        for name, a in (net.params if arrays is None else arrays).items()
    }


def wide(arrays):
    return {name: a.astype(np.longdouble) for name, a in arrays.items()}


def formulas(net):
    """The names by which tests/book.py knows what this network computes."""
    return {"activation": getattr(net, "activation", "sigmoid"), "loss": net.loss_name}


def predicted(net, x):
    """What the book's formulas predict; a SimpleNet of the book predicts its logits."""
    found = book.predict(wide(host(net)), x, **formulas(net))
    return book.logits(wide(host(net)), x) if isinstance(net, SimpleNet) else found


# -- construction ----------------------------------------------------------------------------------


def test_the_constructor_of_the_book(backend):
    net = TwoLayerNet(784, 50, 10, backend=backend, rng=0)
    assert list(net.params) == ["W1", "b1", "W2", "b2"]
    assert isinstance(net.params, dict)
    assert [p.shape for p in net.params.values()] == [(784, 50), (50,), (50, 10), (10,)]
    assert {numpy_dtype(p) for p in net.params.values()} == {np.dtype(float)}
    weights = host(net)
    assert not weights["b1"].any()
    assert not weights["b2"].any()
    assert weights["W1"].std() == pytest.approx(0.01, rel=0.02)
    assert weights["W2"].std() == pytest.approx(0.01, rel=0.15)
    assert abs(weights["W1"].mean()) < 3e-4
    by_name = TwoLayerNet(
        input_size=784, hidden_size=50, output_size=10, weight_init_std=0.1, backend=backend, rng=0
    )
    np.testing.assert_allclose(host(by_name)["W1"], 10 * weights["W1"])


def test_the_simple_net_of_the_book(backend):
    net = SimpleNet(backend=backend, rng=0)
    assert net.W is net.params["W"]
    net.W = backend.asarray(
        [[0.47355232, 0.9977393, 0.84668094], [0.85557411, 0.03563661, 0.69422093]]
    )
    np.testing.assert_allclose(
        backend.to_numpy(net.predict([0.6, 0.9])), [1.05414809, 0.63071653, 1.1328074], rtol=1e-8
    )
    assert net.loss([0.6, 0.9], [0, 0, 1]) == pytest.approx(0.92806828578640754, abs=1e-15)
    expected = [[0.21924757, 0.14356243, -0.36281000], [0.32887136, 0.21534364, -0.54421500]]
    np.testing.assert_allclose(
        backend.to_numpy(net.numerical_gradient([0.6, 0.9], [0, 0, 1])["W"]),
        expected,
        rtol=0,
        atol=1e-8,
    )


def test_the_simple_net_draws_standard_normal_weights():
    weights = SimpleNet(100, 100, rng=0).W
    assert weights.std() == pytest.approx(1, rel=0.03)


def test_the_same_seed_gives_the_same_weights_on_every_backend(make, dtype):
    net = make(dtype=dtype)
    on_numpy = NETS[type(net).__name__](rng=3, backend="numpy", dtype=dtype)
    other = NETS[type(net).__name__](rng=4, backend="numpy", dtype=dtype)
    for name, parameter in host(net).items():
        assert parameter.dtype == dtype
        np.testing.assert_array_equal(parameter, on_numpy.params[name])
        assert not name.startswith("W") or (parameter != other.params[name]).any()


def test_a_generator_is_used_as_it_is():
    rng = np.random.default_rng(3)
    first, second = TwoLayerNet(5, 4, 3, rng=rng), TwoLayerNet(5, 4, 3, rng=rng)
    np.testing.assert_array_equal(first.params["W1"], TwoLayerNet(5, 4, 3, rng=3).params["W1"])
    assert (first.params["W1"] != second.params["W1"]).all()


def test_without_a_seed_networks_differ_and_global_state_stays():
    before = np.random.get_state()[1].tolist()  # noqa: NPY002
    assert (TwoLayerNet(5, 4, 3).params["W1"] != TwoLayerNet(5, 4, 3).params["W1"]).all()
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((0, 4, 3), {}, InputError, "input_size=0"),
        ((5, -1, 3), {}, InputError, "hidden_size=-1"),
        ((5, 4, 2.5), {}, DtypeError, "output_size=2.5"),
        ((5, True, 3), {}, DtypeError, "hidden_size=True"),
        (("5", 4, 3), {}, DtypeError, "input_size='5'"),
        ((5, 4, 3, -0.1), {}, InputError, "weight_init_std=-0.1"),
        ((5, 4, 3, np.nan), {}, InputError, "weight_init_std=nan"),
        ((5, 4, 3, 10**400), {}, InputError, "weight_init_std=1000"),
        ((5, 4, 3, "he"), {}, DtypeError, "weight_init_std='he'"),
        ((5, 4, 3), {"dtype": int}, DtypeError, "int64"),
        ((5, 4, 3), {"dtype": "complex128"}, DtypeError, "complex128"),
        ((5, 4, 3), {"dtype": "float16"}, DtypeError, "float16"),
        ((5, 4, 3), {"dtype": "double precision"}, DtypeError, "double precision"),
        (
            (5, 4, 3),
            {"activation": "Sigmoid"},
            InputError,
            "'Sigmoid'.*'sigmoid', 'tanh', 'relu', 'identity'",
        ),
        ((5, 4, 3), {"activation": None}, InputError, "activation=None"),
        (
            (5, 4, 3),
            {"loss": "hinge"},
            InputError,
            "'hinge'.*'cross_entropy', 'mean_squared_error'",
        ),
        ((5, 4, 3), {"backend": "jax"}, fastnn.UnknownBackendError, "numpy, numba, cupy"),
        ((5, 4, 3), {"rng": -1}, InputError, "rng=-1"),
        ((5, 4, 3), {"rng": 0.5}, InputError, "rng=0.5"),
        ((5, 4, 3), {"rng": np.random.RandomState(0)}, InputError, "rng=RandomState"),
    ],
)
def test_impossible_networks_are_refused(arguments, options, error, message):
    with pytest.raises(error, match=message):
        TwoLayerNet(*arguments, **options)


def test_options_are_by_keyword_only():
    with pytest.raises(TypeError, match="positional"):
        TwoLayerNet(5, 4, 3, 0.01, "relu")


# -- forward ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("activation", "loss"), list(itertools.product(ACTIVATIONS, LOSSES)))
def test_predict_loss_and_accuracy_match_the_book(backend, dtype, activation, loss):
    net = TwoLayerNet(
        5, 4, 3, 1.0, activation=activation, loss=loss, backend=backend, dtype=dtype, rng=1
    )
    x = X.astype(dtype).astype(np.longdouble)
    parameters, eps = wide(host(net)), np.finfo(dtype).eps
    y = net.predict(X)
    backend.check_arrays(y=y)
    assert numpy_dtype(y) == dtype
    np.testing.assert_allclose(
        backend.to_numpy(y),
        book.predict(parameters, x, activation, loss),
        rtol=100 * eps,
        atol=50 * eps,
    )
    assert type(net.loss(X, T)) is float
    assert net.loss(X, T) == pytest.approx(
        float(book.loss(parameters, x, T, activation, loss)), rel=100 * float(eps)
    )
    assert type(net.accuracy(X, T)) is float
    assert net.accuracy(X, T) == book.accuracy(parameters, x, T, activation, loss)


@pytest.mark.filterwarnings("ignore:the derivative is noisy")
def test_the_kind_of_target_makes_no_difference(make, dtype):
    """Seven samples and, the trap of the book's code, as many samples as classes."""
    for loss, samples in itertools.product(LOSSES, (7, 3)):
        net = make(loss=loss, dtype=dtype)
        x, labels, t = X[:samples], LABELS[:samples], T[:samples]
        kinds = [
            labels,
            labels.tolist(),
            labels.astype("u1"),
            labels.astype(">i4"),
            t,
            t.tolist(),
            t.astype("f4"),
            t.astype(int),
        ]
        answers = [
            (
                net.loss(x, kind),
                net.accuracy(x, kind),
                *(a.tobytes() for a in host(net, net.gradient(x, kind)).values()),
                *(a.tobytes() for a in host(net, net.numerical_gradient(x, kind)).values()),
            )
            for kind in kinds
        ]
        assert all(answer == answers[0] for answer in answers)


def test_a_single_sample_is_a_batch_of_one(make):
    net = make()
    y = net.predict(X[0])
    assert y.shape == (3,)
    np.testing.assert_array_equal(
        net.backend.to_numpy(y), net.backend.to_numpy(net.predict(X[:1]))[0]
    )
    expected = host(net, net.gradient(X[:1], LABELS[:1]))
    for t in (LABELS[0], int(LABELS[0]), LABELS[:1], T[0], T[:1], T[0].tolist()):
        assert net.loss(X[0], t) == net.loss(X[:1], T[:1])
        assert net.accuracy(X[0], t) == net.accuracy(X[:1], T[:1])
        for name, gradient in host(net, net.gradient(X[0], t)).items():
            np.testing.assert_array_equal(gradient, expected[name])


@pytest.mark.parametrize("kind", ["u1", "i8", "?", "f2", "f4", "f8", ">f8"])
def test_data_of_any_real_dtype_is_taken(make, kind):
    net = make()
    x = (X > 0.5).astype(kind)
    np.testing.assert_array_equal(
        net.backend.to_numpy(net.predict(x)), net.backend.to_numpy(net.predict(x.astype(float)))
    )
    assert numpy_dtype(net.predict(x)) == np.float64


def test_the_layout_of_data_and_parameters_does_not_matter(make):
    net = make()
    y, gradient = host(net, {"y": net.predict(X)})["y"], host(net, net.gradient(X, T))
    for x in (np.asfortranarray(X), X.repeat(2, axis=0)[::2], X[::-1][::-1]):
        np.testing.assert_array_equal(net.backend.to_numpy(net.predict(x)), y)
    for name, parameter in net.params.items():
        if hasattr(parameter, "flags"):  # not every library knows a layout
            net.params[name] = parameter.T.copy().T
    np.testing.assert_allclose(net.backend.to_numpy(net.predict(X)), y, rtol=1e-14)
    for name, found in host(net, net.gradient(X, T)).items():
        np.testing.assert_allclose(found, gradient[name], rtol=1e-12)


def test_nothing_changes_its_arguments(make):
    x, t, labels, net = X.copy(), T.copy(), LABELS.copy(), make()
    before = host(net)
    for targets in (t, labels):
        for method in (net.loss, net.accuracy, net.gradient, net.numerical_gradient):
            method(x, targets)
    net.predict(x)
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(t, T)
    np.testing.assert_array_equal(labels, LABELS)
    for name, parameter in host(net).items():
        assert parameter.tobytes() == before[name].tobytes()


def test_results_are_the_callers_to_keep(make):
    net = make()
    y, gradient = net.predict(X), net.gradient(X, T)
    kept = host(net, {"y": y} | gradient)
    net.predict(X[::-1].copy())
    net.gradient(X[::-1].copy(), T)
    for name, value in host(net, {"y": y} | gradient).items():
        np.testing.assert_array_equal(value, kept[name])


# -- parameters ------------------------------------------------------------------------------------


def test_assigning_a_parameter_takes_effect(make):
    net = make()
    for name in net.params:
        before = net.loss(X, T)
        shape = tuple(net.params[name].shape)
        net.params[name] = net.params[name] + net.backend.asarray(
            0.5 * np.arange(np.prod(shape)).reshape(shape)
        )
        assert net.loss(X, T) != before
        expected = book.loss(wide(host(net)), X, T)
        assert net.loss(X, T) == pytest.approx(float(expected), rel=1e-12)


def test_the_order_of_the_entries_does_not_matter(backend):
    net = TwoLayerNet(3, 3, 3, 1.0, backend=backend, rng=0)  # all of the shapes can be mistaken
    y, gradient = host(net, {"y": net.predict(X[:, :3])})["y"], host(net, net.gradient(X[:, :3], T))
    net.params = dict(reversed(net.params.items()))
    np.testing.assert_array_equal(net.backend.to_numpy(net.predict(X[:, :3])), y)
    for name, found in host(net, net.gradient(X[:, :3], T)).items():
        np.testing.assert_array_equal(found, gradient[name])
    fastnn.train(net, X[:, :3], T, iterations=2, batch_size=2, rng=0)


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (lambda b, p: b.asarray(p, "float32"), DtypeError, "float32.*assign an array of float64"),
        (lambda b, p: b.asarray(p, "int64"), DtypeError, "int64.*assign an array of float64"),
        (lambda _, p: p[..., :-1], InputError, "has shape .* in this network it is"),
        (lambda _, p: p[None, ...], InputError, "has shape .* in this network it is"),
        (lambda b, p: b.to_numpy(p).tolist(), ForeignArrayError, r"builtins\.list.*asarray"),
        (lambda *_: 0.0, ForeignArrayError, r"builtins\.float.*asarray"),
        (lambda *_: None, ForeignArrayError, "NoneType.*asarray"),
    ],
    ids=["float32", "integers", "narrower", "3-D", "list", "number", "None"],
)
def test_a_wrong_parameter_is_noticed_by_whatever_uses_it(make, value, error, message):
    net = make()
    for name in list(net.params):
        good = net.params[name]
        net.params[name] = value(net.backend, good)
        uses = [
            lambda: net.predict(X),
            lambda: net.loss(X, T),
            lambda: net.accuracy(X, T),
            lambda: net.gradient(X, T),
            lambda: net.numerical_gradient(X, T),
            lambda: net.to("numpy"),
            lambda: fastnn.train(net, X, T, iterations=1, batch_size=2),
        ]
        for use in uses:
            with pytest.raises(error, match=message) as caught:
                use()
            assert f"params['{name}']" in str(caught.value)
        net.params[name] = good
    net.loss(X, T)


def test_missing_and_unknown_parameters_are_noticed(make):
    net = make()
    net.params["W3"] = net.backend.asarray(np.zeros((3, 3)))
    with pytest.raises(InputError, match="W3"):
        net.predict(X)
    del net.params["W3"]
    del net.params[next(iter(net.params))]
    with pytest.raises(InputError, match="has the entries"):
        net.loss(X, T)


# -- gradients -------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:the derivative is noisy")
def test_gradient_has_the_keys_of_params(make, dtype):
    net = make(dtype=dtype)
    for gradient in (net.gradient(X, T), net.numerical_gradient(X, T)):
        assert list(gradient) == list(net.params)
        net.backend.check_arrays(**gradient)
        for name, parameter in net.params.items():
            assert gradient[name].shape == parameter.shape
            assert numpy_dtype(gradient[name]) == dtype


def test_gradient_matches_the_loop_of_the_book_on_mnist(backend, mnist):
    """784-50-10 at the book's initial weights, on 40 entries of each parameter.

    The gradient leaves the 1e-7 of the loss out, and a target probability of about 0.1 makes that a
    part in 10⁶ of the difference at the logits. Against the loss without it the two agree to 1e-8
    everywhere, and against the loss with it, to 1e-8 in the first layer.
    """
    (x, labels), _ = mnist
    x, t = x[:100].astype(float), book.one_hot(labels[:100], 10)
    net = TwoLayerNet(784, 50, 10, backend=backend, rng=0)
    gradient, parameters, rng = host(net, net.gradient(x, t)), host(net), np.random.default_rng(1)
    live = np.flatnonzero(x.any(axis=0))  # weights of pixels that are ever inked
    for name, parameter in parameters.items():
        rows = rng.choice(live, 40) if name == "W1" else rng.integers(len(parameter), size=40)
        indices = [
            (row, *rest)
            for row, *rest in zip(
                rows, *(rng.integers(size, size=40) for size in parameter.shape[1:]), strict=True
            )
        ]
        chosen = tuple(np.transpose(indices))
        for guard, tolerance in [(0, 1e-8), (book.GUARD, 1e-8 if name.endswith("1") else 1e-7)]:
            loop = book.numerical_gradient(
                lambda guard=guard: book.cross_entropy_error(book.predict(parameters, x), t, guard),
                parameter,
                indices=indices,
            )
            np.testing.assert_allclose(gradient[name][chosen], loop[chosen], rtol=0, atol=tolerance)
            assert np.abs(loop[chosen]).max() > 1e-5


@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_gradient_matches_the_loop_of_the_book_whole(make, loss):
    net = make(loss=loss)
    parameters, gradient = host(net), host(net, net.gradient(X, T))
    for name, parameter in parameters.items():
        loop = book.numerical_gradient(
            lambda: LOSS_WITHOUT_GUARD[loss](book.logits(parameters, X), T), parameter
        )
        np.testing.assert_allclose(gradient[name], loop, rtol=0, atol=2e-8)


LOSS_WITHOUT_GUARD = {
    "cross_entropy": lambda logits, t: book.cross_entropy_error(book.softmax(logits), t, guard=0),
    "mean_squared_error": book.mean_squared_error,
    "binary_cross_entropy": lambda logits, t: book.binary_cross_entropy_error(
        book.sigmoid(logits), t, eps=0
    ),
}


@st.composite
def small_problems(draw):
    n, i, j, k = (draw(st.integers(least, 5)) for least in (1, 1, 1, 2))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    x = rng.normal(size=(n, i))
    t = draw(st.sampled_from([rng.integers(k, size=n), rng.dirichlet([1.0] * k, n)]))
    return x, t, (i, j, k)


@given(
    small_problems(),
    st.sampled_from(sorted(ACTIVATIONS)),
    st.sampled_from(sorted(LOSSES)),
    st.integers(0, 2**32 - 1),
)
def test_gradient_matches_central_differences(backend, problem, activation, loss, seed):
    x, t, sizes = problem
    net = TwoLayerNet(*sizes, 1.0, activation=activation, loss=loss, backend=backend, rng=seed)
    parameters, rows = wide(host(net)), t if t.ndim == 2 else book.one_hot(t, sizes[2])
    # Within a step of its corner, relu has no derivative.
    assume(activation != "relu" or np.abs(x @ parameters["W1"] + parameters["b1"]).min() > 1e-3)
    formula = LOSS_WITHOUT_GUARD[loss]
    gradient = host(net, net.gradient(x, t))
    for name, parameter in parameters.items():
        loop = book.numerical_gradient(
            lambda: formula(book.logits(parameters, x, activation), rows), parameter, h=1e-5
        )
        np.testing.assert_allclose(gradient[name], loop, rtol=1e-7, atol=1e-7)


@given(small_problems(), st.integers(0, 2**32 - 1))
def test_simple_net_gradient_matches_central_differences(backend, problem, seed):
    x, t, (i, _, k) = problem
    net = SimpleNet(i, k, backend=backend, rng=seed)
    parameters, rows = wide(host(net)), t if t.ndim == 2 else book.one_hot(t, k)
    loop = book.numerical_gradient(
        lambda: book.cross_entropy_error(book.softmax(x @ parameters["W"]), rows, guard=0),
        parameters["W"],
        h=1e-5,
    )
    np.testing.assert_allclose(host(net, net.gradient(x, t))["W"], loop, rtol=1e-7, atol=1e-7)


def test_gradient_parts_from_the_loss_where_its_documentation_says(backend):
    """By the factor y / (y + 1e-7): one half where the target has the probability 1e-7."""
    net = SimpleNet(1, 2, backend=backend, rng=0)
    net.W = backend.asarray([[0.0, np.log(1e-7 / (1 - 1e-7))]])
    exact, computed = (
        host(net, g)["W"][0, 1] for g in (net.gradient([1.0], 1), net.numerical_gradient([1.0], 1))
    )
    assert exact == pytest.approx(1e-7 - 1, rel=1e-12)
    assert computed / exact == pytest.approx(0.5, rel=1e-6)


@pytest.mark.parametrize("loss", LOSSES)
def test_numerical_gradient_is_the_loop_of_the_book(make, loss):
    net = make(loss=loss)
    before, parameters = host(net), host(net)
    for method in ({}, {"method": "full"}):
        found = host(net, net.numerical_gradient(X, LABELS, **method))
        for name, parameter in parameters.items():
            loop = book.numerical_gradient(
                lambda: book.loss(parameters, X, T, loss=loss), parameter
            )
            np.testing.assert_allclose(found[name], loop, rtol=0, atol=1e-10)
    for name, parameter in host(net).items():
        assert parameter.tobytes() == before[name].tobytes()


@pytest.mark.parametrize("method", ["incremental", "full"])
def test_automatic_step_suits_the_method_and_the_dtype(backend, dtype, method):
    net = TwoLayerNet(5, 4, 3, 0.5, backend=backend, dtype=dtype, rng=3)
    found, exact = (
        host(net, net.numerical_gradient(X, T, "auto", method)),
        host(net, net.gradient(X, T)),
    )
    tolerance = 1e-6 if dtype == "float64" or method == "incremental" else 1e-3
    for name in exact:
        np.testing.assert_allclose(found[name], exact[name], rtol=0, atol=tolerance)


def test_noise_of_the_full_loop_in_float32_has_the_fix_that_the_warning_names(make):
    net = make(dtype="float32")
    with pytest.warns(RuntimeWarning, match=r"noisy.*h='auto'"):
        net.numerical_gradient(X, T, method="full")
    net.numerical_gradient(X, T, h="auto", method="full")


def test_one_layer_descends_numerically_in_float32(backend):
    net = SimpleNet(5, 3, backend=backend, dtype="float32", rng=3)
    expected = host(net)["W"] - 0.5 * host(net, net.gradient(X, LABELS))["W"]
    net.descend_numerically(
        *(net.backend.asarray(a) for a in (X.astype(np.float32), LABELS)), fastnn.SGD(0.5), {}
    )
    np.testing.assert_allclose(host(net)["W"], expected, atol=1e-4)


def test_numerical_gradient_uses_its_step():
    net = TwoLayerNet(5, 4, 3, 0.5, rng=3)
    parameters = host(net)
    found = net.numerical_gradient(X, T, h=0.3)
    loop = book.numerical_gradient(lambda: book.loss(parameters, X, T), parameters["W2"], h=0.3)
    np.testing.assert_allclose(found["W2"], loop, atol=1e-12)
    assert np.abs(found["W2"] - net.gradient(X, T)["W2"]).max() > 1e-5


@pytest.mark.parametrize("calls", [0, 1, 2, 9, 30])
def test_parameters_are_restored_when_the_loss_raises(backend, calls):
    class Failing(type(backend)):
        name = "failing"
        remaining = calls

        def loss(self, y, t, loss):
            if self.remaining == 0:
                raise RuntimeError("the loss raised")
            self.remaining -= 1
            return super().loss(y, t, loss)

    net = TwoLayerNet(5, 4, 3, backend=Failing(), rng=3)
    before = host(net)
    with pytest.raises(RuntimeError, match="the loss raised"):
        net.numerical_gradient(X, T, method="full")
    for name, parameter in host(net).items():
        assert parameter.tobytes() == before[name].tobytes()


# -- bad input -------------------------------------------------------------------------------------


def changed(a, value):
    a = a.copy()
    a[(2,) + (1,) * (a.ndim - 1)] = value
    return a


BAD_SAMPLES = [
    (X[:, :4], InputError, "4 features.*takes 5"),
    (np.ones(4), InputError, "4 features.*takes 5"),
    (X[:, :, None], InputError, r"\(7, 5, 1\).*reshape"),
    (np.float64(1), InputError, "feature"),
    (X[:0], InputError, "holds nothing"),
    (changed(X, np.nan), InputError, r"x\[2, 1\] is nan"),
    (changed(X, np.inf), InputError, r"x\[2, 1\] is inf"),
    (changed(X, -np.inf), InputError, r"x\[2, 1\] is -inf"),
    (X + 0j, DtypeError, r"\bx\b.*complex128"),
    (X.astype(str), DtypeError, r"\bx\b.*<U"),
    (X.astype(object), DtypeError, r"\bx\b.*object"),
    ([[1.0, 2.0], [3.0]], InputError, r"\bx\b.*rectangular"),
    (None, DtypeError, r"\bx\b"),
]

BAD_TARGETS = [
    (LABELS[:6], InputError, "6 labels.*7 samples"),
    (T[:6], InputError, r"\(6, 3\)"),
    (T[:, :2], InputError, r"\(7, 2\).*\(7, 3\)"),
    (T[:, :1], InputError, r"\(7, 1\)"),
    (T.T, InputError, r"\(3, 7\)"),
    (T[None], InputError, r"\(1, 7, 3\)"),
    (0, InputError, "label"),
    (T[0], InputError, "3 labels.*7 samples"),
    (changed(LABELS, 3), InputError, "label 3.*0 to 2"),
    (changed(LABELS, -1), InputError, "label -1.*0 to 2"),
    (LABELS.astype(float), DtypeError, "labels must be of an integer dtype"),
    (changed(LABELS.astype(float), 0.5), DtypeError, "integer.*0.5"),
    (changed(LABELS.astype(float), np.nan), DtypeError, "integer.*nan"),
    (changed(LABELS.astype(float), np.inf), DtypeError, "integer.*inf"),
    (LABELS > 0, DtypeError, "integer"),
    (changed(T, np.nan), InputError, r"t\[2, 1\] is nan"),
    (changed(T, np.inf), InputError, r"t\[2, 1\] is inf"),
    (T + 0j, DtypeError, r"\bt\b.*complex128"),
    (LABELS.astype(str), DtypeError, r"\bt\b.*<U"),
    ([[0, 1], [1]], InputError, r"\bt\b.*rectangular"),
    (None, DtypeError, r"\bt\b"),
]


def assert_refused(net, calls, error, message):
    before = host(net)
    for call in calls:
        with pytest.raises(error, match=message) as caught:
            call()
        assert isinstance(caught.value, FastnnError)
        for name, parameter in host(net).items():
            assert parameter.tobytes() == before[name].tobytes()


@pytest.mark.parametrize(("x", "error", "message"), BAD_SAMPLES)
def test_bad_samples_are_refused(make, x, error, message):
    net = make()
    calls = [
        lambda: net.predict(x),
        *(
            lambda method=method: method(x, LABELS)
            for method in (net.loss, net.accuracy, net.gradient, net.numerical_gradient)
        ),
    ]
    assert_refused(net, calls, error, message)


@pytest.mark.parametrize(("t", "error", "message"), BAD_TARGETS)
def test_bad_targets_are_refused(make, t, error, message):
    net = make()
    calls = [
        lambda method=method: method(X, t)
        for method in (net.loss, net.accuracy, net.gradient, net.numerical_gradient)
    ]
    assert_refused(net, calls, error, message)


@pytest.mark.parametrize(
    ("t", "error", "message"),
    [
        (3, InputError, "label 3"),
        (1.0, DtypeError, "integer"),
        ([0, 1], InputError, "2 labels.*1 samples"),
        ([0.0, 1.0], InputError, "2 labels.*1 samples"),
        (T[:2], InputError, r"\(2, 3\)"),
    ],
)
def test_bad_targets_of_a_single_sample_are_refused(make, t, error, message):
    net = make()
    assert_refused(net, [lambda: net.loss(X[0], t), lambda: net.gradient(X[0], t)], error, message)


@pytest.mark.parametrize("x", [1e39, -1e300])
def test_data_beyond_the_range_of_float32_is_refused(make, x):
    """It would become infinity on its way in."""
    net = make(dtype="float32")
    calls = [
        lambda: net.predict(changed(X, x)),
        lambda: net.loss(changed(X, x), T),
        lambda: net.loss(X, changed(T, x)),
    ]
    assert_refused(net, calls, InputError, "float32")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"h": 0}, InputError, "h=0"),
        ({"h": -1e-4}, InputError, "h=-0.0001"),
        ({"h": np.nan}, InputError, "h=nan"),
        ({"h": 1e-30}, InputError, "h=1e-30 is too small"),
        ({"h": "small"}, DtypeError, "h='small'"),
        ({"method": "fast"}, InputError, "method='fast'.*'full'"),
    ],
)
def test_bad_options_of_the_numerical_gradient_are_refused(make, options, error, message):
    net = make()
    assert_refused(net, [lambda: net.numerical_gradient(X, T, **options)], error, message)


def test_a_parameter_that_is_not_finite_has_no_numerical_gradient(make):
    net = make()
    name = next(iter(net.params))
    net.params[name] = net.backend.asarray(np.full(net.params[name].shape, np.nan))
    with pytest.raises(InputError, match=f"{name}.*NaN"):
        net.numerical_gradient(X, T)


# -- the numerical gradient of any function --------------------------------------------------------


def test_numerical_gradient_of_the_book_example():
    for x, expected in [((3.0, 4.0), (6, 8)), ((0.0, 2.0), (0, 4)), ((3.0, 0.0), (6, 0))]:
        np.testing.assert_allclose(
            numerical_gradient(lambda x: x[0] ** 2 + x[1] ** 2, np.array(x)), expected, atol=1e-9
        )


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (2, 3, 4), (0,)])
def test_numerical_gradient_takes_any_number_of_dimensions(shape, dtype):
    x = np.random.default_rng(0).normal(size=shape).astype(dtype)
    before = x.copy()
    found = numerical_gradient(lambda x: (x**3).sum(), x, h=1e-2)
    assert found.shape == shape
    assert found.dtype == dtype
    np.testing.assert_allclose(
        found, 3 * before**2 + 1e-4, atol=1e-9 if dtype.itemsize == 8 else 1e-3
    )
    assert x.tobytes() == before.tobytes()


def test_numerical_gradient_perturbs_the_array_that_the_function_reads():
    W = np.array([[1.0, 2.0], [3.0, 4.0]])
    np.testing.assert_allclose(numerical_gradient(lambda _: (W * W).sum(), W), 2 * W, atol=1e-8)


def test_numerical_gradient_restores_when_the_function_raises():
    x = np.array([1.0, 2.0, -0.0])
    for failing in range(6):
        calls = itertools.count()

        def f(x, calls=calls, failing=failing):
            if next(calls) == failing:
                raise KeyboardInterrupt
            return x.sum()

        with pytest.raises(KeyboardInterrupt):
            numerical_gradient(f, x)
        assert x.tobytes() == np.array([1.0, 2.0, -0.0]).tobytes()


@pytest.mark.parametrize(
    "x", [np.array([1, 2]), [1, 2], np.array([True]), np.array([1j])], ids=repr
)
def test_numerical_gradient_refuses_what_cannot_hold_a_step(x):
    with pytest.raises(DtypeError):
        numerical_gradient(lambda x: x[0], x)


# -- moving ----------------------------------------------------------------------------------------


class Tagged(np.ndarray):
    """An array of a device that refuses those of the host."""


class TaggedBackend(Backend):
    """Stands in for a GPU: its operations take arrays of its own type only."""

    name = "tagged"
    xp = np
    array_type = Tagged

    def asarray(self, *arguments, **options):
        return super().asarray(*arguments, **options).view(Tagged)

    def to_numpy(self, a):
        return a.view(np.ndarray)

    def empty(self, shape, dtype):
        return super().empty(shape, dtype).view(Tagged)

    def dense(self, x, W, b, activation="identity", *, out=None):
        self.check_arrays(x=x, W=W, b=b)
        return super().dense(x, W, b, activation, out=out)

    def loss_gradient(self, logits, t, loss, *, out=None):
        self.check_arrays(logits=logits, t=t)
        return super().loss_gradient(logits, t, loss, out=out)

    def dense_backward(self, delta, W, z, activation, *, out=None):
        self.check_arrays(delta=delta, W=W, z=z)
        return super().dense_backward(delta, W, z, activation, out=out)

    def dense_gradient(self, x, delta):
        self.check_arrays(x=x, delta=delta)
        return super().dense_gradient(x, delta)

    def count_correct(self, logits, t, loss="cross_entropy"):
        self.check_arrays(logits=logits, t=t)
        return super().count_correct(logits, t, loss)


def test_to_gives_an_independent_copy_elsewhere(make):
    net = make(dtype="float32", loss="mean_squared_error")
    for target in (net.backend, "numpy", "numba", TaggedBackend()):
        moved = net.to(target)
        assert type(moved) is type(net)
        assert moved.backend is fastnn.get_backend(target)
        assert moved.dtype == np.float32
        assert moved.loss_name == net.loss_name
        moved.backend.check_arrays(**moved.params)
        before = host(net)
        assert moved.loss(X, T) == pytest.approx(net.loss(X, T), rel=1e-5)
        assert moved.accuracy(X, LABELS) == net.accuracy(X, LABELS)
        moved.gradient(X, LABELS)
        fastnn.train(moved, X, LABELS, iterations=3, batch_size=2, learning_rate=0.01, rng=0)
        for parameter in moved.params.values():
            parameter[...] = 0
        for name, parameter in host(net).items():
            np.testing.assert_array_equal(parameter, before[name])


def test_to_refuses_an_unknown_backend(make):
    with pytest.raises(fastnn.UnknownBackendError, match="numpy, numba, cupy"):
        make().to("jax")


@pytest.mark.parametrize("net", NETS.values(), ids=list(NETS))
def test_a_host_array_does_not_reach_the_operations_of_a_device(net):
    net = net(backend=TaggedBackend(), rng=3)
    for method in (net.loss, net.accuracy, net.gradient, net.numerical_gradient):
        for t in (T, LABELS):
            method(X, t)
    name = next(iter(net.params))
    net.params[name] = np.zeros(net.params[name].shape)
    with pytest.raises(
        ForeignArrayError, match=rf"params\['{name}'\] is a numpy\.ndarray.*asarray"
    ):
        net.predict(X)


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_saturated_units_warn_of_nothing(backend, dtype, activation):
    net = fastnn.TwoLayerNet(2, 3, 4, backend=backend, dtype=dtype, activation=activation, rng=0)
    net.params["b1"] = backend.asarray(np.array([-1e4, 0, 1e4], dtype))
    x, t = np.array([[1.0, 2.0], [-3.0, 0.5]]), [0, 3]
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        values = [
            net.predict(x),
            *net.gradient(x, t).values(),
            *net.numerical_gradient(x, t).values(),
        ]
        numbers = [net.loss(x, t), net.accuracy(x, t)]
        fastnn.gradient_check(net, x, t)
        history = fastnn.train(net, x, t, iterations=3, batch_size=2, learning_rate=1e-9, rng=0)
    assert np.isfinite(history.loss).all()
    assert np.isfinite(numbers).all()
    assert all(np.isfinite(backend.to_numpy(value)).all() for value in values)
