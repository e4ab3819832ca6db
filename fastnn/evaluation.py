"""How good the answers of a classifier are: what it mistakes for what, and how sure it may be.

The definitions are scikit-learn's: a row of the confusion matrix is what is right, a column what
was said; a quotient without a denominator is 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .errors import InputError
from .validation import check_labels, positive_int, real_array

#: Bins of confidence, of equal width.
BINS = 10


@dataclass
class Evaluation:
    """What the outputs of a classifier are worth.

    Attributes
    ----------
    label_names : list of str
    confusion : array of int64, shape (classes, classes)
        How many samples of the class of a row were taken for that of a column.
    accuracy : float
    log_loss : float or None
        The mean of −log of the probability of what is right; None where outputs are none.
    precision, recall, f1 : array, shape (classes,)
        Of what was said to be of a class, the part that is; of what is of it, the part that was
        said to be; and their harmonic mean.
    calibration : Calibration or None
    worst : array of int64, shape (errors,)
        The samples that were classified wrong, the surest first.
    labels, said : array of int64, shape (samples,)
        The right class of each, and the one of its largest output.
    confidence : array, shape (samples,)
        The largest output.
    """

    label_names: list[str]
    confusion: np.ndarray
    accuracy: float
    log_loss: float | None
    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    calibration: Calibration | None
    worst: np.ndarray
    labels: np.ndarray
    said: np.ndarray
    confidence: np.ndarray

    @property
    def support(self) -> np.ndarray:
        """How many samples there are of each class."""
        return self.confusion.sum(axis=1)

    def to_dict(self) -> dict[str, Any]:
        """All but the single samples, as what JSON holds."""
        classes = {
            name: {
                "precision": float(self.precision[i]),
                "recall": float(self.recall[i]),
                "f1": float(self.f1[i]),
                "support": int(self.support[i]),
            }
            for i, name in enumerate(self.label_names)
        }
        return {
            "samples": len(self.labels),
            "accuracy": self.accuracy,
            "log_loss": self.log_loss,
            "classes": classes,
            "confusion_matrix": self.confusion.tolist(),
            "calibration": None if self.calibration is None else self.calibration.to_dict(),
        }


@dataclass
class Calibration:
    """How often a classifier is right when it is so sure: by bins of the largest probability.

    Attributes
    ----------
    edges : array, shape (bins + 1,)
    count : array of int64, shape (bins,)
    confidence, accuracy : array, shape (bins,)
        Their means in each bin; NaN where it is empty.
    error : float
        The mean of their distances, by count: the expected calibration error of Guo and others
        (2017).
    """

    edges: np.ndarray
    count: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray
    error: float

    def to_dict(self) -> dict[str, Any]:
        """As what JSON holds; an empty bin has null."""

        def plain(values: np.ndarray) -> list[float | None]:
            return [None if np.isnan(value) else float(value) for value in values]

        return {
            "edges": self.edges.tolist(),
            "count": self.count.tolist(),
            "confidence": plain(self.confidence),
            "accuracy": plain(self.accuracy),
            "error": self.error,
        }


def evaluate(
    outputs: Any, labels: Any, label_names: list[str] | None = None, *, probabilities: bool = True
) -> Evaluation:
    """Evaluate the outputs of a classifier, such as those of :class:`fastnn.Predictor`.

    Parameters
    ----------
    outputs : array_like, shape (samples, classes)
    labels : array_like of int, shape (samples,)
        What is right, from 0.
    label_names : list of str, optional
    probabilities : bool
        Whether the outputs are probabilities, so that there are a log loss and a calibration.

    Raises
    ------
    InputError, DtypeError
        If they do not fit each other.

    Examples
    --------
    >>> found = evaluate([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]], [0, 1, 1], ["cat", "dog"])
    >>> found.confusion.tolist(), round(found.accuracy, 3), round(found.log_loss, 3)
    ([[1, 0], [1, 1]], 0.667, 0.69)
    >>> found.worst.tolist(), found.recall.tolist()
    ([1], [1.0, 0.5])
    """
    y = np.asarray(real_array(outputs, "outputs"), np.float64)
    if y.ndim != 2 or not y.size or not np.isfinite(y).all():
        raise InputError(
            f"outputs of shape {y.shape}; give finite ones of shape (samples, classes)"
        )
    classes = y.shape[1]
    names = [str(i) for i in range(classes)] if label_names is None else list(label_names)
    if len(names) != classes:
        raise InputError(f"{len(names)} label names for {classes} classes; give one for each")
    t = np.asarray(real_array(labels, "labels"))
    if t.shape != (len(y),):
        raise InputError(f"labels of shape {t.shape} for {len(y)} samples; give one for each")
    t = check_labels(t, classes, "labels")
    said = y.argmax(axis=1)
    confusion = confusion_matrix(t, said, classes)
    hits = np.diag(confusion)
    precision, recall = _ratio(hits, confusion.sum(axis=0)), _ratio(hits, confusion.sum(axis=1))
    confidence = y.max(axis=1)
    wrong = np.flatnonzero(said != t)
    return Evaluation(
        names,
        confusion,
        float(hits.sum() / len(y)),
        log_loss(y, t) if probabilities else None,
        precision,
        recall,
        _ratio(2 * precision * recall, precision + recall),
        calibration(confidence, said == t) if probabilities else None,
        wrong[np.argsort(-confidence[wrong], kind="stable")],
        t,
        said,
        confidence,
    )


def confusion_matrix(labels: np.ndarray, said: np.ndarray, classes: int) -> np.ndarray:
    """How many samples of each class (rows) were taken for each class (columns)."""
    return np.bincount(labels * classes + said, minlength=classes**2).reshape(classes, classes)


def log_loss(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """The mean of −log p of what is right, where p is not taken for less than rounding allows."""
    right = probabilities[np.arange(len(labels)), labels]
    eps = np.finfo(probabilities.dtype).eps
    return float(-np.log(right.clip(eps, 1 - eps)).mean())


def calibration(confidence: np.ndarray, right: np.ndarray, bins: int = BINS) -> Calibration:
    """How often answers are right by how sure they are, in bins of equal width over [0, 1]."""
    bins = positive_int(bins, "bins")
    edges = np.linspace(0, 1, bins + 1)
    # As scikit-learn has it: an edge belongs to the bin below it.
    number = np.searchsorted(edges[1:-1], confidence)
    count = np.bincount(number, minlength=bins)
    with np.errstate(invalid="ignore"):
        sure = np.bincount(number, confidence, minlength=bins) / count
        hit = np.bincount(number, right, minlength=bins) / count
    filled = count > 0
    error = (count * np.abs(sure - hit))[filled].sum() / len(confidence)
    return Calibration(edges, count, sure, hit, float(error))


def _ratio(numerators: np.ndarray, denominators: np.ndarray) -> np.ndarray:
    """0 where there is no denominator."""
    return numerators / np.where(denominators > 0, denominators, 1)
