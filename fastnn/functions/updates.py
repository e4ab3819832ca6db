"""The rules by which optimizers move a parameter, as formulas of numbers or arrays alike.

Each is written once, without a constant and with the square root handed in: array operations use
it as it stands here, and compiled code compiles it for single numbers. Its arguments are the
parameter w, its gradient g, what the rule remembers of it (a tuple), the learning rate, and the
numbers that the hyperparameters come to; it returns the new parameter and what to remember, and
changes nothing.

Names and formulas are those of "Deep Learning from Scratch", chapter 6.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

#: What the book adds to a root before it divides by it.
ROOT_GUARD = 1e-7

State = tuple[Any, ...]
Moved = tuple[Any, State]


def sgd(sqrt: Any, w: Any, g: Any, state: State, rate: Any, numbers: State) -> Moved:
    """w − rate·g."""
    return w - rate * g, state


def momentum(sqrt: Any, w: Any, g: Any, state: State, rate: Any, numbers: State) -> Moved:
    """v ← m·v − rate·g, then w + v."""
    (v,) = state
    (m,) = numbers
    v = m * v - rate * g
    return w + v, (v,)


def nesterov(sqrt: Any, w: Any, g: Any, state: State, rate: Any, numbers: State) -> Moved:
    """w + m²·v − (1 + m)·rate·g, then v ← m·v − rate·g."""
    (v,) = state
    m, squared, one_more = numbers
    step = rate * g
    return w + squared * v - one_more * step, (m * v - step,)


def adagrad(sqrt: Any, w: Any, g: Any, state: State, rate: Any, numbers: State) -> Moved:
    """h ← h + g², then w − rate·g / (√h + 1e-7)."""
    (h,) = state
    (guard,) = numbers
    h = h + g * g
    return w - rate * g / (sqrt(h) + guard), (h,)


def rmsprop(sqrt: Any, w: Any, g: Any, state: State, rate: Any, numbers: State) -> Moved:
    """h ← d·h + (1 − d)·g², then w − rate·g / (√h + 1e-7)."""
    (h,) = state
    d, rest, guard = numbers
    h = d * h + rest * (g * g)
    return w - rate * g / (sqrt(h) + guard), (h,)


def adam(sqrt: Any, w: Any, g: Any, state: State, rate: Any, numbers: State) -> Moved:
    """m ← m + (1 − β₁)(g − m), v ← v + (1 − β₂)(g² − v), then w − rate·m / (√v + ε).

    The rate is the corrected one of the update at hand: :meth:`fastnn.optimizers.Adam.rate`.
    """
    m, v = state
    first, second, guard = numbers
    m = m + first * (g - m)
    v = v + second * (g * g - v)
    return w - rate * m / (sqrt(v) + guard), (m, v)


class Rule(NamedTuple):
    """How an optimizer moves a parameter."""

    formula: Callable[[Any, Any, Any, State, Any, State], Moved]
    state: tuple[str, ...]  # the names of what it remembers
    hyperparameters: tuple[str, ...]  # beside the learning rate
    numbers: Callable[..., State]  # what the formula takes, from the hyperparameters


#: Every rule by its name.
RULES = {
    "sgd": Rule(sgd, (), (), tuple),
    "momentum": Rule(momentum, ("v",), ("momentum",), lambda m: (m,)),
    "nesterov": Rule(nesterov, ("v",), ("momentum",), lambda m: (m, m * m, 1 + m)),
    "adagrad": Rule(adagrad, ("h",), (), lambda: (ROOT_GUARD,)),
    "rmsprop": Rule(rmsprop, ("h",), ("decay_rate",), lambda d: (d, 1 - d, ROOT_GUARD)),
    "adam": Rule(
        adam, ("m", "v"), ("beta1", "beta2", "epsilon"), lambda a, b, e: (1 - a, 1 - b, e)
    ),
}
