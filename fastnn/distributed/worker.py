"""What runs on the workers: parts of the data as datasets, and the object that computes with them.

All bits of a part's gradient follow from the parameters, the part and the rows: the BLAS and the
kernels have one thread here, and several parts are computed at the same time instead.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from functools import wraps
from typing import Any, NamedTuple

import numpy as np

from .. import __version__
from ..backends import Backend, get_backend
from ..backends.base import Dataset
from ..backends.numpy import NumpyBackend
from ..backends.turns import TURNS, Turn
from ..base_network import Network
from ..errors import ClusterError, FastnnError
from ..evaluations import accuracy_and_loss, count_correct
from ..files.digests import digest_of
from ..functions import LOSSES
from ..stepping import single_step
from ..validation import Array
from .summation import Range, subtotals


class Sums(NamedTuple):
    """What is added up over the parts of a batch, or of all samples.

    Attributes
    ----------
    weight : float
        What the samples weigh together, or 1 for a loss that is no mean.
    value : float
        The loss, times that.
    correct : int
        How many samples are classified right.
    gradients : dict of str to array
        The gradient, times the weight.
    """

    weight: float
    value: float
    correct: int
    gradients: dict[str, Array]

    def plus(self, other: Sums) -> Sums:
        """The sum of both."""
        return Sums(
            self.weight + other.weight,
            self.value + other.value,
            self.correct + other.correct,
            {name: g + other.gradients[name] for name, g in self.gradients.items()},
        )


class Recipe:
    """A network without its parameters, to be made again on a worker.

    Parameters
    ----------
    network : Network
    backend : str or Backend
        What it computes with there.
    """

    def __init__(self, network: Network, backend: str | Backend) -> None:
        self.version = __version__
        self._backend = backend
        self._class = type(network)
        self._state = network.__getstate__()
        self._shapes = {name: p.shape for name, p in self._state.pop("params").items()}

    def backend(self) -> Backend:
        """That of the workers: with one thread, on which no bits depend then."""
        found = get_backend(self._backend)
        return type(found).create(threads=1) if isinstance(found, NumpyBackend) else found

    def network(self) -> Network:
        """A new one, whose parameters are all zero.

        Raises
        ------
        ClusterError
            If this worker has another version of fastnn.
        """
        if self.version != __version__:
            raise ClusterError(
                f"a worker has fastnn {__version__}, and the client {self.version}; "
                "install the same version on all of them"
            )
        params = {name: np.zeros(shape) for name, shape in self._shapes.items()}
        made = object.__new__(self._class)
        made.__setstate__(self._state | {"params": params, "backend": self.backend()})
        return made


class Part(NamedTuple):
    """A part of the data as the backend likes it, and what tells it from others.

    Attributes
    ----------
    data : Dataset
    digest : str
        Of samples and targets as they came.
    of_weights : str
    counts : bool
        Whether a sample of it weighs anything.
    """

    data: Dataset
    digest: str
    of_weights: str
    counts: bool

    def __sizeof__(self) -> int:
        """For Dask, which keeps an account of its memory."""
        arrays = *(self.data.x if isinstance(self.data.x, tuple) else (self.data.x,)), self.data.t
        return sum(getattr(a, "nbytes", 0) for a in arrays)


def keep(recipe: Recipe, name: str, number: int, x: Any, t: Any, weights: Any) -> Part:
    """Check a part, a block of each dask.array, and make of it what the backend likes.

    What the network's own door refuses is raised with the number of the block.
    """
    network = recipe.network()
    backend, counts = network.backend, weights is None or not _is_zero(weights)
    # That all weights of a block are 0 does not mean that all are.
    given = weights if counts else np.ones(len(weights))
    try:
        data = network.dataset(x, t, name, sample_weight=given)
    except FastnnError as error:
        raise type(error)(f"in block {number}: {error}") from error
    if not counts and data.weights is not None:
        data.weights[...] = 0
    digests = digest_of(x, t, backend=backend), digest_of(weights, backend=backend)
    return Part(data, *digests, counts)


def _is_zero(weights: Any) -> bool:
    return type(weights) is np.ndarray and weights.dtype.kind in "fiub" and not weights.any()


def described(part: Part) -> tuple[int, bool, str, str]:
    """How many samples it has, whether they weigh anything, and its digests."""
    return len(part.data), part.counts, part.digest, part.of_weights


class _Kept:
    """An optimizer that keeps the gradient, and moves nothing."""

    gradients: Mapping[str, Array] | None = None

    def update(self, params: dict[str, Array], grads: Mapping[str, Array]) -> None:
        self.gradients = grads


class Raised(NamedTuple):
    """An error of the computation itself, as an answer: not one of the way to the worker."""

    error: Exception


def _answering(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def run(*arguments: Any) -> Any:
        try:
            return method(*arguments)
        except Exception as error:
            return Raised(error)

    return run


class Holder:
    """Parts of the data on a worker: an actor, which lives there and is called by the client.

    Parameters
    ----------
    recipe : Recipe
    count : int
        How many parts there are on all workers.
    numbers : list of int
        Those that are here.
    parts : list of Part
    """

    def __init__(self, recipe: Recipe, count: int, numbers: list[int], parts: list[Part]) -> None:
        self._count = count
        self._data = {n: part.data for n, part in zip(numbers, parts, strict=True)}
        self._backend = recipe.backend()
        # The full numerical gradient changes parameters: each thread has a network of its own.
        threads = _threads() if isinstance(self._backend, NumpyBackend) else 1
        self._networks = [recipe.network() for _ in range(min(threads, len(numbers)))]
        self._pool = ThreadPoolExecutor(len(self._networks)) if len(self._networks) > 1 else None
        self._is_single = TURNS.available() == 1
        self._mean = LOSSES[self._networks[0].loss_name].mean
        # What one call at a time may use; Dask has one thread for all actors, and might have more.
        self._lock = threading.Lock()

    @_answering
    def gradient(
        self,
        params: dict[str, np.ndarray],
        rows: dict[int, np.ndarray],
        active: list[int],
        method: str,
    ) -> dict[Range, Sums]:
        """The subtotals of a batch: `rows` has those of each part here, `active` are all parts."""
        return self._subtotals(
            params, rows, active, lambda network, n: self._of_batch(network, n, rows[n], method)
        )

    @_answering
    def evaluation(self, params: dict[str, np.ndarray], with_loss: bool) -> dict[Range, Sums]:
        """The subtotals of all samples: how many are right, and with it or not their loss."""
        return self._subtotals(
            params,
            self._data,
            range(self._count),
            lambda network, n: self._of_part(network, n, with_loss),
        )

    def _subtotals(
        self,
        params: dict[str, np.ndarray],
        numbers: Iterable[int],
        active: Any,
        compute: Callable[[Network, int], Sums],
    ) -> dict[Range, Sums]:
        shares = [sorted(numbers)[k :: len(self._networks)] for k in range(len(self._networks))]

        def work(network: Network, share: list[int]) -> list[tuple[int, Sums]]:
            with self._backend.current(), np.errstate(invalid="ignore"):
                for name, host in params.items():
                    network.params[name][...] = self._backend.asarray(host)
                return [(n, compute(network, n)) for n in share]

        busy = [(network, s) for network, s in zip(self._networks, shares, strict=True) if s]
        with self._lock, self._one_thread():
            others = [self._pool.submit(work, *some) for some in busy[1:]] if self._pool else []
            try:
                leaves = dict(work(*busy[0]))
            finally:
                found = [other.exception() for other in others]  # nobody goes on in its thread
            for other, error in zip(others, found, strict=True):
                if error is not None:
                    raise error
                leaves.update(other.result())
            with self._backend.current(), np.errstate(invalid="ignore"):
                sums = subtotals(leaves, active, self._count, Sums.plus)
                return {tree: self._on_host(value) for tree, value in sums.items()}

    def _one_thread(self) -> AbstractContextManager[Any]:
        """One thread of the BLAS, whoever else computes in this process."""
        if not isinstance(self._backend, NumpyBackend):
            return nullcontext()
        # Where there is no other, as Dask has it by default, that costs nothing.
        return Turn(None if self._is_single else 1)

    def _of_batch(self, network: Network, number: int, rows: np.ndarray, method: str) -> Sums:
        data, kept = self._data[number], _Kept()
        numbers = self._backend.asarray(rows)
        loss = single_step(network, data, method, len(rows), kept)(numbers, 0.0)
        if kept.gradients is None:  # no sample weighs anything
            none = self._backend.asarray(np.zeros(1, network.dtype))
            return Sums(0.0, 0.0, 0, dict.fromkeys(network.params, none))  # is added to any shape
        weight = float(len(rows)) if self._mean else 1.0
        if self._mean and data.weights is not None:
            own = self._backend.to_numpy(self._backend.take(data.weights, numbers))
            weight = float(own.sum(dtype=np.float64))
        value = weight * float(self._backend.to_numpy(loss))
        return Sums(weight, value, 0, {name: weight * g for name, g in kept.gradients.items()})

    def _of_part(self, network: Network, number: int, with_loss: bool) -> Sums:
        data, to_numpy = self._data[number], self._backend.to_numpy
        if not with_loss:
            return Sums(0.0, 0.0, int(to_numpy(count_correct(network, data))), {})
        weight = float(len(data)) if self._mean else 1.0
        correct, loss = accuracy_and_loss(network, data)
        return Sums(weight, weight * float(to_numpy(loss)), int(to_numpy(correct)), {})

    def _on_host(self, sums: Sums) -> Sums:
        to_numpy = self._backend.to_numpy
        return sums._replace(gradients={n: to_numpy(g) for n, g in sums.gradients.items()})


def _threads() -> int:
    """How many tasks this worker runs at a time: as many threads compute."""
    from distributed import get_worker

    return max(get_worker().state.nthreads, 1)
