"""A network in a file: its parameters, and what makes a network of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from ..backends import Backend
from ..base_network import Network
from ..data.paths import checked_path
from ..errors import DtypeError, InputError
from ..functions import ACTIVATIONS, LOSSES
from ..networks import SimpleNet, TwoLayerNet
from ..validation import all_finite, check_finite, choice, kind, shown
from . import atomic, container
from .container import Announced
from .faults import Fault
from .plain import check_plain

#: The networks that a file can hold, by the names that they have there.
ARCHITECTURES: dict[str, type[SimpleNet | TwoLayerNet]] = {
    "simple": SimpleNet,
    "two_layer": TwoLayerNet,
}

#: The kinds of files: a network alone, and one with the training that it is in.
MODEL, CHECKPOINT = "model", "checkpoint"

#: How the arrays of the parameters are named in a file of each kind.
PREFIXES = {MODEL: "", CHECKPOINT: "network/"}

#: What a network may be asked to keep for who uses it.
EXTRAS = ("label_names", "preprocessing", "provenance")

#: What parameters can be of.
DTYPES = ("float64", "float32")

#: All that a network of ours consists of.
_ATTRIBUTES = {"dtype", "_shapes", "backend", "_params", "activation", "loss_name", "_no_bias"}


def save(network: Network, path: str | os.PathLike[str]) -> None:
    """Write a network to a file: :meth:`fastnn.base_network.Network.save`."""
    target = checked_path(path, "path")
    described = description(network)
    arrays = parameters(network)
    atomic.remove_leftovers(target)
    container.write(target, {"kind": MODEL, "network": described}, arrays)


def load(path: str | os.PathLike[str], backend: str | Backend = "auto") -> Network:
    """Make the network again that :meth:`~fastnn.base_network.Network.save` has written.

    A file may come from anywhere: it is held against its digest, nothing in it is executed, and
    memory is taken for no more than its size.

    Parameters
    ----------
    path : path
        Of a network's file, or of a checkpoint, in which there is the network as it was then.
    backend : str or Backend
        As for :func:`fastnn.get_backend`, whatever the network was on when it was saved.

    Returns
    -------
    Network
        A :class:`fastnn.SimpleNet` or :class:`fastnn.TwoLayerNet`, with parameters that are the
        saved ones to the last bit.

    Raises
    ------
    CheckpointError
        If the file is missing, truncated, altered, of another program, or of another version of the
        format.
    BackendError
        If the backend is not there or has no such dtype.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> net = TwoLayerNet(4, 3, 2, activation="relu", rng=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     net.save(Path(folder, "network.safetensors"))
    ...     again = load(Path(folder, "network.safetensors"), backend="numpy")
    >>> again.activation, bool((again.params["W2"] == net.params["W2"]).all())
    ('relu', True)
    """
    with container.opened(checked_path(path, "path")) as file:
        prefix = PREFIXES[checked_kind(file, MODEL, CHECKPOINT)]
        saved = described(file.description.get("network"), file.arrays, prefix)
        arrays = file.read()
        return saved.network(arrays, prefix, backend)


def description(network: Network) -> dict[str, Any]:
    """What makes a network of its parameters, as data.

    Raises
    ------
    DtypeError, InputError
        If the network is not, or not only, what this can say.
    """
    name = next((n for n, cls in ARCHITECTURES.items() if type(network) is cls), None)
    if name is None:
        classes = " or a ".join(cls.__name__ for cls in ARCHITECTURES.values())
        raise DtypeError(
            f"network is a {kind(network)}, and a file cannot say what that computes; "
            f"save a {classes} with its params"
        )
    if others := vars(network).keys() - _ATTRIBUTES - set(EXTRAS):
        raise InputError(
            f"the network has attributes of its own, {shown(sorted(others))}, which a file does "
            f"not hold; delete them first, or put what they say into network.preprocessing"
        )
    extras = {extra: vars(network)[extra] for extra in EXTRAS if extra in vars(network)}
    for extra, value in extras.items():
        check_plain(value, extra)
    if fault := _faulty_extras(extras, network.sizes[-1]):
        raise InputError(f"network.{fault}")
    result: dict[str, Any] = {
        "architecture": name,
        "sizes": list(network.sizes),
        "dtype": network.dtype.name,
    }
    if isinstance(network, TwoLayerNet):
        result["activation"] = choice(network.activation, "activation", ACTIVATIONS)
    return result | {"loss": choice(network.loss_name, "loss", LOSSES)} | extras


def parameters(network: Network) -> dict[str, np.ndarray]:
    """The parameters on the host; InputError if one is not finite."""
    network._check_params()
    with network.backend.current():
        found = {name: network.backend.to_numpy(p) for name, p in network.params.items()}
    for name, values in found.items():
        check_finite(values, f"params[{name!r}]")
    return found


class Described(NamedTuple):
    """A network as a file describes it."""

    cls: Callable[..., Network]
    sizes: list[int]
    options: dict[str, Any]
    extras: dict[str, Any]

    def network(
        self, arrays: dict[str, np.ndarray], prefix: str, backend: str | Backend
    ) -> Network:
        """The network on a backend, with parameters of these values."""
        for name in arrays:
            if name.startswith(prefix) and not all_finite(arrays[name]):
                raise Fault(f"holds NaN or infinity in {name}, and so no network that is of use")
        try:
            made = self.cls(*self.sizes, **self.options, backend=backend, rng=0)
        except InputError as error:
            raise Fault(f"describes a network that cannot be: {error}") from error
        made.params = {name: made._parameter(arrays[prefix + name]) for name in made.params}
        vars(made).update(self.extras)
        return made


def checked_kind(file: container.Contents, *kinds: str) -> str:
    """The kind of a file, if it is one of these."""
    found = file.description.get("kind")
    if found not in kinds:
        raise Fault(f"is a {shown(found)}, and no {' or '.join(kinds)}")
    return str(found)


def described(network: Any, arrays: Mapping[str, Announced | np.ndarray], prefix: str) -> Described:
    """The network of a description, if that is sound and the arrays are those it takes."""
    given = dict(network) if isinstance(network, dict) else {}
    cls = ARCHITECTURES[_known(given, "architecture", ARCHITECTURES)]
    options = {"loss": _known(given, "loss", LOSSES), "dtype": _known(given, "dtype", DTYPES)}
    if cls is TwoLayerNet:
        options["activation"] = _known(given, "activation", ACTIVATIONS)
    sizes = given.pop("sizes", None)
    if not isinstance(sizes, list) or not all(type(n) is int and n > 0 for n in sizes):
        raise Fault(f"has sizes={shown(sizes)}; they are positive integers")
    try:
        shapes = cls.shapes(*sizes)
    except TypeError as error:
        raise Fault(f"has {len(sizes)} sizes, which are not those of a {cls.__name__}") from error
    extras = {name: given.pop(name) for name in EXTRAS if name in given}
    if fault := _faulty_extras(extras, sizes[-1]):
        raise Fault(f"is damaged: {fault}")
    if given:
        raise Fault(f"says of its network what is unknown here: {shown(sorted(given))}")
    expected = {prefix + name: shape for name, shape in shapes.items()}
    _check_arrays(arrays, expected, np.dtype(options["dtype"]), prefix)
    return Described(cls, sizes, options, extras)


def _known(given: dict[str, Any], name: str, known: Any) -> Any:
    value = given.pop(name, None)
    if not isinstance(value, str) or value not in known:
        raise Fault(f"has {name}={shown(value)}; known here are {', '.join(map(repr, known))}")
    return value


def _check_arrays(
    found: Mapping[str, Announced | np.ndarray],
    expected: dict[str, tuple[int, ...]],
    dtype: np.dtype,
    prefix: str,
) -> None:
    names = {name for name in found if name.startswith(prefix)}
    if names != expected.keys():
        raise Fault(f"holds the arrays {shown(sorted(names))}; its network has {list(expected)}")
    for name, shape in expected.items():
        array = found[name]
        if array.shape != shape or array.dtype != dtype:
            raise Fault(
                f"holds {name} with shape {shown(array.shape)} of {array.dtype}; "
                f"its network has shape {shown(shape)} of {dtype}"
            )


def _faulty_extras(extras: dict[str, Any], outputs: int) -> str | None:
    """What is wrong with label names and preprocessing, or None."""
    if "label_names" in extras:
        labels = extras["label_names"]
        if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
            return f"label_names is {shown(labels)}; it is a list of str, one for each output"
        if len(labels) != outputs:
            return f"label_names has {len(labels)} entries, and the network {outputs} outputs"
    for name in ("preprocessing", "provenance"):
        if not isinstance(extras.get(name, {}), dict):
            return f"{name} is {shown(extras[name])}; it is a dict"
    return None
