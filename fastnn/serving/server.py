"""The process: a socket, the server on it, and the signal that ends it in good order."""

from __future__ import annotations

import errno
import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from ..console import SignalError
from ..errors import InputError
from ..interrupts import Interrupts
from ..validation import shown
from .app import application
from .model import Served

#: Seconds in which a request's head has to arrive, an idle connection may stay open, and what is
#: being answered may be finished once a signal has come.
HEAD_SECONDS, IDLE_SECONDS, FINISH_SECONDS = 10, 5, 10

#: Connections at a time; who comes when there are more is told to come again.
MOST_CONNECTIONS = 200

#: Bytes of the head of a request.
LARGEST_HEAD = 2**14


def serve(
    served: Served,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    ready: Callable[[str], None] | None = None,
) -> None:
    """Serve a model until Ctrl-C or SIGTERM.

    Parameters
    ----------
    served : Served
    host : str
        A name or an address of this machine. By default nobody else reaches it.
    port : int
        0 takes one that is free.
    ready : callable, optional
        Is given the address of the page, once it can be asked.

    Raises
    ------
    InputError
        If nothing can listen there.
    SignalError
        At the end: which signal it was.
    """
    listener = _listener(host, port)
    address = f"http://{_in_url(host)}:{listener.getsockname()[1]}/"
    for name in ("uvicorn", "uvicorn.error", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # each of them a stranger's fault
    config = uvicorn.Config(
        application(served, host),
        http=_Protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=MOST_CONNECTIONS,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=FINISH_SECONDS,
        h11_max_incomplete_event_size=LARGEST_HEAD,
        backlog=2 * MOST_CONNECTIONS,
    )
    server = _Server(config)
    if ready is not None:
        server.ready = lambda: ready(address)
    with listener, server.interrupts:  # before asyncio has a handler of its own
        server.run(sockets=[listener])
    caught = server.interrupts.caught or signal.SIGINT
    requests = server.server_state.total_requests
    raise SignalError(
        f"ended by {signal.Signals(caught).name} after {requests} request{'s' * (requests != 1)}",
        caught,
    )


class _Server(uvicorn.Server):
    """uvicorn's, ended by fastnn's handlers, which let a second signal end it at once."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.interrupts = Interrupts()
        self.ready: Callable[[], None] = lambda: None

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # they are the interrupts'

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        self.ready()

    async def on_tick(self, counter: int) -> bool:
        return await super().on_tick(counter) or self.interrupts.caught is not None


class _Protocol(H11Protocol):
    """HTTP over a connection that is closed if the head of a request takes too long."""

    _late: Any = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self._watch(ended=True)

    def _watch(self, *, ended: bool = False) -> None:
        """Start the time for a head, or stop it."""
        if ended or self.conn.their_state is not h11.IDLE:
            if self._late is not None:
                self._late.cancel()
            self._late = None
        elif self._late is None:
            self._late = self.loop.call_later(HEAD_SECONDS, self._close)

    def _close(self) -> None:
        self._late = None
        if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
            self.transport.close()


def _listener(host: str, port: int) -> socket.socket:
    """A socket that listens there."""
    try:
        return _bound(host, port)
    except (OSError, UnicodeError) as error:
        if getattr(error, "errno", None) == errno.EADDRINUSE:
            raise InputError(
                f"port {port} is taken; give another one with --port, or 0 for any that is free"
            ) from error
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"nothing can listen on {shown(host)}, port {port}: {reason}; "
            "give a host of this machine, such as 127.0.0.1, and another port"
        ) from error


def _bound(host: str, port: int) -> socket.socket:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, kind, _, _, address = found[0]
    # With the protocol: asyncio sends without delay only where a socket says that it is TCP, and
    # else each answer takes 40 ms, in which the system waits for more to send.
    listener = socket.socket(family, kind, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":  # elsewhere it would let two servers have one port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(2 * MOST_CONNECTIONS)
    except BaseException:
        listener.close()
        raise
    return listener


def _in_url(host: str) -> str:
    """A host as it stands in an address: of all of this machine's, one that can be asked."""
    if host in ("0.0.0.0", "::", ""):
        return socket.gethostname()
    return f"[{host}]" if ":" in host else host
