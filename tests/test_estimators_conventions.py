"""The estimators as scikit-learn's: its own checks, its tools, sparse matrices, frames, files."""

import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("pandas")
pytest.importorskip("scipy.sparse")
pytest.importorskip("joblib")

import joblib
import pandas as pd
import scipy.sparse as sp

pytest.importorskip("sklearn")

from sklearn import config_context
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_iris, make_multilabel_classification
from sklearn.inspection import permutation_importance
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator

import fastnn
from fastnn import CheckpointError, InputError, TwoLayerClassifier, TwoLayerRegressor
from fastnn.backends.numba.backend import NumbaBackend

X, CLASSES = load_iris(return_X_y=True)
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

#: What these checks are skipped for says nothing of an estimator.
NOT_FOR_US = {
    "check_array_api_input",  # wants an environment variable
    "check_classifiers_multilabel_output_format_decision_function",  # there is none, as in theirs
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("cls", [TwoLayerClassifier, TwoLayerRegressor])
def test_the_checks_of_scikit_learn_pass_whole(cls, backend):
    checks = 0
    estimator = cls(backend=backend, max_iter=100)  # as it checks its own
    for instance, check in estimator_checks_generator(estimator, legacy=True):
        if check.func.__name__ not in NOT_FOR_US:
            check(instance)
            checks += 1
    assert checks > 50


def model(**options):
    return TwoLayerClassifier(
        **{"max_iter": 30, "random_state": 0, "backend": "numpy", "learning_rate_init": 0.02}
        | options
    )


def test_copies_and_pickles_predict_the_same(tmp_path):
    fitted = model().fit(X, CLASSES)
    joblib.dump(fitted, tmp_path / "model.joblib")
    for other in (
        pickle.loads(pickle.dumps(fitted)),
        copy.deepcopy(fitted),
        joblib.load(tmp_path / "model.joblib"),
        clone(fitted).fit(X, CLASSES),
    ):
        np.testing.assert_array_equal(other.predict_proba(X), fitted.predict_proba(X))
        assert other.loss_curve_ == fitted.loss_curve_


def test_weights_that_somebody_sets_are_predicted_with():
    fitted = model().fit(X, CLASSES)
    fitted.coefs_[1] = np.zeros_like(fitted.coefs_[1])
    fitted.intercepts_[1] = np.array([0.0, 5.0, 0.0])
    assert (fitted.predict(X) == 1).all()


def test_tools_of_scikit_learn():
    pipeline = make_pipeline(StandardScaler(), model())
    assert cross_val_score(pipeline, X, CLASSES, cv=3).mean() > 0.9
    search = GridSearchCV(model(), {"alpha": [1e-4, 1.0]}, cv=2, n_jobs=2).fit(X, CLASSES)
    assert search.best_score_ > 0.8
    calibrated = CalibratedClassifierCV(model(), cv=2).fit(X, CLASSES)
    np.testing.assert_allclose(calibrated.predict_proba(X).sum(axis=1), 1)
    importance = permutation_importance(
        model().fit(X, CLASSES), X, CLASSES, n_repeats=2, random_state=0
    )
    assert importance.importances_mean.argmax() >= 2  # the petals
    assert "TwoLayerClassifier" in model()._repr_html_()


def test_sample_weights_are_routed():
    weights = np.ones(len(CLASSES))
    weights[:50] = 0.001
    with config_context(enable_metadata_routing=True):
        asking = model().set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        search = GridSearchCV(asking, {"alpha": [1e-4]}, cv=2)
        search.fit(X, CLASSES, sample_weight=weights)
    same = model(alpha=1e-4).fit(X, CLASSES, weights)
    assert search.best_estimator_.loss_curve_ == same.loss_curve_


@pytest.mark.parametrize("backend", ["numba", "auto"])
@pytest.mark.parametrize("form", [sp.csr_array, sp.csr_matrix, sp.csc_array])
def test_sparse_matrices_stay_sparse(form, backend, monkeypatch):
    rng = np.random.default_rng(0)
    dense = rng.random((120, 30)) * (rng.random((120, 30)) < 0.1)
    y = rng.integers(0, 3, 120)
    theirs = MLPClassifier(max_iter=10, random_state=0).fit(form(dense), y)
    matrix = form(dense)
    with monkeypatch.context() as patch:
        for name in ("toarray", "todense"):
            patch.setattr(form, name, None)
        ours = model(backend=backend, max_iter=10, learning_rate_init=0.001).fit(matrix, y)
        predicted = ours.predict(matrix)
    np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-9)
    np.testing.assert_array_equal(predicted, theirs.predict(dense))
    with pytest.raises(TypeError, match="dense data is required"):
        model().fit(matrix, y)


