"""``python -m fastnn``, and the program ``fastnn``: the command line, ready for Ctrl-C at once."""

import os
import sys
import threading


def main() -> None:
    """Load and run the command line; loading takes some tenths of a second."""
    try:
        _spare_threads()
        from .cli import main as run

        run()
    except KeyboardInterrupt:
        if sys.stderr is not None:
            sys.stderr.write("fastnn: error: interrupted\n")
        sys.exit(130)


def _spare_threads() -> None:
    """Where no thread can be started, keep OpenBLAS from it: it would interrupt the program."""
    try:
        thread = threading.Thread(target=int)
        thread.start()
        thread.join()
    except RuntimeError:
        os.environ["OPENBLAS_NUM_THREADS"] = "1"


if __name__ == "__main__":
    main()
