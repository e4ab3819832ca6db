"""Training as CUDA graphs: which steps are recorded, and what is recorded for them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ...errors import InputError
from ...validation import Array
from ..base import Backend
from ..steps import Runner, TrainingStep
from . import products
from .faults import reporting
from .graph import RecordedLoop
from .kernels import Kernels
from .rows import Rows
from .support import SUPPORT

#: The steps over the operations all of which are kernels of ours: cuBLAS cannot be recorded.
_KERNELS_ONLY = ("operations of two layers", "operations of one layer", "numerical gradient")


def runner(backend: Backend, kernels: Kernels, step: TrainingStep) -> Runner | None:
    """What replays these steps as a graph, if they are kernels only."""
    if _recorded(backend, kernels, step) is None:
        return None
    # A graph goes by the addresses of the parameters, and the learning rate is one of its
    # constants: both are kept, and of others another one is made.
    recorded: tuple[Any, ...] = ()
    loop: RecordedLoop | None = None

    def run(rows: Array, losses: Array, rates: np.ndarray) -> None:
        nonlocal recorded, loop
        if rows.shape[1] != step.batch_size:  # the memory is for batches of this size
            raise InputError(f"batches of {rows.shape[1]} rows for steps of {step.batch_size}")
        with reporting(backend, "a step of training"), backend.current():
            backend.check_arrays(rows=rows, losses=losses)
            if not len(rates):
                return
            if (rates != rates[0]).any():  # a schedule
                make = _recorded(backend, kernels, step) or step.operations
                for i, rate in enumerate(rates.tolist()):
                    losses[i] = make(rows[i], rate)
                return
            rate = float(rates[0])
            current = *step.params.values(), rate
            if loop is None or recorded[-1] != rate or not _are_the_same(current, recorded):
                make = _recorded(backend, kernels, step) or step.operations
                loop = RecordedLoop(backend, kernels, partial(_at_rate, make, rate))
                recorded = current
            loop(rows, losses)

    return run


def _are_the_same(some: tuple[Any, ...], others: tuple[Any, ...]) -> bool:
    return all(a is b for a, b in zip(some[:-1], others[:-1], strict=True))


def _at_rate(make: Callable[[Array, float], Array], rate: float, rows: Array) -> Array:
    return make(rows, rate)


def _recorded(
    backend: Backend, kernels: Kernels, step: TrainingStep
) -> Callable[[Array, float], Array] | None:
    if SUPPORT["two kernels"].covers_step(step):
        return _two_kernels(backend, kernels, step)
    if SUPPORT["steps of products"].covers_step(step):
        return products.steps(kernels, step)
    if any(SUPPORT[name].covers_step(step) for name in _KERNELS_ONLY):
        return step.operations
    return None


def _two_kernels(
    backend: Backend, kernels: Kernels, step: TrainingStep
) -> Callable[[Array, float], Array]:
    x, t, (units, outputs) = step.data.x, step.data.t, step.params["W2"].shape
    shapes = (step.batch_size, units), (step.batch_size, units), (step.batch_size, outputs)
    z1, delta1, delta2 = (backend.empty(shape, x.dtype) for shape in shapes)

    def make(rows: Array, rate: float) -> Array:
        return kernels.step(Rows(x, rows), Rows(t, rows), step, rate, (z1, delta1, delta2))

    return make
