"""``fastnn serve``: a page to draw on, and predictions over HTTP."""

from __future__ import annotations

import json
import os
import sys
import threading
import webbrowser
from pathlib import Path

from ..console import write
from ..files import load
from . import models, options
from .help import command as described
from .help import option


@described(
    "serve",
    "fastnn serve digits.safetensors",
    "curl --data-binary @seven.png http://127.0.0.1:8000/predict",
)
@models.model
@option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="What to listen on; 0.0.0.0 lets other machines ask, too.",
)
@option(
    "--port",
    type=options.Whole(0, 65535),
    metavar="N",
    default=8000,
    show_default=True,
    help="0 takes one that is free.",
)
@option(
    "--open/--no-open",
    "opened",
    default=None,
    help="Whether to open the page in the browser.  [default: in a terminal]",
)
@options.as_json("a line with the address")
def command(model: str, host: str, port: int, opened: bool | None, as_json: bool) -> None:
    """Serve MODEL: a page to draw on, and HTTP for programs.

    These ask POST /predict. Ctrl-C ends it. Nobody but this machine can ask it, unless --host says
    so.
    """
    from ..serving import require

    require()
    from ..serving.guard import LOOPBACK
    from ..serving.model import Served
    from ..serving.server import serve

    served = Served(load(model, backend="numpy"), Path(model).name)
    if opened is None:
        opened = sys.stdout is not None and sys.stdout.isatty() and not as_json

    def ready(address: str) -> None:
        told = {"address": address, "model": model, "process": os.getpid()}
        for_whom = "" if host in LOOPBACK else ", for all who reach this machine,"
        line = f"{model} is served at {address}{for_whom} until Ctrl-C"
        write(json.dumps(told) if as_json else line)
        if opened:  # which may wait for the browser
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()

    serve(served, host=host, port=port, ready=ready)
