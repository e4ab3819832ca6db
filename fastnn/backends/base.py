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

What comes before operations, devices and the doors for arrays, is in
:class:`fastnn.backends.machine.Machine`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from ..errors import InputError
from ..functions import ACTIVATIONS, LOSSES, one_hot
from ..streams import Stream, small_slices
from ..validation import Array
from . import incremental
from .availability import Availability
from .datasets import Dataset
from .machine import Machine
from .steps import Runner, TrainingStep


class Backend(Machine):
    """The contract, and the reference implementation over ``self.xp``."""

    #: How many samples a network hands to the operations at a time where it has very many and needs
    #: no more of them than a count; None for all.
    rows_at_a_time: ClassVar[int | None] = None

    def each(
        self, function: Callable[[Any], Any], items: Sequence[Any], x: Array | Stream
    ) -> list[Any]:
        """`function` of each item, in order: each enters and uses some of the samples `x`.

        It may run on several threads at once, and enters ``current()`` itself where it has to. Of
        several errors that of the first item is raised.
        """
        return [function(item) for item in items]

    def samples(self, x: Array, dtype: np.dtype) -> Any:
        """Samples for the few operations of one call, in a form that these are faster on, or None.

        `x` is a C-contiguous 2-D array of any real dtype, whose values nobody has looked at; what
        is returned holds the same, finite and of `dtype`. None means that there is no such form,
        or that it is not worth its time.
        """
        return None

    def kept_samples(self, x: Array, dtype: np.dtype) -> Any:
        """The same for samples of a :meth:`dataset`, which are kept for many calls."""
        return None

    def collected(self, x: Stream, dtype: np.dtype) -> Any:
        """Samples in memory that are read a piece at a time, for :meth:`dataset`.

        They are checked, and finite in `dtype`.
        """
        whole = np.empty(x.shape, dtype)
        for some in small_slices(x):
            whole[some] = x[some]
        return self.asarray(whole)

    def dataset(self, x: Array, t: Array) -> Dataset:
        """Keep checked samples and targets so that batches come fast.

        Both are arrays of this backend, or the samples are in the form that :meth:`kept_samples`,
        :meth:`collected` or :meth:`sparse_samples` gave them.
        """
        return Dataset(self, x, t)

    def runner(self, step: TrainingStep) -> Runner | None:
        """What makes many such steps in a way of its own, such as one compiled kernel, or None.

        None means that the training loop makes them one by one over the operations below. What it
        gives is called inside ``current()``, with any number of batches, also none, as often as the
        loop likes. The parameters are those after these steps when it returns, however they lie in
        memory; batches of another size than stated are refused with InputError first.
        """
        return None

    def computes_as(self, cls: type[Backend]) -> bool:
        """Whether every operation is that of `cls`.

        Steps that a subclass changes must not be left to what `cls` has for them.
        """
        return not self._changes(cls, *OPERATIONS)

    def _changes(self, cls: type[Backend], *operations: str) -> bool:
        """Whether one of these is not that of `cls`."""
        own, mine = self.__dict__, self.__class__
        for name in operations:
            if name in own or (mine is not cls and getattr(mine, name) is not getattr(cls, name)):
                return True
        return False

    # -- operations --------------------------------------------------------------------------------

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
        """What a network with this loss predicts: their softmax for the cross-entropy, say."""
        return self._written(LOSSES[loss].output(self.xp, logits), out)

    def two_layer_output(
        self, x: Array, W1: Array, b1: Array, W2: Array, b2: Array, activation: str, loss: str
    ) -> Array:
        """What a network of two layers predicts: `output` of two times `dense`, at once."""
        return self.output(self.dense(self.dense(x, W1, b1, activation), W2, b2), loss)

    def loss(self, y: Array, t: Array, loss: str) -> Array:
        """The loss of predictions `y` (n, k) against `t`: a scalar that stays with the backend."""
        return LOSSES[loss].value(self.xp, y, one_hot(self.xp, t, y))

    def loss_gradient(
        self, logits: Array, t: Array, loss: str, *, out: Array | None = None
    ) -> tuple[Array, Array]:
        """The loss of the logits (n, k) and its derivative with respect to them, in one pass."""
        output, value, gradient, *_ = LOSSES[loss]
        y = output(self.xp, logits)
        t = one_hot(self.xp, t, y)
        found = value(self.xp, y, t)
        return found, self._written(gradient(self.xp, y, t), out)

    def weighted_loss_gradient(
        self, logits: Array, t: Array, weights: Array, loss: str, *, out: Array | None = None
    ) -> tuple[Array, Array]:
        """The same of samples that weigh `weights` (n,), of which one at least is not 0.

        For a loss that is a mean over the samples, Σ weights·losses / Σ weights; for one that is
        their sum, Σ weights·losses.
        """
        xp, formulas = self.xp, LOSSES[loss]
        if formulas.of_samples is None:
            raise InputError(
                f"the loss {loss!r} has no of_samples, which sample weights need; "
                "give one: Loss(..., of_samples=...)"
            )
        y = formulas.output(xp, logits)
        t = one_hot(xp, t, y)
        value, rows = xp.sum(weights * formulas.of_samples(xp, y, t)), weights
        if formulas.mean:
            total = xp.sum(weights)
            value, rows = value / total, weights / total * logits.shape[0]
        gradient = formulas.gradient(xp, y, t)
        gradient *= rows[:, None]
        return value, self._written(gradient, out)

    def count_correct(self, logits: Array, t: Array, loss: str = "cross_entropy") -> Array:
        """How many rows of the logits (n, k) are right.

        They are where they have their maximum where the target has it, of several the first one; to
        the binary cross-entropy, where every output is on its target's side of one half.
        """
        right = LOSSES[loss].right(self.xp, logits, t)
        # Not count_nonzero, which older versions of NumPy answer with an int of Python.
        return self.xp.sum(self.xp.astype(right, self.xp.int64))

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
        smaller = delta.shape[0] <= x.shape[1]  # than the gradient of W
        if smaller:
            delta *= learning_rate
        dW, db = self.dense_gradient(x, delta)
        if not smaller:
            dW *= learning_rate
            db *= learning_rate
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


#: What a backend may override with a kernel of its own; the tests hold each override to the
#: signature that it has here.
OPERATIONS = (
    "take",
    "dense",
    "output",
    "two_layer_output",
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
