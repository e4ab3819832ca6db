"""The addresses: the page, ``/predict``, ``/health`` and ``/metadata``."""

from __future__ import annotations

import asyncio
import json
import logging
from importlib.resources import files
from typing import Any

from anyio import CapacityLimiter, to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from ..errors import FastnnError
from .bodies import (
    MOST_BYTES,
    MOST_IMAGES,
    MOST_PIXELS,
    MOST_SAMPLES,
    RefusedError,
    question,
)
from .guard import Guard
from .model import Served

#: Seconds that a body may take to arrive, and the answer after that.
BODY_SECONDS, ANSWER_SECONDS = 10.0, 30.0

#: How many requests are computed at a time; the others wait. More would take more memory, not less
#: time: most of the work is NumPy's and Pillow's on small arrays, with Python in between.
AT_A_TIME = 2

#: How much of a body that is too large is read for the answer to reach who sends it.
_DISCARDED = 2**26

#: The files of the page, by their addresses.
PAGE = {
    "/": ("index.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
    "/pad.js": ("pad.js", "text/javascript"),
    "/views.js": ("views.js", "text/javascript"),
}

_LIMITS = {
    "bytes": MOST_BYTES,
    "samples": MOST_SAMPLES,
    "images": MOST_IMAGES,
    "pixels": MOST_PIXELS,
    "seconds": BODY_SECONDS + ANSWER_SECONDS,
}

_log = logging.getLogger("fastnn.serving")


def application(served: Served, host: str = "127.0.0.1") -> Any:
    """The ASGI application that serves a model.

    Parameters
    ----------
    served : Served
    host : str
        What the server listens on: see :class:`~fastnn.serving.guard.Guard`.
    """
    limiter = CapacityLimiter(AT_A_TIME)

    async def health(request: Request) -> Response:
        return _json({"status": "ok"})

    async def metadata(request: Request) -> Response:
        return _json({**served.metadata(), "limits": _LIMITS})

    async def predict(request: Request) -> Response:
        details = request.query_params.get("details") in ("1", "true")
        body = await _body(request)

        def answer() -> bytes:
            asked = question(body, served)
            try:
                said = served.predict(asked.x, images=asked.images, details=details)
            except FastnnError as error:
                raise RefusedError(400, str(error)) from error
            return json.dumps({"predictions": said}, allow_nan=False).encode()

        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                content = await to_thread.run_sync(answer, limiter=limiter, abandon_on_cancel=True)
        except TimeoutError as error:
            raise RefusedError(503, "the answer takes too long; give less in a request") from error
        return Response(content, media_type="application/json")

    routes = [Route(path, _page(*found)) for path, found in PAGE.items()]
    routes += [Route("/health", health), Route("/metadata", metadata)]
    routes += [Route("/predict", predict, methods=["POST"])]
    handlers: dict[Any, Any] = {
        RefusedError: _refused,
        HTTPException: _http_error,
        ClientDisconnect: _gone,
        Exception: _fault,
    }
    return Guard(Starlette(routes=routes, exception_handlers=handlers), host)


async def _body(request: Request) -> bytes:
    """All of a request's body, if it is not too large and does not take too long."""
    announced = request.headers.get("content-length", "")
    too_large = announced.isdigit() and int(announced) > MOST_BYTES
    received = bytearray()
    size = 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for part in request.stream():
                size += len(part)
                too_large = too_large or size > MOST_BYTES
                if size > _DISCARDED:
                    break
                if not too_large:
                    received += part
    except TimeoutError as error:
        raise RefusedError(408, "the body took too long to arrive") from error
    if too_large:
        raise RefusedError(413, f"the body is too large; give {MOST_BYTES} bytes at most")
    return bytes(received)


def _page(name: str, kind: str) -> Any:
    content = files(__package__).joinpath("page", name).read_bytes()

    async def page(request: Request) -> Response:
        return Response(content, media_type=f"{kind}; charset=utf-8")

    return page


def _json(value: dict[str, Any], status: int = 200) -> Response:
    content = json.dumps(value, allow_nan=False)
    return Response(content, status, media_type="application/json")


async def _refused(request: Request, error: Any) -> Response:
    return _json({"error": str(error)}, error.status)


async def _http_error(request: Request, error: Any) -> Response:
    """Of an address that is not there, or a method that it does not have."""
    response = _json({"error": f"{error.detail}: {request.method} {request.url.path}"[:300]},
                     error.status_code)  # fmt: skip
    response.headers.update(error.headers or {})
    return response


async def _gone(request: Request, error: Any) -> Response:
    return Response(status_code=400)  # which nobody reads


async def _fault(request: Request, error: Exception) -> Response:
    """Of what nobody has foreseen; the log has the rest."""
    _log.error("%s: %s", type(error).__name__, error)
    return _json({"error": "the server has a fault of its own; its log says which"}, 500)
