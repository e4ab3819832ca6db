"""Many steps of backpropagation on a two-layer network in one compiled call.

Called operation by operation, a step of the book's network spends time between the operations, and
each of these is too short for a second thread to wake up. Here the threads stay, and wait for one
another at the end of each stage of a step.

The threads share out the panels of hidden units (:mod:`.panels`) and the rows of a batch. Where
several share a panel, each has a group of the rows on the way forward, and of the features in the
update.
"""

from __future__ import annotations

from typing import Any

from .activations import activate, multiply_row_by_derivative
from .atomics import FINISHED, TAKEN, increase, own_part, take_part, wait_for
from .batches import SAMPLES_AHEAD, fetch, product_stages, products
from .elementary import like
from .helpers import shared
from .jit import inner, separate
from .objectives import (
    fetch_target,
    output_rows,
    penalty,
    subtract_target,
    total_weight,
    weight,
)
from .panel_steps import move_rest_of_panel, move_weights
from .panels import Panels
from .pointers import Stage, call, none_of
from .products import add_product
from .sorted_products import Sorted, sort_values


@separate
def hidden_layer(
    p: int, first: int, end: int, samples: Any, rows: Any, activation: int, panels: Panels
) -> None:
    """z1 of the units of a panel, for the rows first … end − 1."""
    products(samples, rows, first, end, panels.W1[p], panels.b1[p], panels.z1[p])
    z = panels.z1[p, first:end]  # at once: rows of a few vectors are too short to be quick
    activate(z.reshape(z.size), activation)


@separate
def output_layer(
    first: int, end: int, targets: Any, rows: Any, panels: Panels, objective: Any
) -> None:
    """The losses of the rows first … end − 1, and the derivatives by their logits."""
    total = total_weight(objective, rows)
    numbers, y, outputs = panels.numbers[first:end], panels.delta2[first:end], panels.W2T.shape[1]
    for n in range(y.shape[0]):
        for k in range(y.shape[1]):
            y[n, k] = panels.b2[k]
    for p in range(panels.W1.shape[0]):
        add_product(panels.z1[p], numbers, panels.used[p], panels.W2[p], y)
    output_rows(objective, targets, y, outputs)
    for n in range(y.shape[0]):
        row = rows[first + n]
        own = weight(objective, row)
        panels.losses[first + n] = own * subtract_target(objective, targets, row, y[n], outputs)
        share = like(panels.b2[0], own / total)
        for k in range(y.shape[1]):
            y[n, k] *= share


@separate
def hidden_delta(p: int, first: int, end: int, activation: int, panels: Panels) -> None:
    """delta1 of the units of a panel, for the rows first … end − 1."""
    delta, outputs = panels.delta1[p, first:end], panels.W2T.shape[1]
    every = delta.reshape(delta.size)
    for s in range(every.size):
        every[s] = like(every[s], 0)
    add_product(panels.delta2, panels.numbers[first:end], outputs, panels.W2T[p], delta)
    multiply_row_by_derivative(panels.z1[p, first:end].reshape(delta.size), activation, every)


@inner
def _loss(rows: Any, objective: Any, panels: Panels) -> float:
    """The mean of the losses of a batch, and the penalty of the weights that made them."""
    total, weight = 0.0, total_weight(objective, rows)
    for n in range(rows.size):
        total += panels.losses[n]
    return total / weight + penalty(objective, weight, panels)


#: The functions of a step, each of which is compiled by itself, and from where on those are that
#: WEIGHTS calls.
HIDDEN, REST, OUTPUTS, WEIGHTS, DELTA, SORT, PRODUCTS = range(7)


def stages_of(
    samples: Any,
    by_feature: Sorted,
    rows: Any,
    targets: Any,
    activation: int,
    panels: Panels,
    memory: Any,
    objective: Any,
) -> list[Stage | None]:
    """Each of them, and arguments of the types that it has in :func:`descent_steps`.

    None stands for what is not called: where no memory is given to sort values in, nothing sorts.
    """
    batch, moved = rows[0], (panels.b2[0], panels, memory, objective)
    update = by_feature if by_feature.most else samples
    of_update = product_stages(panels.used, panels.W1[0], update, batch, panels.delta1[0])
    stages: dict[int, Stage | None] = {
        HIDDEN: (hidden_layer, (0, 0, 0, samples, batch, activation, panels)),
        REST: (move_rest_of_panel, (0, batch, *moved)),
        OUTPUTS: (output_layer, (0, 0, targets, batch, panels, objective)),
        WEIGHTS: (move_weights, (0, 0, update, batch, *moved, none_of(of_update))),
        DELTA: (hidden_delta, (0, 0, 0, activation, panels)),
        SORT: (sort_values, (0, 0, 0, samples, batch, by_feature)) if by_feature.most else None,
    }
    return [*stages.values(), *of_update]


