"""Checkpoints while a network is trained.

One is written between two pieces of the loop, where parameters, optimizer, generator and history
are those after the same step, and nothing is drawn ahead. What else decides the last bits of the
rest, the number of BLAS threads included, is in the file. Of the data there is a digest, so that
they can be told from others.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .backends import Backend
from .callbacks import Callback
from .checkpoints import CheckpointWriter, digest_of
from .early_stopping import EarlyStopping
from .errors import DtypeError
from .evaluations import check_parameters, count_broken
from .files.random_states import random_state
from .optimizers.choosing import stated
from .schedules import SCHEDULES, Schedule
from .training_state import TrainingState
from .validation import has_its_methods, shown

#: What of the arguments of a training is kept as it is.
KEPT = ("iterations", "epochs", "batch_size", "sampling", "gradient", "evaluate_every")


class Checkpointing(Callback):
    """Writes checkpoints of the training that it watches.

    Parameters
    ----------
    path, every
        As for :class:`fastnn.checkpoints.CheckpointWriter`.
    arguments : dict
        What the training was called with, by the names of the arguments of :func:`fastnn.train`.
    digest : callable, optional
        In place of :func:`fastnn.checkpoints.digest_of`, for data that only it knows.
    """

    def __init__(
        self,
        path: Any,
        every: Any,
        arguments: Mapping[str, Any],
        digest: Callable[..., str] = digest_of,
    ) -> None:
        self._digest = digest
        self._writer = CheckpointWriter(path, every)
        self._given = dict(arguments)
        self._training: dict[str, Any] = {}
        if self._writer.iterations is not None:  # the loop stops there for this
            self.every = self._writer.iterations
            vars(self)["on_iteration"] = lambda _: None

    def on_begin(self, state: TrainingState) -> None:
        self._writer.begin(state.network, state.iteration)
        for one in state.callbacks.all:
            if hasattr(one, "state_dict") and not callable(getattr(one, "load_state_dict", None)):
                raise DtypeError(
                    f"a checkpoint cannot hold the callback {shown(one)}: it has a state_dict, and "
                    "no load_state_dict(state); give it both methods, or neither"
                )
        given = self._given
        self._training = {name: _plain(given[name]) for name in KEPT} | {
            "learning_rate": described_schedule(state.schedule),
            "validation": _fraction(given["validation"]),
            "early_stopping": described_stopping(
                # Those among the callbacks are the caller's, to be given again like these.
                None if given["early_stopping"] is None else state.callbacks.all[0]
            ),
            "optimizer": name_of(state.optimizer),
            "start": given.get("start", state.iteration),
            "checkpoint_every": _interval(self._writer),
            "data": digests(given, state.network.backend, self._digest),
            "rng_at_start": _state_of(state.rng, state.rng_at_start),
        }
        self._write(state)

    def on_progress(self, state: TrainingState) -> None:
        if self._writer.due(state.iteration):
            self._write(state)

    def on_end(self, state: TrainingState) -> None:
        self._write(state)

    def _write(self, state: TrainingState) -> None:
        backend = state.network.backend
        finite = not backend.to_numpy(count_broken(state.network))
        check_parameters(finite, state.iteration - 1, state.learning_rate)
        remembered = state.state_dict()
        history = state.history.to_dict()
        self._writer.write(
            network=state.network,
            state={
                "training": self._training,
                "loop": remembered | {"rng": random_state(state.rng), "rng_at_start": None},
                "history": history | {"loss": state.history.loss.copy()},
                "optimizer": _on_host(state.optimizer.state_dict(), backend),
                "blas_threads": state.blas_threads,
            },
            iteration=state.iteration,
        )


def digests(
    given: Mapping[str, Any], backend: Backend, digest: Callable[..., str] = digest_of
) -> dict[str, str | None]:
    """Of the data among the arguments of a training: SHA-256 by name, None where there is none."""
    pair = given["validation"]
    parts = {
        "x_train and t_train": (given["x_train"], given["t_train"]),
        "x_test and t_test": (given["x_test"], given["t_test"]),
        "sample_weight": (given["sample_weight"],),
        "validation=(x, t)": tuple(pair) if isinstance(pair, tuple | list) else (None,),
    }
    return {
        name: None if values[0] is None else digest(*values, backend=backend)
        for name, values in parts.items()
    }


def described_schedule(rates: Schedule) -> dict[str, Any] | None:
    """A schedule of ours as data; None for what only its own code can be."""
    name = type(rates).__name__
    if SCHEDULES.get(name) is not type(rates):
        return None
    return {"class": name, "arguments": dataclasses.asdict(rates)}  # type: ignore[call-overload]


def described_stopping(stopping: EarlyStopping | None) -> dict[str, Any] | None:
    """What early stopping is as data: of one of ours its numbers, of a changed one its class."""
    if stopping is None:
        return None
    if type(stopping) is EarlyStopping and has_its_methods(stopping, EarlyStopping):
        return {name: getattr(stopping, name) for name in ("patience", "min_delta", "monitor")}
    return {"class": class_of(stopping)}


def name_of(optimizer: Any) -> str:
    """The name of an optimizer of ours, or the class of another one, whose state can be kept."""
    if stated(optimizer) is not None:  # no object that was changed, either
        return optimizer.name
    if not all(callable(getattr(optimizer, m, None)) for m in ("state_dict", "load_state_dict")):
        raise DtypeError(
            f"a checkpoint cannot hold optimizer={shown(optimizer)}; give it the methods "
            "state_dict() and load_state_dict(state), or train without checkpoint"
        )
    return class_of(optimizer)


def class_of(thing: Any) -> str:
    """The module and name of the class of an object."""
    return f"{type(thing).__module__}.{type(thing).__qualname__}"


def _fraction(validation: Any) -> float | None:
    return None if validation is None or isinstance(validation, tuple | list) else float(validation)


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, str) else int(value)


def _interval(writer: CheckpointWriter) -> int | str:
    return f"{writer.seconds}s" if writer.iterations is None else writer.iterations


def _state_of(rng: np.random.Generator, bits: Any) -> dict[str, Any]:
    """The state of a generator as it was when its bits were these."""
    before = copy.deepcopy(rng)
    before.bit_generator.state = bits
    return random_state(before)


def _on_host(state: Mapping[str, Any], backend: Backend) -> dict[str, Any]:
    """What an optimizer remembers, with its arrays on the host."""
    return {
        name: backend.to_numpy(value).copy() if hasattr(value, "shape") else value
        for name, value in state.items()
    }
