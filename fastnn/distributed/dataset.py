"""The samples of a training as its loop sees them: parts on workers, asked for sums.

A part is made on the worker where Dask has its block, and moved in the backend's own form if that
worker has more than its share. Then it belongs to an actor there, and Dask forgets about it. Of a
worker that dies the parts are made again elsewhere, from the graph of the arrays, and what was
asked of it is asked again: nothing has been changed meanwhile, so the result is the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..backends import Backend
from ..backends.datasets import DistantDataset
from ..base_network import Network
from ..errors import ClusterError, FastnnError, InputError
from ..functions import LOSSES
from ..progress import progress_bar
from ..validation import Array
from .arrays import Blocks
from .cluster import LOGGER, Cluster, LostError
from .placement import placed
from .summation import total
from .worker import Holder, Raised, Recipe, Sums, described, keep

#: How often in a row something is tried again before it is given up.
ATTEMPTS = 4


class Placed(NamedTuple):
    """An actor, and which parts it has."""

    address: str
    numbers: tuple[int, ...]
    future: Any
    actor: Any


class DistributedDataset(DistantDataset):
    """Samples and targets on the workers of a cluster.

    Parameters
    ----------
    cluster : Cluster
    network : Network
        What they are for.
    backend : str or Backend
        What the workers compute with.
    blocks : Blocks
    name : str
        For messages: "train", "test" or "validation".
    progress : bool
        Show a bar while they are loaded.

    Attributes
    ----------
    digest, of_weights : str
        What tells samples and targets, and weights, from others; the sizes of the blocks included.
    """

    def __init__(
        self,
        cluster: Cluster,
        network: Network,
        backend: str | Backend,
        blocks: Blocks,
        name: str,
        *,
        progress: bool = False,
    ) -> None:
        super().__init__(network.backend)
        self._cluster, self._blocks, self._name = cluster, blocks, name
        self._recipe = Recipe(network, backend)
        self._ends = np.cumsum(blocks.rows)
        self._digests: dict[int, tuple[str, str]] = {}
        self._placed: list[Placed] = []
        self._counts = False
        self._progress = progress
        with cluster.current():
            self._load(range(len(blocks.rows)))
        if not self._counts:
            self.close()
            raise InputError("sample_weight sums to 0; give weights of which some are above 0")
        self.digest, self.of_weights = (
            _digest(blocks.rows, [self._digests[n][k] for n in sorted(self._digests)])
            for k in range(2)
        )

    def __len__(self) -> int:
        return int(self._ends[-1])

    @property
    def places(self) -> dict[str, tuple[int, ...]]:
        """Which parts each worker has, by address."""
        found: dict[str, tuple[int, ...]] = {}
        for one in self._placed:
            found[one.address] = tuple(sorted((*found.get(one.address, ()), *one.numbers)))
        return found

    def close(self) -> None:
        """Let the workers forget the samples."""
        self._cluster.forget([one.future for one in self._placed])
        self._placed = []

    # -- what the loop asks ------------------------------------------------------------------------

    def gradient(
        self, network: Network, rows: Array, method: str
    ) -> tuple[float, dict[str, Array] | None]:
        numbers = self.backend.to_numpy(rows)
        part = np.searchsorted(self._ends, numbers, side="right")
        active = np.unique(part).tolist()
        starts = self._ends - self._blocks.rows
        own = {n: numbers[part == n] - starts[n] for n in active}
        params = self._params(network)

        def asked(one: Placed) -> tuple[Any, ...] | None:
            there = {n: own[n] for n in one.numbers if n in own}
            return (params, there, active, method) if there else None

        found = self._total("gradient", asked, active)
        if not found.weight:
            return 0.0, None
        mean = self._mean(network)
        shares = {n: g / found.weight if mean else g / 1 for n, g in found.gradients.items()}
        loss = found.value / found.weight if mean else found.value
        return loss, {name: self.backend.asarray(g) for name, g in shares.items()}

    def count_correct(self, network: Network) -> int:
        return self._evaluated(network, False).correct

    def accuracy_and_loss(self, network: Network) -> tuple[int, Array]:
        found = self._evaluated(network, True)
        loss = found.value / found.weight if self._mean(network) else found.value
        return found.correct, self.backend.asarray(np.asarray(loss))

    def _evaluated(self, network: Network, with_loss: bool) -> Sums:
        params = self._params(network)
        every = range(len(self._blocks.rows))
        return self._total("evaluation", lambda _: (params, with_loss), every)

    def _params(self, network: Network) -> dict[str, np.ndarray]:
        return {name: self.backend.to_numpy(p) for name, p in network.params.items()}

    @staticmethod
    def _mean(network: Network) -> bool:
        return LOSSES[network.loss_name].mean

    def _total(
        self,
        method: str,
        arguments: Callable[[Placed], tuple[Any, ...] | None],
        active: Sequence[int],
    ) -> Sums:
        """The sum over all parts; those that are lost meanwhile are loaded again."""
        answers: dict[int, Any] = {}
        with self._cluster.current():
            for _ in range(ATTEMPTS):
                lost = self._ask(method, arguments, answers)
                if not lost:
                    break
                self._replace(lost)
            else:
                raise ClusterError(
                    f"the workers were lost {ATTEMPTS} times in a row while they computed the same "
                    "step; look at their logs, for too little memory for example"
                )
        found = {tree: sums for answer in answers.values() for tree, sums in answer.items()}
        result = total(found, active, len(self._blocks.rows), Sums.plus)
        assert result is not None
        return result

    def _ask(
        self,
        method: str,
        arguments: Callable[[Placed], tuple[Any, ...] | None],
        answers: dict[int, Any],
    ) -> dict[int, str]:
        """Ask all that have not answered yet at once; which of them are lost, and why.

        Not errors: their tracebacks would keep the actors.
        """
        waiting: list[tuple[Placed, Any]] = []
        lost: dict[int, str] = {}
        for one in self._placed:
            if id(one.actor) in answers or (given := arguments(one)) is None:
                continue
            try:
                waiting.append((one, getattr(one.actor, method)(*given)))
            except RuntimeError as error:  # Dask knows already that the worker is gone
                lost[id(one.actor)] = str(error)
        for one, future in waiting:
            try:
                answer = self._cluster.result(future, one.address)
            except LostError as error:
                lost[id(one.actor)] = str(error)
                continue
            if isinstance(answer, Raised):
                raise answer.error
            answers[id(one.actor)] = answer
        return lost

    # -- where they are ----------------------------------------------------------------------------

    def _replace(self, lost: Mapping[int, str]) -> None:
        """Load the parts of lost actors again, wherever there is a worker."""
        self._cluster.workers()  # or it is not they who are lost
        gone = [one for one in self._placed if id(one.actor) in lost]
        self._placed = [one for one in self._placed if id(one.actor) not in lost]
        for one in gone:
            LOGGER.warning(
                "the worker at %s is lost (%s); its %d parts of the data are loaded again",
                *(one.address, lost[id(one.actor)], len(one.numbers)),
            )
        self._cluster.forget([one.future for one in gone])
        self._load(sorted(n for one in gone for n in one.numbers))

    def _load(self, numbers: Sequence[int]) -> None:
        for attempt in range(ATTEMPTS):
            try:
                self._place(self._kept(numbers))
                return
            except LostError as error:
                if attempt == ATTEMPTS - 1:
                    raise ClusterError(
                        f"the data x_{self._name} could not be loaded in {ATTEMPTS} attempts, as "
                        f"workers were lost ({error}); look at their logs"
                    ) from error
                numbers = [n for n in numbers if not any(n in p.numbers for p in self._placed)]

    def _kept(self, numbers: Sequence[int]) -> dict[int, Any]:
        """Futures of these parts, which are there, checked and described."""
        client, workers = self._cluster.client, self._cluster.workers()
        restricted = {"workers": workers} if self._cluster.restricted else {}
        # Not restricted: others may compute the same blocks, and know nothing of our workers. All
        # at once: each time the whole graph is sent.
        blocks = iter(
            client.compute([b for n in numbers for b in self._blocks.blocks[n] if b is not None])
        )
        given = {
            n: [None if b is None else next(blocks) for b in self._blocks.blocks[n]]
            for n in numbers
        }
        futures = [
            client.submit(keep, self._recipe, self._name, n, *given[n], pure=False, **restricted)
            for n in numbers
        ]
        del blocks, given  # and so Dask forgets a block when its part is made
        with progress_bar(
            len(futures), self._progress, unit="part", desc="loading", leave=False
        ) as bar:

            def watch(done: int) -> None:
                if bar is not None:
                    bar.update(done - bar.n)
                there = self._cluster.workers()  # or nobody is left to do it
                if restricted and there != workers:
                    raise LostError("one of the workers that were to load it is gone")

            self._cluster.wait(futures, watch)
        for n, future in zip(numbers, futures, strict=True):
            if future.status != "finished":
                raise self._refused(n, future)
        self._describe(numbers, futures)
        return dict(zip(numbers, futures, strict=True))

    def _refused(self, number: int, future: Any) -> Exception:
        """Why a part cannot be made, as an error of ours."""
        try:
            error = future.exception(timeout=1)
        except Exception as cancelled:  # what was scattered, and is not there any more
            error = cancelled
        if isinstance(error, FastnnError):
            return error
        if isinstance(error, ModuleNotFoundError) and error.name == "fastnn":
            return ClusterError(
                f"a worker cannot import fastnn ({error}); pip install fastnn[dask] on all of them"
            )
        what = f"block {number} of the data x_{self._name}"
        reason = "it is lost" if error is None else f"{type(error).__name__}: {error}"
        again = " again" if number in self._digests else ""
        made = ClusterError(
            f"{what} cannot be computed{again} ({reason}); make its source available to all workers"
        )
        made.__cause__ = error
        return made

    def _describe(self, numbers: Sequence[int], futures: list[Any]) -> None:
        """Note the digests of new parts; those that come again have to be the same."""
        client = self._cluster.client
        try:
            found = client.gather(client.map(described, futures, pure=False))
        except Exception as error:
            raise LostError(f"{type(error).__name__}: {error}") from error
        for n, (count, counts, *digests) in zip(numbers, found, strict=True):
            self._counts |= counts
            if count != self._blocks.rows[n]:
                raise InputError(
                    f"block {n} of x_{self._name} has {count} rows, and its dask.array says "
                    f"{self._blocks.rows[n]}; make one whose chunks are right"
                )
            if self._digests.setdefault(n, tuple(digests)) != tuple(digests):
                raise ClusterError(
                    f"block {n} of the data x_{self._name}, computed again, is not what it was; "
                    "give arrays that are the same each time, with a seed for example"
                )

    def _place(self, futures: dict[int, Any]) -> None:
        """Make an actor on each worker, with the parts that are there or come there."""
        cluster, client = self._cluster, self._cluster.client
        workers = cluster.workers()
        try:
            where = client.who_has(list(futures.values()))
        except Exception as error:
            raise LostError(f"{type(error).__name__}: {error}") from error
        have = {n: where.get(future.key, ()) for n, future in futures.items()}
        before = {a: sum(self._blocks.rows[n] for n in some) for a, some in self.places.items()}
        plan = placed({n: self._blocks.rows[n] for n in futures}, have, workers, before)
        options = {"actor": True, "pure": False}
        count = len(self._blocks.rows)
        made = [
            client.submit(
                Holder,
                *(self._recipe, count, some, [futures[n] for n in some]),
                workers=[address],
                **options,
            )
            for address, some in plan.items()
        ]
        lost = ""
        for (address, some), future in zip(plan.items(), made, strict=True):
            try:
                actor = cluster.result(future, address)
                self._placed.append(Placed(address, tuple(some), future, actor))
            except LostError as error:
                cluster.forget([future])
                lost = str(error)
        if lost:
            raise LostError(lost)


def _digest(rows: Sequence[int], digests: Sequence[str]) -> str:
    """One of all, and of the blocks that they are in, on which the last bits depend.

    It is none of the array as a whole, which would have to come to one place for that.
    """
    whole = hashlib.sha256(repr((list(rows), list(digests))).encode())
    return f"dask:{whole.hexdigest()}"
