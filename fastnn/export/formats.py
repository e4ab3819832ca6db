"""The formats by the suffix of a file, and what was written."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from ..base_network import Network
from ..data.paths import checked_path, shown
from ..errors import CheckpointError, InputError
from ..files import atomic
from . import npz, onnx_models, torch_modules


class Exported(NamedTuple):
    """What was written: the format and the size of the file, and what is in it."""

    path: Path
    format: str
    bytes: int
    contents: dict[str, Any]


class _Format(NamedTuple):
    name: str
    content: Callable[[Network], tuple[bytes | memoryview, dict[str, Any]]]


def _onnx(network: Network) -> tuple[bytes, dict[str, Any]]:
    model = onnx_models.to_onnx(network)
    return model.SerializeToString(), onnx_models.summary(model)


def _npz(network: Network) -> tuple[memoryview, dict[str, Any]]:
    return npz.to_bytes(network), {"arrays": {n: list(p.shape) for n, p in network.params.items()}}


def _torch(network: Network) -> tuple[bytes, dict[str, Any]]:
    state = torch_modules.state_dict(network)
    tensors = {name: list(tensor.shape) for name, tensor in state.items()}
    return torch_modules.to_bytes(state), {
        "module": torch_modules.spelled(network),
        "tensors": tensors,
        "output": onnx_models.output_function(network),
        "not_in_it": sorted({"preprocessing", "label_names"} & vars(network).keys()),
    }


_FORMATS = {
    ".onnx": _Format("ONNX", _onnx),
    ".npz": _Format("NumPy", _npz),
    ".pt": _Format("PyTorch state_dict", _torch),
}

#: The suffixes of the files that can be written.
SUFFIXES = tuple(_FORMATS)


def check_suffix(path: Path) -> str:
    """The suffix of a path, in lower case; InputError for one that stands for no format."""
    suffix = path.suffix.lower()
    if suffix not in _FORMATS:
        raise InputError(
            f"{shown(path)} does not say in which format; let it end with {', '.join(SUFFIXES)}"
        )
    return suffix


def to_file(network: Network, path: str | os.PathLike[str], *, overwrite: bool = True) -> Exported:
    """Write a network as ONNX, ``.npz`` or PyTorch's ``state_dict``: the suffix says which.

    The file is whole at any moment, as that of ``network.save`` is.

    Parameters
    ----------
    network : TwoLayerNet or SimpleNet
    path : path
        Ends with ``.onnx``, ``.npz`` or ``.pt``.
    overwrite : bool
        Whether to replace a file that is there.

    Returns
    -------
    Exported

    Raises
    ------
    InputError, DtypeError
        If the suffix is another one, or the format cannot say what the network is.
    CheckpointError
        If the file cannot be written, or is there and must not be overwritten.
    ExtraNotInstalledError
        If onnx or PyTorch is not installed.

    Examples
    --------
    >>> import tempfile
    >>> from fastnn import TwoLayerNet
    >>> from fastnn.export import to_file
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     exported = to_file(TwoLayerNet(4, 3, 2, rng=0), Path(folder, "net.npz"))
    >>> exported.format, exported.contents["arrays"]["W1"]
    ('NumPy', [4, 3])
    """
    target = checked_path(path, "path")
    wanted = _FORMATS[check_suffix(target)]
    if not overwrite and os.path.lexists(target):
        raise CheckpointError(
            f"{shown(target)} is there already; give another path, or remove it first"
        )
    atomic.check_writable(target)
    content, contents = wanted.content(network)
    atomic.remove_leftovers(target)
    atomic.replace(target, (content,))
    return Exported(target, wanted.name, len(content), contents)
