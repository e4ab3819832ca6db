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
def faults_of(path: Path, cannot: str) -> Iterator[None]:
    """Raise what is wrong with the file at `path` as a CheckpointError.

    `cannot` is what an error of the system prevents, such as "cannot be read".
    """
    try:
        yield
    except FastnnError:
        raise
    except Fault as fault:
        raise CheckpointError(f"{shown(path)} {fault}") from fault.__cause__
    except MemoryError as error:
        raise CheckpointError(f"{shown(path)} {cannot}: there is no memory for it") from error
    except (OSError, ValueError) as error:  # ValueError: a path that no file can have
        reason = getattr(error, "strerror", None) or error
        raise CheckpointError(f"{shown(path)} {cannot}: {reason}") from error
