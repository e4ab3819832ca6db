"""Arrays and a description in one file: the safetensors format, with a digest over all of it.

The file is one that any reader of safetensors takes: eight bytes with the length of the header, the
header, which is JSON, and the bytes of the arrays. In the header's metadata there is one entry,
"fastnn", the description as JSON text. Its "digest" is the SHA-256 of the whole file with the
digest's own 64 digits taken for zeros, so that no byte can change unnoticed.

Files are written by the safetensors package. They are read here, because one may come from
anywhere: its header is held against its size, and against what it should hold, before memory is
taken for anything, and the arrays lie in the one buffer that was read.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .. import __version__
from ..errors import DtypeError, InputError, one_line
from ..validation import shown
from . import atomic
from .faults import Fault, faults_of
from .plain import check_plain

#: Of the description, and of what the digest is taken over.
FORMAT_VERSION = 1

#: Bytes of the longest header: its JSON takes up to 30 times as many when it is read.
LONGEST_HEADER = 2**22

#: The dtypes of arrays in a file, by the format's names for them, in the byte order of the files.
DTYPES = {
    **{f"F{8 * n}": np.dtype(f"<f{n}") for n in (2, 4, 8)},
    **{f"{kind.upper()}{8 * n}": np.dtype(f"<{kind}{n}") for kind in "iu" for n in (1, 2, 4, 8)},
    "BOOL": np.dtype("?"),
}

_ZEROS = b"0" * 64
_DIGEST = re.compile("[0-9a-f]{64}")
_NOT_OURS = "is not a file of fastnn's"
_DAMAGED = "is damaged; take another copy of it"


class Announced(NamedTuple):
    """An array as the header announces it."""

    dtype: np.dtype
    shape: tuple[int, ...]
    begin: int
    end: int


def write(path: Path, description: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    """Write arrays and a description of them, at once or not at all.

    Parameters
    ----------
    path : Path
    description : dict
        Of what JSON holds exactly: dicts with names, lists, strings, numbers, bools and None.
    arrays : dict of str to numpy.ndarray
        Of any layout, and of a dtype in :data:`DTYPES`.

    Raises
    ------
    CheckpointError
        If the file cannot be written; what was there is untouched.
    DtypeError, InputError
        If the description is not of that kind or too long, or the arrays are of another dtype.
    """
    from safetensors.numpy import save

    check_plain(description, "description")
    placeholder = secrets.token_hex(32)  # which stands nowhere else
    text = json.dumps(
        {
            "format_version": FORMAT_VERSION,
            "fastnn_version": __version__,
            "digest": placeholder,
            **description,
        }
    )
    # One entry, since the package writes several in any order.
    raw = memoryview(save({n: _canonical(n, a) for n, a in arrays.items()}, {"fastnn": text}))
    length = int.from_bytes(raw[:8], "little")
    if length > LONGEST_HEADER:
        raise InputError(
            f"the description takes {length} bytes, and may take {LONGEST_HEADER}; "
            "give what is long as arrays"
        )
    before, after = _around(raw, placeholder.encode(), 8 + length)
    digest = _sha256(before, _ZEROS, after).encode()
    atomic.replace(path, (before, digest, after))


@contextmanager
def opened(path: Path) -> Iterator[Contents]:
    """What is in a file, of which only the header has been read yet.

    Raises
    ------
    CheckpointError
        If there is no such file, or it is none that :func:`write` has written.
    """
    with faults_of(path, "cannot be read"):
        _check_regular(path.stat().st_mode)  # to open a device may do something
        # Should it have become a FIFO by now: no waiting for somebody who writes.
        flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
        with FileIO(os.open(path, flags)) as file:
            found = os.fstat(file.fileno())
            _check_regular(found.st_mode)
            yield Contents(file, found.st_size)


class Contents:
    """The description in a file and what arrays it announces; :meth:`read` reads these."""

    def __init__(self, file: FileIO, size: int) -> None:
        self._file = file
        self._start = _read(file, 8, size) if size else b""
        length = int.from_bytes(self._start, "little")
        if len(self._start) < 8 or length < 2:
            found = self._start.hex(" ") or "nothing"
            raise Fault(f"{_NOT_OURS}: it has {size} bytes and starts with {found}")
        if length > LONGEST_HEADER:
            raise Fault(f"{_NOT_OURS}: it starts with {self._start.hex(' ')}")
        if length > size - 8:
            raise Fault(
                f"{_NOT_OURS}, or truncated: its header would have {length} bytes, "
                f"and the file has {size}"
            )
        self._start += _read(file, length, size)
        header = _parsed(self._start[8:], "its header is no JSON")
        metadata = header.pop("__metadata__", None)
        text = metadata.get("fastnn") if isinstance(metadata, dict) else None
        if not isinstance(text, str):
            raise Fault(f"{_NOT_OURS}: it is a safetensors file without fastnn's description")
        self.description = _parsed(text, "its description is no JSON")
        version = self.description.pop("format_version", None)
        if version != FORMAT_VERSION:
            writer = shown(self.description.get("fastnn_version"))
            raise Fault(
                f"is of version {shown(version)} of the format, written by fastnn {writer}; "
                f"this one, {__version__}, reads version {FORMAT_VERSION}"
            )
        self._digest = self.description.pop("digest", None)
        self.arrays = {name: _announced(name, entry) for name, entry in header.items()}
        end = 0
        for array in sorted(self.arrays.values(), key=lambda a: (a.begin, a.end)):
            if array.begin != end:
                raise Fault(_DAMAGED)
            end = array.end
        self._bytes = size - len(self._start)
        if end != self._bytes:
            raise Fault(
                f"is {'truncated' if end > self._bytes else 'too long'}: "
                f"its arrays take {end} bytes, and there are {self._bytes}"
            )

    def read(self) -> dict[str, np.ndarray]:
        """The arrays by name, in the machine's byte order, once the digest is found to be right."""
        buffer = np.empty(self._bytes, np.uint8)
        _fill(self._file, buffer.data)
        digest = self._digest
        if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
            raise Fault(_DAMAGED)
        start = memoryview(self._start)
        before, after = _around(start, digest.encode(), len(start))
        if _sha256(before, _ZEROS, after, buffer.data) != digest:
            raise Fault(_DAMAGED)
        return {
            name: buffer[a.begin : a.end]
            .view(a.dtype)
            .reshape(a.shape)
            .astype(a.dtype.newbyteorder("="), copy=False)
            for name, a in self.arrays.items()
        }


