"""Arrays of other libraries on a CUDA device: PyTorch's tensors, JAX's arrays, Numba's."""

from __future__ import annotations

from typing import Any

from ...errors import ForeignArrayError
from ...validation import Array, kind, refuse_gradient

#: What DLPack calls CUDA's devices: kDLCUDA, and kDLCUDAManaged.
_CUDA = (2, 13)


def on_cuda(a: Any) -> bool:
    """Whether an array says that it is in the memory of a CUDA device."""
    try:
        if hasattr(type(a), "__dlpack_device__"):
            return int(a.__dlpack_device__()[0]) in _CUDA
        return hasattr(type(a), "__cuda_array_interface__") and hasattr(
            a, "__cuda_array_interface__"
        )
    except Exception:  # some libraries raise here for arrays that are on the host
        return False


def taken_over(xp: Any, number: int, a: Any, name: str) -> Array:
    """The same memory as an array of CuPy; from another device than this one nothing is copied.

    Raises
    ------
    DtypeError
        If it has a gradient of its own.
    ForeignArrayError
        If it is on another device, or cannot be handed over.
    """
    refuse_gradient(a, name)
    if hasattr(type(a), "__dlpack_device__"):
        take, device = xp.from_dlpack, int(a.__dlpack_device__()[1])
        if device != number:
            raise _elsewhere(a, name, device, number)
    else:
        take = xp.asarray  # by the CUDA array interface, which does not say which device it is
    try:
        taken = take(a)
    except Exception as error:  # what two libraries may have against each other
        raise ForeignArrayError(
            f"{name} is a {kind(a)} on CUDA device {number} that CuPy cannot take over: {error}; "
            "convert its dtype or layout there, or copy it to the host yourself"
        ) from error
    if taken.device.id != number:
        raise _elsewhere(a, name, taken.device.id, number)
    return taken


def _elsewhere(a: Any, name: str, device: int, number: int) -> ForeignArrayError:
    return ForeignArrayError(
        f"{name} is a {kind(a)} on CUDA device {device}, but the backend works on device {number}; "
        f"copy it there yourself, with what {kind(a)} has for that, or use the backend of device "
        f"{device}"
    )
