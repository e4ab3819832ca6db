"""A training under way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .backends.base import Dataset
from .base_network import Network
from .callbacks import Callbacks
from .errors import InputError
from .evaluations import Evaluations
from .history import History
from .sampling import Sampler
from .schedules import Schedule
from .validation import positive_int


@dataclass(eq=False)
class TrainingState:
    """A training under way: what the loop works on, and what callbacks get.

    Attributes
    ----------
    network : Network
        Its parameters are those after `iteration` steps.
    data : Dataset
        The training samples.
    sampler : Sampler
        Draws the batches; has the random generator and the batch size.
    schedule : Schedule
        The learning rates.
    evaluations : Evaluations
    history : History
        Of all `iteration` steps. Without early stopping, what a run has in it does not depend on
        how it was cut, but for `seconds`.
    gradient : {"backprop", "numerical"}
    iterations : int
        At which iteration the training ends.
    callbacks : Callbacks
    optimizer : object
    iteration : int
        How many steps are made, those of a history that is continued included.
    stopped : str or None
        As in the history; that something is set here ends the training.
    signal : int or None
        The number of the signal that interrupted the training.
    stopped_before : str or None
        What had stopped the training when the signal came, if something had.
    rng_at_start : dict
        The state of the bit generator before the validation samples were drawn.
    blas_threads : int or None
        How many the BLAS has, which decides the last bits of its products; None as long as nobody
        knows, or where the backend has nothing to do with it.
    """

    network: Network
    data: Dataset
    sampler: Sampler
    schedule: Schedule
    evaluations: Evaluations
    history: History
    gradient: str
    iterations: int
    callbacks: Callbacks = field(default_factory=lambda: Callbacks(()))
    optimizer: Any = None
    iteration: int = 0
    stopped: str | None = None
    signal: int | None = None
    stopped_before: str | None = None
    rng_at_start: Mapping[str, Any] = field(default_factory=dict)
    blas_threads: int | None = None

    @property
    def rng(self) -> np.random.Generator:
        """Where the batches come from; it has drawn for the steps made, and no more."""
        return self.sampler.rng

    @property
    def batch_size(self) -> int:
        """Samples of a batch; the last one of a shuffled epoch may have less."""
        return self.sampler.batch_size

    @property
    def epoch(self) -> int:
        """How many epochs are complete."""
        return self.sampler.epoch

    @property
    def learning_rate(self) -> float:
        """Of the next step."""
        return self.schedule(self.iteration)

    def state_dict(self) -> dict[str, Any]:
        """What the rest of a training depends on, beside parameters, optimizer and history.

        Nested dicts of numbers and strings that JSON has, and of NumPy arrays of one dimension:
        ``iteration``, ``iterations``, ``stopped``, ``sampler``, ``rng`` and ``rng_at_start``
        (states of NumPy's bit generator), and ``callbacks`` and ``callback_classes``, lists with
        an entry for each callback that has a `state_dict`. An interrupt is no part of it: the
        training is to go on, or to end as it would have without.
        """
        return {
            "iteration": self.iteration,
            "iterations": self.iterations,
            "stopped": self.stopped_before if self.stopped == "interrupted" else self.stopped,
            "sampler": self.sampler.state_dict(),
            "rng": self.rng.bit_generator.state,
            "rng_at_start": self.rng_at_start,
            "callbacks": [one.state_dict() for one in self._remembering],
            "callback_classes": [type(one).__name__ for one in self._remembering],
        }

    @property
    def _remembering(self) -> list[Any]:
        return [one for one in self.callbacks.all if hasattr(one, "state_dict")]

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state_dict` gave, with callbacks of the same kinds.

        Parameters, optimizer and history are set beside it.

        Raises
        ------
        InputError
            If the state is that of another training.
        """
        callbacks, here = state["callbacks"], [type(one).__name__ for one in self._remembering]
        began = state.get("callback_classes")
        if began is None:  # a file of before they were kept says only how many there were
            began = here if len(here) == len(callbacks) else ["unknown"] * len(callbacks)
        if began != here or len(callbacks) != len(here):
            raise InputError(
                f"the training to resume had {len(began)} callbacks with a state, early stopping "
                f"included{_listed(began)}, and here are {len(here)}{_listed(here)}; "
                "give the same, in this order"
            )
        iteration = positive_int(state["iteration"], "iteration", 0)
        self.iterations = positive_int(state["iterations"], "iterations", iteration)
        self.sampler.load_state_dict(state["sampler"])
        for one, entry in zip(self._remembering, callbacks, strict=True):
            one.load_state_dict(entry)
        try:
            self.rng.bit_generator.state = state["rng"]
        except (TypeError, ValueError, KeyError) as error:
            raise InputError(
                f"the training to resume drew from another generator ({error}); "
                f"give rng= of that kind, and no {type(self.rng.bit_generator).__name__}"
            ) from error
        self.iteration, self.stopped = iteration, state["stopped"]


def _listed(classes: list[str]) -> str:
    names = ", ".join(map(str, classes))
    return f" ({names if len(names) <= 60 else names[:57] + '...'})" if classes else ""
