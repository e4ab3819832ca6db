"""The incremental numerical gradient, the formulas of :mod:`fastnn.backends.incremental`.

For every parameter the loss at +h and at −h is evaluated from what the perturbation changes, and
their difference summed over the samples: first the unperturbed network (:mod:`.unperturbed`), then
the parameters of each layer (:mod:`.hidden_differences`, :mod:`.output_differences`). Rows of the
accumulators are padded to whole vectors.

Several threads can call a kernel at the same time. They share out the features and the outputs, so
that none writes where another does. How many they are, and when they come, makes no difference to
the result. Among the arguments, also of :mod:`.numerical_steps`, are

counters
    Zeros: of the parts that are taken and finished, for the three stages of the work.
parts
    In how many the features and the outputs are to be cut.
samples, rows
    Compressed rows, (indptr, indices, values), and which of them.
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
"""

from __future__ import annotations

from typing import Any

from .atomics import FINISHED, TAKEN, increase, wait_for
from .elementary import like
from .hidden_differences import hidden_cross_entropy, hidden_squared_error
from .jit import inner, kernel
from .output_differences import output_cross_entropy, output_squared_error
from .unperturbed import evaluate_in_blocks, prepare
from .vectors import WIDE, lanes, load, store
from .workspace import Workspace

#: By how much the first part is larger than the others. Mostly the thread that takes it is the
#: caller: when it is done, the others are asleep again, instead of asking for the interpreter lock
#: when it does.
HEAD_START = 0.2


@inner
def _feature_bounds(
    samples: Any, rows: Any, parts: int, head_start: float, counts: Any, bounds: Any
) -> None:
    """Where to cut the features into `parts` with about as many non-zero values each.

    The first gets `head_start` times as many more.
    """
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
        while part < parts and total and seen * (parts + head_start) >= total * (part + head_start):
            bounds[part] = i
            part += 1
        seen += counts[i]


@inner
def cut_features(samples: Any, rows: Any, parts: int, head_start: float, work: Workspace) -> None:
    """Give each part its features."""
    if parts == 1:
        work.bounds[0], work.bounds[1] = 0, work.features.shape[1] - 1
    else:
        _feature_bounds(samples, rows, parts, head_start, work.features[0, :-1], work.bounds)


@inner
def _scale(a: Any, factor: Any, out: Any) -> None:
    """The first elements of `a` times `factor` into all of `out`."""
    n = lanes(out, WIDE)
    if out.size < n:
        for j in range(out.size):
            out[j] = a[j] * factor
        return
    for j in range(0, out.size - n, n):
        store(out, j, load(a, j, WIDE) * factor)
    store(out, out.size - n, load(a, out.size - n, WIDE) * factor)  # writes some elements once more


@inner
def perturb(
    part: int,
    parts: int,
    samples: Any,
    rows: Any,
    targets: Any,
    h: float,
    modes: Any,
    work: Workspace,
    J: int,
) -> float:
    """Sum over the samples for one part of the features and of the outputs, for J hidden units.

    The result is by what the sums are to be multiplied, which make the gradients then.
    """
    activation, cross_entropy = modes
    first, last, bias = work.bounds[part], work.bounds[part + 1], part == parts - 1
    hidden = work.hidden[first + part : last + part + 1]
    for i in range(hidden.shape[0]):
        for j in range(hidden.shape[1]):
            hidden[i, j] = like(hidden[0, 0], 0.0)
    if cross_entropy:
        hidden_cross_entropy(
            first, last, bias, samples, rows, J, targets, h, activation, part, work, hidden
        )
    else:
        hidden_squared_error(first, last, bias, samples, rows, h, activation, part, work, hidden)

    first, last = outputs_of(part, parts, work)
    for k in range(first, last):
        for j in range(work.outputs.shape[1]):
            work.outputs[k, j] = 0.0
    if cross_entropy:
        output_cross_entropy(first, last, targets, h, work)
    else:
        output_squared_error(first, last, h, work)
    return 1 / (h * rows.size) if cross_entropy else 1 / h


@inner
def outputs_of(part: int, parts: int, work: Workspace) -> tuple[int, int]:
    """The first of the outputs of a part, and the first that is no more of them."""
    outputs = work.y.shape[1]
    return outputs * part // parts, outputs * (part + 1) // parts


@inner
def _write(part: int, parts: int, scale: float, work: Workspace, gradients: Any) -> None:
    """The gradients of a part, from what `perturb` has summed."""
    dW1, db1, dW2, db2 = gradients
    J = db1.size
    first, last = work.bounds[part], work.bounds[part + 1]
    hidden = work.hidden[first + part : last + part + 1]
    factor = like(hidden[0, 0], scale)
    for i in range(first, last):
        _scale(hidden[i - first], factor, dW1[i])
    if part == parts - 1:
        _scale(hidden[last - first], factor, db1)
    first, last = outputs_of(part, parts, work)
    for k in range(first, last):
        for j in range(J):
            dW2[j, k] = work.outputs[k, j] * scale
        db2[k] = work.outputs[k, J] * scale


@kernel
def differences(
    counters: Any,
    parts: int,
    samples: Any,
    rows: Any,
    W1: Any,
    b1: Any,
    W2: Any,
    b2: Any,
    targets: Any,
    t: Any,
    h: float,
    modes: Any,
    work: Workspace,
    gradients: Any,
) -> None:
    """The losses and the gradients."""
    preparation, evaluation, perturbation = counters[0], counters[1], counters[2]
    if increase(preparation, TAKEN) == 0:
        prepare(W2, work)
        cut_features(samples, rows, parts, HEAD_START, work)
        increase(preparation, FINISHED)
    wait_for(preparation, FINISHED, 1)
    evaluate_in_blocks(evaluation, parts, samples, rows, W1, b1, b2, targets, t, modes, work)
    while True:
        part = increase(perturbation, TAKEN)
        if part >= parts:
            break
        scale = perturb(part, parts, samples, rows, targets, h, modes, work, b1.size)
        _write(part, parts, scale, work, gradients)
        increase(perturbation, FINISHED)
    wait_for(perturbation, FINISHED, parts)
