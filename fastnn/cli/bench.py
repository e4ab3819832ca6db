"""``fastnn bench``: how long a training step and a numerical gradient take here."""

from __future__ import annotations

import json
import sys
from typing import Any

from ..console import write
from . import options
from .help import command as described


@described("bench", "fastnn bench --dtype float32 --plot bench.png")
@options.dtype
@options.hidden
@options.batch_size
@options.as_json("a table")
@options.picture("it")
def command(dtype: str, hidden: int, batch_size: int, as_json: bool, picture: str | None) -> None:
    """Time a step and a numerical gradient on every backend.

    Beside them stands the book's loop.
    """
    # Imported here: the other commands need none of it.
    from ..bench import measure, report

    if picture is not None:
        report.check_picture(picture)
    asked: dict[str, Any] = {"dtype": dtype, "hidden_size": hidden, "batch_size": batch_size}
    if sys.stderr is not None and sys.stderr.isatty():
        asked["progress"] = True
    measured = measure.measure(**asked)
    write(json.dumps(measured) if as_json else report.table(measured))
    if picture is not None:
        report.plot(measured, picture)
