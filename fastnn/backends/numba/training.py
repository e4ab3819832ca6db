"""Training in one kernel: for which steps, with how many threads, and in how large pieces."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np

from ...validation import Array
from ..steps import Runner, TrainingStep
from . import support
from .samples import SparseDataset, nonzero_targets
from .support import SUPPORT
from .threads import WorkerPool


def runner(kernels: SimpleNamespace, pool: WorkerPool, step: TrainingStep) -> Runner | None:
    """What makes many of these steps in one kernel, if there is one that does.

    `kernels` has the modules of compiled code by name.
    """
    backprop = "backprop steps" if step.alpha is None else "objective steps"
    if SUPPORT[backprop].covers_step(step):
        return BackpropSteps(kernels, pool, step)
    if SUPPORT["numerical steps"].covers_step(step):
        return NumericalSteps(kernels, pool, step)
    return None


#: The parameters of a network of two layers.
NAMES = "W1", "b1", "W2", "b2"


def _nothing() -> None:
    """What there is to do where nothing is remembered."""


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
        W1, W2 = step.params["W1"], step.params["W2"]
        panels = kernels.panels.allocate(threads, step.batch_size, *W1.shape, W2.shape[1], W1.dtype)
        self._parameters = kernels.panels.Copies(panels)
        self._of_rule: list[Any] = []  # first of all the gradient

    def __call__(self, rows: Array, losses: Array, rates: np.ndarray) -> None:
        self._step.check_batches(rows)
        update, params = self._step.update, self._step.params
        parameters = tuple(params[name] for name in NAMES)
        # Asked at each call: a user may have changed any of it.
        state = [tuple(a[name] for name in NAMES) for a in update.state(params).values()]
        rates = update.rates(rates)
        working = self._enter(parameters)
        memory, leave_state = self._enter_state(state)
        try:
            for start in range(0, len(rows), self._at_a_time):
                some = slice(start, start + self._at_a_time)
                task = self._task(working, memory, rows[some], losses[some], rates[some])
                self._pool.run(task, self._threads)
        finally:
            self._leave(working, parameters)
            if memory:
                leave_state()
                update.count(int(memory.made[0]))

    def _enter(self, parameters: tuple[Array, ...]) -> Any:
        self._parameters.enter(parameters)
        return self._parameters.panels

    def _leave(self, working: Any, parameters: tuple[Array, ...]) -> None:
        self._parameters.leave()

    def _enter_state(self, state: list[tuple[Array, ...]]) -> tuple[Any, Callable[[], None]]:
        if self._is_plain:
            return (), _nothing
        panels = self._kernels.panels
        while len(self._of_rule) <= len(state):
            like = panels.zeros_like(self._parameters.panels)
            self._of_rule.append(panels.Copies(like))
        gradient, *kept = self._of_rule
        for there, arrays in zip(kept, state, strict=True):
            there.enter(arrays)

        def leave() -> None:
            for there in kept:
                there.leave()

        return self._remembered(gradient.panels, [there.panels for there in kept]), leave

    def _remembered(self, gradient: Any, state: list[Any]) -> Any:
        """The memory of the rule, with arrays of the fields W1, b1, W2 and b2."""
        update, dtype = self._step.update, self._step.params["W1"].dtype.type
        numbers = dtype(update.weight_decay), tuple(dtype(n) for n in update.numbers())
        arrays = {name: tuple(getattr(a, name) for a in state) for name in NAMES}
        of_rule = self._kernels.rules.MEMORIES[update.name]
        return of_rule(*numbers, np.zeros(1, np.int64), gradient, **arrays)

    @property
    def _is_plain(self) -> bool:
        update = self._step.update
        return update.name == "sgd" and not update.weight_decay

    def _task(
        self, working: Any, memory: Any, rows: Array, losses: Array, rates: np.ndarray
    ) -> Any:
        """The call of the kernel for these batches, to be made by each thread."""
        raise NotImplementedError


class BackpropSteps(_Steps):
    """Steps by backpropagation, on panels of hidden units."""

    def __init__(self, kernels: SimpleNamespace, pool: WorkerPool, step: TrainingStep) -> None:
        W1, data = step.params["W1"], step.data
        binary = step.loss == "binary_cross_entropy" and step.alpha is None
        self._samples = data.x
        self._targets = kernels.objectives.targets(data.t, W1.dtype, binary=binary)
        work = support.step_multiplications(data, step.batch_size, W1.shape[1])
        threads = support.fused_threads(work, pool.size, W1.shape[1], step.batch_size)
        super().__init__(kernels, pool, step, threads, work)
        self._objective = self._of_sklearn()

    def _of_sklearn(self) -> Any:
        """The objective, or () for the loss itself."""
        step, weights = self._step, self._step.data.weights
        if step.alpha is None:
            return ()
        code = self._kernels.objectives.LOSS_CODES[step.loss]
        weights = np.empty(0) if weights is None else np.asarray(weights, np.float64)
        return self._kernels.objectives.Objective(code, float(step.alpha), weights)

    def _task(
        self, working: Any, memory: Any, rows: Array, losses: Array, rates: np.ndarray
    ) -> Any:
        counters = support.counters(len(rows), 3, 1 + len(working.W1)), np.zeros(1, np.int64)
        if not isinstance(self._samples, tuple):
            # As the kernel numbers its own rows: the products are compiled once then.
            rows = rows.astype(np.uint64, copy=False)
        data = self._samples, rows, self._targets
        modes = self._code, rates, working, memory, self._objective
        arguments = *counters, self._threads, *data, *modes, losses
        return partial(self._kernels.backprop_steps.descent_steps, *arguments)


class NumericalSteps(_Steps):
    """Steps against the numerical gradient, on compressed samples."""

    def __init__(self, kernels: SimpleNamespace, pool: WorkerPool, step: TrainingStep) -> None:
        data, W1, W2 = step.data, step.params["W1"], step.params["W2"]
        assert isinstance(data, SparseDataset)
        batch_size = step.batch_size
        self._samples = data.x
        self._targets = nonzero_targets(data.t, W2.shape[1], True)[0]
        work = support.step_multiplications(data, batch_size, W1.shape[1])
        threads = support.fused_threads(work, pool.size, W1.shape[1], batch_size)
        super().__init__(kernels, pool, step, threads, 2 * work)
        panels = len(self._parameters.panels.W1)
        self._memory = kernels.workspace.workspace(
            batch_size, *W1.shape, W2.shape[1], W1.dtype, panels, panels
        )
        most = batch_size * (1 if data.t.ndim == 1 else data.t.shape[1])
        self._of_batch = np.zeros(batch_size + 1, np.intp), np.empty(most, np.intp), np.empty(most)

    def _task(
        self, working: Any, memory: Any, rows: Array, losses: Array, rates: np.ndarray
    ) -> Any:
        counters = support.counters(len(rows), 3, 1 + len(working.W1)), np.zeros(1, np.int64)
        data = self._samples, rows, self._targets, self._of_batch, np.empty((0, 0))
        modes = float(self._step.h), (self._code, True), rates, working, memory
        arguments = *counters, self._threads, *data, *modes, self._memory, losses
        return partial(self._kernels.numerical_steps.descent_steps, *arguments)
