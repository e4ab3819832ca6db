"""Many steps against the numerical gradient of a two-layer network in one compiled call.

As in :mod:`.backprop_steps` the threads stay from step to step, and share out panels of hidden
units and the rows of a batch.
"""

from __future__ import annotations

from typing import Any

from numba import types

from .atomics import FINISHED, increase, own_part, take_part, wait_for
from .batches import SAMPLES_AHEAD
from .compression import prefetch_row
from .elementary import like
from .expansions import choose
from .helpers import shared
from .jit import inner, overloads, separate
from .numerical_gradient import EVALUATE, LEFT, OTHERS, OUTPUTS, POWERS, WIDTHS
from .numerical_gradient import stages_of as stages_of_gradient
from .panels import Panels
from .pointers import Stage, call
from .powers import add_hidden_bias_powers
from .rules import move_output_bias, move_panel
from .sparse_products import wide_weighted_rows
from .unperturbed import activate_units, prepare
from .vectors import prefetch
from .workspace import Workspace

#: Beside the stages of the gradient:
HIDDEN = OTHERS


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


@inner
def _fetch_targets(all_targets: Any, row: int) -> None:
    """Ask for those of a row to come; where they are has been asked for before."""
    begin, all_classes, all_weights = all_targets
    prefetch(all_classes, begin[row])
    prefetch(all_weights, begin[row])


@separate
def hidden_layer(
    p: int, samples: Any, rows: Any, activation: int, panels: Panels, work: Workspace
) -> None:
    """What there is to know of the units of a panel, for all rows."""
    prepare(p, panels.W2[p], panels.W2T.shape[1], work)
    far = rows.size > SAMPLES_AHEAD
    W1, b1 = panels.W1[p], panels.b1[p]
    wide_weighted_rows(samples, rows, 0, rows.size, far, W1, b1, work.a[p])
    activate_units(p, 0, rows.size, activation, work)


@inner
def _subtract(
    p: int,
    samples: Any,
    rows: Any,
    targets: Any,
    h: float,
    modes: Any,
    rate: Any,
    work: Workspace,
    stages: Any,
    of: Any,
) -> None:
    """Of the weights into and out of the units of a panel, and their biases: minus rate·gradient.

    That is subtracted from what `of` has for them, the parameters themselves or what was zero.
    """
    W1, b1, W2, left = of.W1[p], of.b1[p], of.W2[p], work.left[p]
    features = W1.shape[0]
    choose(0, work, left[0])
    choose(1, work, left[1])
    F1, F3 = work.first[p], work.third[p]
    of_panel = 0, features, left[0], work.begins[p], -rate, F1, F3, work.used[p], W1
    call(stages[POWERS], (samples, rows, *of_panel, stages[WIDTHS:]))
    add_hidden_bias_powers(left[0], -rate, F1, F3, b1)
    if left[0].any():
        others = work.hidden[p * (features + 1) : (p + 1) * (features + 1)]
        others[:] = 0
        own = p, p, 0, features, True
        call(stages[LEFT], (*own, samples, rows, targets, h, modes, work, others))
        for i in range(features):
            for j in range(b1.size):
                W1[i, j] -= rate * others[i, j]
        for j in range(b1.size):
            b1[j] -= rate * others[features, j]
    outputs = work.outputs[p]
    call(stages[OUTPUTS], (p, p, 0, outputs.shape[0], targets, h, modes, work))
    for j in range(work.used[p]):
        for k in range(outputs.shape[0]):
            W2[j, k] -= rate * like(rate, outputs[k, j])


@inner
def _subtract_output_bias(rate: Any, work: Workspace, of: Any) -> None:
    """The same of the biases of the output layer, which are with the first panel."""
    for k in range(work.outputs.shape[1]):
        of.b2[k] -= rate * like(rate, work.bias[k, 0])


def _descend(
    p: Any,
    samples: Any,
    rows: Any,
    targets: Any,
    h: Any,
    modes: Any,
    rate: Any,
    panels: Any,
    memory: Any,
    work: Any,
    stages: Any,
) -> None:
    """A step for the weights into and out of the units of a panel, and their biases.

    Those of the output layer go with the first panel.
    """
    raise NotImplementedError