def test_frames_keep_their_names():
    names = ["a", "b", "c", "d"]
    frame = pd.DataFrame(X, columns=names)
    fitted = model().fit(frame, CLASSES)
    assert fitted.feature_names_in_.tolist() == names
    np.testing.assert_array_equal(fitted.predict(frame), model().fit(X, CLASSES).predict(X))
    with pytest.raises(ValueError, match="feature names"):
        fitted.predict(frame[names[::-1]])
    polars = pytest.importorskip("polars").DataFrame(X, schema=names)
    again = model().fit(polars, CLASSES)
    # Older versions of scikit-learn do not know the names of newer frames of polars.
    theirs = MLPClassifier(max_iter=1).fit(polars, CLASSES)
    known = getattr(theirs, "feature_names_in_", None)
    np.testing.assert_array_equal(getattr(again, "feature_names_in_", None), known)
    assert again.loss_curve_ == fitted.loss_curve_


@pytest.mark.parametrize("kind", ["classes", "two", "labels", "sparse labels", "values"])
def test_files(kind, tmp_path):
    path = tmp_path / "model.safetensors"
    if kind == "values":
        fitted = TwoLayerRegressor(max_iter=5, random_state=0, backend="numpy").fit(
            X, CLASSES * 1.0
        )
    elif "labels" in kind:
        _, y = make_multilabel_classification(len(X), n_classes=3, random_state=0)
        fitted = model().fit(X, sp.csr_array(y) if kind == "sparse labels" else y)
    else:
        y = np.array(["x", "y", "z"])[CLASSES]
        rows = np.isin(CLASSES, [0, 1] if kind == "two" else [0, 1, 2])
        fitted = model(class_weight={"x": 2.0, "y": 1.0}).fit(
            pd.DataFrame(X[rows], columns=list("abcd")), y[rows]
        )
    fitted.save(path)
    again = type(fitted).load(path)
    assert repr(again.get_params()) == repr(fitted.get_params())
    named = kind in ("classes", "two")
    x = pd.DataFrame(X, columns=list("abcd")) if named else X
    found, expected = again.predict(x), fitted.predict(x)
    assert type(found) is type(expected)
    if kind == "sparse labels":
        found, expected = found.toarray(), expected.toarray()
    np.testing.assert_array_equal(found, expected)
    assert again.loss_curve_ == fitted.loss_curve_
    assert again.n_features_in_ == 4
    network = fastnn.load(path, backend="numpy")
    assert network.sizes == (4, 100, fitted.n_outputs_)
    again.set_params(warm_start=True, max_iter=2)
    if kind == "values":
        again.fit(X, CLASSES * 1.0)
        with pytest.raises(CheckpointError, match="no TwoLayerClassifier"):
            TwoLayerClassifier.load(path)
    fitted.set_params(random_state=np.random.RandomState(0))
    with pytest.raises(InputError, match="random_state"):
        fitted.save(path)


def test_a_network_of_no_estimator_is_refused(tmp_path):
    path = tmp_path / "network.safetensors"
    fastnn.TwoLayerNet(4, 3, 2, rng=0).save(path)
    with pytest.raises(CheckpointError, match="holds no TwoLayerClassifier"):
        TwoLayerClassifier.load(path)


def test_a_backend_can_be_an_instance():
    backend = NumbaBackend(threads=1)
    by_instance = model(backend=backend, max_iter=3).fit(X, CLASSES)
    np.testing.assert_allclose(
        by_instance.loss_curve_, model(backend="numba", max_iter=3).fit(X, CLASSES).loss_curve_
    )


