"""How f is evaluated with one element of its argument changed at a time.

In place by default; on copies for a complex step; in blocks of many points for a vectorized f; in a
compiled loop in threads for a function of ``numba.njit``; and in tasks for the workers that a
caller provides.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from ..errors import InputError
from ..validation import Array
from .blocks import evaluate_columns, evaluate_in_blocks
from .compiled import evaluate_compiled, is_compiled, note_compiled_dtype
from .in_place import evaluate_in_place
from .points import check_writeable, complex_copy, copy
from .quotients import Evaluations
from .tasks import MAX_TASKS, Workers, evaluate_in_tasks, evaluate_on_copies, mapping
from .values import Function, Values


def of_point(
    xp: Any, f: Function, x: Array, scheme: str, vectorized: bool, workers: Workers
) -> Evaluations:
    """How `f` is evaluated at the point `x` and around it; see :func:`numerical_gradient`."""
    analytic = scheme == "complex"
    x = complex_copy(xp, x) if analytic else x
    values = Values(xp, x)

    def perturbed(points: Array) -> Array:
        if vectorized:
            return evaluate_in_blocks(xp, f, x, points, values)
        if is_compiled(f):
            _check_compiled(xp, f, x, values)
            return evaluate_in_tasks(f, x, points, values, workers)
        if workers is not None:
            if xp is not np:
                raise InputError("workers take NumPy arrays; pass vectorized=True, or convert x")
            return evaluate_in_tasks(f, x, points, values, workers)
        if analytic:
            return evaluate_on_copies(xp, f, x, points, values)
        check_writeable(xp, x, "x")
        return evaluate_in_place(xp, f, x, points, values)

    def unperturbed() -> Any:
        if vectorized:
            point = copy(xp, x[None, ...])
            return values.block(f(point), point)[0, ...]
        return _once(xp, f, x, values)

    return Evaluations(perturbed, unperturbed, unperturbed, values)


def of_rows(xp: Any, f: Function, X: Array, scheme: str, vectorized: bool) -> Evaluations:
    """The same for each row of `X` as a point by itself; see :func:`numerical_gradient_rows`."""
    analytic = scheme == "complex"
    X = complex_copy(xp, X) if analytic else X
    values = Values(xp, X)

    def perturbed(points: Array) -> Array:
        if vectorized:
            return evaluate_columns(xp, f, X, points, values)
        if is_compiled(f):
            _check_compiled(xp, f, X[0], values)
            return _compiled_rows(f, X, points, values)
        if not analytic:
            check_writeable(xp, X, "X")
        evaluate = evaluate_on_copies if analytic else evaluate_in_place
        rows = range(X.shape[0])
        found = [evaluate(xp, f, X[i, ...], points[:, i, ...], values) for i in rows]
        return xp.stack(found, axis=1)

    def unperturbed() -> Array:
        if vectorized:
            found = once()
        else:
            rows = ((i, _once(xp, f, X[i, ...], values)) for i in range(X.shape[0]))
            found = values.gathered(X[(slice(None), *[0] * (X.ndim - 1))], rows)
        return xp.reshape(found, (-1, *[1] * (X.ndim - 1)))

    def once() -> Any:
        if vectorized:
            given = copy(xp, X)
            return values.block(f(given), given)
        return _once(xp, f, X[0, ...], values)

    return Evaluations(perturbed, unperturbed, once, values)


def _once(xp: Any, f: Function, x: Array, values: Values) -> Any:
    """f(x), checked to be one number, and no memory of f's."""
    found = values.number(f(copy(xp, x)))
    if is_compiled(f):
        note_compiled_dtype(f, np.ascontiguousarray(x), values)
    return copy(xp, found) if xp is not np and hasattr(found, "shape") else found


def _check_compiled(xp: Any, f: Function, x: Array, values: Values) -> None:
    """Refuse now what would fail in the compiled loop with one of Numba's long messages."""
    if xp is not np:
        raise InputError(
            "a function compiled by Numba takes NumPy arrays; pass one, or an f of the array's own "
            "library"
        )
    _once(xp, f, x, values)


def _compiled_rows(f: Function, X: np.ndarray, points: np.ndarray, values: Values) -> np.ndarray:
    pieces = min(MAX_TASKS, X.shape[0])
    tasks = zip(np.array_split(X, pieces), np.array_split(points, pieces, axis=1), strict=True)
    with mapping(f, None) as map_:
        found = list(map_(partial(_rows_task, f, values), tasks))
    return np.concatenate(found, axis=1)


def _rows_task(f: Function, values: Values, task: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    X, points = task
    found = np.empty(points.shape, values.wide)
    for i, row in enumerate(X):
        replacements = points[:, i].reshape(len(points), -1)
        of_row = evaluate_compiled(f, row, replacements, 0, values)
        found[:, i] = of_row.reshape(points[:, i].shape)
    return found
