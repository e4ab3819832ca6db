"""The difference quotients of a scheme, and the estimate of their error."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache, partial
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from ..validation import Array
from .points import complex_copy, copy
from .steps import ONE_SIDED, checked_step, largest_lost_step, moved, step_at, warn_of_coarse_values
from .values import Values, epsilon_of

#: A difference quotient, and the values of f it was taken of, whose rounding becomes noise.
Quotient: TypeAlias = tuple[Array, tuple[Any, ...]]


class Evaluations(NamedTuple):
    """How f is evaluated for a gradient.

    Attributes
    ----------
    perturbed : callable
        Maps an array (K, *x.shape) to the values of f with each element in turn replaced by each of
        the K at its place.
    unperturbed : callable
        Gives f at `x` itself, in a shape that broadcasts with that of `x`.
    once : callable
        Evaluates f at one point, for what its dtype tells.
    values : Values
        What is known of the values so far.
    """

    perturbed: Callable[[Array], Array]
    unperturbed: Callable[[], Any]
    once: Callable[[], Any]
    values: Values


def gradient_of(xp: Any, x: Array, h: Any, scheme: str, f: Evaluations, return_error: bool) -> Any:
    """The gradient at `x`, and its estimated error if asked."""
    once = f.once
    if scheme in ONE_SIDED:
        once = unperturbed = cache(f.unperturbed)
        f = Evaluations(f.perturbed, unperturbed, once, f.values)
    quotient = partial(_quotient, xp, x, scheme, f)
    return differentiate(xp, x, h, scheme, quotient, once, f.values, return_error)


def differentiate(
    xp: Any,
    x: Array,
    h: Any,
    scheme: str,
    quotient: Callable[[Any], Quotient],
    once: Callable[[], Any],
    values: Values,
    return_error: bool,
) -> Any:
    """What `quotient` gives for the step that `h` means, and its estimated error if asked."""
    h = checked_step(h, scheme, x)
    if 0 in x.shape:
        return (copy(xp, x), copy(xp, x)) if return_error else copy(xp, x)
    if h is None:
        once()
    step = step_at(xp, x, h, scheme, values.epsilon)
    result, differences_of = quotient(step)
    if values.epsilon and h is not None and scheme != "complex":
        warn_of_coarse_values(x, h, values)
    if not return_error:
        return _like(xp, result, x)
    wider, _ = quotient(2 * step)
    with np.errstate(all="ignore"):  # no step: no estimate
        # Doubling the step makes a truncation error of order h^p 2^p times as large: the difference
        # is 2^p − 1 of it.
        truncation = abs(wider - result) / (1 if scheme in ONE_SIDED else 3)
        epsilon = max(epsilon_of(x.dtype), values.epsilon)
        rounding = epsilon * sum(map(abs, differences_of)) / step
        return _like(xp, result, x), _like(xp, truncation + rounding, x)


def _like(xp: Any, result: Any, x: Array) -> Any:
    """`result` in the dtype of `x`; of NumPy it may be a scalar."""
    return (
        result.astype(x.dtype, copy=False) if xp is np else xp.astype(result, x.dtype, copy=False)
    )


def _quotient(xp: Any, x: Array, scheme: str, f: Evaluations, step: Any) -> Quotient:
    if scheme == "complex":
        z = complex_copy(xp, x)
        with np.errstate(all="ignore"):
            z += 1j * (step if isinstance(step, float) else xp.astype(step, z.dtype))
        difference = xp.imag(f.perturbed(z[None, ...]))[0, ...]
        return divided_difference(difference, 0.0, step), (difference,)
    if scheme == "central":
        if xp is np:
            points = _on_both_sides(x, step)
        else:
            points = xp.stack([moved(x, step), moved(x, -step)])
        both = f.perturbed(points)
        above, below = both[0, ...], both[1, ...]
        step = 2 * step
    elif scheme == "forward":
        above, below = f.perturbed(moved(x, step)[None, ...])[0, ...], f.unperturbed()
    else:
        above, below = f.unperturbed(), f.perturbed(moved(x, -step)[None, ...])[0, ...]
    return divided_difference(above, below, step), (above, below)


def _on_both_sides(x: np.ndarray, step: Any) -> np.ndarray:
    """x + step and x − step, as :func:`moved` has them."""
    if not isinstance(step, float):
        return moved(x, np.array((step, -step)))
    both = _both_signs(step, x.dtype, x.ndim)
    return x + both if step < largest_lost_step(x.dtype) else moved(x, both)


@lru_cache(maxsize=16)
def _both_signs(step: float, dtype: np.dtype, ndim: int) -> np.ndarray:
    return np.array((step, -step), dtype).reshape(2, *[1] * ndim)


@np.errstate(all="ignore")  # where f is not finite, neither is the result
def divided_difference(above: Array, below: Array, width: Any) -> Array:
    """The difference quotient itself."""
    return (above - below) / width
