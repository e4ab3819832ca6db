"""Going on with a training from a checkpoint, to the last bit."""

from __future__ import annotations

from functools import partial
from typing import Any

from .backends import Backend
from .base_network import Network
from .callbacks import checked_callbacks
from .checkpointing import KEPT, Checkpointing, digests
from .checkpoints import digest_of, read_checkpoint
from .data.paths import shown as shown_path
from .early_stopping import EarlyStopping
from .errors import CheckpointError, FastnnError
from .files.random_states import restore_generator
from .history import History
from .preparation import prepare
from .saved_training import SavedTraining
from .training_state import TrainingState
from .validation import refuse_uncomputed


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
    early_stopping: EarlyStopping | int | None = None,
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
    early_stopping : EarlyStopping or int, optional
        Only needed if it is of a class of the caller's own.
    callbacks : iterable of Callback
        Those with a ``state_dict`` and a ``load_state_dict`` go on from their state: the same as
        before, in the same order, an :class:`fastnn.EarlyStopping` among them included.
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
    own = {name: arguments.pop(name) for name in _OWN}
    callbacks, every = checked_callbacks(arguments.pop("callbacks")), arguments["checkpoint_every"]
    data = {name: arguments.pop(name) for name in _DATA}
    del arguments["checkpoint_every"]
    checkpoint = read_checkpoint(path, backend)
    network = checkpoint.network
    try:
        saved = SavedTraining(path, checkpoint.state)
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
        stopping = saved.early_stopping(own["early_stopping"])
        kept = options | {
            "start": saved.start,
            "iterations": saved.training["iterations"],
            "early_stopping": stopping,
        }
        keep = Checkpointing(path, every, kept, digest_of if cluster is None else cluster.digest)
        mover = saved.optimizer(own["optimizer"])
        rates = saved.schedule(own["learning_rate"], network.dtype)
        state = prepare(
            network,
            **options,
            optimizer=mover,
            learning_rate=rates if hasattr(mover, "lr") else None,
            early_stopping=stopping,
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


#: The arguments that no file may hold, or that say nothing of the training.
_OWN = ("optimizer", "learning_rate", "early_stopping", "progress")

#: The arguments that are data.
_DATA = ("x_train", "t_train", "x_test", "t_test", "sample_weight", "validation")
