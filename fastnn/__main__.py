"""``python -m fastnn``, and the program ``fastnn``: the command line, ready for Ctrl-C at once."""

import atexit
import gc
import os
import sys
import threading
from typing import NoReturn


def main() -> None:
    """Load and run the command line; loading takes some tenths of a second."""
    try:
        _spare_threads()
        _spare_collections()
        try:
            from .cli import main as run
        except (ImportError, MemoryError) as error:  # a library is missing, or not in one piece
            reason = " ".join(str(error).split())[-200:]
            _end(f"it cannot be loaded ({type(error).__name__}: {reason})", 2)
        run()
    except KeyboardInterrupt:
        _end("interrupted", 130)


def _end(message: str, code: int) -> NoReturn:
    if sys.stderr is not None:
        sys.stderr.write(f"fastnn: error: {message}\n")
    sys.exit(code)


def _spare_threads() -> None:
    """Where no thread can be started, keep OpenBLAS from it: it would interrupt the program."""
    try:
        thread = threading.Thread(target=int)
        thread.start()
        thread.join()
    except RuntimeError:
        os.environ["OPENBLAS_NUM_THREADS"] = "1"


def _spare_collections() -> None:
    """Keep Python from searching all that is loaded for cycles, which live until the end anyway.

    Searching again and again while it is loaded, and thrice at the end, takes a tenth of the start.
    """
    gc.set_threshold(10_000, 100, 100)
    atexit.register(gc.freeze)


if __name__ == "__main__":
    main()
