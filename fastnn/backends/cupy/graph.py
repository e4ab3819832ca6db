"""A step of training as a CUDA graph: recorded once, then replayed without Python or waiting.

A graph fixes the addresses of everything that its kernels read and write. So each graph holds row
numbers of its own, which its first kernel fetches from those of the loop, at a position that is
kept on the device and moved on by its last kernel, and whatever the recorded steps allocate comes
from a pool that lives as long as the graph. One graph makes many steps; smaller ones make what is
left over.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np

from ...validation import Array
from ..base import Backend
from .kernels import Kernels

#: How many steps the graphs make that a loop is put together from, largest first.
STEPS = (32, 8, 4, 1)

#: What CuPy, CUDA's runtime and its driver say in an error of a capture.
_NOT_CAPTURED = ("capturing", "StreamCapture", "STREAM_CAPTURE")


class RecordedLoop:
    """A function (rows, losses) that makes a step with each of the rows and writes its loss.

    Parameters
    ----------
    backend : CupyBackend
    kernels : Kernels
    step : callable
        Row numbers, shape (batch,), to the loss, a single number of the dtype of the losses. It
        launches kernels and allocates, and does nothing else.
    """

    def __init__(self, backend: Backend, kernels: Kernels, step: Callable[[Array], Array]) -> None:
        self._backend = backend
        self._kernels = kernels
        self._step = step
        self._position = kernels.new_position()
        self._recordings: dict[tuple[int, int], Recording | None] = {}

    def __call__(self, rows: Array, losses: Array) -> None:
        # The graphs go by their addresses.
        if not (rows.flags.c_contiguous and losses.flags.c_contiguous):
            self._unrecorded(rows, losses)
            return
        done = 0
        self._kernels.begin(self._position, rows, losses)
        for steps in STEPS:
            while len(rows) - done >= steps:
                key = steps, rows.shape[1]
                if key not in self._recordings:
                    self._recordings[key] = self._record(*key, losses.dtype)
                recording = self._recordings[key]
                if recording is None:
                    self._unrecorded(rows[done:], losses[done:])
                    return
                recording.graph.launch()
                done += steps

    def _unrecorded(self, rows: Array, losses: Array) -> None:
        for i in range(len(rows)):
            losses[i] = self._step(rows[i])

    def _record(self, steps: int, batch_size: int, dtype: Any) -> Recording | None:
        """Record some steps without making them; None where the capture was broken off."""
        xp: Any = self._backend.xp
        kernels = self._kernels
        rows, addresses = xp.empty((steps, batch_size), np.int64), xp.empty(steps, np.uint64)

        def all_steps() -> list[Array]:
            kernels.fetch(self._position, rows)
            values = [self._step(rows[s]) for s in range(steps)]
            kernels.collect(self._position, addresses, dtype)
            return values

        try:
            recording = Recording(self._backend, all_steps)
        except RuntimeError as error:
            # What CUDA says of a capture that something else broke off, such as another thread's
            # end.
            if any(words in str(error) for words in _NOT_CAPTURED):
                return None
            raise
        addresses[...] = xp.asarray(
            np.array([value.data.ptr for value in recording.results], np.uint64)
        )
        recording.inputs = rows, addresses
        return recording


class Recording:
    """The graph of what a function launches, and the memory that it works on.

    Attributes
    ----------
    graph : cupy.cuda.Graph
    results : Any
        What the function returned.
    inputs : Any
        More that must live as long as the graph.
    """

    inputs: Any = None

    def __init__(self, backend: Backend, function: Callable[[], Any]) -> None:
        xp: Any = backend.xp
        self._current = backend.current
        # CuPy's own pool stands behind this one: it says so if there is no memory left, before this
        # one would give away, to find some, what has been recorded already.
        self._pool = xp.cuda.MemoryPool(xp.get_default_memory_pool().malloc)
        stream = xp.cuda.Stream(non_blocking=True)
        with xp.cuda.using_allocator(self._pool.malloc), stream:
            stream.begin_capture()
            try:
                self.results = function()
            except BaseException:
                with suppress(RuntimeError):  # the capture may have been broken off
                    stream.end_capture()
                raise
            self.graph = stream.end_capture()

    def __del__(self) -> None:
        # A pool that is gone does not return what it held, and it can only return it whole: its
        # arrays have to go first.
        self.results = self.graph = None
        with suppress(Exception), self._current():
            self._pool.free_all_blocks()
