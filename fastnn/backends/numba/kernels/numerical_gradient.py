"""The incremental numerical gradient, the formulas of :mod:`fastnn.backends.incremental`.

For every parameter the loss at +h and at −h is evaluated from what the perturbation changes, and
their difference summed over the samples. First comes the unperturbed network (:mod:`.unperturbed`),
then all samples of which the differences are two powers (:mod:`.expansions`, :mod:`.powers`), and
then those of which they are not (:mod:`.hidden_differences`, :mod:`.output_differences`). Rows of
the accumulators are padded to whole vectors.

Several threads can call a kernel at the same time. They share out the samples, then the features
and the outputs, so that none writes where another does. How many they are, and when they come,
makes no difference to the result. Among the arguments, also of :mod:`.numerical_steps`, are

thread, parts
    Which of so many threads this one is; the features and the outputs are cut into as many parts.
counters
    Zeros, for each of the three stages as many as :data:`BLOCKS` blocks a part need.
samples, rows
    Compressed rows, (indptr, indices, values), and which of them.
dense
    The same rows with all their values, (samples, features), if few are zeros; else of no size.
numbers
    0, 1, … for each of them.
targets
    For the cross-entropy: (start, classes, weights), the non-zero targets of sample n from start[n]
    on.
t
    For the squared error: all the targets (n, k), in float64.
modes
    The code of the activation, and whether the loss is the cross-entropy.
work
    From :func:`.workspace.workspace`.
gradients
    Those of W1, b1, W2 and b2, to be written.
stages
    Pointers to the functions of :func:`stages_of`.
"""

from __future__ import annotations

from typing import Any

from .atomics import CALLER, FINISHED, increase, own_part, take_part, wait_for
from .dense_samples import add_dense_powers, copy_weights, dense_layer
from .elementary import like
from .expansions import choose
from .helpers import shared
from .hidden_differences import hidden_cross_entropy, hidden_squared_error
from .jit import inner, separate
from .output_differences import output_cross_entropy, output_squared_error
from .pointers import Stage, call, none_of
from .powers import (
    HIDDEN_POWERS,
    add_hidden_bias_powers,
    add_hidden_powers,
    add_output_bias_powers,
    add_output_powers,
)
from .sparse_products import weighted_rows
from .unperturbed import activate_units, evaluate, prepare
from .vectors import WIDE, lanes, load, store
from .workspace import Workspace

#: Into how many blocks the samples are cut for each thread: a thread that comes late still finds
#: some, and one of too few samples takes longer for each.
BLOCKS = 4

#: What is compiled by itself, for this kernel and for that of many steps.
OUTPUTS, LEFT, POWERS, EVALUATE = range(4)
#: From where on those are that POWERS calls, and what comes after them.
WIDTHS = 4
OTHERS = WIDTHS + HIDDEN_POWERS.COUNT


def stages_of(
    samples: Any,
    rows: Any,
    b2: Any,
    targets: Any,
    t: Any,
    h: float,
    modes: Any,
    numbers: Any,
    work: Workspace,
    used: Any,
) -> list[Stage | None]:
    """The functions, and arguments of the types that they have in the kernels.

    Of compressed samples: as many columns of the panels of units are `used`; None stands for what
    is not called then.
    """
    F1, F3, hidden, left = work.first[0], work.third[0], work.hidden, work.left[0, 0]
    with_what = left, work.begins[0], hidden.dtype.type(1), F1, F3
    widths = HIDDEN_POWERS.stages(used, hidden, samples, rows, 0, 0, *with_what)
    powers = samples, rows, 0, 0, *with_what, work.used[0], hidden, none_of(widths)
    of_targets = targets, h, modes, work
    stages = {
        OUTPUTS: (perturb_outputs, (0, 0, 0, 0, *of_targets)),
        LEFT: (add_left_of_hidden, (0, 0, 0, 0, True, samples, rows, *of_targets, hidden)),
        POWERS: (add_hidden_powers, powers),
        EVALUATE: (evaluate, (0, 0, samples, rows, b2, targets, t, h, modes, numbers, work)),
    }
    return [*stages.values(), *widths]


#: And beside that for this kernel alone.
DENSE_LAYER, DENSE_POWERS = range(OTHERS, OTHERS + 2)


def all_stages_of(dense: Any, b1: Any, samples: Any, rows: Any, *others: Any) -> list[Stage | None]:
    """All functions of this kernel, likewise."""
    *_, numbers, work = others
    powers = work.left[0, 0], work.begins[0], work.packed[0], work.first[0], work.third[0]
    stages = {
        DENSE_LAYER: (dense_layer, (0, 0, dense, b1, numbers, work)),
        DENSE_POWERS: (add_dense_powers, (0, 0, dense, *powers, work.hidden)),
    }
    used = () if dense.size else work.used
    return [*stages_of(samples, rows, *others, used), *stages.values()]


