"""Going on with a training from a checkpoint, to the last bit."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from .backends import Backend
from .base_network import Network
from .callbacks import checked_callbacks
from .checkpointing import KEPT, Checkpointing, digests, name_of
from .checkpoints import digest_of, read_checkpoint
from .data.paths import shown as shown_path
from .early_stopping import EarlyStopping
from .errors import CheckpointError, FastnnError, InputError
from .files.digests import OF_BLOCKS
from .files.random_states import restore_generator
from .history import History
from .optimizers.book import OPTIMIZERS
from .preparation import prepare
from .schedules import SCHEDULES, schedule
from .training_state import TrainingState
from .validation import choice, refuse_uncomputed, shown


def resume(
    path: Any,
    x_train: Any,
    t_train: Any,
    *,
    x_test: Any = None,
    t_test: Any = None,
    sample_weight: Any = None,
    validation: Any = None,
    backend: str | Backend | None = None,
    optimizer: Any = None,
    learning_rate: Any = None,
    callbacks: Any = (),
    checkpoint_every: Any = None,
    progress: bool = False,
    **expected: Any,
) -> tuple[Network, History]:
    """Go on with a training from a checkpoint that :func:`fastnn.train` has written.

    What comes out has the bits of a training that was never interrupted, if the processor, the
    backend and its libraries are the same. Checkpoints go on being written to the same file.

    Parameters
    ----------
    path : path
        The checkpoint.
    x_train, t_train, x_test, t_test, sample_weight : array_like
        The data that the training began with; others are refused.
    validation : (array_like, array_like), optional
        The validation samples, if they were given as such, and not as a fraction.
    backend : str or Backend, optional
        By default of the name that the network was on.
    optimizer, learning_rate : optional
        Only needed if they are of the caller's own: an optimizer with a ``load_state_dict``, a
        function, or a class of schedules.
    callbacks : iterable of Callback
        Those with a ``load_state_dict`` go on from their state.
    checkpoint_every : optional
        As for :func:`fastnn.train`; by default as before.
    progress : bool
        Show a progress bar.
    **expected
        Other arguments of :func:`fastnn.train`, such as `batch_size`, which have to be those that
        the training began with.

    Returns
    -------
    (Network, History)
        If the training had ended, those of its end.

    Raises
    ------
    CheckpointError
        If there is no such file, or it is damaged, of another program, of no training, or of
        another version of the format.
    InputError, DtypeError
        If something else was trained with; the message names both values.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from fastnn import TwoLayerNet, train
    >>> import numpy as np
    >>> from fastnn import Callback
    >>> x, t = np.eye(4), np.array([0, 1, 0, 1])
    >>> class PowerCut(Callback):
    ...     def should_stop(self, state):
    ...         raise SystemExit
    >>> def network():
    ...     return TwoLayerNet(4, 3, 2, rng=0)
    >>> options = {"iterations": 50, "batch_size": 2, "optimizer": "adam", "rng": 0}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "training.safetensors")
    ...     try:
    ...         _ = train(network(), x, t, **options, checkpoint=path, callbacks=[PowerCut()])
    ...     except SystemExit:
    ...         resumed, history = resume(path, x, t)
    >>> whole = network()
    >>> bool((train(whole, x, t, **options).loss == history.loss).all())
    True
    >>> bool((resumed.params["W1"] == whole.params["W1"]).all())
    True
    """
    from .training import go_on

    given = {n: value for n, value in locals().items() if n not in ("expected", "go_on")}
    state = restored(given | expected)
    return state.network, go_on(state)


def restored(arguments: dict[str, Any], cluster: Any = None) -> TrainingState:
    """The state of a training in a checkpoint, by the arguments of :func:`resume`.

    A `cluster`, where the data are on one, has ``dataset(network, x, t, name, **weights)``, and
    ``digest(*data, backend=...)`` for data of which it has made a dataset.
    """
    path, backend = arguments.pop("path"), arguments.pop("backend")
    own = {name: arguments.pop(name) for name in ("optimizer", "learning_rate", "progress")}
    callbacks, every = checked_callbacks(arguments.pop("callbacks")), arguments["checkpoint_every"]
    data = {name: arguments.pop(name) for name in _DATA}
    del arguments["checkpoint_every"]
    checkpoint = read_checkpoint(path, backend)
    network = checkpoint.network
    try:
        saved = _Saved(path, checkpoint.state)
        if not isinstance(data["validation"], tuple | list | None):
            arguments["validation"], data["validation"] = data["validation"], None
        saved.check_arguments(arguments)
        if cluster is None:
            for name, value in data.items():
                refuse_uncomputed(value, name)
            saved.check_data(digests(data, network.backend))
        fraction = saved.training["validation"]
        options = data | {name: saved.training[name] for name in KEPT}
        options["validation"] = data["validation"] if fraction is None else fraction
        options["iterations"] = None if options["epochs"] is not None else saved.more
        every = saved.training["checkpoint_every"] if every is None else every
        kept = options | {"start": saved.start, "iterations": saved.training["iterations"]}
        keep = Checkpointing(path, every, kept, digest_of if cluster is None else cluster.digest)
        mover = saved.optimizer(own["optimizer"])
        rates = saved.schedule(own["learning_rate"], network.dtype)
        state = prepare(
            network,
            **options,
            optimizer=mover,
            learning_rate=rates if hasattr(mover, "lr") else None,
            early_stopping=saved.early_stopping(),
            callbacks=(*callbacks, keep),
            history=saved.past(),
            rng=restore_generator(saved.training["rng_at_start"]),
            progress=own["progress"],
            dataset=None if cluster is None else partial(cluster.dataset, network),
        )
        if cluster is not None:
            saved.check_data(digests(data, network.backend, cluster.digest))
        saved.load(state)
    except FastnnError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(
            f"{shown_path(path)} is a checkpoint of no training that fastnn knows: {error!r}"
        ) from error
    return state


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


#: The arguments that are data.
_DATA = ("x_train", "t_train", "x_test", "t_test", "sample_weight", "validation")


class _Saved:
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
            choice(name, "argument", (*KEPT, "validation"))
            if value is not None and value != (kept := self.training[name]):
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
            return OPTIMIZERS[name]()
        if given is None or name_of(given) != name:
            raise InputError(
                f"optimizer={shown(given)}, but the training began with a {name}; "
                "give one that is made in the same way"
            )
        return given

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

    def early_stopping(self) -> EarlyStopping | None:
        kept = self.training["early_stopping"]
        return None if kept is None else EarlyStopping(**kept)

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
