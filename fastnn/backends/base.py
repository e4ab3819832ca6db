"""The contract of a backend, and its complete reference in array operations.

:class:`Backend` is all that a network and the training loop know of the hardware. It is written over ``self.xp``, a
module with NumPy's interface, and over the formulas of :mod:`fastnn.functions`, so a subclass that sets ``xp`` is a
working backend; it then overrides the operations that it can do faster, each with the signature that it has here.

What an operation may rely on, because the networks and :class:`Dataset` see to it: it is called inside ``current()``; samples
``x`` are a 2-D array (samples, features) and targets ``t`` either 1-D ``intp`` labels within range or a 2-D array
(samples, outputs), or both are whatever the backend's own ``dataset`` hands out in their place; everything else is an array of
this backend, and all floating arrays of a call share one dtype, float32 or float64. The result has that dtype too. ``out=``
names an array to write to and to return, of the right shape and dtype and C-contiguous; it must not overlap the inputs.

A backend holds no state of a computation: one instance serves any number of networks and threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from types import ModuleType
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np

from ..errors import BackendError, DeviceError, ForeignArrayError
from ..functions import ACTIVATIONS, LOSSES
from ..validation import Array, real_array
from . import incremental


class Availability(NamedTuple):
    """What probing a backend found: whether it can run here, on what, and if not, why and what to do about it."""

    available: bool
    device: str = ""
    reason: str = ""
    remedy: str = ""
    #: What `get_backend` raises when the backend is not available.
    error: BackendError | None = None

    @classmethod
    def refused(cls, error: type[BackendError], reason: str, remedy: str, cause: BaseException | None = None) -> Availability:
        """A backend that cannot run here; `get_backend` raises `error` with the reason and the remedy."""
        instance = error(f"{reason}; {remedy}")
        instance.__cause__ = cause
        return cls(False, "", reason, remedy, instance)


class Dataset:
    """Samples and targets, kept the way the backend likes them.

    Parameters
    ----------
    backend : Backend
    x : array, shape (samples, features)
    t : array, shape (samples,) of ``intp`` labels, or (samples, outputs)
        Both arrays of the backend, checked. They are kept as they are, not copied.
    """

    def __init__(self, backend: Backend, x: Array, t: Array) -> None:
        self.backend = backend
        self.x = x
        self.t = t

    def __len__(self) -> int:
        return len(self.x)

    def batch(self, rows: Array, *, out: Array | None = None) -> tuple[Array, Array]:
        """The samples and targets of these row numbers, for the operations of this backend; `out` is for the samples."""
        take = self.backend.take
        return take(self.x, rows, out=out), take(self.t, rows)

    def buffer(self, size: int) -> Array | None:
        """An array for the samples of a batch, to hand to :meth:`batch`, if that can use one."""
        return self.backend.empty((size, self.x.shape[1]), self.x.dtype)

    def chunks(self, size: int) -> Iterator[tuple[Array, Array]]:
        """All rows in order, `size` at a time."""
        for start in range(0, len(self), size):
            yield self.x[start : start + size], self.t[start : start + size]


class Backend:
    """The contract, and the reference implementation over ``self.xp``.

    Attributes
    ----------
    name : str
        What a user asks for.
    xp : module
        NumPy, or a module with its interface.
    array_type : type
        The arrays that the operations take.
    least_work : int
        From how many multiplications a step on ``"auto"`` chooses this backend, if it prefers it and it can run here: for less,
        another one has done the step before the work has started here.
    """

    name: ClassVar[str]
    xp: ModuleType
    array_type: type = np.ndarray
    least_work: ClassVar[int] = 0

    # -- the machine ---------------------------------------------------------------------------------------------------

    @classmethod
    def probe(cls) -> Availability:
        """Whether this backend can run here. Must not raise; imports what it needs to know, but starts no work."""
        return Availability(True, "this machine")

    @classmethod
    def on_device(cls, number: int) -> Self:
        """An instance for the device of this number, where a backend has several."""
        raise DeviceError(f"the backend {cls.name!r} has no numbered devices; write {cls.name!r}")

    @cached_property
    def device(self) -> str:
        """What the work runs on, for people to read."""
        return self.probe().device

    def warm_up(self, dtype: Any = "float64") -> None:
        """Do now, for networks of this dtype, what would otherwise delay the first operations: compile, load, allocate."""

    def current(self) -> AbstractContextManager[Any]:
        """What operations, and other work on arrays of this backend, are done in.

        Until the context is left, array operations run on the backend's device, and NumPy does not warn of an overflow or
        underflow: those of the formulas give the right result, as exp does in the sigmoid of -1000.
        """
        return np.errstate(over="ignore", under="ignore")

    def limit_threads(self, multiplications: int) -> AbstractContextManager[Any]:
        """For a loop whose steps take this many multiplications: use as many threads as pay, until the context is left."""
        return nullcontext()

    def synchronize(self) -> None:
        """Wait until everything that was asked of the device is done, and report what went wrong there."""

    def __repr__(self) -> str:
        return f"<fastnn backend {self.name!r} on {self.device}>"

    # -- arrays --------------------------------------------------------------------------------------------------------

    def asarray(self, a: Any, dtype: Any = None, *, name: str = "array") -> Array:
        """The public door in: an array_like from the user as a C-contiguous array of this backend, of `dtype`.

        The array is copied only if it is not that already.

        Raises
        ------
        ForeignArrayError
            For an array of a GPU library: it is for the caller to say that it shall be copied to the host.
        DtypeError
            If it does not hold real numbers.
        """
        self._refuse_device_array(a)
        return np.asarray(real_array(a, name), dtype, order="C")

    def to_numpy(self, a: Array) -> np.ndarray:
        """The public door out: an array of this backend as a NumPy array on the host."""
        return np.asarray(a)

    def check_arrays(self, **arrays: Array) -> None:
        """Raise ForeignArrayError unless every array is one of this backend's; names are for the message."""
        for name, a in arrays.items():
            if not isinstance(a, self.array_type):
                found = f"{type(a).__module__}.{type(a).__qualname__}"
                raise ForeignArrayError(
                    f"{name} is a {found}, but the backend {self.name!r} works on {self.array_type.__module__}."
                    f"{self.array_type.__qualname__}; convert it first: network.backend.asarray({name})"
                )

    @staticmethod
    def _refuse_device_array(a: Any) -> None:
        # Every array that lives on a CUDA device says so with this attribute, whichever library it is from.
        if hasattr(type(a), "__cuda_array_interface__"):
            try:
                on_device = hasattr(a, "__cuda_array_interface__")
            except Exception:  # some libraries raise here for arrays that are on the host
                on_device = False
            if on_device:
                raise ForeignArrayError(
                    f"this is a {type(a).__module__}.{type(a).__qualname__} on a GPU, and the backend works on the host; "
                    "copy it yourself (cupy.asnumpy(a)) or use backend='cupy'"
                )

    def dataset(self, x: Array, t: Array) -> Dataset:
        """Keep checked samples and targets, arrays of this backend, in the form from which batches come fastest."""
        return Dataset(self, x, t)

    def empty(self, shape: int | tuple[int, ...], dtype: Any) -> Array:
        """A new array with arbitrary contents, where the backend likes it best in memory."""
        return self.xp.empty(shape, dtype)

    def compile(self, step: Callable[..., Array]) -> Callable[[Array, Array], None]:
        """Prepare a step of training to be repeated.

        Parameters
        ----------
        step : callable
            Row numbers, an array of shape (batch,), to the loss of that batch, which stays with the backend.

        Returns
        -------
        callable
            A function (rows, losses) of arrays of shape (steps, batch) and (steps,), the latter of the dtype of the loss: it makes
            a step with each of the rows in turn and writes its loss to its place. Here it just does; a backend may record the
            step when it is first made and replay it, so the step must do the same with the same arrays each time.
        """

        def run(rows: Array, losses: Array) -> None:
            for i in range(len(rows)):
                losses[i] = step(rows[i])

        return run

    def rehearse(self, step: Callable[..., Array], batch_size: int, dtype: Any) -> None:
        """Make a step that will not be missed, of a copy, so that everything is compiled and loaded when it is made in earnest."""
        step(self.asarray(np.zeros(batch_size, np.int64)))

    # -- operations ----------------------------------------------------------------------------------------------------

    def take(self, a: Array, rows: Array, *, out: Array | None = None) -> Array:
        """The rows of an array that have these numbers, which are in range."""
        return self.xp.take(a, rows, axis=0, out=out)

    def dense(self, x: Array, W: Array, b: Array, activation: str = "identity", *, out: Array | None = None) -> Array:
        """activation(x·W + b): shapes (n, i), (i, j), (j,) → (n, j)."""
        out = self._product(x, W, out=out)
        out += b
        return out if activation == "identity" else ACTIVATIONS[activation].function(out, out=out)

    def output(self, logits: Array, loss: str, *, out: Array | None = None) -> Array:
        """What a network with this loss predicts: the softmax of its logits for the cross-entropy, else the logits."""
        return LOSSES[loss].output(logits, out=out)

    def loss(self, y: Array, t: Array, loss: str) -> Array:
        """The loss of predictions `y` (n, k) against targets `t`: a scalar that stays with the backend."""
        return LOSSES[loss].value(y, t)

    def loss_gradient(self, logits: Array, t: Array, loss: str, *, out: Array | None = None) -> tuple[Array, Array]:
        """The loss of the logits (n, k) and its derivative with respect to them, in one pass."""
        output, _, value_and_gradient = LOSSES[loss]
        return value_and_gradient(output(logits, out=out), t)

    def count_correct(self, logits: Array, t: Array) -> Array:
        """How many rows of the logits (n, k) have their maximum where the target has it (the first, if several)."""
        labels = t if t.ndim == 1 else t.argmax(axis=1)
        return (logits.argmax(axis=1) == labels).sum()

    def dense_backward(self, delta: Array, W: Array, z: Array, activation: str, *, out: Array | None = None) -> Array:
        """Carry the derivative with respect to a layer's result, `delta` (n, j), back through its weights `W` (i, j).

        Returns the derivative with respect to the pre-activation of the layer below, whose output was `z` (n, i):
        (delta·Wᵀ) ⊙ f′, with f′ taken from `z`.
        """
        out = self._product(delta, W.T, out=out)
        if activation != "identity":
            out *= ACTIVATIONS[activation].derivative(z)
        return out

    def dense_gradient(self, x: Array, delta: Array) -> tuple[Array, Array]:
        """The gradient of a layer's parameters from its input `x` (n, i) and `delta` (n, j): xᵀ·delta and Σ delta."""
        return self._gradient(x, delta)

    def dense_descent(self, W: Array, b: Array, x: Array, delta: Array, learning_rate: float, *, out: Array | None = None) -> None:
        """One step of gradient descent on a layer's parameters, in place, against what `dense_gradient` gives.

        `out`, like `W`, is space for the gradient, which may be used or not; `delta` is scratch space afterwards.
        """
        delta *= learning_rate  # smaller than the gradient
        dW, db = self._gradient(x, delta, out=out)
        W -= dW
        b -= db

    def _product(self, a: Array, b: Array, *, out: Array | None = None) -> Array:
        return self.xp.matmul(a, b, out=out)

    def _gradient(self, x: Array, delta: Array, *, out: Array | None = None) -> tuple[Array, Array]:
        return self.xp.matmul(x.T, delta, out=out), delta.sum(axis=0)

    def numerical_gradient(
        self, x: Array, t: Array, W1: Array, b1: Array, W2: Array, b2: Array, activation: str, loss: str, h: float
    ) -> tuple[Array, tuple[Array, Array, Array, Array]]:
        """The loss of a two-layer network and its central differences (L(w + h) − L(w − h)) / 2h for every parameter w.

        Shapes (n, i), (n,) or (n, k), (i, j), (j,), (j, k), (k,). Returns the loss and the gradients of W1, b1, W2 and b2, exact
        to rounding: see :mod:`fastnn.backends.incremental` for how. The parameters are not touched.
        """
        return incremental.numerical_gradient(self.xp, x, t, W1, b1, W2, b2, activation, loss, h)

    def descent(self, parameter: Array, gradient: Array, learning_rate: float) -> None:
        """parameter -= learning_rate · gradient, in place; `gradient` is scratch space afterwards."""
        gradient *= learning_rate
        parameter -= gradient


#: What a backend may override with a kernel of its own; the tests hold each override to the signature that it has here.
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