@inner
def _feature_bounds(samples: Any, rows: Any, parts: int, counts: Any, bounds: Any) -> None:
    """Where to cut the features into `parts` with about as many non-zero values each."""
    indptr, indices, _ = samples
    features = counts.size
    for i in range(features):
        counts[i] = 0
    total = 0
    for n in range(0, rows.size, 1 + rows.size // 32):  # a sample of the rows is enough
        for s in range(indptr[rows[n]], indptr[rows[n] + 1]):
            counts[indices[s]] += 1
            total += 1
    for part in range(1, parts + 1):
        bounds[part] = features
    bounds[0] = 0
    part, seen = 1, 0
    for i in range(features):
        while part < parts and total and seen * parts >= total * part:
            bounds[part] = i
            part += 1
        seen += counts[i]


@inner
def _cut_features(samples: Any, rows: Any, dense: Any, parts: int, work: Workspace) -> None:
    """Give each part its features."""
    features = work.features.shape[1] - 1
    if parts > 1 and dense.size == 0:
        _feature_bounds(samples, rows, parts, work.features[0, :-1], work.bounds)
        return
    work.bounds[0], work.bounds[parts] = 0, features
    for part in range(1, parts):
        work.bounds[part] = features * part // parts


@inner
def _copy(a: Any, out: Any) -> None:
    """The first elements of `a` into all of `out`."""
    n = lanes(out, WIDE)
    if out.size < n:
        for j in range(out.size):
            out[j] = a[j]
        return
    for j in range(0, out.size - n, n):
        store(out, j, load(a, j, WIDE))
    store(out, out.size - n, load(a, out.size - n, WIDE))  # writes some elements once more


@separate
def add_left_of_hidden(
    part: int,
    p: int,
    first: int,
    last: int,
    bias: bool,
    samples: Any,
    rows: Any,
    targets: Any,
    h: float,
    modes: Any,
    work: Workspace,
    hidden: Any,
) -> None:
    """Add the gradients of the samples for which two powers are not exact, for a panel of units."""
    activation, cross_entropy = modes
    for n in range(rows.size):
        if work.left[part, 0, n]:
            of_sample = n, first, last, bias, samples, rows[n]
            if cross_entropy:
                hidden_cross_entropy(*of_sample, targets, h, activation, part, p, work, hidden)
            else:
                hidden_squared_error(*of_sample, h, activation, part, p, work, hidden)


@separate
def perturb_outputs(
    part: int, p: int, first: int, last: int, targets: Any, h: float, modes: Any, work: Workspace
) -> None:
    """The gradients of the weights from a panel of units into the outputs first … last − 1.

    With the first panel also those of the biases of these outputs.
    """
    total, bias, left = work.outputs[p], work.bias, work.left[part, 1]
    for k in range(first, last):
        for j in range(total.shape[1]):
            total[k, j] = 0.0
        for j in range(bias.shape[1] if p == 0 else 0):
            bias[k, j] = 0.0
    add_output_powers(first, last, left, work.z[p], work.outputs1, work.outputs3, total)
    if p == 0:
        add_output_bias_powers(first, last, left, work.outputs1, work.outputs3, bias)
    for n in range(left.size):
        if left[n]:
            _add_left_of_outputs(n, work.z[p, n], first, last, targets, h, modes, work, total)
            if p == 0:
                _add_left_of_outputs(n, work.one, first, last, targets, h, modes, work, bias)


@inner
def _add_left_of_outputs(
    n: int,
    z: Any,
    first: int,
    last: int,
    targets: Any,
    h: float,
    modes: Any,
    work: Workspace,
    total: Any,
) -> None:
    if modes[1]:
        output_cross_entropy(n, z, first, last, targets, h, work, total)
    else:
        output_squared_error(n, z, first, last, work, total)


@inner
def _perturb(
    part: int,
    parts: int,
    samples: Any,
    rows: Any,
    dense: Any,
    targets: Any,
    h: float,
    modes: Any,
    work: Workspace,
    stages: Any,
) -> None:
    """The gradients of one part of the features and of the outputs; there is one panel of units."""
    first, last, bias = work.bounds[part], work.bounds[part + 1], part == parts - 1
    hidden, left = work.hidden[first + part : last + part + 1], work.left[part]
    for i in range(hidden.shape[0]):
        for j in range(hidden.shape[1]):
            hidden[i, j] = like(hidden[0, 0], 0.0)
    choose(0, work, left[0])
    choose(1, work, left[1])
    F1, F3, one = work.first[0], work.third[0], like(hidden[0, 0], 1)
    space = work.begins[part]
    if dense.size > 0:
        own_space = space, work.packed[part]
        call(stages[DENSE_POWERS], (first, last, dense, left[0], *own_space, F1, F3, hidden))
    else:
        of_part = first, last, left[0], space, one, F1, F3, work.used[0], hidden
        call(stages[POWERS], (samples, rows, *of_part, stages[WIDTHS:]))
    if bias:
        add_hidden_bias_powers(left[0], one, F1, F3, hidden[last - first])
    own = part, 0, first, last, bias
    call(stages[LEFT], (*own, samples, rows, targets, h, modes, work, hidden))
    low, high = _outputs_of(part, parts, work)
    call(stages[OUTPUTS], (part, 0, low, high, targets, h, modes, work))


@inner
def _outputs_of(part: int, parts: int, work: Workspace) -> tuple[int, int]:
    """The first of the outputs of a part, and the first that is no more of them."""
    outputs = work.y.shape[1]
    return outputs * part // parts, outputs * (part + 1) // parts


@inner
def _write(part: int, parts: int, work: Workspace, gradients: Any) -> None:
    """The gradients of a part, from where `perturb` has left them."""
    dW1, db1, dW2, db2 = gradients
    J = db1.size
    first, last = work.bounds[part], work.bounds[part + 1]
    hidden = work.hidden[first + part : last + part + 1]
    for i in range(first, last):
        _copy(hidden[i - first], dW1[i])
    if part == parts - 1:
        _copy(hidden[last - first], db1)
    first, last = _outputs_of(part, parts, work)
    for k in range(first, last):
        for j in range(J):
            dW2[j, k] = work.outputs[0, k, j]
        db2[k] = work.bias[k, 0]


@inner
def _evaluate_blocks(
    thread: int,
    counters: Any,
    parts: int,
    samples: Any,
    rows: Any,
    dense: Any,
    W1: Any,
    b1: Any,
    b2: Any,
    targets: Any,
    t: Any,
    h: float,
    modes: Any,
    numbers: Any,
    work: Workspace,
    stages: Any,
) -> None:
    """The unperturbed network; returns when all of it has been evaluated, whoever did it."""
    blocks = min(BLOCKS * parts, rows.size)
    block = take_part(counters, own_part(thread, parts, blocks), blocks)
    while block < blocks:
        first, last = rows.size * block // blocks, rows.size * (block + 1) // blocks
        if dense.size > 0:
            call(stages[DENSE_LAYER], (first, last, dense, b1, numbers, work))
        else:
            weighted_rows(samples, rows, first, last, True, W1, b1, work.a[0])
        activate_units(0, first, last, modes[0], work)
        own = first, last, samples, rows, b2
        call(stages[EVALUATE], (*own, targets, t, h, modes, numbers, work))
        increase(counters, FINISHED)
        block = take_part(counters, block + 1, blocks)
    wait_for(counters, FINISHED, blocks)


@shared
def differences(
    thread: int,
    counters: Any,
    parts: int,
    samples: Any,
    rows: Any,
    dense: Any,
    W1: Any,
    b1: Any,
    W2: Any,
    b2: Any,
    targets: Any,
    t: Any,
    h: float,
    modes: Any,
    numbers: Any,
    work: Workspace,
    gradients: Any,
    stages: Any,
) -> None:
    """The losses and the gradients."""
    preparation, evaluation, perturbation = counters[0], counters[1], counters[2]
    part = take_part(preparation, thread, parts)
    while part < parts:
        if part == 0:
            prepare(0, W2, b2.size, work)
            _cut_features(samples, rows, dense, parts, work)
        low, high = work.W1.shape[0] * part // parts, work.W1.shape[0] * (part + 1) // parts
        copy_weights(low, high, W1, work)
        increase(preparation, FINISHED)
        part = take_part(preparation, part + 1, parts)
    wait_for(preparation, FINISHED, parts)
    of_network = samples, rows, dense, W1, b1, b2, targets, t, h, modes, numbers, work
    _evaluate_blocks(thread, evaluation, parts, *of_network, stages)
    part = take_part(perturbation, thread, parts)
    while part < parts:
        _perturb(part, parts, samples, rows, dense, targets, h, modes, work, stages)
        _write(part, parts, work, gradients)
        increase(perturbation, FINISHED)
        part = take_part(perturbation, part + 1, parts)
    if thread == CALLER:
        wait_for(perturbation, FINISHED, parts)