def test_without_scikit_learn_the_error_names_the_extra():
    code = (
        "import sys; sys.modules['sklearn'] = None\n"
        "import fastnn\n"
        "try: fastnn.TwoLayerClassifier\n"
        "except ImportError as error: print(type(error).__name__, error)\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout
    assert found.startswith("ExtraNotInstalledError")
    assert "pip install 'fastnn[sklearn]'" in found


def test_importing_fastnn_imports_no_scikit_learn():
    code = "import sys, fastnn; fastnn.TwoLayerNet; print('sklearn' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert found.stdout.strip() == "False"


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("of", [np.asarray, sp.csr_array, np.float32], ids=["f8", "csr", "f4"])
def test_samples_that_are_not_finite_change_nothing(value, of):
    """They are found where they are compressed, when the first weights have been drawn."""
    x, rng = np.where(X > 3, X, 0.0), np.random.RandomState(3)
    x[7, 2] = value
    for backend in ("numpy", "numba"):
        if sp.issparse(of(x)) and backend == "numpy":
            continue
        drawn, messages = rng.get_state(), []
        for cls, options in ((TwoLayerClassifier, {"backend": backend}), (MLPClassifier, {})):
            model = cls(random_state=rng, **options)
            before = vars(model).copy()
            with pytest.raises(ValueError, match="contains") as caught:
                model.fit(of(x), CLASSES)
            messages.append(str(caught.value).replace(cls.__name__, "the network"))
            if cls is TwoLayerClassifier:
                assert vars(model) == before
                assert str(rng.get_state()) == str(drawn)
        assert messages[0] == messages[1]


REFUSED = {
    "one sample of a class": (
        {"early_stopping": True},
        {"y": [0] * 149 + [1]},
        "least populated class",
    ),
    "few samples to validate": (
        {"early_stopping": True, "validation_fraction": 0.001},
        {},
        "validation set is too small",
    ),
    "weights of others": ({}, {"sample_weight": np.ones(3)}, "sample_weight"),
    "samples to validate that weigh nothing": (
        {"early_stopping": True},
        {"sample_weight": np.arange(150) < 2},
        "all weigh 0",
    ),
    "a class weight": ({"class_weight": {0: np.nan}}, {}, "class_weight"),
    "other units": (
        {"warm_start": True, "hidden_layer_sizes": (7,)},
        {},
        "there are 100 hidden units",
    ),
    "other classes": ({"warm_start": True}, {"y": CLASSES + 1}, "the same classes"),
    "fewer labels than samples": ({}, {"y": CLASSES[1:]}, "inconsistent numbers of samples"),
}


@pytest.mark.parametrize(("options", "given", "message"), REFUSED.values(), ids=REFUSED)
def test_a_fit_that_is_refused_leaves_the_one_before(options, given, message):
    rng = np.random.RandomState(3)
    model = TwoLayerClassifier(random_state=rng, max_iter=3).fit(X, CLASSES).set_params(**options)
    before, content = vars(model).copy(), pickle.dumps(model)
    with pytest.raises(ValueError, match=message):
        model.fit(X, **({"y": CLASSES} | given))
    assert vars(model).keys() == before.keys()
    assert all(vars(model)[name] is value for name, value in before.items())
    assert pickle.dumps(model) == content  # and what its generator draws next


def test_no_memory_to_train_with_leaves_the_fit_before(monkeypatch):
    model = TwoLayerClassifier(max_iter=3, random_state=0).fit(X, CLASSES)
    content = pickle.dumps(model)

    def runners(*_, **__):
        raise MemoryError

    monkeypatch.setattr("fastnn.stepping.runners", runners)
    with pytest.raises(MemoryError):
        model.fit(X, CLASSES)
    assert pickle.dumps(model) == content


def test_a_first_partial_fit_that_is_refused_knows_of_no_classes():
    model = TwoLayerClassifier()
    before = vars(model).copy()
    with pytest.raises(ValueError, match="NaN"):
        model.partial_fit(np.full((3, 2), np.nan), [0, 1, 1], classes=[0, 1])
    assert vars(model) == before
