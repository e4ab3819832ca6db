"""What happens beside the steps of a training: small objects that the loop calls at its moments.

The steps are made many at a time. A callback that reacts to a moment ends such a piece there, so
that it sees the network and the history as they are then; what nobody reacts to costs nothing. When
a callback is called, everything is on the host, and the generator has drawn for exactly the steps
made.

The order within a moment is that of the callbacks: early stopping, those of the user as they stand
in their list, the progress bar. The order of the moments after a step is: evaluation, iteration,
epoch, `should_stop`, progress.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from .errors import DtypeError
from .progress import progress_bar
from .validation import positive_int, shown

if TYPE_CHECKING:
    from .training_state import TrainingState


class Callback:
    """What a callback may do; each method may be missing, also the base class.

    A method gets the :class:`fastnn.training_state.TrainingState`, and may read anything of it.
    What it raises ends the training.

    Attributes
    ----------
    every : int or None
        Every how many iterations `on_iteration` is called; None stands for 1.
    name : str
        What ``history.stopped`` says if this callback stops the training; by default the name of
        its class.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn import TwoLayerNet, train
    >>> class Watch(Callback):
    ...     every = 100
    ...     seen = ()
    ...     def on_iteration(self, state):
    ...         self.seen += (state.iteration,)
    ...     def should_stop(self, state):
    ...         return state.iteration >= 300
    >>> watch = Watch()
    >>> net = TwoLayerNet(2, 3, 2, rng=0)
    >>> train(net, np.eye(2), [0, 1], iterations=1000, batch_size=2, callbacks=[watch]).stopped
    'Watch'
    >>> watch.seen
    (100, 200, 300)
    """

    every: int | None = None

    def on_begin(self, state: TrainingState) -> None:
        """Before the first step, when everything has been checked and compiled."""

    def on_evaluation(self, state: TrainingState) -> None:
        """After each evaluation, whose results are the last ones in the history."""

    def on_iteration(self, state: TrainingState) -> None:
        """When the number of iterations made is a multiple of `every`."""

    def on_epoch(self, state: TrainingState) -> None:
        """After the last step of an epoch."""

    def should_stop(self, state: TrainingState) -> bool:
        """Whether the training ends here: asked after each of the three moments above.

        Of those that the callback has a method for; if it has none, after each epoch.
        """
        return False

    def on_progress(self, state: TrainingState) -> None:
        """About ten times a second, when nothing is under way: to show or keep what is reached.

        When that is depends on the machine, so nothing should be decided here. It comes after all
        other methods that are called after the same step.
        """

    def on_end(self, state: TrainingState) -> None:
        """After the last step, unless an error ended the training."""

    def on_exit(self) -> None:
        """When the training is left, in whatever way: to close what `on_begin` opened."""


#: The moments that end a piece of steps where a callback reacts to them.
MOMENTS = ("on_evaluation", "on_iteration", "on_epoch")

#: All methods of a callback.
METHODS = ("on_begin", *MOMENTS, "should_stop", "on_progress", "on_end", "on_exit")


class Callbacks:
    """The callbacks of a training, by what they react to."""

    def __init__(self, callbacks: Iterable[Any]) -> None:
        self.all = tuple(callbacks)
        self._methods: dict[str, list[tuple[Any, Callable[..., Any]]]] = {
            name: [(one, getattr(one, name)) for one in self.all if has(one, name)]
            for name in METHODS
        }
        self._asked = {
            name: [
                (one, ask)
                for one, ask in self._methods["should_stop"]
                if has(one, name) or (name == "on_epoch" and not any(has(one, m) for m in MOMENTS))
            ]
            for name in MOMENTS
        }

    def react_to(self, moment: str) -> bool:
        """Whether there is one that does something then."""
        return bool(self._methods[moment] or self._asked[moment])

    def next_iteration(self, iteration: int) -> int | None:
        """After how many iterations, more than these, `on_iteration` is to be called next."""
        return min(
            (iteration + n - iteration % n for n in map(_every, self._of("on_iteration"))),
            default=None,
        )

    def call(self, name: str, *arguments: Any) -> None:
        """Call this method of all that have it."""
        for _, method in self._methods[name]:
            method(*arguments)

    def after_step(self, state: TrainingState, moments: Iterable[str]) -> None:
        """What comes after a step of which these are the moments; the state may be stopped then."""
        asked: list[tuple[Any, Callable[..., Any]]] = []
        for moment in moments:
            for entries in (self._methods[moment], self._asked[moment]):
                due = [
                    entry
                    for entry in entries
                    if moment != "on_iteration" or state.iteration % _every(entry[0]) == 0
                ]
                if entries is self._asked[moment]:
                    asked += [entry for entry in due if entry not in asked]
                else:
                    for _, method in due:
                        method(state)
        for one, ask in asked:
            if ask(state) and state.stopped is None:
                state.stopped = str(getattr(one, "name", type(one).__name__))

    def close(self) -> None:
        """Call `on_exit` of all, also if one raises."""
        failed: BaseException | None = None
        for _, method in reversed(self._methods["on_exit"]):
            try:
                method()
            except BaseException as error:
                failed = failed or error
        if failed is not None:
            raise failed

    def _of(self, name: str) -> list[Any]:
        return [one for one, _ in self._methods[name]]


def _every(callback: Any) -> int:
    every = getattr(callback, "every", None)
    return 1 if every is None else every


def has(callback: Any, method: str) -> bool:
    """Whether a callback has a method that is not the empty one of the base class."""
    found = getattr(callback, method, None)
    return found is not None and getattr(found, "__func__", None) is not vars(Callback)[method]


def checked_callbacks(callbacks: Any) -> tuple[Any, ...]:
    """The argument `callbacks` as a tuple.

    Raises
    ------
    DtypeError, InputError
        If it is no iterable of objects with a method of :class:`Callback`, or `every` of one is not
        a positive integer.
    """
    try:
        given = tuple(callbacks)
    except TypeError as error:
        raise DtypeError(
            f"callbacks={shown(callbacks)} is no list; give one: callbacks=[...]"
        ) from error
    for one in given:
        if isinstance(one, type) or not any(callable(getattr(one, m, None)) for m in METHODS):
            raise DtypeError(
                f"callbacks holds {shown(one)}, which is no callback; give objects with a method "
                "of fastnn.Callback, as on_epoch(state)"
            )
        if getattr(one, "every", None) is not None:
            positive_int(one.every, f"every of {shown(one)}")
    return given


class ProgressBar(Callback):
    """A bar on standard error: how far the training is, its loss, accuracy, rate and time left.

    It begins after everything is compiled. tqdm is loaded to show one; where standard error is no
    terminal, and there is no notebook, nothing is.
    """

    def __init__(self) -> None:
        self._open = ExitStack()
        self._bar: Any = None

    def on_begin(self, state: TrainingState) -> None:
        self._bar = self._open.enter_context(
            progress_bar(
                state.iterations, True, initial=state.iteration, unit="it", dynamic_ncols=True
            )
        )

    def on_progress(self, state: TrainingState) -> None:
        if self._bar is None:
            return
        history = state.history
        shown = {"loss": float(history.loss[-100:].mean())} if len(history.loss) else {}
        for name in ("train_accuracy", "test_accuracy", "validation_accuracy"):
            if values := getattr(history, name):
                shown["accuracy"] = values[-1]  # the last that there is
        self._bar.set_postfix(shown, refresh=False)
        self._bar.update(state.iteration - self._bar.n)

    def on_exit(self) -> None:
        self._open.close()
