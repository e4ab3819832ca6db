"""Training by one kernel that stays for many steps: which blocks there are, and their memory.

The blocks wait for one another twice a step, so all of them have to be on the GPU at once: a
cooperative launch. There is one for each tile of W1 and b1, 32 rows of 16 units, and for what W2
and b2 take, or one for each sample of a batch where that is more, but no more than the GPU has
multiprocessors. Their number decides how long a step takes, and nothing else: every sum is taken in
an order that follows from the sizes of network and batch, so that the bits are the same on every
GPU of a generation: how the hardware rounds a product of matrices of floats is not specified.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ...validation import Array
from ..base import Backend
from ..steps import Runner, TrainingStep
from .faults import reporting
from .kernels import Kernels, blocks
from .sources import MODULES, TYPES
from .support import ACTIVATION_CODES, LARGEST_COOPERATIVE, SUPPORT

#: THREADS, ROWS, COLUMNS, QUAD and GROUPS of the kernel, and how many units a warp has in phase B.
THREADS, ROWS, COLUMNS, QUAD, GROUPS, OF_WARP = 512, 32, 16, 4, 8, 8

#: Entries of W2 and b2 that the threads of a block have at once.
ENTRIES = 32

#: Steps of one launch, so that an interrupt waits for some milliseconds at most, and a counter of
#: arrivals has room.
MOST_STEPS = 4096


class Plan(NamedTuple):
    """How the kernel is launched.

    Attributes
    ----------
    tiles, blocks, shared_bytes : int
    """

    tiles: int
    blocks: int
    shared_bytes: int


def plan(
    samples: int, features: int, units: int, outputs: int, itemsize: int, multiprocessors: int
) -> Plan:
    """The launch for these sizes on a GPU of so many multiprocessors."""
    across = blocks(units, COLUMNS)
    tiles = blocks(features + 1, ROWS) * across
    entries = (units + 1) * outputs + 1
    grid = min(max(tiles + blocks(entries, ENTRIES), samples), multiprocessors)
    most = blocks(tiles, grid)
    sizes = most, spanned(most, across), samples, units, outputs, itemsize
    return Plan(tiles, grid, shared_bytes(*sizes))


def spanned(tiles: int, across: int) -> int:
    """How many slices so many tiles in a row are of: the kernel's function of that name."""
    if tiles % across == 0:
        return tiles // across
    return 1 if across % tiles == 0 else (tiles + across - 2) // across + 1


def shared_bytes(
    tiles: int, slices: int, samples: int, units: int, outputs: int, itemsize: int
) -> int:
    """The shared memory of a block with so many tiles: `Shared` of the kernel."""
    padded = ROWS + QUAD
    tile = COLUMNS * padded
    numbers = (
        2 * slices * samples * padded  # inputs
        + tiles * tile  # weights
        + GROUPS * tile  # partial
        + LARGEST_COOPERATIVE[0]  # z
        + outputs * QUAD * (blocks(units, QUAD) | 1)  # W2
        + outputs  # b2
    )
    return numbers * itemsize + 2 * samples * np.dtype(np.int64).itemsize


def fits(backend: Any, step: TrainingStep) -> Plan | None:
    """The launch for these steps on this GPU, if they are in the table and the GPU can do it."""
    if not SUPPORT["one kernel"].covers_step(step):
        return None
    device = backend.device_attributes
    capability = MODULES["cooperative"].capability
    if not device.get("CooperativeLaunch") or device["ComputeCapability"] < capability:
        return None
    (features, units), outputs = step.params["W1"].shape, step.params["W2"].shape[1]
    sizes = step.batch_size, features, units, outputs, step.params["W1"].itemsize
    found = plan(*sizes, device["MultiProcessorCount"])
    return found if found.shared_bytes <= device["MaxSharedMemoryPerBlockOptin"] else None


class Steps:
    """A function (rows, losses, rates) that makes these steps: a runner."""

    def __init__(self, backend: Any, kernels: Kernels, step: TrainingStep, launch: Plan) -> None:
        self._backend, self._kernels, self._step, self._plan = backend, kernels, step, launch
        x, (units, outputs) = step.data.x, step.params["W2"].shape
        batch, padded = step.batch_size, blocks(units, OF_WARP) * OF_WARP
        slices = blocks(x.shape[1] + 1, ROWS)
        shapes = (batch, slices, padded), (units, batch), (batch, padded), (outputs, batch)
        # What lies between the blocks: sums of the tiles, z1, both deltas, and the losses.
        self._between = [backend.empty(shape, x.dtype) for shape in (*shapes, batch)]

    def __call__(self, rows: Array, losses: Array, rates: np.ndarray) -> None:
        backend, step = self._backend, self._step
        step.check_batches(rows)
        with reporting(backend, "a step of training"), backend.current():
            backend.check_arrays(rows=rows, losses=losses, **step.params)
            if not len(rates):
                return
            if fits(backend, step) != self._plan:  # the parameters are others by now
                for i, rate in enumerate(rates.tolist()):
                    losses[i] = step.operations(rows[i], rate)
                return
            # A schedule goes along to the device, a constant rate needs no array.
            varies = (rates != rates[0]).any()
            on_device = backend.asarray(rates, np.float64) if varies else None
            for first in range(0, len(rates), MOST_STEPS):
                some = slice(first, first + MOST_STEPS)
                self._launch(
                    rows[some],
                    losses[some],
                    on_device[some] if on_device is not None else None,
                    float(rates[0]),
                )

    def _launch(self, rows: Array, losses: Array, rates: Array | None, rate: float) -> None:
        step, plan, xp = self._step, self._plan, self._kernels.xp
        labels, targets, _ = self._kernels.targets(step.data.t)
        params = [step.params[name] for name in ("W1", "b1", "W2", "b2")]
        (features, units), outputs = params[0].shape, params[3].size
        written = losses if losses.flags.c_contiguous else xp.empty(len(losses), losses.dtype)
        assert step.activation is not None
        sizes = {
            "SAMPLES": rows.shape[1],
            "FEATURES": features,
            "UNITS": units,
            "OUTPUTS": outputs,
            "ACTIVATION": ACTIVATION_CODES[step.activation],
            "CROSS_ENTROPY": int(step.loss == "cross_entropy"),
        }
        constants = sizes | {"BLOCKS": plan.blocks} if self._backend.compiles_for_sizes else {}
        self._kernels.launch(
            f"train<{TYPES[params[0].dtype]}>",
            (plan.blocks,),
            (THREADS,),
            (
                *(step.data.x, rows, labels, targets, *params, *self._between, written),
                np.uint64(0) if rates is None else rates,
                xp.zeros(1, np.uint32),
                *(len(rows), *sizes.values(), rate),
            ),
            shared_bytes=plan.shared_bytes,
            constants=tuple(f"-DTRAIN_{name}={value}" for name, value in constants.items()),
        )
        if written is not losses:
            losses[...] = written


def runner(backend: Backend, kernels: Kernels, step: TrainingStep) -> Runner | None:
    """What makes these steps in one kernel, if it can."""
    launch = fits(backend, step)
    return None if launch is None else Steps(backend, kernels, step, launch)
