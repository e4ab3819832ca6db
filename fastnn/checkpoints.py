"""A training under way in a file: the network, and all that the rest of the training depends on.

The file is that of a network (:mod:`fastnn.files`), with more arrays and a state beside it, and
:func:`fastnn.load` reads the network in it. What state a training has is not known here.
"""

from __future__ import annotations

import datetime
import os
import re
import time
from typing import Any, NamedTuple

import numpy as np

from .backends import Backend
from .base_network import Network
from .data.paths import checked_path
from .errors import DtypeError, InputError
from .files import atomic, container
from .files.digests import digest_of
from .files.faults import Fault
from .files.model import CHECKPOINT, PREFIXES, checked_kind, described, description, parameters
from .files.plain import with_arrays, without_arrays
from .files.random_states import random_state, restore_generator
from .validation import positive_int, real_number, shown

__all__ = [
    "Checkpoint",
    "CheckpointWriter",
    "digest_of",
    "random_state",
    "read_checkpoint",
    "restore_generator",
    "write_checkpoint",
]

#: How the other arrays in the file are named: those given as such, and those in the state.
_ARRAYS, _IN_STATE = "array/", "state/"

#: The largest part of the time that writing takes where it goes by seconds.
LARGEST_SHARE = 0.02


class Checkpoint(NamedTuple):
    """What :func:`read_checkpoint` reads.

    Attributes
    ----------
    network : Network
    arrays : dict of str to numpy.ndarray
    state : dict
    """

    network: Network
    arrays: dict[str, np.ndarray]
    state: dict[str, Any]


def write_checkpoint(
    path: str | os.PathLike[str],
    *,
    network: Network,
    arrays: dict[str, np.ndarray] | None = None,
    state: dict[str, Any] | None = None,
) -> None:
    """Write a training to a file, in place of the one before once all of it is on the disk.

    Parameters
    ----------
    path : path
    network : Network
        A :class:`fastnn.SimpleNet` or :class:`fastnn.TwoLayerNet`.
    arrays : dict of str to numpy.ndarray, optional
        On the host; of floats, integers or bools.
    state : dict, optional
        Of dicts with str for keys, lists, str, int, float, bool and None, and arrays of NumPy
        anywhere in it. All come back as they are, to the last bit but those that tell one NaN from
        another; what is of another type, a tuple or a number of NumPy's, is refused.

    Raises
    ------
    CheckpointError
        If the file cannot be written; the one before is untouched.
    DtypeError, InputError
        If a parameter is not finite, or the network or the state is not what a file holds.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from fastnn import TwoLayerNet
    >>> net, rng = TwoLayerNet(4, 3, 2, rng=0), np.random.default_rng(0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "training.safetensors")
    ...     write_checkpoint(path, network=net, state={"iteration": 7, "rng": random_state(rng)})
    ...     read = read_checkpoint(path)
    >>> read.state["iteration"], bool((read.network.params["W1"] == net.params["W1"]).all())
    (7, True)
    >>> bool(restore_generator(read.state["rng"]).random() == rng.random())
    True
    """
    state = {} if state is None else state
    if type(state) is not dict:
        raise DtypeError(f"state is {shown(state)}, a {type(state).__name__}; give a dict")
    inside: dict[str, np.ndarray] = {}
    container.write(
        checked_path(path, "path"),
        {
            "kind": CHECKPOINT,
            "network": description(network),
            "backend": network.backend.name,
            "state": without_arrays(state, inside),
        },
        {PREFIXES[CHECKPOINT] + name: values for name, values in parameters(network).items()}
        | {_ARRAYS + name: values for name, values in (arrays or {}).items()}
        | {_IN_STATE + name: values for name, values in inside.items()},
    )


def read_checkpoint(
    path: str | os.PathLike[str], backend: str | Backend | None = None
) -> Checkpoint:
    """Read what :func:`write_checkpoint` has written.

    Parameters
    ----------
    path : path
    backend : str or Backend, optional
        Of the network, as for :func:`fastnn.get_backend`; by default of the name that it was on.

    Returns
    -------
    Checkpoint
        Its arrays are in the memory of the file, each in its own part, and may be written to.

    Raises
    ------
    CheckpointError
        If the file is missing, truncated, altered, of another program, or of another version of the
        format.
    BackendError
        If the backend is not there.
    """
    with container.opened(checked_path(path, "path")) as file:
        checked_kind(file, CHECKPOINT)
        prefix = PREFIXES[CHECKPOINT]
        saved = described(file.description.get("network"), file.arrays, prefix)
        if others := [n for n in file.arrays if not n.startswith((prefix, _ARRAYS, _IN_STATE))]:
            raise Fault(f"holds arrays that belong to nothing: {shown(others)}")
        state, name = file.description.get("state"), file.description.get("backend")
        if not isinstance(state, dict) or not isinstance(name, str):
            raise Fault(f"has the state {shown(state)} of the backend {shown(name)}")
        arrays = file.read()
        return Checkpoint(
            saved.network(arrays, prefix, name if backend is None else backend),
            _under(arrays, _ARRAYS),
            with_arrays(state, _under(arrays, _IN_STATE)),
        )


