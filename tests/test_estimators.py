"""The estimators against scikit-learn's own networks, whose draws and rules they follow."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("sklearn")

from sklearn import datasets
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.utils.class_weight import compute_sample_weight

from fastnn import InputError, TwoLayerClassifier, TwoLayerRegressor

BACKENDS = "numpy", "numba"
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def scaled(x):
    return (x - x.mean(0)) / np.maximum(x.std(0), 1e-3)


def problem(name):
    if name in ("iris", "digits", "breast_cancer"):
        x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
        return scaled(x)[:400], y[:400]
    if name == "multilabel":
        return datasets.make_multilabel_classification(150, 8, n_classes=4, random_state=0)
    x, y = datasets.make_regression(200, 8, n_targets=int(name[-1]), random_state=0)
    return x, y / 50


def pair(name, **options):
    theirs, ours = (
        (MLPRegressor, TwoLayerRegressor)
        if name.startswith("regression")
        else (MLPClassifier, TwoLayerClassifier)
    )
    backend = options.pop("backend")
    return theirs(**options), ours(**options, backend=backend)


def assert_same(theirs, ours, x, *, atol=1e-9):
    """Loss curve, epochs, weights and predictions."""
    assert ours.n_iter_ == theirs.n_iter_
    assert ours.t_ == theirs.t_
    np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=atol, atol=atol)
    for name in ("coefs_", "intercepts_"):
        for mine, own in zip(getattr(ours, name), getattr(theirs, name), strict=True):
            assert mine.dtype == own.dtype
            np.testing.assert_allclose(mine, own, rtol=0, atol=1e3 * atol)
    if isinstance(theirs, MLPRegressor):
        np.testing.assert_allclose(ours.predict(x), theirs.predict(x), atol=1e3 * atol)
    else:
        np.testing.assert_array_equal(ours.predict(x), theirs.predict(x))
        np.testing.assert_allclose(ours.predict_proba(x), theirs.predict_proba(x), atol=1e3 * atol)
        assert ours.out_activation_ == theirs.out_activation_


SOLVERS = {
    "adam": {"solver": "adam", "learning_rate_init": 0.005},
    "nesterov": {"solver": "sgd", "learning_rate_init": 0.02},
    "momentum": {"solver": "sgd", "nesterovs_momentum": False, "learning_rate": "invscaling"},
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize(
    "name", ["iris", "digits", "breast_cancer", "multilabel", "regression1", "regression3"]
)
def test_the_loss_curve_is_that_of_scikit_learn(name, solver, backend):
    x, y = problem(name)
    options = SOLVERS[solver] | {"hidden_layer_sizes": (12,), "max_iter": 25, "alpha": 0.01}
    theirs, ours = pair(name, backend=backend, random_state=5, batch_size=64, **options)
    assert_same(theirs.fit(x, y), ours.fit(x, y), x)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ["iris", "breast_cancer", "multilabel", "regression1"])
def test_early_stopping_draws_the_same_samples_and_keeps_the_best_weights(name, backend):
    x, y = problem(name)
    options = {"early_stopping": True, "max_iter": 60, "n_iter_no_change": 4}
    theirs, ours = pair(
        name, backend=backend, random_state=1, learning_rate_init=0.03, tol=1e-3, **options
    )
    assert_same(theirs.fit(x, y), ours.fit(x, y), x)
    np.testing.assert_allclose(ours.validation_scores_, theirs.validation_scores_)
    assert ours.best_validation_score_ == pytest.approx(theirs.best_validation_score_)
    assert ours.best_loss_ is None


@pytest.mark.parametrize(
    "options",
    [
        {"learning_rate": "adaptive", "tol": 0.01, "n_iter_no_change": 1, "max_iter": 40},
        {"shuffle": False, "batch_size": 7, "max_iter": 3},
        {"activation": "logistic", "momentum": 1.0, "learning_rate_init": 1e-4, "max_iter": 5},
        {"activation": "tanh", "hidden_layer_sizes": 5, "tol": 0.05, "max_iter": 30},
    ],
    ids=lambda options: next(iter(options)),
)
@pytest.mark.parametrize("backend", BACKENDS)
def test_rules_of_sgd(options, backend):
    x, y = problem("iris")
    theirs, ours = pair("iris", backend=backend, solver="sgd", random_state=2, **options)
    assert_same(theirs.fit(x, y), ours.fit(x, y), x)


@pytest.mark.parametrize("backend", BACKENDS)
def test_sample_weights(backend):
    x, y = problem("iris")
    weights = np.random.default_rng(0).random(len(y)) + 0.01
    weights[::3] = 0
    for early_stopping in (False, True):
        options = {"batch_size": 40, "max_iter": 20, "early_stopping": early_stopping}
        theirs, ours = pair("iris", backend=backend, random_state=0, **options)
        assert_same(theirs.fit(x, y, weights), ours.fit(x, y, weights), x)


@pytest.mark.parametrize("class_weight", ["balanced", {0: 1.0, 1: 5.0, 2: 0.5}])
def test_class_weights_are_sample_weights(class_weight):
    x, y = problem("iris")
    x, y = x[20:], y[20:]
    options = {"random_state": 0, "max_iter": 20, "backend": "numpy"}
    by_class = TwoLayerClassifier(class_weight=class_weight, **options).fit(x, y)
    weights = compute_sample_weight(class_weight, y)
    by_sample = TwoLayerClassifier(**options).fit(x, y, weights)
    assert by_class.loss_curve_ == by_sample.loss_curve_
    plain = TwoLayerClassifier(**options).fit(x, y)
    assert plain.loss_curve_ != by_class.loss_curve_
    both = TwoLayerClassifier(class_weight=class_weight, **options).fit(x, y, weights)
    squared = TwoLayerClassifier(**options).fit(x, y, weights**2)
    np.testing.assert_allclose(both.loss_curve_, squared.loss_curve_)


def test_class_weights_of_classes_that_a_batch_lacks():
    x, y = problem("iris")  # in the order of the classes
    options = {"random_state": 0, "backend": "numpy"}
    by_class = TwoLayerClassifier(class_weight={1: 3.0, 2: 5.0}, **options)
    by_sample = TwoLayerClassifier(**options)
    for rows in (slice(60), slice(40, 120), slice(100, 150)):
        by_class.partial_fit(x[rows], y[rows], classes=[0, 1, 2])
        weights = np.array([1.0, 3.0, 5.0])[y[rows]]
        by_sample.partial_fit(x[rows], y[rows], weights, [0, 1, 2])
    assert by_class.loss_curve_ == by_sample.loss_curve_


@pytest.mark.parametrize("bad", [-1.0, np.nan, np.inf, "x"])
def test_a_class_weight_that_is_none_is_named(bad):
    x, y = problem("iris")
    with pytest.raises(InputError, match=r"class_weight\[1\] is .* give a finite number"):
        TwoLayerClassifier(class_weight={0: 1.0, 1: bad}).fit(x, y)
    with pytest.raises(InputError, match=r"class_weight=.* gives each of these samples"):
        TwoLayerClassifier(class_weight=dict.fromkeys(range(3), 0)).fit(x, y)


@pytest.mark.parametrize("first", [True, False])
def test_early_stopping_is_not_changed_between_fits_that_go_on(first):
    x, y = problem("iris")
    options = {"max_iter": 2, "warm_start": True, "backend": "numpy"}
    model = TwoLayerClassifier(early_stopping=first, **options)
    with pytest.warns(ConvergenceWarning):
        model.fit(x, y)
    before = model.coefs_[0].copy()
    with pytest.raises(InputError, match="set warm_start=False to begin anew"):
        model.set_params(early_stopping=not first).fit(x, y)
    assert np.array_equal(model.coefs_[0], before)


@pytest.mark.parametrize("backend", BACKENDS)
def test_partial_fit_and_warm_start(backend):
    x, y = problem("iris")
    for solver in ("adam", "sgd"):
        theirs, ours = pair("iris", backend=backend, random_state=0, solver=solver)
        for _ in range(3):
            for some in (slice(0, 150, 2), slice(1, 150, 2)):
                for model in (theirs, ours):
                    model.partial_fit(x[some], y[some], classes=[0, 1, 2])
        assert_same(theirs, ours, x)
        for model in (theirs, ours):
            model.set_params(warm_start=True, max_iter=4).fit(x, y)
            model.fit(x, y)
        assert_same(theirs, ours, x)


@pytest.mark.parametrize("backend", BACKENDS)
def test_float32_stays(backend):
    x, y = problem("iris")
    x = x.astype(np.float32)
    theirs, ours = pair("iris", backend=backend, random_state=0, max_iter=20)
    assert_same(theirs.fit(x, y), ours.fit(x, y), x, atol=1e-5)
    assert ours.predict_proba(x).dtype == np.float32


def test_text_labels_of_two_and_of_three_classes():
    x, y = problem("iris")
    for names, rows in ((np.array(["c", "a", "b"]), slice(None)), (np.array(["c", "a"]), y < 2)):
        theirs, ours = pair("iris", backend="numpy", random_state=0, max_iter=20)
        labels = names[y[rows]]
        assert_same(theirs.fit(x[rows], labels), ours.fit(x[rows], labels), x)
        assert ours.classes_.tolist() == theirs.classes_.tolist()
        assert ours.score(x[rows], labels) == theirs.score(x[rows], labels)
        logarithms = ours.predict_log_proba(x)
        np.testing.assert_allclose(logarithms, np.log(ours.predict_proba(x)))


@given(data=st.data())
@settings(max_examples=20, deadline=None)
def test_any_small_problem(data):
    draw = data.draw
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    samples, features = draw(st.integers(8, 40)), draw(st.integers(1, 6))
    x = rng.standard_normal((samples, features))
    options = {
        "hidden_layer_sizes": draw(st.integers(1, 9)),
        "activation": draw(st.sampled_from(["identity", "logistic", "tanh", "relu"])),
        "solver": draw(st.sampled_from(["sgd", "adam"])),
        "alpha": draw(st.sampled_from([0, 1e-4, 1.0])),
        "batch_size": draw(st.integers(1, samples)),
        "shuffle": draw(st.booleans()),
        "random_state": draw(st.integers(0, 1000)),
        "max_iter": 8,
    }
    name = draw(st.sampled_from(["classes", "regression1", "regression2"]))
    if name == "classes":
        y = rng.integers(0, draw(st.integers(2, 4)), samples)
        y[:2] = 0, 1
    else:
        y = rng.standard_normal((samples, int(name[-1])))
        y = y.ravel() if name == "regression1" else y
    theirs, ours = pair(name, backend=draw(st.sampled_from(BACKENDS)), **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        assert_same(theirs.fit(x, y), ours.fit(x, y), x)


def test_what_there_is_not_is_refused_with_what_to_take():
    x, y = problem("iris")
    for options, fix in (
        ({"solver": "lbfgs"}, "MLPClassifier"),
        ({"hidden_layer_sizes": (5, 5)}, "2 hidden layers"),
        ({"hidden_layer_sizes": ()}, "0 hidden layers"),
        ({"hidden_layer_sizes": (0,)}, "hidden_layer_sizes must be > 0"),
        ({"early_stopping": True, "validation_fraction": 0.001}, "validation set is too small"),
    ):
        model = TwoLayerClassifier(backend="numpy", **options)
        with pytest.raises(InputError, match=fix) as caught:
            model.fit(x, y)
        assert len(str(caught.value)) <= 300
        assert not hasattr(model, "coefs_")
    with pytest.raises(InputError, match="squared_error"):
        TwoLayerRegressor(loss="poisson").fit(x, y)
    with pytest.raises(InputError, match="early_stopping=True"):
        TwoLayerRegressor(early_stopping=True, backend="numpy").partial_fit(x, y)
    with pytest.raises(InputError, match="compute_class_weight"):
        TwoLayerClassifier(class_weight="balanced", backend="numpy").partial_fit(
            x, y, None, [0, 1, 2]
        )
    with pytest.raises(ValueError, match="'alpha' parameter"):
        TwoLayerClassifier(alpha=-1).fit(x, y)
    with (
        np.errstate(all="ignore"),
        pytest.raises(InputError, match="non-finite parameter weights"),
    ):
        TwoLayerRegressor(
            solver="sgd", learning_rate_init=1e3, backend="numpy", activation="identity"
        ).fit(x * 1e3, y)


def test_warnings_are_those_of_scikit_learn(capsys):
    x, y = problem("iris")
    with pytest.warns(ConvergenceWarning, match=r"Maximum iterations \(2\) reached"):
        TwoLayerClassifier(max_iter=2, backend="numpy").fit(x, y)
    with pytest.warns(UserWarning, match="larger than the 150 samples"):
        TwoLayerClassifier(max_iter=2, batch_size=151, backend="numpy").fit(x, y)
    for stopping in (False, True):
        outputs = []
        for cls, more in ((MLPClassifier, {}), (TwoLayerClassifier, {"backend": "numpy"})):
            options = {"tol": 0.5, "random_state": 0, "n_iter_no_change": 2, "verbose": True}
            cls(early_stopping=stopping, **options, **more).fit(x, y)
            outputs.append(capsys.readouterr().out)
        assert outputs[0] == outputs[1]
        assert "Stopping." in outputs[1]
        assert ("Validation score: " in outputs[1]) == stopping
