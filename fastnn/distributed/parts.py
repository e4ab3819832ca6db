"""The parts of the data on the workers: how they come there, and how they are asked.

A part is made on the worker where Dask has its block, and moved in the backend's own form to the
worker that shall have it. Then it belongs to an actor there, and Dask forgets about it. Of a worker
that dies the parts are made again elsewhere, from the graph of the arrays, and what was asked of it
is asked again: nothing has been changed meanwhile, so the result is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from ..errors import ClusterError, FastnnError, InputError
from ..progress import progress_bar
from .arrays import Blocks
from .cluster import LOGGER, PATIENCE, Cluster, LostError
from .placement import placed
from .worker import Holder, Raised, Recipe, described, keep

#: How often in a row something is tried again before it is given up.
ATTEMPTS = 4


class Placed(NamedTuple):
    """An actor, and which parts it has."""

    address: str
    numbers: tuple[int, ...]
    future: Any
    actor: Any


class Parts:
    """The parts that blocks of arrays have become, each on some worker.

    Parameters
    ----------
    cluster : Cluster
    recipe : Recipe
        Of the network that they are for.
    blocks : Blocks
    name : str
        For messages: "train", "test" or "validation".
    progress : bool
        Show a bar while they are loaded.

    Attributes
    ----------
    digests : list of (str, str)
        What tells each part, and its weights, from others.
    """

    def __init__(
        self, cluster: Cluster, recipe: Recipe, blocks: Blocks, name: str, *, progress: bool
    ) -> None:
        self._cluster, self._recipe, self._blocks, self._name = cluster, recipe, blocks, name
        self._progress = progress
        self._digests: dict[int, tuple[str, str]] = {}
        self._placed: list[Placed] = []
        self._counts = False
        try:
            with cluster.current():
                self._load(range(len(blocks.rows)))
            if not self._counts:
                raise InputError("sample_weight sums to 0; give weights of which some are above 0")
        except BaseException:
            self.close()
            raise
        self.digests = [self._digests[n] for n in sorted(self._digests)]

    @property
    def places(self) -> dict[str, tuple[int, ...]]:
        """Which parts each worker has, by address."""
        found: dict[str, tuple[int, ...]] = {}
        for one in self._placed:
            found[one.address] = tuple(sorted((*found.get(one.address, ()), *one.numbers)))
        return found

    def close(self) -> None:
        """Let the workers forget them."""
        self._cluster.forget([one.future for one in self._placed])
        self._placed = []

    def answers(
        self, method: str, arguments: Callable[[Placed], tuple[Any, ...] | None]
    ) -> list[Any]:
        """What all actors answer that are asked; parts that are lost meanwhile are loaded again.

        Parameters
        ----------
        method : str
            Of :class:`fastnn.distributed.worker.Holder`.
        arguments : callable
            What each is asked, or None.
        """
        found: dict[int, Any] = {}
        with self._cluster.current():
            for _ in range(ATTEMPTS):
                lost = self._ask(method, arguments, found)
                if not lost:
                    return list(found.values())
                self._replace(lost)
        raise ClusterError(
            f"the workers were lost {ATTEMPTS} times in a row while they computed the same step; "
            "look at their logs, for too little memory for example"
        )

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
            # One look: what was there goes with its worker at any time, and is computed again.
            if (status := future.status) in ("lost", "pending"):
                raise LostError(f"the worker that had block {n} is gone")
            if status != "finished":
                raise self._refused(n, future)
        self._describe(numbers, futures)
        return dict(zip(numbers, futures, strict=True))

    def _refused(self, number: int, future: Any) -> Exception:
        """Why a part cannot be made, as an error of ours."""
        try:
            error = future.exception(timeout=PATIENCE)
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
