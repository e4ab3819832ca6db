"""Training as CUDA graphs: which steps are recorded, and what is recorded for them."""

from __future__ import annotations

from collections.abc import Callable

from ...errors import InputError
from ...validation import Array
from ..base import Backend
from ..steps import Runner, TrainingStep
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
    # A graph goes by the addresses of the parameters: they are kept, and of others another one is
    # made.
    parameters: tuple[Array, ...] = ()
    loop: RecordedLoop | None = None

    def run(rows: Array, losses: Array) -> None:
        nonlocal parameters, loop
        if rows.shape[1] != step.batch_size:  # the memory is for batches of this size
            raise InputError(f"batches of {rows.shape[1]} rows for steps of {step.batch_size}")
        with reporting(backend, "a step of training"), backend.current():
            backend.check_arrays(rows=rows, losses=losses)
            current = tuple(step.params.values())
            if loop is None or any(a is not b for a, b in zip(current, parameters, strict=True)):
                made = _recorded(backend, kernels, step)
                loop = RecordedLoop(backend, kernels, step.operations if made is None else made)
                parameters = current
            loop(rows, losses)

    return run


def _recorded(
    backend: Backend, kernels: Kernels, step: TrainingStep
) -> Callable[[Array], Array] | None:
    if SUPPORT["two kernels"].covers_step(step):
        return _two_kernels(backend, kernels, step)
    if any(SUPPORT[name].covers_step(step) for name in _KERNELS_ONLY):
        return step.operations
    return None


def _two_kernels(
    backend: Backend, kernels: Kernels, step: TrainingStep
) -> Callable[[Array], Array]:
    x, t, (units, outputs) = step.data.x, step.data.t, step.params["W2"].shape
    shapes = (step.batch_size, units), (step.batch_size, units), (step.batch_size, outputs)
    z1, delta1, delta2 = (backend.empty(shape, x.dtype) for shape in shapes)

    def make(rows: Array) -> Array:
        return kernels.step(Rows(x, rows), Rows(t, rows), step, (z1, delta1, delta2))

    return make
