"""Training in one kernel: for which steps, with how many threads, and in how large pieces."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np

from ...errors import InputError
from ...validation import Array
from ..steps import Runner, TrainingStep
from . import support
from .samples import SparseDataset
from .support import SUPPORT
from .threads import WorkerPool


def runner(kernels: SimpleNamespace, pool: WorkerPool, step: TrainingStep) -> Runner | None:
    """What makes many of these steps in one kernel, if there is one that does.

    `kernels` has the modules of compiled code by name.
    """
    if SUPPORT["backprop steps"].covers_step(step):
        return BackpropSteps(kernels, pool, step)
    if SUPPORT["numerical steps"].covers_step(step):
        return NumericalSteps(kernels, pool, step)
    return None


class _Steps:
    """Steps of one kernel: what both kernels share.

    Whatever ends a call, also an interrupt between two pieces, the parameters are those after all
    steps that were made.
    """

    def __init__(
        self,
        kernels: SimpleNamespace,
        pool: WorkerPool,
        step: TrainingStep,
        threads: int,
        work: int,
    ) -> None:
        self._kernels = kernels
        self._pool = pool
        self._step = step
        self._threads = threads
        self._at_a_time = max(1, support.INTERRUPTIBLE // max(work, 1))
        self._code = kernels.activations.ACTIVATION_CODES[step.activation]

    def __call__(self, rows: Array, losses: Array, rates: np.ndarray) -> None:
        if rows.shape[1] != self._step.batch_size:  # the memory is for batches of this size
            raise InputError(
                f"batches of {rows.shape[1]} rows for steps of {self._step.batch_size}"
            )
        parameters = tuple(self._step.params[name] for name in ("W1", "b1", "W2", "b2"))
        working = self._enter(parameters)
        try:
            for start in range(0, len(rows), self._at_a_time):
                some = slice(start, start + self._at_a_time)
                task = self._task(working, rows[some], losses[some], rates[some])
                self._pool.run(task, self._threads)
        finally:
            self._leave(working, parameters)

    def _enter(self, parameters: tuple[Array, ...]) -> Any:
        """What the kernel works on, from the network's parameters."""
        raise NotImplementedError

    def _leave(self, working: Any, parameters: tuple[Array, ...]) -> None:
        """Bring the parameters up to date."""
        raise NotImplementedError

    def _task(self, working: Any, rows: Array, losses: Array, rates: np.ndarray) -> Any:
        """The call of the kernel for these batches, to be made by each thread."""
        raise NotImplementedError


class BackpropSteps(_Steps):
    """Steps of gradient descent by backpropagation, on panels of hidden units."""

    def __init__(self, kernels: SimpleNamespace, pool: WorkerPool, step: TrainingStep) -> None:
        W1, W2, data = step.params["W1"], step.params["W2"], step.data
        self._samples, self._targets = data.x, data.t
        work = support.step_multiplications(data, step.batch_size, W1.shape[1])
        threads = max(1, min(pool.size, work // support.FUSED_GRAIN, W1.shape[1], step.batch_size))
        super().__init__(kernels, pool, step, threads, work)
        self._panels = kernels.panels.allocate(
            threads, step.batch_size, *W1.shape, W2.shape[1], W1.dtype
        )

    def _enter(self, parameters: tuple[Array, ...]) -> Any:
        self._kernels.panels.enter(self._panels, *parameters)
        return self._panels

    def _leave(self, working: Any, parameters: tuple[Array, ...]) -> None:
        self._kernels.panels.leave(working, *parameters)

    def _task(self, working: Any, rows: Array, losses: Array, rates: np.ndarray) -> Any:
        counters = np.zeros((len(rows), 3, 1 + len(working.W1)), np.int64), np.zeros(1, np.int64)
        data = self._samples, rows, self._targets
        arguments = *counters, self._threads, *data, self._code, rates, working, losses
        return partial(self._kernels.backprop_steps.sgd_steps, *arguments)


class NumericalSteps(_Steps):
    """Steps against the numerical gradient, on compressed samples."""

    def __init__(self, kernels: SimpleNamespace, pool: WorkerPool, step: TrainingStep) -> None:
        data, W1, W2 = step.data, step.params["W1"], step.params["W2"]
        assert isinstance(data, SparseDataset)
        batch_size = step.batch_size
        self._samples, self._labels = data.x, data.t
        work = support.step_multiplications(data, batch_size, W1.shape[1])
        parts = support.cut(work, support.PERTURBATION_GRAIN, pool.size)
        super().__init__(kernels, pool, step, parts, 8 * work)
        self._memory = kernels.workspace.workspace(
            batch_size, *W1.shape, W2.shape[1], W1.dtype, parts
        )
        most = batch_size * (1 if data.t.ndim == 1 else data.t.shape[1])
        self._of_batch = np.zeros(batch_size + 1, np.intp), np.empty(most, np.intp), np.empty(most)

    def _enter(self, parameters: tuple[Array, ...]) -> Any:
        # Themselves, unless they are strided.
        return tuple(np.ascontiguousarray(p) for p in parameters)

    def _leave(self, working: Any, parameters: tuple[Array, ...]) -> None:
        for parameter, current in zip(parameters, working, strict=True):
            if current is not parameter:
                parameter[...] = current

    def _task(self, working: Any, rows: Array, losses: Array, rates: np.ndarray) -> Any:
        counters, no_rows = np.zeros((len(rows), 3, 2), np.int64), np.empty((0, 0))
        data = self._samples, rows, *working, self._labels, self._of_batch, no_rows
        modes = float(self._step.h), (self._code, True), rates
        arguments = counters, self._threads, *data, *modes, self._memory, losses
        return partial(self._kernels.numerical_steps.descent_steps, *arguments)
