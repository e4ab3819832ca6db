"""The workers of a cluster: who they are, what is put on them, and whether they are still there.

An answer that does not come is asked about every second. Of a worker that the scheduler does not
know any more there is a :class:`LostError`, for who has asked it to replace; a scheduler that does
not answer is an error of the user's, as nothing can be replaced without it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from ..errors import ClusterError, DtypeError, InputError
from ..validation import shown

#: After how many seconds without an answer it is asked whether anybody is still there.
POLL = 1.0

#: How many seconds the scheduler may take to say so, and a worker to come where there is none.
PATIENCE = 30.0

LOGGER = logging.getLogger("fastnn")


class LostError(Exception):
    """A worker, or what was on it, is not there any more."""


class Cluster:
    """A client of a cluster, and some or all of its workers.

    Parameters
    ----------
    client : distributed.Client
    workers : iterable of str, optional
        Their addresses or names; by default all.

    Raises
    ------
    ImportError
        If Dask is not installed.
    DtypeError, InputError
        If it is no client, closed or an asynchronous one, or a worker is not known.
    ClusterError
        If there is no worker.
    """

    def __init__(self, client: Any, workers: Iterable[Any] | None) -> None:
        self.client = checked_client(client)
        self._address = getattr(client.scheduler, "address", "an unknown address")
        self._names = None if workers is None else _names(workers)
        known = self._known()
        if self._names is not None and (
            missing := self._names - {str(n) for names in known.values() for n in names}
        ):
            raise InputError(
                f"workers holds {shown(sorted(missing)[0])}, which is none of this cluster's; "
                f"give addresses or names, as {shown(sorted(known)[:1])}"
            )
        count = len(self.workers())
        LOGGER.info("training on %d workers; the dashboard is at %s", count, dashboard(client))

    # -- who is there ------------------------------------------------------------------------------

    def workers(self) -> list[str]:
        """The addresses of those that are there, in order; waits where there is none.

        Raises
        ------
        ClusterError
            If none comes.
        """
        deadline = time.monotonic() + PATIENCE
        while True:
            found = [a for a, names in self._known().items() if self._chosen(names)]
            if found:
                return sorted(found)
            if time.monotonic() > deadline or self._names == set():
                raise ClusterError(
                    f"no worker {'is left' if self._names is None else 'of those named'} in the "
                    f"cluster at {self._address}; start some, and go on from a checkpoint"
                )
            time.sleep(0.1)

    @property
    def restricted(self) -> bool:
        """Whether only some of the workers are to be used."""
        return self._names is not None

    def _chosen(self, names: tuple[str, ...]) -> bool:
        return self._names is None or any(name in self._names for name in names)

    def _known(self) -> dict[str, tuple[str, ...]]:
        """Of all workers: by address, what they can be called."""
        info = self._identity()
        if len(info["workers"]) < info.get("n_workers", 0):  # newer versions name a few
            info = self._identity(n_workers=-1)
        return {
            address: (address, str(entry.get("name", address)))
            for address, entry in info["workers"].items()
        }

    def _identity(self, **arguments: Any) -> Any:
        """What the scheduler says of itself; a client that was closed has none any more."""
        try:
            if self.client.status != "running":
                raise OSError(f"the client is {self.client.status}")
            identity = self.client.scheduler.identity
            return self.client.sync(identity, **arguments, callback_timeout=PATIENCE)
        except Exception as error:
            raise ClusterError(
                f"the scheduler at {self._address} does not answer any more "
                f"({type(error).__name__}: {error}); start a cluster, and go on from a checkpoint"
            ) from error

    # -- what is asked of them ---------------------------------------------------------------------

    @contextmanager
    def current(self) -> Iterator[None]:
        """What futures are made, and read, in: a program may have several clients."""
        with self.client.as_current():
            yield

    def check(self, address: str) -> None:
        """Raise LostError unless this worker is there."""
        if address not in self._known():
            raise LostError(f"the worker at {address} is gone")

    def result(self, future: Any, address: str) -> Any:
        """The answer of an actor on a worker; raises LostError if none will come."""
        answered = False
        while True:
            try:
                return future.result(timeout=PATIENCE if answered else POLL)
            except TimeoutError as error:
                # The worker's own, if its answer was there already. One may have come just now.
                if answered:
                    raise LostError(str(error)) from error
                self.check(address)
                answered = future.done()
            except Exception as error:
                # Who is asked catches what goes wrong in the computation: this is the way there.
                raise LostError(f"{type(error).__name__}: {error}") from error

    def forget(self, actors: list[Any]) -> None:
        """Let the workers forget actors, by their futures.

        To release these is not enough: each actor has a future of its own, and each call of it
        leaves a cycle of references, which is only collected some time.
        """
        if actors and self.client.status == "running":
            with suppress(Exception):  # there is nobody there, and so nothing to forget
                self.client.cancel(actors, force=True)

    def wait(self, futures: list[Any], watch: Callable[[int], None]) -> None:
        """Wait until futures are done, whatever comes out; `watch` gets how many are.

        `watch` is called every second at least, and may raise.
        """
        from distributed import wait

        while True:
            try:
                wait(futures, timeout=POLL)
            except TimeoutError:
                pass
            except Exception:  # what was cancelled: each one is looked at
                watch(len(futures))
                return
            done = sum(future.done() for future in futures)
            self._known()  # or the scheduler is gone
            watch(done)
            if done == len(futures):
                return


def checked_client(client: Any) -> Any:
    """A client that can be used.

    Raises
    ------
    ImportError, DtypeError, InputError
    """
    try:
        import dask.array  # noqa: F401
        from distributed import Client
    except ImportError as error:
        raise ImportError(
            f"training on a cluster needs Dask ({error}): pip install fastnn[dask]"
        ) from error
    if not isinstance(client, Client):
        raise DtypeError(
            f"client={shown(client)} is none; give the distributed.Client of a cluster, "
            "as Client('tcp://scheduler:8786')"
        )
    if client.asynchronous:
        raise InputError(
            "client is asynchronous, and a training waits for its workers; "
            "give a Client(...) without asynchronous=True"
        )
    if client.status != "running":
        raise InputError(f"client is {client.status}; give one that is connected, Client(address)")
    return client


def dashboard(client: Any) -> str:
    """Where it is, for people to read."""
    try:
        return client.dashboard_link or "no address"
    except Exception:  # a cluster without one says so in several ways
        return "no address"


def _names(workers: Any) -> set[str]:
    if isinstance(workers, str | bytes) or not isinstance(workers, Iterable):
        raise DtypeError(f"workers={shown(workers)} is no list; give one of addresses or names")
    names = {str(name) for name in workers}
    if not names:
        raise InputError("workers is empty; name at least one, or leave it out for all")
    return names
