"""When a training ends: scikit-learn's rules, over the attributes that estimators have for it."""

from __future__ import annotations

from typing import Any

import numpy as np


def begin(estimator: Any) -> None:
    """Forget what has been noted of an earlier training."""
    watches = estimator.early_stopping
    estimator._no_improvement_count = 0
    estimator.loss_curve_ = []
    estimator.best_loss_ = None if watches else np.inf
    estimator.validation_scores_ = [] if watches else None
    estimator.best_validation_score_ = -np.inf if watches else None


def note_loss(estimator: Any) -> None:
    """Count the epochs whose loss has not become smaller by `tol`."""
    loss, best = estimator.loss_curve_[-1], estimator.best_loss_
    stalled = loss > best - estimator.tol
    estimator._no_improvement_count = estimator._no_improvement_count + 1 if stalled else 0
    if loss < best:
        estimator.best_loss_ = loss


def note_score(estimator: Any, score: float) -> bool:
    """The same of the score on the validation samples; whether it is the best yet."""
    estimator.validation_scores_.append(score)
    best = estimator.best_validation_score_
    stalled = score < best + estimator.tol
    estimator._no_improvement_count = estimator._no_improvement_count + 1 if stalled else 0
    if score > best:
        estimator.best_validation_score_ = score
        return True
    return False


def has_stalled(estimator: Any) -> bool:
    """Whether that is too many epochs now."""
    return bool(estimator._no_improvement_count > estimator.n_iter_no_change)


def reason(estimator: Any) -> str:
    """The same in words, as scikit-learn says it."""
    what = (
        "Validation score did not improve"
        if estimator.early_stopping
        else "Training loss did not improve"
    )
    return (
        f"{what} more than tol={estimator.tol:f} for {estimator.n_iter_no_change} "
        "consecutive epochs."
    )
