"""Objectives of training in compiled code: the book's loss, or those of scikit-learn.

The formulas of the latter are those of :mod:`fastnn.functions.objectives`. Which it is is told by
types: an empty tuple as the objective means the loss itself, for which a kernel is compiled without
any of the rest; it is the binary cross-entropy where the targets are `BinaryTargets`. Whether they
are labels or rows is told by a value: as a type it would make two kernels of each.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba import types

from ....functions import LOG_GUARD
from .elementary import like
from .jit import inner, overloads, reduction
from .logistic import (
    binary_loss,
    binary_loss_of_label,
    binary_loss_of_row,
    logistic_rows,
)
from .softmax import label, row_loss, softmax_rows
from .vectors import prefetch


class Objective(NamedTuple):
    """An objective of :mod:`fastnn.functions.objectives`."""

    loss: int  # a code of LOSS_CODES
    alpha: float
    weights: np.ndarray  # of each sample of the dataset, float64; of shape (0,) where there is none


class Targets(NamedTuple):
    """The targets of all samples: labels, or rows; there are none of the others."""

    labels: np.ndarray  # (samples,) or (0,)
    rows: np.ndarray  # (samples, outputs) or (0, 0)


class BinaryTargets(NamedTuple):
    """Those of the binary cross-entropy."""

    labels: np.ndarray
    rows: np.ndarray


def targets(t: np.ndarray, dtype: np.dtype, *, binary: bool) -> Targets | BinaryTargets:
    """Labels or rows for a network of this dtype."""
    both = (t, np.empty((0, 0), dtype)) if t.ndim == 1 else (np.empty(0, np.intp), t)
    return (BinaryTargets if binary else Targets)(*both)


@inner
def fetch_target(targets: Any, row: int) -> None:
    """Ask for the target of a sample to come."""
    if targets.labels.size:
        prefetch(targets.labels, row)
    else:
        prefetch(targets.rows, (row, 0))


#: The losses by what a network calls them.
LOSS_CODES = {"cross_entropy": 0, "binary_cross_entropy": 1, "mean_squared_error": 2}
_SOFTMAX, _LOGISTIC = LOSS_CODES["cross_entropy"], LOSS_CODES["binary_cross_entropy"]


def _is_book(objective: Any) -> bool:
    return not isinstance(objective, types.BaseNamedTuple)


def _is_binary(targets: Any) -> bool:
    return targets.instance_class is BinaryTargets


# -- weights of samples ----------------------------------------------------------------------------


def total_weight(objective: Any, rows: Any) -> Any:
    """What the samples of a batch weigh; for compiled code only, as all that follows."""
    raise NotImplementedError


@overloads(total_weight)
def _overload_total_weight(objective: Any, rows: Any) -> Any:
    def of_book(objective: Any, rows: Any) -> Any:
        return rows.size

    def of_weights(objective: Any, rows: Any) -> Any:
        if objective.weights.size == 0:
            return float(rows.size)
        total = 0.0
        for n in range(rows.size):
            total += objective.weights[rows[n]]
        return total

    return of_book if _is_book(objective) else of_weights


def weight(objective: Any, row: Any) -> Any:
    """What a sample weighs."""
    raise NotImplementedError


@overloads(weight)
def _overload_weight(objective: Any, row: Any) -> Any:
    def of_book(objective: Any, row: Any) -> Any:
        return 1

    def of_weights(objective: Any, row: Any) -> Any:
        return objective.weights[row] if objective.weights.size else 1.0

    return of_book if _is_book(objective) else of_weights


# -- outputs and their losses ----------------------------------------------------------------------


def output_rows(objective: Any, targets: Any, y: Any, columns: int) -> None:
    """The outputs of logits, in place; what only fills the rows up becomes zero."""
    raise NotImplementedError


@overloads(output_rows)
def _overload_output_rows(objective: Any, targets: Any, y: Any, columns: int) -> Any:
    def of_all(objective: Any, targets: Any, y: Any, columns: int) -> None:
        softmax_rows(y, columns, y)

    def of_each(objective: Any, targets: Any, y: Any, columns: int) -> None:
        logistic_rows(y, columns, y)

    def of_loss(objective: Any, targets: Any, y: Any, columns: int) -> None:
        if objective.loss == _SOFTMAX:
            softmax_rows(y, columns, y)
        elif objective.loss == _LOGISTIC:
            logistic_rows(y, columns, y)

    if _is_book(objective):
        return of_each if _is_binary(targets) else of_all
    return of_loss


def subtract_target(objective: Any, targets: Any, row: int, y: Any, columns: int) -> float:
    """The loss of the outputs `y` of a sample; and its target is subtracted from them."""
    raise NotImplementedError


@overloads(subtract_target)
def _overload_subtract_target(objective: Any, targets: Any, row: int, y: Any, columns: int) -> Any:
    def of_book(objective: Any, targets: Any, row: int, y: Any, columns: int) -> float:
        if targets.labels.size:
            target = label(targets.labels, row, y.size)
            y_target = y[target]
            y[target] -= like(y_target, 1)
            return -math.log(y_target + LOG_GUARD)
        t = targets.rows[row]
        loss = row_loss(y[: t.size], t)
        for k in range(t.size):
            y[k] -= t[k]
        return loss

    def of_each(objective: Any, targets: Any, row: int, y: Any, columns: int) -> float:
        if targets.labels.size:
            return binary_loss_of_label(y, label(targets.labels, row, columns), columns)
        return binary_loss_of_row(y, targets.rows[row], columns)

    if _is_book(objective):
        return of_each if _is_binary(targets) else of_book

    guard = float(np.finfo(y.dtype.name).eps)

    def of_loss(objective: Any, targets: Any, row: int, y: Any, columns: int) -> float:
        total = 0.0
        for k in range(columns):
            t = _target(targets, row, k, y)
            if objective.loss == _SOFTMAX:
                if t != 0:
                    total -= t * math.log(min(max(np.float64(y[k]), guard), 1 - guard))
            elif objective.loss == _LOGISTIC:
                total += binary_loss(y[k], t)
            else:
                difference = np.float64(y[k]) - t
                total += difference * difference / (2 * columns)
            y[k] -= like(y[k], t)
        return total

    return of_loss


@inner
def _target(targets: Any, row: int, k: int, y: Any) -> float:
    """Target k of a sample."""
    if targets.labels.size:
        return 1.0 if label(targets.labels, row, y.size) == k else 0.0
    return np.float64(targets.rows[row, k])


# -- the penalty -----------------------------------------------------------------------------------


@reduction
def _square(a: Any) -> float:
    total = 0.0
    for i in range(a.size):
        w = np.float64(a[i])
        total += w * w
    return total


def squares(objective: Any, W: Any) -> float:
    """The sum of the squared weights, where there is a penalty."""
    raise NotImplementedError


@overloads(squares)
def _overload_squares(objective: Any, W: Any) -> Any:
    def of_book(objective: Any, W: Any) -> float:
        return 0.0

    def of_alpha(objective: Any, W: Any) -> float:
        return _square(W.reshape(W.size)) if objective.alpha != 0 else 0.0

    return of_book if _is_book(objective) else of_alpha


def penalty(objective: Any, total: Any, panels: Any) -> Any:
    """What it adds to the loss of a batch of this weight, by the squares of the panels."""
    raise NotImplementedError


@overloads(penalty)
def _overload_penalty(objective: Any, total: Any, panels: Any) -> Any:
    def of_book(objective: Any, total: Any, panels: Any) -> Any:
        return 0

    def of_alpha(objective: Any, total: Any, panels: Any) -> Any:
        squares = 0.0
        for p in range(panels.squares.shape[0]):
            for group in range(panels.squares.shape[1]):
                squares += panels.squares[p, group]
        return objective.alpha / 2 * squares / total

    return of_book if _is_book(objective) else of_alpha


def decay(objective: Any, total: Any) -> Any:
    """How much of a weight is added to its gradient for it."""
    raise NotImplementedError


@overloads(decay)
def _overload_decay(objective: Any, total: Any) -> Any:
    def of_book(objective: Any, total: Any) -> Any:
        return 0

    def of_alpha(objective: Any, total: Any) -> Any:
        return objective.alpha / total

    return of_book if _is_book(objective) else of_alpha
