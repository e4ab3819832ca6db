"""Training a network on a cluster, and going on with it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from ..backends import Backend
from ..backends.base import Dataset
from ..base_network import Network
from ..callbacks import checked_callbacks
from ..checkpointing import Checkpointing
from ..checkpoints import digest_of
from ..early_stopping import EarlyStopping
from ..errors import ClusterError, DtypeError, InputError
from ..history import History
from ..preparation import prepare
from ..resumption import restored
from ..training import go_on
from ..validation import check_separate, shown
from .arrays import blocks, is_dask
from .cluster import Cluster
from .dataset import DistributedDataset


def train(
    network: Network,
    x_train: Any,
    t_train: Any,
    *,
    client: Any,
    workers: Any = None,
    backend: str | Backend | None = None,
    x_test: Any = None,
    t_test: Any = None,
    iterations: int | None = None,
    epochs: int | None = None,
    batch_size: int = 100,
    sampling: str = "replacement",
    optimizer: Any = None,
    learning_rate: Any = None,
    gradient: str = "backprop",
    sample_weight: Any = None,
    validation: Any = None,
    evaluate_every: int | None = None,
    early_stopping: EarlyStopping | int | None = None,
    callbacks: Any = (),
    history: History | None = None,
    rng: Any = None,
    checkpoint: Any = None,
    checkpoint_every: Any = "10s",
    progress: bool = False,
) -> History:
    """Train a network as :func:`fastnn.train` does, with samples on the workers of a cluster.

    The workers keep the samples, as their backend likes them, and compute the gradients of their
    part of each batch; here these are added up, and the parameters are moved. So what crosses the
    network in a step are the parameters to each worker with samples of the batch, and at least one
    gradient of the same size back: it pays for large batches, many features, the numerical
    gradient, and for data that no machine could hold.

    The batches are those of :func:`fastnn.train` with the same seed. The result has the same bits
    on any number of workers with processors of one kind: it depends on the blocks of the arrays,
    whose sums are added in a fixed order, and on nothing else. From the result on one machine it
    differs by rounding. That holds for NumPy and Numba, which get one thread for each block here.

    What was on a worker that dies is computed again elsewhere, from the graph of the arrays, and
    the training goes on, with the same result. What is persisted is best persisted from a graph,
    too: data that were only scattered cannot be computed again.

    Parameters
    ----------
    network : Network
        Its parameters are updated in place.
    x_train : dask.array, shape (samples, features)
        In blocks of whole rows. A worker computes with as many of them at a time as it has threads.
    t_train : dask.array, shape (samples,) or (samples, outputs)
        In blocks of the same rows.
    client : distributed.Client
        Of the cluster. Close to it, best on a machine of it: each step waits for the network. With
        ``Client(..., direct_to_workers=True)`` there is no detour by the scheduler.
    workers : iterable of str, optional
        The addresses or names of those to use; by default all.
    backend : str or Backend, optional
        What the workers compute with; by default what the network does.
    x_test, t_test, validation : optional
        Pairs of arrays that are evaluated, of Dask or, for here, of any kind; `validation` may not
        be a fraction.
    sample_weight : dask.array, shape (samples,), optional
    iterations, epochs, batch_size, sampling, optimizer, learning_rate, gradient, evaluate_every, \
