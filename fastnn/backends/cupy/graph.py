"""A step of training as a CUDA graph: recorded once, then replayed without Python or waiting.

A graph fixes the addresses of everything that its kernels read and write. So each graph holds row
numbers of its own, which its first kernel fetches from those of the loop, at a position that is
kept on the device and moved on by its last kernel, and whatever the recorded steps allocate comes
from a pool that lives as long as the graph. One graph makes many steps; smaller ones make what is
left over.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from ...validation import Array
from ..base import Backend
from .kernels import Kernels

_log = logging.getLogger("fastnn")

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
        Row numbers, shape (batch,), and a place for the loss or None, to the loss, a single number
        of the dtype of the losses, which need not be in that place. It launches kernels and
        allocates, and does nothing else.
    """

    def __init__(
        self, backend: Backend, kernels: Kernels, step: Callable[[Array, Array | None], Array]
    ) -> None:
        self._backend = backend
        self._kernels = kernels
        self._step = step
        self._position = kernels.new_position()
        self._memory = Memory(backend)
        self._recordings: dict[tuple[int, int], Recording | None] = {}

    def prepare(self, steps: int, batch_size: int, dtype: Any) -> None:
        """Record what a loop of so many steps replays; none of them is made."""
        for size in STEPS:
            if size <= steps and self._recording(size, batch_size, dtype) is None:
                return

    def __call__(self, rows: Array, losses: Array) -> None:
        # The graphs go by their addresses.
        if not (rows.flags.c_contiguous and losses.flags.c_contiguous):
            self._unrecorded(rows, losses)
            return
        done = 0
        self._kernels.begin(self._position, rows, losses)
        for steps in STEPS:
            while len(rows) - done >= steps:
                recording = self._recording(steps, rows.shape[1], losses.dtype)
                if recording is None:
                    self._unrecorded(rows[done:], losses[done:])
                    return
                recording.graph.launch()
                done += steps

    def _unrecorded(self, rows: Array, losses: Array) -> None:
        for i in range(len(rows)):
            losses[i] = self._step(rows[i], None)

    def _recording(self, steps: int, batch_size: int, dtype: Any) -> Recording | None:
        """The graph of so many steps; None where two captures were broken off."""
        key = steps, batch_size
        if key not in self._recordings:
            self._recordings[key] = self._recorded(*key, dtype)
        return self._recordings[key]

    def _recorded(self, steps: int, batch_size: int, dtype: Any) -> Recording | None:
        for consequence in (
            "it is tried once more",
            "every step is launched by itself from now on",
        ):
            try:
                return self._record(steps, batch_size, dtype)
            except RuntimeError as error:
                # What CUDA says of a capture that something else broke off, such as another
                # thread's end.
                if not any(words in str(error) for words in _NOT_CAPTURED):
                    raise
                _log.warning(
                    "the capture of a CUDA graph of %d steps was broken off (%s); %s",
                    *(steps, error, consequence),
                )
        return None

    def _record(self, steps: int, batch_size: int, dtype: Any) -> Recording:
        """Record some steps without making them."""
        xp: Any = self._backend.xp
        kernels = self._kernels
        rows, addresses = xp.empty((steps, batch_size), np.int64), xp.empty(steps, np.uint64)
        values = xp.empty(steps, dtype)

        def all_steps() -> list[Array]:
            kernels.fetch(self._position, rows)
            losses = [self._step(rows[s], values[s, ...]) for s in range(steps)]
            kernels.collect(self._position, addresses, dtype)
            return losses

        recording = Recording(self._backend, self._memory, all_steps)
        addresses[...] = xp.asarray(
            np.array([value.data.ptr for value in recording.results], np.uint64)
        )
        recording.inputs = rows, addresses, values
        return recording


class Memory:
    """What recordings work on that are replayed one after the other: each finds it free.

    Parameters
    ----------
    backend : CupyBackend

    Attributes
    ----------
    pool : cupy.cuda.MemoryPool
    """

    def __init__(self, backend: Backend) -> None:
        xp: Any = backend.xp
        self._current = backend.current
        # CuPy's own pool stands behind this one: it says so if there is no memory left, before this
        # one would give away, to find some, what has been recorded already.
        self.pool = xp.cuda.MemoryPool(xp.get_default_memory_pool().malloc)

    def __del__(self) -> None:
        # A pool that is gone does not return what it held.
        with suppress(Exception), self._current():
            self.pool.free_all_blocks()


class Recording:
    """The graph of what a function launches.

    Attributes
    ----------
    graph : cupy.cuda.Graph
    results : Any
        What the function returned.
    inputs : Any
        More that must live as long as the graph.
    """

    inputs: Any = None

    def __init__(self, backend: Backend, memory: Memory, function: Callable[[], Any]) -> None:
        xp: Any = backend.xp
        self._memory = memory
        with (
            _capture_stream(backend) as stream,
            xp.cuda.using_allocator(memory.pool.malloc),
            stream,
        ):
            stream.begin_capture()
            try:
                self.results = function()
            except BaseException:
                with suppress(RuntimeError):  # the capture may have been broken off
                    stream.end_capture()
                raise
            self.graph = stream.end_capture()

    def __del__(self) -> None:
        # Before the memory is: it can only return what nobody holds.
        self.results = self.graph = None


#: By backend, streams on which nothing is captured now.
_idle: WeakKeyDictionary[Backend, list[Any]] = WeakKeyDictionary()


@contextmanager
def _capture_stream(backend: Backend) -> Iterator[Any]:
    """A stream for one capture at a time.

    There are no more of them than captures at once: for each stream there has ever been, CuPy's
    pool keeps memory that no other can have.
    """
    idle = _idle.setdefault(backend, [])
    xp: Any = backend.xp
    try:
        stream = idle.pop()
    except IndexError:
        stream = xp.cuda.Stream(non_blocking=True)
    yield stream
    idle.append(stream)  # one whose capture was broken off is not used again
