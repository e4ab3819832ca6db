"""Training as CUDA graphs: which steps are recorded, and what is recorded for them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ...validation import Array
from ..base import Backend
from ..steps import Runner, TrainingStep
from . import products
from .faults import reporting
from .graph import RecordedLoop
from .kernels import Kernels
from .rows import Rows
from .support import SUPPORT

#: A step with row numbers at a learning rate, which returns the loss, perhaps in the given place.
Step = Callable[[Array, float, Array | None], Array]

#: The steps over the operations all of which are kernels of ours: cuBLAS cannot be recorded.
_KERNELS_ONLY = ("operations of two layers", "operations of one layer", "numerical gradient")


def runner(backend: Backend, kernels: Kernels, step: TrainingStep) -> Runner | None:
    """What replays these steps as a graph, if they are kernels only."""
    return None if _recorded(backend, kernels, step) is None else Replayed(backend, kernels, step)


class Replayed:
    """A runner that replays these steps."""

    def __init__(self, backend: Backend, kernels: Kernels, step: TrainingStep) -> None:
        self._backend, self._kernels, self._step = backend, kernels, step
        # A graph goes by the addresses of the parameters, and the learning rate is one of its
        # constants: both are kept, and of others another one is made.
        self._of: tuple[Any, ...] = ()
        self._loop: RecordedLoop | None = None

    def prepare(self, rates: np.ndarray) -> None:
        """Record what steps at these rates replay; none of them is made."""
        step = self._step
        if not len(rates) or (rates != rates[0]).any():
            return
        with reporting(self._backend, "a step of training"), self._backend.current():
            dtype = next(iter(step.params.values())).dtype
            self._loop_at(float(rates[0])).prepare(len(rates), step.batch_size, dtype)

    def __call__(self, rows: Array, losses: Array, rates: np.ndarray) -> None:
        backend, step = self._backend, self._step
        step.check_batches(rows)
        with reporting(backend, "a step of training"), backend.current():
            backend.check_arrays(rows=rows, losses=losses)
            if not len(rates):
                return
            if (rates != rates[0]).any():  # a schedule
                make = self._make()
                for i, rate in enumerate(rates.tolist()):
                    losses[i] = make(rows[i], rate, None)
                return
            self._loop_at(float(rates[0]))(rows, losses)

    def _make(self) -> Step:
        made = _recorded(self._backend, self._kernels, self._step)
        return _by_operations(self._step) if made is None else made

    def _loop_at(self, rate: float) -> RecordedLoop:
        current = *self._step.params.values(), rate
        if self._loop is None or self._of[-1] != rate or not _are_the_same(current, self._of):
            self._loop = None  # which returns its memory first
            self._loop = RecordedLoop(
                self._backend, self._kernels, partial(_at_rate, self._make(), rate)
            )
            self._of = current
        return self._loop


def _are_the_same(some: tuple[Any, ...], others: tuple[Any, ...]) -> bool:
    return all(a is b for a, b in zip(some[:-1], others[:-1], strict=True))


def _at_rate(make: Step, rate: float, rows: Array, out: Array | None) -> Array:
    return make(rows, rate, out)


def _recorded(backend: Backend, kernels: Kernels, step: TrainingStep) -> Step | None:
    if SUPPORT["two kernels"].covers_step(step):
        return _two_kernels(backend, kernels, step)
    if SUPPORT["steps of products"].covers_step(step):
        return products.steps(kernels, step)
    if any(SUPPORT[name].covers_step(step) for name in _KERNELS_ONLY):
        return _by_operations(step)
    return None


def _by_operations(step: TrainingStep) -> Step:
    return lambda rows, rate, _: step.operations(rows, rate)


def _two_kernels(backend: Backend, kernels: Kernels, step: TrainingStep) -> Step:
    x, t, (units, outputs) = step.data.x, step.data.t, step.params["W2"].shape
    shapes = (step.batch_size, units), (step.batch_size, units), (step.batch_size, outputs)
    z1, delta1, delta2 = (backend.empty(shape, x.dtype) for shape in shapes)

    def make(rows: Array, rate: float, out: Array | None) -> Array:
        return kernels.step(Rows(x, rows), Rows(t, rows), step, rate, (z1, delta1, delta2), out)

    return make
