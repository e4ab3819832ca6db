"""Many steps against the numerical gradient of a two-layer network in one compiled call.

The threads stay from step to step, the memory is the same for all steps, and a thread updates those
weights whose gradient it has found.
"""

from __future__ import annotations

from typing import Any

from numba import types

from .atomics import FINISHED, TAKEN, increase, wait_for
from .elementary import like
from .jit import inner, kernel, overloads
from .numerical_gradient import cut_features, outputs_of, perturb
from .rules import move, part
from .unperturbed import evaluate_in_blocks, prepare
from .workspace import Workspace


@inner
def _select_targets(all_targets: Any, rows: Any, targets: Any) -> None:
    """The targets of these rows; they, and those of all, are (start, classes, weights)."""
    begin, all_classes, all_weights = all_targets
    start, classes, weights = targets
    pair = 0
    for n in range(rows.size):
        for s in range(begin[rows[n]], begin[rows[n] + 1]):
            classes[pair], weights[pair] = all_classes[s], all_weights[s]
            pair += 1
        start[n + 1] = pair


def _descend(
    number: Any, parts: Any, scale: Any, rate: Any, parameters: Any, memory: Any, work: Any
) -> None:
    """A step against the gradients of a part, which are `scale` times what `perturb` has summed.

    Nobody reads these parameters any more then.
    """
    raise NotImplementedError


@overloads(_descend)
def _overload_descend(
    number: Any,  # noqa: ARG001
    parts: Any,  # noqa: ARG001
    scale: Any,  # noqa: ARG001
    rate: Any,  # noqa: ARG001
    parameters: Any,  # noqa: ARG001
    memory: Any,
    work: Any,  # noqa: ARG001
) -> Any:
    def plain(
        number: Any,
        parts: Any,
        scale: Any,
        rate: Any,
        parameters: Any,
        memory: Any,  # noqa: ARG001
        work: Any,
    ) -> None:
        W1, b1, W2, b2 = parameters
        J = b1.size
        first, last = work.bounds[number], work.bounds[number + 1]
        hidden = work.hidden[first + number : last + number + 1]
        factor = like(hidden[0, 0], scale)
        for i in range(first, last):
            for j in range(J):
                W1[i, j] -= rate * (factor * hidden[i - first, j])
        if number == parts - 1:
            for j in range(J):
                b1[j] -= rate * (factor * hidden[last - first, j])
        for k in range(*outputs_of(number, parts, work)):
            for j in range(J):
                W2[j, k] -= rate * like(rate, scale * work.outputs[k, j])
            b2[k] -= rate * like(rate, scale * work.outputs[k, J])

    def by_rule(
        number: Any, parts: Any, scale: Any, rate: Any, parameters: Any, memory: Any, work: Any
    ) -> None:
        W1, b1, W2, b2 = parameters
        J = b1.size
        first, last = work.bounds[number], work.bounds[number + 1]
        hidden = work.hidden[first + number : last + number + 1]
        factor = like(hidden[0, 0], scale)
        for i in range(first, last):
            move(
                memory, memory.decay, rate, factor, W1[i], hidden[i - first, :J], part(memory.W1, i)
            )
        if number == parts - 1:
            move(memory, memory.decay, rate, factor, b1, hidden[last - first, :J], memory.b1)
            memory.made[0] += 1
        for k in range(*outputs_of(number, parts, work)):
            column, own, gradient = (slice(None), k), slice(k, k + 1), work.outputs[k]
            move(
                memory, memory.decay, rate, scale, W2[column], gradient[:J], part(memory.W2, column)
            )
            move(
                memory,
                memory.decay,
                rate,
                scale,
                b2[own],
                gradient[J : J + 1],
                part(memory.b2, own),
            )

    return by_rule if isinstance(memory, types.BaseNamedTuple) else plain


@kernel
def descent_steps(
    counters: Any,
    parts: int,
    samples: Any,
    rows: Any,
    W1: Any,
    b1: Any,
    W2: Any,
    b2: Any,
    all_targets: Any,
    targets: Any,
    t: Any,
    h: float,
    modes: Any,
    rates: Any,
    memory: Any,
    work: Workspace,
    losses: Any,
) -> None:
    """A step against the numerical gradient with each of the batches, and its loss.

    `rows` is of shape (steps, batch). `counters` are those of each step; `targets` is space for
    those of a batch, and `memory` is that of the rule, or () of plain descent.
    """
    for step in range(rows.shape[0]):
        batch = rows[step]
        preparation, evaluation, perturbation = (
            counters[step, 0],
            counters[step, 1],
            counters[step, 2],
        )
        if increase(preparation, TAKEN) == 0:
            _select_targets(all_targets, batch, targets)
            prepare(W2, work)
            if step == 0:  # one batch is like the other
                cut_features(samples, batch, parts, 0.0, work)
            increase(preparation, FINISHED)
        wait_for(preparation, FINISHED, 1)
        evaluate_in_blocks(evaluation, parts, samples, batch, W1, b1, b2, targets, t, modes, work)
        while True:
            number = increase(perturbation, TAKEN)
            if number >= parts:
                break
            scale = perturb(number, parts, samples, batch, targets, h, modes, work, b1.size)
            rate = like(b1[0], rates[step])
            _descend(number, parts, scale, rate, (W1, b1, W2, b2), memory, work)
            if number == 0:
                losses[step] = like(losses[0], work.losses.sum())
            increase(perturbation, FINISHED)
        wait_for(perturbation, FINISHED, parts)
