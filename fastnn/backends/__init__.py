"""The registry: which backends there are, which can run here, and how a name becomes an instance.

To add a backend, subclass :class:`fastnn.backends.base.Backend` in one module and register it: one
line in `_BUILTIN` here, or, from another package, an entry point ::

    [project.entry-points."fastnn.backends"]
    mine = "my_package.my_module:MyBackend"

``python -m pytest --pyargs fastnn.backends.conformance --backend mine`` then shows whether it keeps
to the contract.

Nothing is imported before it is asked for. A backend that is asked for by name is used or refused,
never replaced; only ``"auto"`` chooses, and it logs what it chose and why.
"""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any

import numpy as np

from ..errors import (
    BackendError,
    BackendImportError,
    DeviceError,
    DtypeError,
    UnknownBackendError,
)
from ..validation import positive_int, shown
from .base import Availability, Backend
from .completeness import instance_lacks, lacks

#: The group of entry points under which other packages register a backend.
ENTRY_POINT_GROUP = "fastnn.backends"

#: Our own backends: where their classes are.
_BUILTIN = {
    "numpy": "fastnn.backends.numpy:NumpyBackend",
    "numba": "fastnn.backends.numba.backend:NumbaBackend",
    "cupy": "fastnn.backends.cupy.backend:CupyBackend",
    "torch": "fastnn.backends.array_api:TorchBackend",
}

#: In what order ``"auto"`` prefers what is available.
_AUTO_ORDER = ("cupy", "numba", "numpy")


@cache
def _registered() -> dict[str, str]:
    """Every name and where its class is. Installed packages cannot replace fastnn's own."""
    from importlib.metadata import (
        entry_points,
    )  # slow to import, and only needed once somebody asks for a backend

    plugins = {point.name: point.value for point in entry_points(group=ENTRY_POINT_GROUP)}
    for name in plugins.keys() & {*_BUILTIN, "auto"}:
        _logger().warning(
            "the backend %r of %s is ignored: fastnn has one of that name", name, plugins.pop(name)
        )
    return _BUILTIN | plugins


@cache
def _backend_class(name: str) -> type[Backend]:
    module, _, attribute = _registered()[name].partition(":")
    try:
        cls = getattr(importlib.import_module(module), attribute)
    except (Exception, SystemExit) as error:
        raise BackendImportError(
            f"the backend {name!r} could not be imported from {module}:{attribute} "
            f"({type(error).__name__}: {error})"
        ) from error
    if not (isinstance(cls, type) and issubclass(cls, Backend)):
        raise BackendImportError(
            f"the backend {name!r} is {shown(cls)}, "
            "which is not a subclass of fastnn.backends.base.Backend"
        )
    _refuse_incomplete(name, lacks(name, cls))
    return cls


def _refuse_incomplete(name: str, lacking: list[str]) -> None:
    if lacking:
        raise BackendImportError(
            f"the backend {name!r} of {_registered()[name]} is incomplete: {'. '.join(lacking)}"
        )


@cache
def availability(name: str) -> Availability:
    """Probe a registered backend, once a process."""
    try:
        cls = _backend_class(name)
    except BackendImportError as error:
        return Availability(
            False, "", str(error), "reinstall or remove the package that registers it", error
        )
    try:
        found = cls.probe()
        if not isinstance(found, Availability):
            raise TypeError(f"it gives a {type(found).__name__}, not an Availability")
        return found
    except (Exception, SystemExit) as error:
        reason = f"probing the backend {name!r} failed ({type(error).__name__}: {error})"
        return Availability.refused(
            BackendImportError, reason, "reinstall or remove the package that registers it", error
        )


def available_backends() -> dict[str, Availability]:
    """Every registered backend, with whether it can run here and, if not, why and what to do.

    Returns
    -------
    dict of str to Availability
        Objects with the attributes ``available``, ``device``, ``reason`` and ``remedy``.

    Examples
    --------
    >>> available_backends()["numpy"].available
    True
    """
    return {name: availability(name) for name in _registered()}


