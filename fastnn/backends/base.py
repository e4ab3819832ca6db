"""The contract of a backend, and its complete reference in array operations.

:class:`Backend` is all that a network and the training loop know of the hardware. It is written
over ``self.xp``, a namespace of the array API standard whose arrays can be changed in place, and
over the formulas of :mod:`fastnn.functions`, so a subclass that sets ``name`` and ``xp`` is a
working backend; it then overrides the operations that it can do faster, each with the signature
that it has here (:mod:`fastnn.backends.support` has the tables of what an override can do).

What an operation may rely on, because the networks and :class:`Dataset` see to it: it is called
inside ``current()``; samples ``x`` are a 2-D array (samples, features) and targets ``t`` either 1-D
integer labels within range or a 2-D array (samples, outputs), or both are whatever the backend's
own ``dataset`` hands out in their place; everything else is an array of this backend, and all
floating arrays of a call share one dtype, float32 or float64. The result has that dtype too.
``out=`` names an array to write to and to return, of the right shape and dtype and as ``empty``
gives it; it must not overlap the inputs, which may lie in memory in any way.

A backend holds no state of a computation: one instance serves any number of networks and threads, a
copy of it is itself, and it is pickled as its class and the arguments that it was made with.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np

from ..errors import DeviceError, ForeignArrayError, InputError
from ..functions import ACTIVATIONS, LOSSES, one_hot
from ..validation import Array, check_real, numpy_dtype, real_array, refuse_device_array
from . import incremental
from .availability import Availability
from .datasets import Dataset
from .sharing import recreated, shared
from .steps import Runner, TrainingStep


class Backend:
    """The contract, and the reference implementation over ``self.xp``.

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
                f"threads={threads!r} is not for the backend {cls.name!r}, which has none to choose"
            )
        return shared(cls)

    @classmethod
    def device_number(cls, device: str) -> int:
        """The number that names a device, for backends that number them."""
        if not device.isdecimal():
            name = cls.name
            raise InputError(
                f"the device in {f'{name}:{device}'!r} is not a number; "
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
        """

    def current(self) -> AbstractContextManager[Any]:
        """What operations, and other work on arrays of this backend, are done in.

        Until the context is left, array operations run on the backend's device, and NumPy does not
        warn of an overflow or underflow: those of the formulas give the right result, as exp does
        in the sigmoid of -1000.
        """
        return np.errstate(over="ignore", under="ignore")

    def limit_threads(self, multiplications: int) -> AbstractContextManager[Any]:
        """Use as many threads as pay for so many multiplications, until the context is left.

        For a loop whose steps take that many.
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
            For an array in the memory of a device: it is for the caller to say that it shall be
            copied.
        DtypeError
            If it does not hold real numbers.
        """
        if self.xp is not np and isinstance(a, self.array_type):
            check_real(a, name)
            same = dtype is None or self.dtype_of(a) == dtype
            return a if same else self.xp.astype(a, self.native_dtype(dtype))
        a = real_array(a, name)
        refuse_device_array(a, name)
        return self.from_numpy(np.asarray(a, dtype, order="C"))

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
                found = f"{type(a).__module__}.{type(a).__qualname__}"
                raise ForeignArrayError(
                    f"{name} is a {found}, but the backend {self.name!r} works on "
                    f"{self.array_type.__module__}.{self.array_type.__qualname__}; "
                    f"convert it first: network.backend.asarray({name})"
                )

    def dataset(self, x: Array, t: Array) -> Dataset:
        """Keep checked samples and targets, arrays of this backend, so that batches come fast."""
        return Dataset(self, x, t)

    def empty(self, shape: int | tuple[int, ...], dtype: Any) -> Array:
        """A new array with arbitrary contents, where the backend likes it best in memory."""
        return self.xp.empty(shape, dtype=self.native_dtype(dtype))

    def runner(self, step: TrainingStep) -> Runner | None:
        """What makes many such steps in a way of its own, such as one compiled kernel, or None.

        None means that the training loop makes them one by one over the operations below. What it
        gives is called inside ``current()``, with any number of batches, also none, as often as the
        loop likes. The parameters are those after these steps when it returns, however they lie in
        memory; batches of another size than stated are refused with InputError before anything changes.
        """
        return None

    def computes_as(self, cls: type[Backend]) -> bool:
        """Whether every operation is that of `cls`.

        Steps that a subclass changes must not be left to what `cls` has for them.
        """
        own = vars(self).keys()
        return all(
            getattr(type(self), name) is getattr(cls, name) and name not in own
            for name in OPERATIONS
        )

    # -- operations --------------------------------------------------------------------------------

    def take(self, a: Array, rows: Array, *, out: Array | None = None) -> Array:
        """The rows of an array that have these numbers, which are in range."""
        return self._written(self.xp.take(a, rows, axis=0), out)

    def dense(
        self,
        x: Array,
        W: Array,
        b: Array,
        activation: str = "identity",
        *,
        out: Array | None = None,
    ) -> Array:
        """activation(x·W + b): shapes (n, i), (i, j), (j,) → (n, j)."""
        a = self.xp.matmul(x, W)
        a += b
        return self._written(
            a if activation == "identity" else ACTIVATIONS[activation].function(self.xp, a), out
        )

    def output(self, logits: Array, loss: str, *, out: Array | None = None) -> Array:
        """What a network with this loss predicts: softmax for the cross-entropy, else `logits`."""
        return self._written(LOSSES[loss].output(self.xp, logits), out)

    def loss(self, y: Array, t: Array, loss: str) -> Array:
        """The loss of predictions `y` (n, k) against `t`: a scalar that stays with the backend."""
        return LOSSES[loss].value(self.xp, y, one_hot(self.xp, t, y))

    def loss_gradient(
        self, logits: Array, t: Array, loss: str, *, out: Array | None = None
    ) -> tuple[Array, Array]:
        """The loss of the logits (n, k) and its derivative with respect to them, in one pass."""
        output, value, gradient = LOSSES[loss]
        y = output(self.xp, logits)
        t = one_hot(self.xp, t, y)
        found = value(self.xp, y, t)
        return found, self._written(gradient(self.xp, y, t), out)

    def count_correct(self, logits: Array, t: Array) -> Array:
        """How many rows of the logits (n, k) have their maximum where the target has it.

        Of several maxima the first one counts.
        """
        labels = t if t.ndim == 1 else self.xp.argmax(t, axis=1)
        return self.xp.count_nonzero(self.xp.argmax(logits, axis=1) == labels)

    def dense_backward(
        self, delta: Array, W: Array, z: Array, activation: str, *, out: Array | None = None
    ) -> Array:
        """Carry the derivative with respect to a layer's result back through its weights.

        The derivative is `delta` (n, j), the weights are `W` (i, j).

        Returns the derivative with respect to the pre-activation of the layer below, whose output
        was `z` (n, i): (delta·Wᵀ) ⊙ f′, with f′ taken from `z`.
        """
        result = self.xp.matmul(delta, W.T)
        if activation != "identity":
            result *= ACTIVATIONS[activation].derivative(self.xp, z)
        return self._written(result, out)

    def dense_gradient(self, x: Array, delta: Array) -> tuple[Array, Array]:
        """The gradient of a layer from its `x` (n, i) and `delta` (n, j): xᵀ·delta and Σ delta."""
        return self.xp.matmul(x.T, delta), self.xp.sum(delta, axis=0)

    def dense_descent(
        self,
        W: Array,
        b: Array,
        x: Array,
        delta: Array,
        learning_rate: float,
        *,
        out: Array | None = None,
    ) -> None:
        """One step of gradient descent on a layer's parameters, in place.

        It goes against what `dense_gradient` gives.

        `out`, like `W`, is space for the gradient, which may be used or not; `delta` is scratch
        space afterwards.
        """
        delta *= learning_rate  # smaller than the gradient
        dW, db = self.dense_gradient(x, delta)
        W -= dW
        b -= db

    def numerical_gradient(
        self,
        x: Array,
        t: Array,
        W1: Array,
        b1: Array,
        W2: Array,
        b2: Array,
        activation: str,
        loss: str,
        h: float,
    ) -> tuple[Array, tuple[Array, Array, Array, Array]]:
        """The loss of a two-layer network, and its central differences for every parameter.

        For a parameter w they are (L(w + h) − L(w − h)) / 2h.

        Shapes (n, i), (n,) or (n, k), (i, j), (j,), (j, k), (k,). Returns the loss and the
        gradients of W1, b1, W2 and b2, exact to rounding: see :mod:`fastnn.backends.incremental`
        for how. The parameters are not touched.
        """
        self.check_dtype(np.dtype(np.float64))
        return incremental.numerical_gradient(
            self.xp, x, t, W1, b1, W2, b2, activation, loss, h, self.nonzero_features
        )

    def nonzero_features(self, row: Array) -> Any:
        """What picks the features of a sample that are not zero.

        It indexes the columns of samples, and the rows of weights to write to.

        The array API standard has no index by numbers to write to, so that here it is all of them.
        """
        return incremental.every(row)

    def descent(self, parameter: Array, gradient: Array, learning_rate: float) -> None:
        """parameter -= learning_rate · gradient, in place; `gradient` is scratch space after it."""
        gradient *= learning_rate
        parameter -= gradient

    @staticmethod
    def _written(result: Array, out: Array | None) -> Array:
        if out is None:
            return result
        out[...] = result
        return out


#: What a backend may override with a kernel of its own; the tests hold each override to the
#: signature that it has here.
OPERATIONS = (
    "take",
    "dense",
    "output",
    "loss",
    "loss_gradient",
    "count_correct",
    "dense_backward",
    "dense_gradient",
    "dense_descent",
    "descent",
    "numerical_gradient",
)

__all__ = ["OPERATIONS", "Availability", "Backend", "Dataset", "Runner", "TrainingStep"]
