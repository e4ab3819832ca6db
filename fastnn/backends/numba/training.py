"""Training in one kernel: for which steps, with how many threads, and in how large pieces."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np

from ...validation import Array
from ..steps import Runner, TrainingStep
from . import support
from .linking import kinds, pointers_of
from .samples import SparseDataset, SparseRows, nonzero_targets
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


class _Steps:
    """Steps of one kernel: what both kernels share.

    Whatever ends a call, also an interrupt between two pieces, the parameters are those after all
    steps that were made; or they are at the end of :meth:`keeping`.
    """

    #: Whether a batch may be smaller than the stated size, and whether threads can share a panel.
    smaller = shares_panels = False

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
        self._at_a_time = max(1, support.INTERRUPTIBLE // max(work, 1))
        self._code = kernels.activations.ACTIVATION_CODES[step.activation]
        W1, W2 = step.params["W1"], step.params["W2"]
        most_groups = step.batch_size // support.GROUP_SAMPLES if self.shares_panels else 1
        shares = kernels.panels.shares(threads, W1.shape[1], most_groups, W1.dtype)
        panels = kernels.panels.allocate(*shares, step.batch_size, *W1.shape, W2.shape[1], W1.dtype)
        self._parts = math.prod(shares)
        self._threads = min(threads, self._parts)
        self._parameters = kernels.panels.Copies(panels)
        self._used = tuple(panels.used)  # which functions are called depends on it
        self._of_rule: list[Any] = []  # copies of what is remembered; first of all the gradient
        self._copies: list[Any] = []  # those that are ahead of what they are copies of
        self._memory_of_rule: Any = ()
        self._keeps = False

    def __call__(self, rows: Array, losses: Array, rates: np.ndarray) -> None:
        self._step.check_batches(rows, smaller=self.smaller)
        update = self._step.update
        rates = update.rates(rates)
        if not self._copies:
            self._enter()
        memory = self._memory_of_rule
        try:
            for start in range(0, len(rows), self._at_a_time):
                some = slice(start, start + self._at_a_time)
                call = self._call(memory, rows[some], losses[some], rates[some])
                self._pool.run(*call, self._threads)
        finally:
            if memory:
                update.count(int(memory.made[0]))
                memory.made[0] = 0
            if not self._keeps:
                self._leave()

    @contextmanager
    def keeping(self) -> Iterator[None]:
        self._keeps = True
        try:
            yield
        finally:
            self._keeps = False
            self._leave()

    def bring(self) -> None:
        self._copy([pair for copies in self._copies for pair in copies.leaving()])

    def _copy(self, pairs: list[tuple[np.ndarray, np.ndarray]]) -> None:
        """Copy to the first of each pair what the second has, on all threads if that pays."""
        if self._parameters.panels.W1.nbytes > support.LARGE_COPY:
            self._pool.map(lambda pair: np.copyto(*pair), pairs)
        else:
            for there, here in pairs:
                there[...] = here

    def _enter(self) -> None:
        update, params = self._step.update, self._step.params
        # Asked for each time: a user may have changed any of it.
        state = [] if self._is_plain else list(update.state(params).values())
        panels, kept = self._kernels.panels, [self._parameters]
        if not self._is_plain:
            while len(self._of_rule) <= len(state):
                like = panels.zeros_like(self._parameters.panels)
                self._of_rule.append(panels.Copies(like))
            gradient, *remembered = self._of_rule
            kept += remembered
            self._memory_of_rule = self._remembered(gradient.panels, remembered)
        pairs = []
        for copies, arrays in zip(kept, [params, *state], strict=True):
            pairs += copies.entering(tuple(arrays[name] for name in NAMES))
        self._copy(pairs)
        self._copies = kept

    def _leave(self) -> None:
        self.bring()
        self._copies, self._memory_of_rule = [], ()

    def _remembered(self, gradient: Any, copies: list[Any]) -> Any:
        """The memory of the rule, with arrays of the fields W1, b1, W2 and b2."""
        update, dtype = self._step.update, self._step.params["W1"].dtype.type
        numbers = dtype(update.weight_decay), tuple(dtype(n) for n in update.numbers())
        arrays = {name: tuple(getattr(c.panels, name) for c in copies) for name in NAMES}
        of_rule = self._kernels.rules.MEMORIES[update.name]
        return of_rule(*numbers, np.zeros(1, np.int64), gradient, **arrays)

    @property
    def _is_plain(self) -> bool:
        update = self._step.update
        return update.name == "sgd" and not update.weight_decay

    def _call(
        self, memory: Any, rows: Array, losses: Array, rates: np.ndarray
    ) -> tuple[Any, tuple[Any, ...]]:
        """The kernel, and what it is called with for these batches."""
        raise NotImplementedError

    def _others(self) -> list[tuple[Any, tuple[Any, ...]]]:
        """What nearly every training uses, too: the other threads, and layers to evaluate by."""
        kernels, (samples, _) = self._kernels, next(self._step.data.chunks(1))
        W = np.empty_like(self._step.params["W1"], order="C")
        b, z = W[0], W[:0]
        found: list[tuple[Any, tuple[Any, ...]]] = [
            (kernels.layers.add_bias_and_activate, (z, b, self._code))
        ]
        if self._threads > 1:
            seat = np.zeros(kernels.helpers.SEAT, np.int64)
            found.append((kernels.helpers.serve, (seat,)))
        if isinstance(samples, SparseRows):
            given = support.shared_rows(1, 1, samples, W, b, self._code, z)
            found.append((kernels.layers.sparse_dense, (kernels.helpers.NOBODY, given)))
        return found


class BackpropSteps(_Steps):
    """Steps by backpropagation, on panels of hidden units."""

    smaller = shares_panels = True

    def __init__(self, kernels: SimpleNamespace, pool: WorkerPool, step: TrainingStep) -> None:
        W1, data = step.params["W1"], step.data
        binary = step.loss == "binary_cross_entropy" and step.alpha is None
        self._samples = data.x
        self._targets = kernels.objectives.targets(data.t, W1.dtype, binary=binary)
        work = support.step_multiplications(data, step.batch_size, W1.shape[1])
        threads = support.fused_threads(work, pool.size, step.batch_size)
        super().__init__(kernels, pool, step, threads, work)
        self._objective = self._of_sklearn()
        most = support.values_to_sort(data, step.batch_size, W1, self._parts)
        self._by_feature = kernels.sorted_products.allocate(
            self._parts, step.batch_size, len(W1), most, W1.dtype
        )
        sample_kinds = kinds((self._samples, self._targets, self._objective))
        self._kind = sample_kinds, W1.dtype.num, most > 0, self._used
        of = kernels.backprop_steps
        self._pointers = pointers_of(of.descent_steps, of.stages_of, pool.size)

    def _of_sklearn(self) -> Any:
        """The objective, or () for the loss itself."""
        step, weights = self._step, self._step.data.weights
        if step.alpha is None:
            return ()
        code = self._kernels.objectives.LOSS_CODES[step.loss]
        weights = np.empty(0) if weights is None else np.asarray(weights, np.float64)
        return self._kernels.objectives.Objective(code, float(step.alpha), weights)

    def _call(
        self, memory: Any, rows: Array, losses: Array, rates: np.ndarray
    ) -> tuple[Any, tuple[Any, ...]]:
        working = self._parameters.panels
        counters = support.stage_counters(1 + len(rows), 3, self._parts)
        if not isinstance(self._samples, tuple):
            # As the kernel numbers its own rows: the products are compiled once then.
            rows = rows.astype(np.uint64, copy=False)
        data = self._samples, self._by_feature, rows, self._targets
        modes = self._code, rates, working, memory, self._objective
        given = counters, self._threads, *data, *modes, losses
        which = *data, self._code, working, memory, self._objective
        kind = self._kind, kinds((rows,)), type(memory)
        pointers = self._pointers(kind, given, which, self._others)
        return self._kernels.backprop_steps.descent_steps, (*given, pointers)


class NumericalSteps(_Steps):
    """Steps against the numerical gradient, on compressed samples."""

    def __init__(self, kernels: SimpleNamespace, pool: WorkerPool, step: TrainingStep) -> None:
        data, W1, W2 = step.data, step.params["W1"], step.params["W2"]
        assert isinstance(data, SparseDataset)
        batch_size = step.batch_size
        self._samples = data.x
        self._targets = nonzero_targets(data.t, W2.shape[1], True)[0]
        work = support.step_multiplications(data, batch_size, W1.shape[1])
        threads = support.fused_threads(work, pool.size, batch_size)
        super().__init__(kernels, pool, step, threads, 2 * work)
        self._memory = kernels.workspace.workspace(
            batch_size, *W1.shape, W2.shape[1], W1.dtype, self._parts, self._parts
        )
        most = batch_size * (1 if data.t.ndim == 1 else data.t.shape[1])
        self._of_batch = np.zeros(batch_size + 1, np.intp), np.empty(most, np.intp), np.empty(most)
        self._kind = kinds((self._samples, self._targets)), W1.dtype.num, self._used
        of = kernels.numerical_steps
        self._pointers = pointers_of(of.descent_steps, of.stages_of, pool.size)

    def _call(
        self, memory: Any, rows: Array, losses: Array, rates: np.ndarray
    ) -> tuple[Any, tuple[Any, ...]]:
        working = self._parameters.panels
        counters = support.stage_counters(len(rows), 3, self._parts)
        of_batch = self._of_batch, np.empty((0, 0)), float(self._step.h), (self._code, True)
        data = self._samples, rows, self._targets, *of_batch
        of_rule = rates, working, memory, self._memory, losses
        given = counters, self._threads, *data, *of_rule
        of_gradient = self._samples, rows[0], working.b2, *of_batch, working.numbers, self._memory
        kind = self._kind, kinds((rows,)), type(memory)
        pointers = self._pointers(kind, given, (working, *of_gradient), self._others)
        return self._kernels.numerical_steps.descent_steps, (*given, pointers)
