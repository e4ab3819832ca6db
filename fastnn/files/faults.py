"""What is wrong with a file, in one line that names it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..data.paths import shown
from ..errors import CheckpointError, FastnnError


class Fault(Exception):  # noqa: N818 - it never gets out
    """What is wrong with the file at hand, as the rest of a sentence that starts with its path."""


@contextmanager
def faults_of(
    path: Path, cannot: str, error: type[FastnnError] = CheckpointError
) -> Iterator[None]:
    """Raise what is wrong with the file at `path` as an error of this class.

    `cannot` is what an error of the system prevents, such as "cannot be read".
    """
    try:
        yield
    except FastnnError:
        raise
    except Fault as fault:
        raise error(f"{shown(path)} {fault}") from fault.__cause__
    except MemoryError as cause:
        raise error(f"{shown(path)} {cannot}: there is no memory for it") from cause
    except (OSError, ValueError) as cause:  # ValueError: a path that no file can have
        reason = getattr(cause, "strerror", None) or cause
        raise error(f"{shown(path)} {cannot}: {reason}") from cause
