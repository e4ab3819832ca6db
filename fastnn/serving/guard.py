"""Which requests are let in, and what every answer says to the browser.

A page of another site could ask this server in its reader's browser, under a name of its own that
leads to this machine (DNS rebinding), or across origins. So the Host that a request names has to
be this machine's, and where a browser says from which page a request comes, that page has to be
ours.
"""

from __future__ import annotations

import ipaddress
import json
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

_Scope = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
_Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
_App = Callable[[_Scope, _Receive, _Send], Awaitable[None]]

#: What this machine is called by itself.
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})

#: The page takes nothing from elsewhere, and stands in no frame.
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self' data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}
_HEADERS = [(name.encode(), value.encode()) for name, value in HEADERS.items()]


class Guard:
    """An application, and who may ask it.

    Parameters
    ----------
    app : ASGI application
    host : str
        What the server listens on. If it is more than this machine alone, a request may name any
        address, and of names those of this machine and `host`.
    """

    def __init__(self, app: _App, host: str = "127.0.0.1") -> None:
        self._app = app
        self._any_address = host not in LOOPBACK
        self._names = set(LOOPBACK)
        if self._any_address:
            self._names |= {host.lower(), socket.gethostname().lower(), socket.getfqdn().lower()}

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *_HEADERS]
            await send(message)

        fault = self._fault(scope["method"], scope["headers"])
        if fault is None:
            await self._app(scope, receive, send_with_headers)
            return
        body = json.dumps({"error": fault}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        start = {"type": "http.response.start", "status": 403, "headers": headers}
        await send_with_headers(start)
        await send({"type": "http.response.body", "body": body})

    def _fault(self, method: str, headers: list[tuple[bytes, bytes]]) -> str | None:
        """Why a request is not let in, or None."""
        hosts = [value.decode("latin-1") for name, value in headers if name == b"host"]
        if len(hosts) != 1 or not self._is_known(_hostname(hosts[0])):
            return "the Host of the request is not this machine; ask it under its address"
        said = dict(headers)
        foreign = said.get(b"sec-fetch-site") in (b"cross-site", b"same-site")
        if foreign and method == "GET" and said.get(b"sec-fetch-mode") == b"navigate":
            foreign = False  # a link to the page, which stands in no frame
        own = f"http://{hosts[0]}".encode("latin-1")
        if foreign or said.get(b"origin", own) != own:
            return "the request comes from the page of another site"
        return None

    def _is_known(self, name: str | None) -> bool:
        if name is None:
            return False
        return name in self._names or (self._any_address and _is_address(name))


def _hostname(host: str) -> str | None:
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port  # which may be none
    except ValueError:
        return None
    return parts.hostname if parts.netloc == host and "@" not in host else None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
