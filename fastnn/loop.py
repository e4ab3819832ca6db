"""The training loop: pieces of many steps, and what happens between them.

A piece is as many steps as the device makes in about a tenth of a second, so that what a call of a
fused runner sets up is shared by many steps, losses come back from a GPU in one copy, and a signal
is answered soon. It ends sooner where somebody wants to see the state. How the steps are cut
changes nothing of what they compute, and row numbers are drawn for exactly the steps of a piece. So
a training can be interrupted and resumed between any two pieces: the state then is what
:meth:`fastnn.training_state.TrainingState.state_dict` gives, with the parameters, the optimizer's
state and the history.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Any

import numpy as np

from .backends.datasets import DistantDataset
from .backends.turns import Turn
from .base_network import Network
from .callbacks import MOMENTS
from .errors import DivergenceError
from .evaluations import check_parameters, count_broken
from .interrupts import Interrupts
from .optimizers.choosing import rehearsing
from .pace import Pace
from .schedules import Constant, rates_of
from .stepping import runners
from .training_state import TrainingState
from .validation import Array, room_for

#: How long a piece should take, in seconds.
PIECE = 0.1

#: For how many steps a runner gets ready at most, before the clock starts.
PREPARED = 64

#: How many row numbers are drawn at a time at most: a GPU makes the steps with those before
#: meanwhile.
MOST_ROWS = 1 << 17


class Steps:
    """Makes steps of a training: the one place where runners are made and called."""

    def __init__(self, state: TrainingState) -> None:
        self._state = state
        self._make()

    def _make(self) -> None:
        state = self._state
        self._runners = self._of_all_sizes(state.network, state.optimizer)
        self._params = state.network.params
        self._arrays = dict(self._params)

    def follow(self) -> None:
        """Take note of what a callback has assigned to the network's parameters.

        Runners go by the dict that the network had when they were made; in another one they would
        change nothing. What is assigned is checked as before the training.
        """
        network = self._state.network
        params, seen = network.params, self._arrays
        same = params is self._params and params.keys() == seen.keys()
        if same and all(params[name] is array for name, array in seen.items()):
            return
        network.check_trainable()
        self._make()

    def __call__(self, rows: Array, losses: Array, rates: np.ndarray) -> None:
        """Make a step with each batch in turn, at its rate; shapes (steps, batch), (steps,)."""
        self._runners[rows.shape[1]](rows, losses, rates)

    def _of_all_sizes(self, network: Network, optimizer: Any) -> dict[int, Any]:
        state = self._state
        options = {"gradient": state.gradient, "optimizer": optimizer}
        with room_for(f"batch_size={max(state.sampler.sizes)}"):
            return runners(network, state.data, state.sampler.sizes, **options)

    def rehearse(self) -> None:
        """Make a step of each size on a copy of the network, with one of the optimizer.

        So for exactly these types everything is compiled and loaded before the clock starts.
        """
        state, network = self._state, self._state.network
        backend, rates = network.backend, np.array([state.learning_rate])
        rehearsed = self._of_all_sizes(network.to(backend), rehearsing(state.optimizer))
        for size, runner in rehearsed.items():
            with room_for(f"batch_size={size}"):
                rows = backend.asarray(np.zeros((1, size), np.int64))
                runner(rows, backend.empty(1, network.dtype), rates)
                self._prepare(self._runners[size])
                backend.synchronize()

    def _prepare(self, runner: Any) -> None:
        """Let a runner get ready for these very arrays, too, if it has something to do for that."""
        state, prepare = self._state, getattr(runner, "prepare", None)
        # A schedule may be a function of the user's, which is asked for a rate when it is its turn.
        if prepare is not None and isinstance(state.schedule, Constant):
            last = min(state.iteration + PREPARED, state.iterations)
            prepare(rates_of(state.schedule, state.network.dtype, state.iteration, last))


def loop(state: TrainingState) -> None:
    """Go on with a training from `state` to its end; the history and the network are changed.

    Raises
    ------
    DivergenceError
        If the loss or a parameter ceases to be finite.
    InputError, DtypeError
        If a learning rate cannot be one, or a callback has assigned a parameter that cannot.
    """
    backend, network, callbacks = state.network.backend, state.network, state.callbacks
    start, history = state.iteration, state.history
    # Divergence is told from the losses; a warning from the middle of an operation would only come
    # first.
    with (
        ExitStack() as exits,
        backend.current(),
        _threads(state) as turn,
        np.errstate(invalid="ignore"),
    ):
        state.blas_threads = None if turn is None else turn.threads
        with room_for(f"iterations={state.iterations} of batch_size={state.batch_size}"):
            losses = np.empty(state.iterations, network.dtype)
            losses[:start] = history.loss
        # From here on: the compiler loses what is raised while it works.
        with Interrupts() as interrupts:
            steps = Steps(state)
            steps.rehearse()
            exits.callback(callbacks.close)
            callbacks.call("on_begin", state)
            steps.follow()
            started, pace = time.perf_counter() - history.seconds, Pace(PIECE)
            while state.iteration < state.iterations and not state.stopped:
                if interrupts.caught is not None:
                    break
                if turn is not None:
                    turn.give_way()
                began, first = time.perf_counter(), state.iteration
                last = _end_of_piece(state, pace)
                evaluated = _make_piece(state, steps, losses, last)
                now = time.perf_counter()
                history.seconds = now - started
                pace.measured(last - first, evaluated, now - began)
                _after_piece(state)
                steps.follow()
                callbacks.call("on_progress", state)
            backend.synchronize()
            history.seconds = time.perf_counter() - started
            steps.follow()
            if state.iteration > start:  # what came out of the last step has no loss any more
                finite = not backend.to_numpy(count_broken(network))
                check_parameters(finite, state.iteration - 1, state.schedule(state.iteration - 1))
            state.signal = interrupts.caught
            if state.signal is not None:
                # Of what has stopped it in the same piece a training that is resumed ends, too.
                state.stopped, state.stopped_before = "interrupted", state.stopped
            history.stopped = state.stopped = state.stopped or "finished"
            if state.iteration < state.iterations:
                history.loss = history.loss.copy()  # without the rest of the memory
            callbacks.call("on_end", state)


def _threads(state: TrainingState) -> AbstractContextManager[Any]:
    """The threads that pay, or as many as before, where a training goes on."""
    if isinstance(state.data, DistantDataset):
        # No product is computed here; and workers in threads of this process wait for their turn.
        return nullcontext()
    chosen = state.network.backend.limit_threads(state.batch_size * state.network.size)
    known = state.blas_threads
    return chosen if known is None or not isinstance(chosen, Turn) else Turn(known)


def _end_of_piece(state: TrainingState, pace: Pace) -> int:
    """At which iteration the piece ends that begins now."""
    first, callbacks, evaluations = state.iteration, state.callbacks, state.evaluations
    ends = [state.iterations, first + pace.steps]
    if (due := evaluations.next_from(first)) is not None:
        more = 0 if callbacks.react_to("on_evaluation") else pace.evaluations - 1
        ends.append(due + 1 + more * evaluations.interval)
    if (called := callbacks.next_iteration(first)) is not None:
        ends.append(called)
    if callbacks.react_to("on_epoch"):
        ends.append(first + state.sampler.steps_left)
    return min(ends)


def _make_piece(state: TrainingState, steps: Steps, host: np.ndarray, last: int) -> int:
    """The steps up to iteration `last`, whose losses go to `host`, and what is evaluated then.

    Returns how many evaluations there were.
    """
    backend, evaluations = state.network.backend, state.evaluations
    i = first = state.iteration
    rates = rates_of(state.schedule, state.network.dtype, first, last)
    steps.follow()
    losses = backend.empty(last - first, state.network.dtype)
    found = []
    for block in _batches(state, last - first):
        # The row numbers of many steps at a time: they reach a GPU in one copy, and its losses come
        # back in one.
        rows = backend.asarray(block)
        begin, block_ends = 0, i + len(block)
        while i < block_ends:
            due = evaluations.next_from(i)
            end = block_ends if due is None else min(block_ends, due + 1)
            some = slice(i - first, end - first)
            steps(rows[begin : begin + end - i, ...], losses[some, ...], rates[some])
            begin, i = begin + end - i, end
            if due == end - 1:
                found.append(evaluations.evaluate(due))
    # Up to here nothing of these steps has waited for a GPU.
    host[first:last] = backend.to_numpy(losses)
    state.history.loss, state.iteration = host[:last], last
    _check_finite(host, first, rates)
    for evaluation in found:
        evaluations.record(evaluation, state.history, rates[evaluation.iteration - first])
    return len(found)


def _batches(state: TrainingState, steps: int) -> Iterator[np.ndarray]:
    """The row numbers of so many steps, drawn when it is their turn: those of some at a time."""
    most = max(MOST_ROWS // state.batch_size, 1)
    whole, rest = divmod(steps, most)
    for some in filter(None, (rest, *[most] * whole)):  # fewest first: a GPU waits for these
        yield from state.sampler.draw(some)


def _after_piece(state: TrainingState) -> None:
    """Let the callbacks react to what the last step of a piece was."""
    evaluated = state.evaluations.next_from(state.iteration - 1) == state.iteration - 1
    happened = {
        "on_evaluation": evaluated,
        "on_iteration": True,
        "on_epoch": state.sampler.position == 0,
    }
    state.callbacks.after_step(state, [moment for moment in MOMENTS if happened[moment]])


def _check_finite(loss: np.ndarray, first: int, rates: np.ndarray) -> None:
    finite = np.isfinite(loss[first : first + len(rates)])
    if not finite.all():
        i = int(finite.argmin())
        raise DivergenceError(
            f"the loss is {loss[first + i]} at iteration {first + i}: training diverged, "
            "and the parameters are of no use any more; "
            f"start again with a learning_rate smaller than {rates[i]:g}"
        )