@overloads(_descend)
def _overload_descend(
    p: Any,  # noqa: ARG001
    samples: Any,  # noqa: ARG001
    rows: Any,  # noqa: ARG001
    targets: Any,  # noqa: ARG001
    h: Any,  # noqa: ARG001
    modes: Any,  # noqa: ARG001
    rate: Any,  # noqa: ARG001
    panels: Any,  # noqa: ARG001
    memory: Any,
    work: Any,  # noqa: ARG001
    stages: Any,  # noqa: ARG001
) -> Any:
    def plain(
        p: Any,
        samples: Any,
        rows: Any,
        targets: Any,
        h: Any,
        modes: Any,
        rate: Any,
        panels: Any,
        memory: Any,  # noqa: ARG001
        work: Any,
        stages: Any,
    ) -> None:
        _subtract(p, samples, rows, targets, h, modes, rate, work, stages, panels)
        if p == 0:
            _subtract_output_bias(rate, work, panels)

    def by_rule(
        p: Any,
        samples: Any,
        rows: Any,
        targets: Any,
        h: Any,
        modes: Any,
        rate: Any,
        panels: Any,
        memory: Any,
        work: Any,
        stages: Any,
    ) -> None:
        minus, gradient = like(rate, -1), memory.gradient
        _subtract(p, samples, rows, targets, h, modes, minus, work, stages, gradient)
        move_panel(p, memory, memory.decay, rate, panels)
        if p == 0:
            _subtract_output_bias(minus, work, gradient)
            move_output_bias(memory, rate, panels)

    return by_rule if isinstance(memory, types.BaseNamedTuple) else plain


def stages_of(panels: Panels, samples: Any, rows: Any, *others: Any) -> list[Stage | None]:
    """The functions of a step, and arguments of the types that they have in it.

    After the panels come those of the gradient.
    """
    *_, modes, _, work = others
    of_gradient = stages_of_gradient(samples, rows, *others, work.used)
    return [*of_gradient, (hidden_layer, (0, samples, rows, modes[0], panels, work))]


@shared
def descent_steps(
    thread: int,
    counters: Any,
    threads: int,
    samples: Any,
    rows: Any,
    all_targets: Any,
    targets: Any,
    t: Any,
    h: float,
    modes: Any,
    rates: Any,
    panels: Panels,
    memory: Any,
    work: Workspace,
    losses: Any,
    stages: Any,
) -> None:
    """A step against the numerical gradient with each of the batches, and its loss.

    `rows` is of shape (steps, batch). `thread`, `counters`, `threads` and `memory` are those of the
    steps of backpropagation, `stages` those of `stages_of`; `targets` is space for the targets
    of a batch.
    """
    parts, batch = panels.W1.shape[0], rows.shape[1]
    mine = own_part(thread, threads, parts)
    for step in range(rows.shape[0]):
        own, next_rows = rows[step], rows[min(step + 1, rows.shape[0] - 1)]
        for stage in range(3):
            counter = counters[step, stage]
            number = take_part(counter, mine, parts)
            while number < parts:
                first, last = batch * number // parts, batch * (number + 1) // parts
                if stage == 0:
                    if number == 0:
                        _select_targets(all_targets, own, targets)
                    call(stages[HIDDEN], (number, samples, own, modes[0], panels, work))
                elif stage == 1:
                    if batch <= SAMPLES_AHEAD:
                        for n in range(first, last):
                            prefetch_row(samples, next_rows, n)
                            prefetch(all_targets[0], next_rows[n])
                    which = first, last, samples, own, panels.b2
                    with_what = targets, t, h, modes, panels.numbers, work
                    call(stages[EVALUATE], (*which, *with_what))
                else:
                    rate = like(panels.b2[0], rates[step])
                    if batch <= SAMPLES_AHEAD:
                        for n in range(first, last):
                            _fetch_targets(all_targets, next_rows[n])
                    of_panel = number, samples, own, targets, h, modes
                    _descend(*of_panel, rate, panels, memory, work, stages)
                    if number == 0:
                        losses[step] = like(losses[0], work.losses.sum())
                increase(counter, FINISHED)
                number = take_part(counter, number + 1, parts)
            wait_for(counter, FINISHED, parts)
