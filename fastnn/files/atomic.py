"""A file that is whole at any moment: the old one, until all of the new one is on the disk.

The new content goes to a temporary file in the same folder, which then takes the name of the old
one. A process that is killed meanwhile leaves its temporary file behind. It is never taken for
anything, and the next writer to the same path removes it: the lock that a living writer holds on
its own is gone with the process, whoever has its number by now.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import stat
from collections.abc import Iterable
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import CheckpointError, FastnnError
from .faults import Fault, faults_of

if TYPE_CHECKING:
    from collections.abc import Iterator

#: What `os.open` does on all systems: no translation of bytes, nothing for child processes.
_PLAIN = getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)

#: Windows has neither these locks, nor lets anybody remove a file that somebody has open.
_WINDOWS = os.name == "nt"

#: What a folder that has nothing to flush answers.
_NOTHING_TO_FLUSH = {errno.EINVAL, errno.ENOTSUP, errno.EBADF}


def replace(
    path: Path,
    parts: Iterable[bytes | memoryview],
    *,
    error: type[FastnnError] = CheckpointError,
) -> None:
    """Write a file of these parts, one after another, in place of what is at `path`.

    A new file has the permissions of any new file, and one that replaces another has those of that.
    A symbolic link stays one: what it points to is replaced.

    Raises
    ------
    CheckpointError, or another `error`
        If there is something at `path` that is no regular file, or the new one cannot be written;
        then nothing is left of it, and the old one is untouched.
    """
    with faults_of(path, "cannot be written", error):
        target, mode = _target(path)
        with _temporary(target) as (temporary, file):
            for part in parts:
                _write(file, memoryview(part).cast("B"))
            if mode is not None and not _WINDOWS:
                os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
            if _WINDOWS:  # where an open file keeps its name
                file.close()
            temporary.replace(target)
        _flush_folder(target.parent)


def check_writable(path: Path) -> None:
    """Raise CheckpointError if it can be foreseen that no file can be written there."""
    with faults_of(path, "cannot be written"):
        folder = _target(path)[0].parent
        if not os.access(folder, os.W_OK | os.X_OK):
            raise Fault("cannot be written: its folder is write-protected; give another path")


def remove_leftovers(path: Path) -> None:
    """Remove what writers of this path left behind that were killed, as far as that can be done."""
    with suppress(OSError, ValueError):
        target = Path(os.path.realpath(path))
        pattern = re.compile(re.escape(_stem(target)) + r"(\d+)-[0-9a-f]{8}\.tmp")
        with os.scandir(target.parent) as entries:
            found = [(entry.path, m) for entry in entries if (m := pattern.fullmatch(entry.name))]
        for name, match in found:
            with suppress(OSError):
                _remove_if_abandoned(Path(name), int(match[1]))


def _target(path: Path) -> tuple[Path, int | None]:
    """The file that a path leads to, and its permissions if there is one."""
    target = Path(os.path.realpath(path))
    try:
        found = target.stat()
    except FileNotFoundError:
        if not target.parent.is_dir():
            raise Fault("cannot be written: there is no such folder; make it first") from None
        return target, None
    if stat.S_ISDIR(found.st_mode):
        raise Fault("cannot be written: it is a directory; give the path of a file in it")
    if not stat.S_ISREG(found.st_mode):
        raise Fault("cannot be written: it is not a regular file; give another path")
    if not os.access(target, os.W_OK):
        raise Fault("cannot be written: it is write-protected; give another path, or unlock it")
    return target, stat.S_IMODE(found.st_mode)


def _stem(target: Path) -> str:
    """How the names of all temporary files for a file begin, short whatever its name is."""
    digest = hashlib.sha256(os.fsencode(target.name)).hexdigest()[:12]
    return f".{target.name[:32]}-{digest}-"


@contextmanager
def _temporary(target: Path) -> Iterator[tuple[Path, FileIO]]:
    """A new, locked file beside the target, which is gone afterwards, renamed or removed."""
    while True:
        path = target.with_name(f"{_stem(target)}{os.getpid()}-{secrets.token_hex(4)}.tmp")
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _PLAIN, 0o666)
        with FileIO(descriptor, "w") as file:  # and so under the lock to the end
            try:
                locked = _lock(descriptor, wait=True)
                # Before that another writer may have taken it for a leftover.
                if locked is None or os.fstat(descriptor).st_nlink:
                    yield path, file
                    return
            except BaseException:
                if _WINDOWS:
                    file.close()
                with suppress(OSError):
                    path.unlink()
                raise


def _write(file: FileIO, part: memoryview) -> None:
    while part:
        part = part[file.write(part) :]


def _lock(descriptor: int, *, wait: bool) -> bool | None:
    """Lock an open file as long as it is open; None where there are no locks."""
    try:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except (ImportError, OSError):
        return None
    return True


def _remove_if_abandoned(path: Path, process: int) -> None:
    if _WINDOWS:
        path.unlink()
        return
    # For writing, without which there is no lock over NFS.
    descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | _PLAIN)
    try:
        locked = _lock(descriptor, wait=False)
        if locked or (locked is None and not _is_alive(process)):
            path.unlink()
    finally:
        os.close(descriptor)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # somebody else's
        return True
    return True


def _flush_folder(folder: Path) -> None:
    """Let the new name of a file last, where the system can."""
    if _WINDOWS:
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY | _PLAIN)
    except PermissionError:  # one may write to a folder that one may not read
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NOTHING_TO_FLUSH:
            raise
    finally:
        os.close(descriptor)
