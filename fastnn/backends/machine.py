"""What a backend is beside its operations: its machine, and how arrays enter and leave it.

It holds no state of a computation: one instance serves any number of networks and threads, a copy
of it is itself, and it is pickled as its class and the arguments that it was made with.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np

from ..errors import DeviceError, ForeignArrayError, InputError
from ..validation import (
    Array,
    all_finite,
    check_real,
    check_size,
    float_dtype,
    kind,
    numpy_dtype,
    real_array,
    refuse_device_array,
    refuse_sparse,
    shown,
)
from .availability import Availability
from .sharing import recreated, shared


class Machine:
    """The part of the contract without operations, and its reference over ``self.xp``.

    Attributes
    ----------
    name : str
        What a user asks for.
    xp : namespace
        That of the array library: NumPy's, or another one of the array API standard.
    array_type : type
        The arrays that the operations take; by default those that `xp` makes.
    least_work : int
        From how many multiplications a step on ``"auto"`` chooses this backend, if it prefers it
        and it can run here: for less, another one has done the step before the work has started
        here.
    """

    name: ClassVar[str]
    xp: Any
    least_work: ClassVar[int] = 0
    _made_with: tuple[tuple[Any, ...], dict[str, Any]]

    def __new__(cls, *arguments: Any, **options: Any) -> Self:
        backend = super().__new__(cls)
        backend._made_with = arguments, options
        return backend

    # -- the machine -------------------------------------------------------------------------------

    @classmethod
    def probe(cls) -> Availability:
        """Whether this backend can run here. Must not raise.

        It imports what it needs to know, but starts no work.
        """
        return Availability(True, "this machine")

    @classmethod
    def create(cls, device: str | None = None, threads: int | None = None) -> Self:
        """The instance for a device, as in ``"name:device"``, and a number of threads.

        Raises
        ------
        InputError, DeviceError
            If the backend has no such device, or no number of threads to choose.
        """
        if device is not None:
            cls.device_number(device)
            raise DeviceError(
                f"the backend {cls.name!r} has no numbered devices; write {cls.name!r}"
            )
        if threads is not None:
            raise InputError(
                f"threads={shown(threads)} is not for the backend {cls.name!r}, "
                "which has none to choose"
            )
        return shared(cls)

    @classmethod
    def device_number(cls, device: str) -> int:
        """The number that names a device, for backends that number them."""
        # Python reads no number of thousands of digits.
        if not device.isdecimal() or len(device) > 9:
            name = cls.name
            raise InputError(
                f"the device in {shown(f'{name}:{device}')} is not a number; "
                f"write for example {f'{name}:0'!r}"
            )
        return int(device)

    @cached_property
    def device(self) -> str:
        """What the work runs on, for people to read."""
        return self.probe().device

    def check_dtype(self, dtype: np.dtype) -> None:
        """Raise DeviceError, with the reason, if the device cannot compute in this dtype."""

    def warm_up(self, dtype: Any = "float64") -> None:
        """Do now, for networks of this dtype, what would otherwise delay the first operations.

        That is: compile, load, allocate.

        Raises
        ------
        DtypeError
            If networks cannot be of this dtype.
        """
        float_dtype(dtype)

    def current(self) -> AbstractContextManager[Any]:
        """What operations, and other work on arrays of this backend, are done in.

        Until the context is left, array operations run on the backend's device, and NumPy does not
        warn of an overflow or underflow: those of the formulas give the right result, as exp does
        in the sigmoid of -1000.
        """
        return np.errstate(over="ignore", under="ignore")

    def limit_threads(self, multiplications: int) -> AbstractContextManager[Any]:
        """Use as many threads as pay for so many multiplications, until the context is left.

        For a loop whose steps take that many. What the context gives, if it gives something, has a
        method `give_way`, for the loop to call now and then: others may wait for their turn with
        another number of threads.
        """
        return nullcontext()

    def synchronize(self) -> None:
        """Wait until everything asked of the device is done, and report what went wrong there."""

    def __repr__(self) -> str:
        return f"<fastnn backend {self.name!r} on {self.device}>"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: Any) -> Self:
        return self

    def __reduce__(self) -> Any:
        return recreated, (type(self), *self._made_with)

    # -- arrays ------------------------------------------------------------------------------------

    @cached_property
    def array_type(self) -> type:
        """The arrays that the operations take."""
        return type(self.xp.asarray(0.0))

    def native_dtype(self, dtype: Any) -> Any:
        """The library's own dtype for one of NumPy's."""
        return getattr(self.xp, np.dtype(dtype).name)

    def dtype_of(self, a: Array) -> np.dtype:
        """The dtype of an array of this backend, as NumPy's."""
        return numpy_dtype(a)

    def asarray(self, a: Any, dtype: Any = None, *, name: str = "array") -> Array:
        """The public door in: an array_like from the user as an array of this backend, of `dtype`.

        The array is C-contiguous, where the library knows the order of elements in memory. It is
        copied only if it is not that already.

        Raises
        ------
        ForeignArrayError
            For an array in the memory of a device that the backend does not work on: it is for the
            caller to say that it shall be copied.
        DtypeError
            If it does not hold real numbers.
        """
        if self.xp is not np and isinstance(a, self.array_type):
            refuse_sparse(a, name)
            check_real(a, name)
            same = dtype is None or self.dtype_of(a) == dtype
            return a if same else self.xp.astype(a, self.native_dtype(dtype))
        a = real_array(a, name)
        refuse_device_array(a, name)
        host = np.asarray(a, dtype, order="C")
        return host if self.xp is np else self.from_numpy(host)

    def sparse_samples(self, a: Any, dtype: Any, *, name: str = "x") -> Any:
        """The public door in for a sparse matrix: checked samples that the operations take.

        They have a `shape` (samples, features). Only backends that keep samples as compressed rows
        take any.

        Raises
        ------
        DtypeError
            For all others; the message names what makes the matrix dense.
        """
        refuse_sparse(a, name, detail=", or use the backend 'numba', which takes csr_array")

    def from_numpy(self, host: np.ndarray) -> Array:
        """An array of this backend with these numbers, in their dtype.

        If the library has none such, in a wider one.
        """
        if self.xp is np:
            return host
        kind = host.dtype.newbyteorder("=")
        if not hasattr(self.xp, kind.name):
            kind = np.dtype(np.float64 if kind.kind == "f" else np.int64)
        return self.xp.asarray(host.astype(kind, copy=False))

    def to_numpy(self, a: Array) -> np.ndarray:
        """The public door out: an array of this backend as a NumPy array on the host."""
        return np.asarray(a)

    def check_arrays(self, **arrays: Array) -> None:
        """Raise ForeignArrayError unless every array is one of this backend's.

        Names are for the message.
        """
        for name, a in arrays.items():
            if not isinstance(a, self.array_type):
                raise ForeignArrayError(
                    f"{name} is a {kind(a)}, but the backend {self.name!r} works on "
                    f"{self.array_type.__module__}.{self.array_type.__qualname__}; "
                    f"convert it first: network.backend.asarray({name})"
                )

    def empty(self, shape: int | tuple[int, ...], dtype: Any) -> Array:
        """A new array with arbitrary contents, where the backend likes it best in memory."""
        check_size(shape, dtype)
        return self.xp.empty(shape, dtype=self.native_dtype(dtype))

    def largest(self, a: Array) -> float:
        """The largest absolute value of an array of float32 or float64; NaN if there is one."""
        return max(float(self.xp.max(a)), -float(self.xp.min(a)))

    def all_finite(self, a: Array) -> bool:
        """Whether an array of float32 or float64 holds no NaN and no infinity."""
        return all_finite(a, self.xp)

    def take(self, a: Array, rows: Array, *, out: Array | None = None) -> Array:
        """The rows of an array that have these numbers, which are in range."""
        return self._written(self.xp.take(a, rows, axis=0), out)

    @staticmethod
    def _written(result: Array, out: Array | None) -> Array:
        if out is None:
            return result
        out[...] = result
        return out
