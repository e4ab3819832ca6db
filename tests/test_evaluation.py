"""The measures of a classifier, beside scikit-learn's."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastnn import FastnnError
from fastnn.evaluation import calibration, evaluate

metrics = pytest.importorskip("sklearn.metrics")


def drawn(seed, samples, classes, sharp=1.0):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(samples, classes)) * sharp
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True), rng.integers(classes, size=samples)


@given(
    seed=st.integers(0, 100),
    samples=st.integers(1, 200),
    classes=st.integers(2, 6),
    sharp=st.sampled_from([0.1, 1, 5, 50]),
)
def test_as_scikit_learn_has_them(seed, samples, classes, sharp):
    p, t = drawn(seed, samples, classes, sharp)
    found, said, names = evaluate(p, t), p.argmax(1), list(range(classes))
    assert found.accuracy == pytest.approx(metrics.accuracy_score(t, said))
    np.testing.assert_array_equal(found.confusion, metrics.confusion_matrix(t, said, labels=names))
    precision, recall, f1, support = metrics.precision_recall_fscore_support(
        t, said, labels=names, zero_division=0
    )
    np.testing.assert_allclose(found.precision, precision)
    np.testing.assert_allclose(found.recall, recall)
    np.testing.assert_allclose(found.f1, f1)
    np.testing.assert_array_equal(found.support, support)
    assert found.log_loss == pytest.approx(metrics.log_loss(t, p, labels=names), rel=1e-9)


@given(seed=st.integers(0, 100), bins=st.integers(1, 12))
def test_calibration_as_scikit_learn_has_it(seed, bins):
    curves = pytest.importorskip("sklearn.calibration")
    p, t = drawn(seed, 150, 3, 2.0)
    right, confidence = p.argmax(1) == t, p.max(1)
    found = calibration(confidence, right, bins)
    true, sure = curves.calibration_curve(right, confidence, n_bins=bins)
    filled = found.count > 0
    np.testing.assert_allclose(found.accuracy[filled], true)
    np.testing.assert_allclose(found.confidence[filled], sure)
    assert np.isnan(found.accuracy[~filled]).all()
    by_hand = sum(
        n / 150 * abs(a - c)
        for n, a, c in zip(found.count, found.accuracy, found.confidence, strict=True)
        if n
    )
    assert found.error == pytest.approx(by_hand)


def test_the_worst_errors_are_the_surest():
    p, t = drawn(0, 100, 4)
    found = evaluate(p, t)
    assert (found.said[found.worst] != t[found.worst]).all()
    assert len(found.worst) == round((1 - found.accuracy) * 100)
    assert (np.diff(found.confidence[found.worst]) <= 0).all()


def test_as_data():
    p, t = drawn(0, 50, 3)
    result = json.loads(json.dumps(evaluate(p, t, ["a", "b", "c"]).to_dict(), allow_nan=False))
    assert list(result["classes"]) == ["a", "b", "c"]
    assert sum(entry["support"] for entry in result["classes"].values()) == 50
    assert sum(result["calibration"]["count"]) == result["samples"] == 50
    squared = evaluate(p * 7, t, probabilities=False)
    assert squared.log_loss is None
    assert squared.to_dict()["calibration"] is None


@pytest.mark.parametrize(
    ("outputs", "labels", "named"),
    [
        ([0.5, 0.5], [0], "shape"),
        ([[0.5, np.nan]], [0], "finite"),
        (np.empty((0, 2)), np.empty(0, int), "shape"),
        ([[0.5, 0.5]], [0, 1], "1 samples"),
        ([[0.5, 0.5]], [2], "label 2"),
        ([[0.5, 0.5]], [0.5], "integer"),
    ],
)
def test_what_does_not_fit(outputs, labels, named):
    with pytest.raises(FastnnError, match=named):
        evaluate(outputs, labels)
    with pytest.raises(FastnnError, match="3 label names"):
        evaluate([[1.0, 0.0]], [0], ["a", "b", "c"])
