"""The rules of optimizers in compiled code: one loop for all of them and for every kernel.

The formulas are those of :mod:`fastnn.functions.updates`, compiled for numbers. Which rule it is is
told by the type of the :class:`Memory`, so that a kernel is compiled for each; plain gradient
descent has none, an empty tuple, and goes by kernels that need no gradient in memory.

A rule moves all weights, also those into which no feature of the batch leads: their gradient is
zero, but what is remembered of them decays. The loop over them is one pass over the gradient, the
weights and what is remembered, of which LLVM makes vectors, and it sets the gradient back to zero
for the next batch.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ....functions.updates import RULES
from .elementary import like
from .jit import inlined, inner, overloads


class Memory(NamedTuple):
    """What a rule works with: numbers, and arrays for each parameter."""

    decay: Any  # the weight decay, of the dtype of the parameters, as the numbers
    numbers: tuple[Any, ...]
    made: np.ndarray  # how many steps have been made, int64 of shape (1,)
    gradient: Any  # zeros, with the fields W1, b1, W2, b2; not of the numerical gradient
    W1: tuple[np.ndarray, ...]  # what is remembered, each array laid out as the parameter
    b1: tuple[np.ndarray, ...]
    W2: tuple[np.ndarray, ...]
    b2: tuple[np.ndarray, ...]


class Sgd(Memory):
    """Of plain descent, with a weight decay."""


class Momentum(Memory):
    """v."""


class Nesterov(Memory):
    """v."""


class AdaGrad(Memory):
    """h."""


class RMSprop(Memory):
    """h."""


class Adam(Memory):
    """m and v."""


#: The type of the memory by the name of the rule.
MEMORIES: dict[str, Any] = {
    cls.__name__.lower(): cls for cls in (Sgd, Momentum, Nesterov, AdaGrad, RMSprop, Adam)
}

_FORMULAS = {cls: inlined(RULES[name].formula) for name, cls in MEMORIES.items()}


def part(arrays: Any, index: Any) -> Any:
    """array[index] of each array of a tuple; for compiled code only."""
    raise NotImplementedError


@overloads(part)
def _overload_part(arrays: Any, index: Any) -> Any:  # noqa: ARG001
    def of_none(arrays: Any, index: Any) -> Any:  # noqa: ARG001
        return ()

    def of_one(arrays: Any, index: Any) -> Any:
        return (arrays[0][index],)

    def of_two(arrays: Any, index: Any) -> Any:
        return arrays[0][index], arrays[1][index]

    return (of_none, of_one, of_two)[len(arrays)]


def move(memory: Any, decay: Any, rate: Any, scale: Any, w: Any, gradient: Any, state: Any) -> None:
    """Move parameters by a rule against `scale` times a gradient, which is zero afterwards.

    Of the parameters themselves `decay` times as much is added to that. For compiled code only. All
    are of one row.
    """
    raise NotImplementedError


@overloads(move)
def _overload_move(
    memory: Any,
    decay: Any,  # noqa: ARG001
    rate: Any,  # noqa: ARG001
    scale: Any,  # noqa: ARG001
    w: Any,  # noqa: ARG001
    gradient: Any,  # noqa: ARG001
    state: Any,
) -> Any:
    formula = _FORMULAS[memory.instance_class]

    def with_none(
        memory: Any,
        decay: Any,
        rate: Any,
        scale: Any,
        w: Any,
        gradient: Any,
        state: Any,  # noqa: ARG001
    ) -> None:
        for i in range(w.size):
            g = like(rate, scale * gradient[i]) + decay * w[i]
            w[i], _ = formula(np.sqrt, w[i], g, (), rate, memory.numbers)
            gradient[i] = 0

    def with_one(
        memory: Any, decay: Any, rate: Any, scale: Any, w: Any, gradient: Any, state: Any
    ) -> None:
        first = state[0]
        for i in range(w.size):
            g = like(rate, scale * gradient[i]) + decay * w[i]
            w[i], (first[i],) = formula(np.sqrt, w[i], g, (first[i],), rate, memory.numbers)
            gradient[i] = 0

    def with_two(
        memory: Any, decay: Any, rate: Any, scale: Any, w: Any, gradient: Any, state: Any
    ) -> None:
        first, second = state
        for i in range(w.size):
            g = like(rate, scale * gradient[i]) + decay * w[i]
            remembered = first[i], second[i]
            w[i], (first[i], second[i]) = formula(
                np.sqrt, w[i], g, remembered, rate, memory.numbers
            )
            gradient[i] = 0

    return (with_none, with_one, with_two)[len(state)]


@inner
def move_rows(
    memory: Any, decay: Any, rate: Any, scale: Any, w: Any, gradient: Any, state: Any
) -> None:
    """The same for matrices that are C-contiguous, as one row."""
    flat = flattened(state)
    move(memory, decay, rate, scale, w.reshape(w.size), gradient.reshape(w.size), flat)


def flattened(arrays: Any) -> Any:
    """Each array of a tuple as one row; for compiled code only."""
    raise NotImplementedError


@overloads(flattened)
def _overload_flattened(arrays: Any) -> Any:
    def of_none(arrays: Any) -> Any:  # noqa: ARG001
        return ()

    def of_one(arrays: Any) -> Any:
        return (arrays[0].reshape(arrays[0].size),)

    def of_two(arrays: Any) -> Any:
        return arrays[0].reshape(arrays[0].size), arrays[1].reshape(arrays[1].size)

    return (of_none, of_one, of_two)[len(arrays)]


@inner
def move_panel(p: int, memory: Any, of_weights: Any, rate: Any, panels: Any) -> None:
    """Move the weights into and out of the units of a panel, and their biases.

    That is against `memory.gradient`; of the weights themselves `of_weights` times as much is added
    to it.
    """
    one, gradient = like(rate, 1), memory.gradient
    move_rows(memory, of_weights, rate, one, panels.W1[p], gradient.W1[p], part(memory.W1, p))
    move_rest(p, memory, of_weights, rate, panels)


@inner
def move_rest(p: int, memory: Any, of_weights: Any, rate: Any, panels: Any) -> None:
    """The same of what is no weight into a unit."""
    one, gradient = like(rate, 1), memory.gradient
    move(memory, memory.decay, rate, one, panels.b1[p], gradient.b1[p], part(memory.b1, p))
    move_rows(memory, of_weights, rate, one, panels.W2[p], gradient.W2[p], part(memory.W2, p))


@inner
def move_output_bias(memory: Any, rate: Any, panels: Any) -> None:
    """The same of the biases of the output layer; with them a step is made."""
    move(memory, memory.decay, rate, like(rate, 1), panels.b2, memory.gradient.b2, memory.b2)
    memory.made[0] += 1