def _canonical(name: str, a: np.ndarray) -> np.ndarray:
    """The array as the package takes it: in one piece; the byte order is the package's affair."""
    a = np.asarray(a, order="C")
    if a.dtype.newbyteorder("<") not in DTYPES.values():
        raise DtypeError(f"{name} is of dtype {shown(str(a.dtype))}, which no file of ours holds")
    return a


def _around(raw: memoryview, digest: bytes, length: int) -> tuple[memoryview, memoryview]:
    """What stands before and after the digest in the first so many bytes, and to the end."""
    where = bytes(raw[:length]).find(digest)
    if where < 0:  # written with escapes
        raise Fault(_DAMAGED)
    return raw[:where], raw[where + len(digest) :]


def _sha256(*parts: bytes | memoryview) -> str:
    total = hashlib.sha256()
    for part in parts:
        total.update(part)
    return total.hexdigest()


def _check_regular(mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise Fault("cannot be read: it is a directory; give the path of a file in it")
    if not stat.S_ISREG(mode):
        raise Fault("cannot be read: it is not a regular file; copy its content into one")


def _parsed(text: bytes | str, fault: str) -> dict[str, Any]:
    """An object of JSON, none of whose names stands there twice."""

    def distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise ValueError("a name stands there twice")
        return found

    try:
        found = json.loads(text, object_pairs_hook=distinct)
    except (ValueError, RecursionError) as error:
        raise Fault(f"{_NOT_OURS}, or damaged: {fault}: {one_line(str(error), 80)}") from error
    if not isinstance(found, dict):
        raise Fault(f"{_NOT_OURS}: {fault} object")
    return found


def _announced(name: str, entry: Any) -> Announced:
    try:
        dtype = DTYPES[entry["dtype"]]
        shape, (begin, end) = entry["shape"], entry["data_offsets"]
        whole = all(type(n) is int and 0 <= n < 2**63 for n in (*shape, begin, end))
        if len(entry) == 3 and whole and end - begin == math.prod(shape) * dtype.itemsize:
            return Announced(dtype, tuple(shape), begin, end)
    except (LookupError, TypeError, ValueError):
        pass
    raise Fault(f"is damaged: the array {shown(name)} is not one of its format: {shown(entry)}")


def _read(file: FileIO, count: int, size: int) -> bytes:
    """So many bytes, or those that there are."""
    buffer = bytearray(min(count, size))
    _fill(file, memoryview(buffer))
    return bytes(buffer)


def _fill(file: FileIO, buffer: memoryview) -> None:
    done = 0
    while done < len(buffer):
        count = file.readinto(buffer[done : done + 2**24])
        if not count:
            raise Fault("cannot be read: somebody has cut it short meanwhile")
        done += count
