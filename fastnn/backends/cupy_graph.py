"""A step of training as a CUDA graph: recorded once, then replayed without Python, and without the host waiting.

A graph fixes the addresses of everything that its kernels read and write. So each graph holds row numbers of its own, which its
first kernel fetches from those of the loop, at a position that is kept on the device and moved on by its last kernel, and whatever
the recorded steps allocate comes from a pool that lives as long as the graph. One graph makes many steps; a second one, of a
single step, makes what is left over.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..validation import Array
from .cupy_kernels import Kernels

#: How many steps the graphs make that a loop is put together from, largest first.
STEPS = (32, 1)


class RecordedLoop:
    """A function (rows, losses) that makes a step with each of the rows and writes its loss.

    Parameters
    ----------
    xp : module
        CuPy.
    kernels : Kernels
    step : callable
        Row numbers, shape (batch,), to the loss, a single number of the dtype of the losses.
    unrecorded : callable
        The same loop step by step, for steps that cannot be recorded because CuPy refuses it for cuBLAS.
    """

    def __init__(self, xp: Any, kernels: Kernels, step: Callable[..., Array], unrecorded: Callable[..., None]) -> None:
        self._xp = xp
        self._kernels = kernels
        self._step = step
        self._unrecorded = unrecorded
        self._position = kernels.new_position()
        self._graphs: dict[tuple[int, int], tuple[Any, Any] | None] = {}

    def __call__(self, rows: Array, losses: Array) -> None:
        done = 0
        self._kernels.begin(self._position, rows, losses)
        for steps in STEPS:
            while len(rows) - done >= steps:
                key = steps, rows.shape[1]
                if key not in self._graphs:
                    self._graphs[key] = self._record(*key, losses.dtype)
                recorded = self._graphs[key]
                if recorded is None:
                    self._unrecorded(rows[done:], losses[done:])
                    return
                graph, _ = recorded
                graph.launch()
                done += steps

    def _record(self, steps: int, batch_size: int, dtype: Any) -> tuple[Any, Any] | None:
        """Record some steps without making them: a graph, and the memory that it works on; None where CuPy refuses."""
        xp, kernels = self._xp, self._kernels
        rows, addresses = xp.empty((steps, batch_size), np.int64), xp.empty(steps, np.uint64)
        pool, stream = xp.cuda.MemoryPool(), xp.cuda.Stream(non_blocking=True)
        with xp.cuda.using_allocator(pool.malloc), stream:
            stream.begin_capture()
            try:
                kernels.fetch(self._position, rows)
                values = [self._step(rows[s]) for s in range(steps)]
                kernels.collect(self._position, addresses, dtype)
            except NotImplementedError:
                return None
            finally:
                graph = stream.end_capture()
        addresses[...] = xp.asarray(np.array([value.data.ptr for value in values], np.uint64))
        return graph, (rows, addresses, values, pool)
