"""The numerical gradient as matrix products: two kernels, `expand` and `assemble`.

The mathematics is that of :mod:`fastnn.backends.expansions`, and so is the bound: what is outside
is evaluated by `assemble` itself, unit by unit, without the host's knowing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ...validation import Array
from ..steps import TrainingStep
from .kernels import Kernels, power_of_two
from .rows import Rows
from .sources import TYPES
from .support import ACTIVATION_CODES


class Formulas(NamedTuple):
    """What the two kernels differentiate, and the step."""

    activation: str
    loss: str
    h: float


class Memory:
    """What `expand` leaves behind for `assemble`, of so many samples.

    Attributes
    ----------
    arrays : list of array
        In the order in which both kernels take them, but for the losses.
    losses : array (samples,)
        Of all samples, of which the arrays hold some at a time.
    """

    def __init__(self, xp: Any, samples: int, some: int, W2: Array) -> None:
        units, outputs = W2.shape
        double, real = np.dtype(np.float64), W2.dtype
        self.arrays = [
            xp.empty((some, units), double),  # a
            xp.empty((some, outputs), double),  # logits
            xp.empty((some, units), real),  # z1
            xp.empty((2 * some, units), real),  # hidden
            xp.empty((2 * some, outputs), real),  # output
            xp.empty((some, units), double),  # omitted
            xp.empty((some, 4), double),  # bounds
            xp.empty((units, outputs), real),  # W2_before
        ]
        self.losses = xp.empty(samples, double)

    @staticmethod
    def bytes_of_sample(W2: Array) -> int:
        units, outputs = W2.shape
        return 8 * (2 * units + outputs + 4) + W2.itemsize * (3 * units + 2 * outputs)


def gradient(
    kernels: Kernels, x: Any, t: Any, params: tuple[Array, ...], formulas: Formulas, most_bytes: int
) -> tuple[Array, tuple[Array, ...]]:
    """The loss and the gradients, with no more memory between than so many bytes if possible."""
    xp, samples = kernels.xp, len(x)
    value, gradients = (
        xp.empty((), params[0].dtype),
        tuple(xp.empty(p.shape, p.dtype) for p in params),
    )
    some = min(max(most_bytes // Memory.bytes_of_sample(params[2]), 1), samples)
    memory = Memory(xp, samples, some, params[2])
    for first in range(0, samples, some):
        part = slice(first, first + some)
        _expand(kernels, x[part], t[part], params, formulas, memory, first, samples)
        _assemble(kernels, x[part], t[part], gradients, formulas, memory, value, samples, first)
    return value, gradients


def steps(kernels: Kernels, step: TrainingStep) -> Callable[[Array, float, Array | None], Array]:
    """A function (rows, rate, place of the loss or None) to the loss that makes a step."""
    x, t, size = step.data.x, step.data.t, step.batch_size
    memory = Memory(kernels.xp, size, size, step.params["W2"])
    assert step.activation is not None
    formulas = Formulas(step.activation, step.loss, float(step.h))

    def make(rows: Array, rate: float, out: Array | None) -> Array:
        params = tuple(step.params[name] for name in ("W1", "b1", "W2", "b2"))
        value = kernels.xp.empty((), params[0].dtype) if out is None else out
        batch = Rows(x, rows), Rows(t, rows)
        _expand(kernels, *batch, params, formulas, memory, 0, size)
        _assemble(kernels, *batch, params, formulas, memory, value, size, 0, rate)
        return value

    return make


def _expand(
    kernels: Kernels,
    x: Any,
    t: Any,
    params: tuple[Array, ...],
    formulas: Formulas,
    memory: Memory,
    first: int,
    samples: int,
) -> None:
    (features, units), outputs = params[0].shape, params[3].size
    width, lanes = power_of_two(units, 64), power_of_two(outputs, 64)
    parts = max(power_of_two(-(-features // 4), 512 // width), lanes // width)
    kernels.launch(
        f"expand<{TYPES[params[0].dtype]}>",
        (len(x),),
        (width, parts),
        (
            *kernels.samples(x),
            *params,
            *kernels.targets(t),
            *memory.arrays,
            memory.losses[first:],
            *(samples, features, units, outputs, lanes),
            *(*_modes(formulas), formulas.h),
        ),
    )


def _assemble(
    kernels: Kernels,
    x: Any,
    t: Any,
    written: tuple[Array, ...],
    formulas: Formulas,
    memory: Memory,
    value: Array,
    samples: int,
    first: int,
    rate: float | None = None,
) -> None:
    """Write the gradients, or subtract them as a step at this learning rate."""
    W1, _, W2, b2 = written
    block = kernels.tile(len(x), max(W2.shape))
    kernels.launch(
        f"assemble<{TYPES[W1.dtype]}, {'false' if rate is None else 'true'}>",
        (kernels.tiles(W1, block) + kernels.tiles(W2, block) + 1,),
        block,
        (
            *kernels.samples(x),
            *kernels.targets(t),
            *memory.arrays,
            *written,
            *(memory.losses, value, len(x), *W1.shape, b2.size, *_modes(formulas)),
            *(samples, formulas.h, rate or 0.0, int(first > 0)),
        ),
    )


def _modes(formulas: Formulas) -> tuple[int, int]:
    return ACTIVATION_CODES[formulas.activation], int(formulas.loss == "cross_entropy")