@shared
def descent_steps(
    thread: int,
    counters: Any,
    threads: int,
    samples: Any,
    by_feature: Sorted,
    rows: Any,
    targets: Any,
    activation: int,
    rates: Any,
    panels: Panels,
    memory: Any,
    objective: Any,
    losses: Any,
    stages: Any,
) -> None:
    """A step with each of the batches `rows` (steps, batch), at its rate, and its loss.

    Batches may be smaller than those that `panels` are for. Several threads can call this at the
    same time, and share the work.

    Parameters
    ----------
    thread, threads : int
        Which of how many threads this one is.
    counters : int64 array of shape (1 + steps, 3, 1 + panels · groups), or with more than that
        Zeros: for each stage, how many of its parts are finished, and then whether each of them is
        taken.
    by_feature : Sorted
        Memory to sort the values of compressed samples in, a part of them for each group of each
        panel; or none, of samples with 0 values at most.
    memory : Memory or ()
        Of the rule by which the parameters are moved; none of plain descent.
    objective : Objective or ()
        What is minimised; the book's cross-entropy without one.
    stages : int64 array
        Pointers to the functions of :func:`stages_of`.
    """
    groups, batch = panels.groups, rows.shape[1]
    parts = panels.W1.shape[0] * groups
    mine = own_part(thread, threads, parts)
    for step in range(rows.shape[0]):
        next_rows = rows[min(step + 1, rows.shape[0] - 1)]
        for stage in range(3):
            counter = counters[step, stage]
            number = take_part(counter, mine, parts)
            while number < parts:
                p, group = number // groups, number % groups
                if stage == 0:
                    if number == 0 and step > 0:
                        losses[step - 1] = _loss(rows[step - 1], objective, panels)
                    first, end = batch * group // groups, batch * (group + 1) // groups
                    which = p, first, end, samples, rows[step]
                    call(stages[HIDDEN], (*which, activation, panels))
                elif stage == 1:
                    # Rows of samples are far from the processor, and each thread brings some of the
                    # next ones nearer.
                    first, end = batch * number // parts, batch * (number + 1) // parts
                    if batch <= SAMPLES_AHEAD:
                        for n in range(first, end):
                            fetch(samples, next_rows, n)
                            fetch_target(targets, next_rows[n])
                    call(stages[OUTPUTS], (first, end, targets, rows[step], panels, objective))
                    # In the next stage each group of the features needs those of all samples.
                    if groups > 1:
                        for p in range(panels.W1.shape[0]):
                            call(stages[DELTA], (p, first, end, activation, panels))
                    if by_feature.most > 0:
                        call(stages[SORT], (number, first, end, samples, rows[step], by_feature))
                else:
                    rate = like(panels.b2[0], rates[step])
                    # Where a panel is not shared: a thread finds them in its own cache then.
                    if groups == 1:
                        call(stages[DELTA], (p, 0, batch, activation, panels))
                    moved, own = (rate, panels, memory, objective), stages[PRODUCTS:]
                    if group == 0:
                        call(stages[REST], (p, rows[step], *moved))
                    if by_feature.most > 0:
                        call(stages[WEIGHTS], (p, group, by_feature, rows[step], *moved, own))
                    else:
                        call(stages[WEIGHTS], (p, group, samples, rows[step], *moved, own))
                increase(counter, FINISHED)
                number = take_part(counter, number + 1, parts)
            wait_for(counter, FINISHED, parts)
    # When all panels have their squares; whoever comes to it first.
    counter, last = counters[rows.shape[0], 0], rows.shape[0] - 1
    if increase(counter, TAKEN) == 0:
        losses[last] = _loss(rows[last], objective, panels)
        increase(counter, FINISHED)
    wait_for(counter, FINISHED, 1)