def _under(arrays: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)}


class CheckpointWriter:
    """Writes checkpoints of a training every so many iterations, or every so often.

    Parameters
    ----------
    path : path
    every : int, str or datetime.timedelta
        An int, or a str of digits, is a number of iterations: one is due when their number passes a
        multiple of it. A str with a unit, such as "30s", "5min" or "1h", or a timedelta is a time;
        where a write takes so long that this were more than 2 % of all time, it is longer.

    Attributes
    ----------
    path : pathlib.Path
    iterations : int or None
    seconds : float or None
        How often; one of the two is None.
    written : int
        How many checkpoints have been written.
    took : float
        How many seconds the last of them has taken.

    Examples
    --------
    >>> writer = CheckpointWriter("training.safetensors", every=100)
    >>> [writer.due(iteration, now=0.0) for iteration in (0, 99, 100)]
    [False, False, True]
    >>> CheckpointWriter("training.safetensors", every="5min").seconds
    300.0
    """

    def __init__(self, path: str | os.PathLike[str], every: Any = "10s") -> None:
        self.path = checked_path(path, "checkpoint")
        self.iterations, self.seconds = _interval(every)
        self.written = 0
        self.took = 0.0
        self._iteration = 0
        self._since: float | None = None

    def begin(self, network: Network, iteration: int = 0, now: float | None = None) -> None:
        """Check what can be checked before a training, and count from here on.

        Raises
        ------
        CheckpointError, DtypeError, InputError
            If no file could be written there, or none could hold this network.
        """
        description(network)
        atomic.check_writable(self.path)
        atomic.remove_leftovers(self.path)
        self._iteration, self._since = iteration, time.monotonic() if now is None else now

    def due(self, iteration: int, now: float | None = None) -> bool:
        """Whether one is to be written after so many iterations, at this `time.monotonic()`."""
        if self.iterations is not None:
            return iteration // self.iterations > self._iteration // self.iterations
        now = time.monotonic() if now is None else now
        if self._since is None:
            self._since = now
        assert self.seconds is not None
        return now - self._since >= max(self.seconds, self.took / LARGEST_SHARE)

    def write(
        self,
        *,
        network: Network,
        arrays: dict[str, np.ndarray] | None = None,
        state: dict[str, Any] | None = None,
        iteration: int,
    ) -> None:
        """Write one, as :func:`write_checkpoint` does, and count from here on."""
        started = time.monotonic()
        write_checkpoint(self.path, network=network, arrays=arrays, state=state)
        self._since = time.monotonic()
        self.took = self._since - started
        self.written += 1
        self._iteration = iteration


#: Seconds of each unit.
_UNITS = {"s": 1.0, "min": 60.0, "h": 3600.0}
_TIME = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]+)")


def _interval(every: Any) -> tuple[int | None, float | None]:
    """Iterations or seconds."""
    if isinstance(every, datetime.timedelta):
        return None, real_number(every.total_seconds(), "checkpoint_every", above=0)
    if not isinstance(every, str):
        if isinstance(every, float):
            raise DtypeError(
                f"checkpoint_every={shown(every)} may be iterations or seconds; "
                f"give an int for iterations, or a time with its unit: '{every:g}s'"
            )
        return positive_int(every, "checkpoint_every"), None
    text = every.strip()
    if text.isascii() and text.isdigit() and len(text) < 19:
        return positive_int(int(text), "checkpoint_every"), None
    found = _TIME.fullmatch(text)
    if found is None or found[2] not in _UNITS:
        raise InputError(
            f"checkpoint_every={shown(every)} is neither iterations nor a time; "
            "give such as 1000, '30s', '5min' or '1h'"
        )
    return None, real_number(float(found[1]) * _UNITS[found[2]], "checkpoint_every", above=0)
