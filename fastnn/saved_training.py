"""What a checkpoint says of a training, held against what it is to go on with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .base_network import Network
from .checkpointing import KEPT, class_of, described_stopping, name_of
from .data.paths import shown as shown_path
from .early_stopping import EarlyStopping
from .errors import CheckpointError, InputError
from .files.digests import OF_BLOCKS
from .files.random_states import restore_generator
from .history import History
from .optimizers.base import Optimizer
from .optimizers.book import OPTIMIZERS
from .optimizers.choosing import stated
from .preparation import checked_stopping
from .schedules import SCHEDULES, schedule
from .training_state import TrainingState
from .validation import choice, shown

#: Where a training has its data, by whether that is a cluster, and what goes on with it.
_PLACES = {
    False: ("arrays in memory", "fastnn.resume and the same arrays"),
    True: (
        "dask.arrays on a cluster, on whose blocks its last bits depend",
        "fastnn.distributed.resume and the same arrays",
    ),
}


def _short(digest: str) -> str:
    return f"{digest.removeprefix(OF_BLOCKS)[:12]}…"


#: What only :func:`fastnn.train` takes.
_OF_THE_BEGINNING = ("network", "rng", "history", "checkpoint")


class SavedTraining:
    """What is in a checkpoint beside the network."""

    def __init__(self, path: Any, state: dict[str, Any]) -> None:
        if "training" not in state:
            raise CheckpointError(f"{shown_path(path)} is a checkpoint of no training")
        self._state = state
        self.training = state["training"]
        self.start = self.training["start"]
        self.history = History.from_dict(
            state["history"] | {"loss": state["history"]["loss"].tolist()}
        )
        #: How many iterations the call of `train` was to make.
        self.more = state["loop"]["iterations"] - self.start

    def check_arguments(self, expected: Mapping[str, Any]) -> None:
        for name, value in expected.items():
            if name in _OF_THE_BEGINNING:
                raise InputError(
                    f"{name}={shown(value)} is for the beginning of a training, which goes on with "
                    "what is in the checkpoint; leave it out"
                )
            choice(name, "argument", (*KEPT, "validation"))
            if value is not None and not _equal(value, kept := self.training[name]):
                raise InputError(
                    f"{name}={shown(value)}, but the training began with {name}={shown(kept)}; "
                    "leave it out, or begin a new training"
                )

    def check_data(self, found: Mapping[str, str | None]) -> None:
        for name, digest in found.items():
            if digest == (kept := self.training["data"][name]):
                continue
            if digest is None:
                raise InputError(f"the training began with {name}; give the same again")
            if kept is None:
                raise InputError(f"the training began without {name}; leave out what is given")
            here, there = (one.startswith(OF_BLOCKS) for one in (digest, kept))
            if here != there:
                began, way = _PLACES[there]
                raise InputError(f"{name}: the training began with {began}; go on with {way}")
            raise InputError(
                f"{name}: these are other data, {'or in other blocks, ' if here else ''}of SHA-256 "
                f"{_short(digest)}, than the training began with, of {_short(kept)}; give the same "
                "again"
            )

    def optimizer(self, given: Any) -> Any:
        name = self.training["optimizer"]
        if name in OPTIMIZERS:
            if given is not None and not (given == name or type(given) is OPTIMIZERS[name]):
                raise InputError(
                    f"optimizer={shown(given)}, but the training began with {name!r}; leave it out"
                )
            if isinstance(given, Optimizer):
                self._check_numbers(given)
            return OPTIMIZERS[name]()
        if class_of(given) != name or stated(given) is not None:
            raise InputError(
                f"optimizer={shown(given)}, but the training began with a {name}; "
                "give one that is made in the same way"
            )
        name_of(given)  # whether it can be kept again
        return given

    def _check_numbers(self, given: Optimizer) -> None:
        numbers, kept = given.hyperparameters, self._state["optimizer"]
        if stated(given) is None or any(n != kept.get(name) for name, n in numbers.items()):
            began = ", ".join(f"{name}={shown(kept.get(name))}" for name in numbers)
            raise InputError(
                f"optimizer={shown(given)}, but the training began with "
                f"{type(given).__name__}({began}); leave it out"
            )

    def schedule(self, given: Any, dtype: np.dtype) -> Any:
        kept = self.training["learning_rate"]
        if kept is None:
            if given is None:
                raise InputError(
                    "the training began with a learning_rate that is a function of the caller's "
                    "own, which no file can hold; give it again: learning_rate="
                )
            return given
        found = SCHEDULES[kept["class"]](**kept["arguments"])
        if given is not None and schedule(given, dtype) != found:
            raise InputError(
                f"learning_rate={shown(given)}, but the training began with {shown(found)}; "
                "leave it out"
            )
        return found

    def early_stopping(self, given: Any) -> EarlyStopping | None:
        kept = self.training["early_stopping"]
        if given is None and (kept is None or "class" not in kept):
            return None if kept is None else EarlyStopping(**kept)
        found = None if given is None else checked_stopping(given)
        if described_stopping(found) != kept:
            began = "none" if kept is None else kept.get("class") or repr(EarlyStopping(**kept))
            fix = "leave it out" if kept is None or "class" not in kept else "give the same again"
            raise InputError(
                f"early_stopping={shown(given)}, but the training began with {began}; {fix}"
            )
        return found

    def past(self) -> History | None:
        """The history that the training itself has gone on with, if it has."""
        if not self.start:
            return None
        past = self.history.copy()
        past.loss = past.loss[: self.start]
        evaluated = sum(i < self.start for i in past.iterations)
        for name in ("iterations", *History.EVALUATED):
            del getattr(past, name)[evaluated:]
        return past

    def load(self, state: TrainingState) -> None:
        """Make a state that is at its beginning that of the checkpoint."""
        loop = self._state["loop"]
        generator = restore_generator(loop["rng"])
        state.load_state_dict(loop | {"rng": generator.bit_generator.state})
        backend = state.network.backend
        state.optimizer.load_state_dict(_on_backend(self._state["optimizer"], state.network))
        backend.synchronize()
        state.history = self.history
        state.history.stopped = None
        if len(state.history.loss) != state.iteration:
            raise ValueError(f"{len(state.history.loss)} losses of {state.iteration} iterations")
        state.blas_threads = self._state["blas_threads"]


def _equal(value: Any, kept: Any) -> bool:
    """Whether an argument is what was kept; an array, say, is not."""
    try:
        return bool(value == kept)
    except (TypeError, ValueError):
        return False


def _on_backend(state: Mapping[str, Any], network: Network) -> dict[str, Any]:
    """The same with arrays of the network's backend, as it likes them in memory."""
    backend = network.backend

    def array(host: np.ndarray) -> Any:
        entered = backend.asarray(host)
        made = backend.empty(tuple(entered.shape), backend.dtype_of(entered))
        made[...] = entered
        return made

    with backend.current():
        return {n: array(v) if isinstance(v, np.ndarray) else v for n, v in state.items()}
