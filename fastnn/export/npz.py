"""A network as a ``.npz`` file: arrays that NumPy reads, and texts that say what they are of.

The arrays have the names of the parameters. Beside them there are arrays without dimensions, of
text: ``architecture``, ``activation``, ``loss``, ``dtype`` and ``fastnn_version``, and, as JSON,
``sizes``, ``label_names`` and ``preprocessing``. Nothing in it is pickled.
"""

from __future__ import annotations

import io
import os
import stat
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ..backends import Backend
from ..base_network import Network
from ..data.paths import checked_path
from ..errors import FastnnError
from ..files.faults import Fault, faults_of
from ..files.model import Described, described, parameters
from ..validation import shown
from .description import from_texts, texts

#: How many times as large as the file an array in it may be, where that is more than so many bytes:
#: of what is compressed, anything could be claimed.
MOST_INFLATED, LEAST = 50, 2**20

#: What the readers of the archive, its arrays and its texts raise.
_DAMAGES = (
    *(zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError),
    *(ValueError, KeyError, TypeError, SyntaxError, tokenize.TokenError),
)


def to_bytes(network: Network) -> memoryview:
    """The content of the file."""
    buffer = io.BytesIO()
    said = {name: np.array(text) for name, text in texts(network).items()}
    np.savez(buffer, **parameters(network), **said)  # type: ignore[arg-type]
    return buffer.getbuffer()


def load_npz(path: str | os.PathLike[str], backend: str | Backend = "auto") -> Network:
    """The network in a ``.npz`` file that ``fastnn export`` or :func:`to_file` has written.

    Parameters
    ----------
    path : path
    backend : str or Backend
        As for :func:`fastnn.get_backend`.

    Raises
    ------
    CheckpointError
        If the file is missing, damaged, or holds no network.
    BackendError
        If the backend is not there or has no such dtype.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from fastnn import TwoLayerNet
    >>> from fastnn.export import load_npz, to_file
    >>> net = TwoLayerNet(4, 3, 2, activation="relu", rng=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     exported = to_file(net, Path(folder, "net.npz"))
    ...     again = load_npz(Path(folder, "net.npz"), backend="numpy")
    >>> again.activation, bool((again.params["W1"] == net.params["W1"]).all())
    ('relu', True)
    """
    path = checked_path(path, "path")
    with faults_of(path, "cannot be read"), _zip_faults():
        saved, arrays = _contents(path)
        return saved.network(arrays, "", backend)


def _contents(path: Path) -> tuple[Described, dict[str, np.ndarray]]:
    if not stat.S_ISREG(path.stat().st_mode):  # to open a device may do something
        raise Fault("is not a regular file")
    with path.open("rb") as file:
        found = os.fstat(file.fileno())
        if not zipfile.is_zipfile(file):
            raise Fault("is no .npz file; give one that fastnn export has written")
        with zipfile.ZipFile(file) as members:
            for member in members.infolist():
                if member.file_size > max(MOST_INFLATED * found.st_size, LEAST):
                    raise Fault(
                        f"is damaged: {shown(member.filename)} would take {member.file_size} "
                        f"bytes, and the file has {found.st_size}"
                    )
        file.seek(0)
        with np.load(file, allow_pickle=False) as entries:
            arrays = {name: entries[name] for name in entries.files}
    said = {n: str(arrays.pop(n)) for n in list(arrays) if arrays[n].dtype.kind == "U"}
    said.pop("fastnn_version", None)
    return described(from_texts(said), arrays, ""), arrays


@contextmanager
def _zip_faults() -> Iterator[None]:
    try:
        yield
    except FastnnError:
        raise
    except _DAMAGES as error:
        raise Fault(f"is damaged: {error}") from error