def get_backend(
    backend: str | Backend = "auto",
    *,
    multiplications: int | None = None,
    threads: int | None = None,
) -> Backend:
    """The backend of this name; an instance is returned as it is.

    Parameters
    ----------
    backend : str or Backend
        ``"numpy"``, ``"numba"``, ``"cupy"``, ``"torch"``, a name that another package registers, or
        ``"auto"`` for the first of cupy, numba and numpy that can run here and is worth it for this
        much work. A device may follow a colon where the backend has several: ``"cupy:1"``,
        ``"torch:cuda"``.
    multiplications : int, optional
        How much work ``"auto"`` chooses for: how many multiplications a step takes on its way
        forward, which is the number of parameters times the batch size. A network says it for the
        book's batches of 100. By default as much as any.
    threads : int, optional
        How many threads the backend uses at most, where it has any to choose: numpy's BLAS while a
        network is trained, and numba's kernels. By default as many as pay.

    Returns
    -------
    Backend
        The same instance each time for the same name and threads; ``repr`` says what it runs on.

    Raises
    ------
    UnknownBackendError
        If no backend of this name is registered; the message lists those that are.
    BackendNotInstalledError
        If the library that it needs is missing; the message names the extra to install.
    BackendImportError
        If that library is there but does not import; the cause is chained. Or if the class that a
        package registers lacks a part of the contract.
    DeviceError
        If there is no such device.
    InputError
        If `threads` is below one, or not for this backend.

    Examples
    --------
    >>> get_backend("numpy").name
    'numpy'
    >>> get_backend("numpy", threads=1) is get_backend("numpy", threads=1)
    True
    """
    if threads is not None:
        threads = positive_int(threads, "threads")
    if not isinstance(multiplications, int | np.integer | None):
        raise DtypeError(f"multiplications={shown(multiplications)} is no integer; give how many")
    if multiplications is not None:
        multiplications = max(multiplications, 0)  # a negative size is for who uses it to refuse
    if isinstance(backend, Backend):
        if threads is not None:
            raise DtypeError(
                f"threads={shown(threads)} goes with a backend's name, "
                f"not with an instance; write {backend.name!r}"
            )
        return backend
    if not isinstance(backend, str):
        raise DtypeError(
            f"backend={shown(backend)} is neither a name nor an instance of "
            "fastnn.backends.base.Backend"
        )
    name, colon, device = backend.partition(":")
    if name == "auto" and not colon:
        return _choose(multiplications, threads)
    if name not in _registered():
        raise UnknownBackendError(
            f"there is no backend {shown(backend)}; "
            f"choose one of {', '.join(['auto', *_registered()])}"
        )
    return _instance(name, device if colon else None, threads)


def _instance(name: str, device: str | None, threads: int | None) -> Backend:
    found = availability(name)
    if not found.available:
        error = found.error or DeviceError(
            f"the backend {name!r} cannot run here: {found.reason}; {found.remedy}"
        )
        raise error.with_traceback(None)
    cls = _backend_class(name)
    backend = cls.create(device, threads)
    _refuse_incomplete(name, instance_lacks(cls, backend))
    return backend


def _logger() -> Any:
    import logging  # only needed here, and not by NumPy

    return logging.getLogger("fastnn")


def _choose(multiplications: int | None, threads: int | None) -> Backend:
    """The first preferred backend that starts here and is worth it for a step of this size.

    The size is a number of multiplications.
    """
    for name in _AUTO_ORDER:
        found = availability(name)
        if not found.available:
            reason = found.reason
        elif multiplications is not None and multiplications < (
            least := _backend_class(name).least_work
        ):
            reason = (
                f"it pays from {least:,} multiplications a step on, "
                f"and here are {multiplications:,}"
            )
        else:
            try:
                backend = _instance(name, None, threads)
            except Exception as error:
                reason = f"it does not start ({type(error).__name__}: {error})"
            else:
                _logger().info("backend 'auto' is %r on %s", name, found.device)
                return backend
        _logger().info("backend 'auto' passes over %r: %s", name, reason)
    raise BackendError("no backend can run here, not even NumPy")  # pragma: no cover


__all__ = [
    "ENTRY_POINT_GROUP",
    "Availability",
    "Backend",
    "availability",
    "available_backends",
    "get_backend",
]
