"""The step of the parameters of a panel, by plain descent or by the rule of an optimizer.

Which of the two it is is told by types: of plain descent there is no memory, and the gradient is
stored nowhere. They need delta1 and delta2, the derivatives by the units and by the logits.
"""

from __future__ import annotations

from typing import Any

from numba import types

from .batches import blocks_of, subtract_products
from .elementary import like
from .jit import inner, overloads, separate
from .objectives import decay, squares, total_weight
from .panels import Panels
from .products import subtract_product
from .rules import move_output_bias, move_rest, move_rows, part


@inner
def _subtract_rest(p: int, rows: Any, rate: Any, panels: Panels, of: Any) -> None:
    """Of the biases of the units of a panel, and the weights out of them: minus rate·gradient.

    That is subtracted from what `of` has for them, the parameters themselves or what was zero.
    """
    b1, delta = of.b1[p], panels.delta1[p]
    for n in range(rows.size):
        for j in range(b1.size):
            b1[j] -= rate * delta[n, j]
    numbers = panels.numbers[: rows.size]
    subtract_product(panels.z1[p], numbers, 0, panels.used[p], rate, panels.delta2, of.W2[p])


@inner
def _subtract_output_bias(rows: Any, rate: Any, panels: Panels, of: Any) -> None:
    """The same of the biases of the output layer."""
    for n in range(rows.size):
        for k in range(of.b2.size):
            of.b2[k] -= rate * panels.delta2[n, k]


def _step_of_rest(p: Any, rows: Any, rate: Any, panels: Any, memory: Any, objective: Any) -> None:
    """A step for the biases of the units of a panel, and the weights out of them.

    The biases of the output layer go with the first panel.
    """
    raise NotImplementedError


@overloads(_step_of_rest)
def _overload_step_of_rest(
    p: Any,  # noqa: ARG001
    rows: Any,  # noqa: ARG001
    rate: Any,  # noqa: ARG001
    panels: Any,  # noqa: ARG001
    memory: Any,
    objective: Any,  # noqa: ARG001
) -> Any:
    def plain(
        p: Any,
        rows: Any,
        rate: Any,
        panels: Any,
        memory: Any,  # noqa: ARG001
        objective: Any,  # noqa: ARG001
    ) -> None:
        _subtract_rest(p, rows, rate, panels, panels)
        if p == 0:
            _subtract_output_bias(rows, rate, panels, panels)

    def by_rule(p: Any, rows: Any, rate: Any, panels: Any, memory: Any, objective: Any) -> None:
        of_weights = memory.decay + like(rate, decay(objective, total_weight(objective, rows)))
        minus, gradient = like(rate, -1), memory.gradient
        panels.squares[p, 0] = squares(objective, panels.W2[p])
        _subtract_rest(p, rows, minus, panels, gradient)
        move_rest(p, memory, of_weights, rate, panels)
        if p == 0:
            _subtract_output_bias(rows, minus, panels, gradient)
            move_output_bias(memory, rate, panels)

    return by_rule if isinstance(memory, types.BaseNamedTuple) else plain


@separate
def move_rest_of_panel(
    p: int, rows: Any, rate: Any, panels: Panels, memory: Any, objective: Any
) -> None:
    """The step of all that goes with a panel but the weights into its units."""
    _step_of_rest(p, rows, rate, panels, memory, objective)
    W2, W2T = panels.W2[p], panels.W2T[p]
    for j in range(panels.used[p]):
        for k in range(W2T.shape[0]):
            W2T[k, j] = W2[j, k]


@inner
def _features_of(group: int, panels: Panels) -> tuple[int, int]:
    """The first feature of a group, and the first that is no more of it."""
    features, groups = panels.W1.shape[1], panels.groups
    return features * group // groups, features * (group + 1) // groups


def _step_of_weights(
    p: Any,
    group: Any,
    samples: Any,
    rows: Any,
    rate: Any,
    panels: Any,
    memory: Any,
    objective: Any,
    pointers: Any,
) -> None:
    """A step for the weights from a group of the features into a panel's units, by xᵀ·delta1."""
    raise NotImplementedError


@overloads(_step_of_weights)
def _overload_step_of_weights(
    p: Any,  # noqa: ARG001
    group: Any,  # noqa: ARG001
    samples: Any,  # noqa: ARG001
    rows: Any,  # noqa: ARG001
    rate: Any,  # noqa: ARG001
    panels: Any,  # noqa: ARG001
    memory: Any,
    objective: Any,  # noqa: ARG001
    pointers: Any,  # noqa: ARG001
) -> Any:
    def plain(
        p: Any,
        group: Any,
        samples: Any,
        rows: Any,
        rate: Any,
        panels: Any,
        memory: Any,  # noqa: ARG001
        objective: Any,  # noqa: ARG001
        pointers: Any,
    ) -> None:
        W, delta, used = panels.W1[p], panels.delta1[p], panels.used[p]
        low, high = _features_of(group, panels)
        subtract_products(samples, rows, low, high, rate, delta, used, W[low:high], pointers)

    def by_rule(
        p: Any,
        group: Any,
        samples: Any,
        rows: Any,
        rate: Any,
        panels: Any,
        memory: Any,
        objective: Any,
        pointers: Any,
    ) -> None:
        of_weights = memory.decay + like(rate, decay(objective, total_weight(objective, rows)))
        W, gradient, state = panels.W1[p], memory.gradient.W1[p], part(memory.W1, p)
        delta, one, minus = panels.delta1[p], like(rate, 1), like(rate, -1)
        begin, end = _features_of(group, panels)
        features, blocks, total = end - begin, blocks_of(samples, W[begin:end]), 0.0
        for block in range(blocks):
            low, high = begin + features * block // blocks, begin + features * (block + 1) // blocks
            some, g = slice(low, high), gradient[begin : begin + high - low]
            how = minus, delta, panels.used[p]
            subtract_products(samples, rows, low, high, *how, g, pointers)
            total += squares(objective, W[some])
            move_rows(memory, of_weights, rate, one, W[some], g, part(state, some))
        panels.squares[p, 1 + group] = total

    return by_rule if isinstance(memory, types.BaseNamedTuple) else plain


@separate
def move_weights(
    p: int,
    group: int,
    samples: Any,
    rows: Any,
    rate: Any,
    panels: Panels,
    memory: Any,
    objective: Any,
    pointers: Any,
) -> None:
    """The step of the weights from a group of the features into the units of a panel."""
    _step_of_weights(p, group, samples, rows, rate, panels, memory, objective, pointers)
