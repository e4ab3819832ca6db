"""A model behind HTTP, on this machine: a page to draw on, and ``POST /predict``.

Read in this order: `model` (what is served: a network, what images become for it, and what it says
of them), `bodies` (what a request may hold, and how that becomes samples), `guard` (which requests
are let in), `app` (the addresses), `server` (the process: from the socket to the signal that ends
it). The page is in `page/`: plain files, which the browser takes as they are. Starlette and uvicorn
come with ``pip install 'fastnn[serve]'``.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from ..errors import ExtraNotInstalledError

__all__ = ["application", "require", "serve"]


def require() -> None:
    """Raise ExtraNotInstalledError unless all is there that serving needs."""
    try:
        for name in ("PIL", "starlette", "uvicorn"):
            import_module(name)
    except ImportError as error:
        raise ExtraNotInstalledError(
            f"serving needs Starlette, uvicorn and Pillow ({error}): pip install 'fastnn[serve]'"
        ) from error


def __getattr__(name: str) -> Any:
    if name not in ("application", "serve"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    require()
    from . import app, server

    return app.application if name == "application" else server.serve