early_stopping, callbacks, history, rng, checkpoint, checkpoint_every
        As for :func:`fastnn.train`. :func:`fastnn.distributed.resume` goes on from the checkpoint.
    progress : bool
        Show a progress bar, also while the data are loaded.

    Returns
    -------
    History

    Raises
    ------
    ClusterError
        If the scheduler, all workers, or data that cannot be computed again are lost. The last
        checkpoint is as it was.
    ImportError
        If Dask is not installed: ``pip install fastnn[dask]``.
    InputError, DtypeError, HostMemoryError, CheckpointError, DivergenceError
        As for :func:`fastnn.train`.

    Examples
    --------
    >>> import dask.array as da
    >>> import numpy as np
    >>> from distributed import Client
    >>> from fastnn import TwoLayerNet
    >>> x = da.random.default_rng(0).random((60, 4), chunks=(20, 4))
    >>> t = (x.sum(axis=1) > 2).astype(np.int64)
    >>> net = TwoLayerNet(4, 8, 2, rng=0)
    >>> with Client(processes=False, n_workers=2, dashboard_address=":0") as client:
    ...     history = train(net, x, t, client=client, iterations=300, learning_rate=2.0, rng=0)
    >>> bool(history.loss[-1] < history.loss[0])
    True
    """
    given = {name: value for name, value in locals().items() if name not in _NO_PART_OF_IT}
    arguments = {name: value for name, value in given.items() if name not in _POSITIONAL}
    _check(network, validation)
    with _cluster(client, workers, backend, checkpoint, progress) as cluster:
        if checkpoint is not None:
            keep = Checkpointing(checkpoint, checkpoint_every, given, cluster.digest)
            arguments["callbacks"] = (*checked_callbacks(callbacks), keep)
        dataset = partial(cluster.dataset, network)
        return go_on(prepare(network, x_train, t_train, **arguments, dataset=dataset))


def resume(
    path: Any,
    x_train: Any,
    t_train: Any,
    *,
    client: Any,
    workers: Any = None,
    backend: str | Backend | None = None,
    x_test: Any = None,
    t_test: Any = None,
    sample_weight: Any = None,
    validation: Any = None,
    optimizer: Any = None,
    learning_rate: Any = None,
    early_stopping: EarlyStopping | int | None = None,
    callbacks: Any = (),
    checkpoint_every: Any = None,
    progress: bool = False,
    **expected: Any,
) -> tuple[Network, History]:
    """Go on with a training from a checkpoint that :func:`fastnn.distributed.train` has written.

    What comes out has the bits of a training that was never interrupted, on however many workers.
    The arrays have to be in the blocks that they were in, as the last bits depend on them.

    Parameters
    ----------
    path : path
        The checkpoint.
    client, workers, backend : optional
        As for :func:`fastnn.distributed.train`.
    x_train, t_train, x_test, t_test, sample_weight, validation
        The data that the training began with; others are refused.
    optimizer, learning_rate, early_stopping, callbacks, checkpoint_every, progress : optional
        As for :func:`fastnn.resume`.
    **expected : optional
        As for :func:`fastnn.resume`.

    Returns
    -------
    (Network, History)

    Raises
    ------
    CheckpointError, ClusterError, ImportError, InputError, DtypeError
        As for :func:`fastnn.resume` and :func:`fastnn.distributed.train`.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import dask.array as da
    >>> import numpy as np
    >>> from distributed import Client
    >>> from fastnn import TwoLayerNet
    >>> x = da.random.default_rng(0).random((60, 4), chunks=(20, 4))
    >>> t = (x.sum(axis=1) > 2).astype(np.int64)
    >>> with (
    ...     tempfile.TemporaryDirectory() as folder,
    ...     Client(processes=False, n_workers=1, dashboard_address=":0") as client,
    ... ):
    ...     path = Path(folder, "training.safetensors")
    ...     options = {"client": client, "iterations": 30, "checkpoint": path, "rng": 0}
    ...     history = train(TwoLayerNet(4, 8, 2, rng=0), x, t, **options)
    ...     network, resumed = resume(path, x, t, client=client)
    >>> bool((resumed.loss == history.loss).all())
    True
    """
    arguments = {n: value for n, value in locals().items() if n not in ("expected", *_CLUSTER)}
    _check(None, validation)
    with _cluster(client, workers, backend, path, progress) as cluster:
        state = restored(arguments | {"backend": None} | expected, cluster)
        return state.network, go_on(state)


_NO_PART_OF_IT = ("network", "checkpoint", "checkpoint_every", "client", "workers", "backend")
_POSITIONAL = ("x_train", "t_train")
_CLUSTER = ("client", "workers", "backend")


class _Data:
    """The datasets of a training, of which some are on the cluster."""

    def __init__(self, cluster: Cluster, backend: str | Backend | None, progress: bool) -> None:
        self._cluster, self._backend, self._progress = cluster, backend, progress
        self._made: list[tuple[tuple[Any, ...], DistributedDataset]] = []

    def dataset(
        self, network: Network, x: Any, t: Any, name: str, sample_weight: Any = None
    ) -> Dataset:
        """What the network's own method of this name gives; of dask.arrays, one on the workers."""
        if name != "train" and not (is_dask(x) or is_dask(t)):
            return network.dataset(x, t, name)
        found = blocks(network, x, t, name, sample_weight)
        backend = network.backend if self._backend is None else self._backend
        options = {"progress": self._progress}
        made = DistributedDataset(self._cluster, network, backend, found, name, **options)
        self._made.append(((x, t, sample_weight), made))
        return made

    def digest(self, *data: Any, backend: Backend) -> str:
        """What tells data from others, without bringing them here if they are on the workers."""
        for (x, t, weights), made in self._made:
            if data[0] is x and data[-1] is t:
                return made.digest
            if weights is not None and data[0] is weights:
                return made.of_weights
        return digest_of(*data, backend=backend)

    def close(self) -> None:
        for _, made in self._made:
            made.close()


@contextmanager
def _cluster(
    client: Any, workers: Any, backend: str | Backend | None, checkpoint: Any, progress: bool
) -> Iterator[_Data]:
    """The data on a cluster, until the training is left; errors say what is left of it."""
    data = _Data(Cluster(client, workers), backend, progress)
    try:
        yield data
    except ClusterError as error:
        if checkpoint is None:
            raise
        raise ClusterError(
            f"{error}; the last checkpoint, {shown(str(checkpoint))}, is as it was"
        ) from error
    finally:
        data.close()


def _check(network: Network | None, validation: Any) -> None:
    """What is to be checked before there is anything on a worker."""
    if network is not None and not isinstance(network, Network):
        raise DtypeError(f"network={shown(network)} is no network; pass one, as a TwoLayerNet")
    if network is not None:
        network._check_params()
        check_separate(network.params)
    if not isinstance(validation, tuple | list | None):
        raise InputError(
            f"validation={shown(validation)}: no fraction can be set aside on a cluster; "
            "give a pair (x, t), as (x[:1000], t[:1000]) with x[1000:], t[1000:] to train on"
        )
