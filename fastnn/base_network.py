"""What the networks share: everything that follows from logits and deltas."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from .backends import Backend
from .backends.base import Dataset, TrainingStep
from .backends.datasets import WeightedTargets
from .backends.steps import Update
from .backends.streaming import StreamedDataset
from .errors import InputError
from .functions import LOSSES
from .notebooks import table
from .numerical_network import NumericalNetwork
from .optimizers.choosing import plain_rate
from .streams import streamed
from .validation import Array, check_finite, check_weights, choice

if TYPE_CHECKING:
    import os

#: A layer as a backward pass leaves it: the names of its weights and biases, its input, and the
#: derivative of the loss with respect to its pre-activation.
LayerDelta = tuple[str, str, Array, Array]


#: What a network may have of its own without changing what a step of training does.
_NO_PART_OF_A_STEP = frozenset(
    """
    __init__ __doc__ __module__ __annotations__ __dict__ __weakref__ __static_attributes__
    __firstlineno__ __getstate__ __setstate__ predict loss accuracy gradient numerical_gradient
    count_correct dataset to size sizes save __repr__ _repr_html_
    """.split()  # noqa: SIM905
)


class Network(NumericalNetwork):
    """A network: its formulas, :meth:`_logits` and :meth:`_backward`, and what the book does.

    Attributes
    ----------
    loss_name : str
        A name in :data:`fastnn.functions.LOSSES`.
    """

    #: How backends know a network whose training steps it states, with the class that says so; None
    #: states nothing.
    architecture: ClassVar[str | None] = None

    def __init__(
        self, shapes: dict[str, tuple[int, ...]], *, loss: str, backend: str | Backend, dtype: Any
    ) -> None:
        self.loss_name = choice(loss, "loss", LOSSES)
        distribution = LOSSES[self.loss_name].targets == "distribution"
        if distribution and next(reversed(shapes.values()))[-1] == 1:
            raise InputError(
                f"with loss={self.loss_name!r} a single output is always 1; take "
                "loss='binary_cross_entropy' for a yes or no, one output for each class, or "
                "loss='mean_squared_error' for values"
            )
        super().__init__(shapes, backend, dtype)

    def __repr__(self) -> str:
        formulas = [getattr(self, "activation", None), self.loss_name, self.dtype.name]
        return (
            f"<{type(self).__name__} {'-'.join(map(str, self.sizes))}: "
            f"{', '.join(filter(None, formulas))}, {self.size:,} parameters on "
            f"{self.backend.name}>"
        )

    def _repr_html_(self) -> str:
        """The parameters as a table, for notebooks."""
        rows = [
            (name, " × ".join(map(str, shape)), f"{math.prod(shape):,}")
            for name, shape in self._shapes.items()
        ]
        return table(repr(self)[1:-1], ("parameter", "shape", "entries"), rows)

    # -- formulas that each network gives ----------------------------------------------------------

    def _logits(self, x: Array) -> Array:
        """The last layer's pre-activations."""
        raise NotImplementedError

    def _backward(
        self, x: Array, t: Array, out: dict[str, Array]
    ) -> tuple[Array, list[LayerDelta]]:
        """Forward and backward pass: the loss, and what each layer's gradients follow from.

        `out` holds arrays to write intermediate results to, by name; with an empty dict they are
        new.
        """
        raise NotImplementedError

    # -- the book's methods ------------------------------------------------------------------------

    def predict(self, x: Any) -> Array:
        """What the network makes of samples: probabilities; with the squared error, plain outputs.

        Parameters
        ----------
        x : array_like, shape (samples, features), or (features,) for a single sample
            Numba takes sparse matrices of SciPy's, too, here and wherever samples enter.

        Returns
        -------
        array of the backend and of the network's dtype, shape (samples, outputs) or (outputs,)

        Warns
        -----
        UserWarning
            If the network says how its samples were scaled, as :meth:`fastnn.data.Data.describe`
            makes it, and these are far outside of that: pixels from 0 to 255, say.
        RuntimeWarning
            NumPy's own, here and in the methods below, where NumPy computes and a number on the way
            is beyond the range of the dtype.
        """
        extremes: Sequence[Any]
        if self._in_pieces(x):
            found = self._each_piece_of_samples(self._outputs_of_piece, x)
            outputs, extremes = zip(*found, strict=True)
            y = self.backend.xp.concat(outputs)
        else:
            with self.backend.current():
                samples, single = self._enter_samples(x, "x", "call")
                y, extremes = self._outputs_of(samples), [self._extremes_of(samples)]
                y = y[0, ...] if single else y
        if extremes[0] is not None:
            from .data.preprocessing import warn_of_unusual

            warn_of_unusual(self, extremes)
        return y

    def _outputs_of_piece(self, enter: Callable[[], Array]) -> tuple[Array, Any]:
        with self.backend.current():
            samples = enter()
            return self._outputs_of(samples), self._extremes_of(samples)

    def _extremes_of(self, samples: Array) -> tuple[float, float] | None:
        """Their smallest and largest value, if the network says how samples were scaled."""
        if "preprocessing" not in self.__dict__:
            return None
        from .data.preprocessing import extremes

        return extremes(samples, self.backend.xp)

    def _outputs_of(self, x: Array) -> Array:
        """The outputs for checked samples."""
        return self.backend.output(self._logits(x), self.loss_name)

    def loss(self, x: Any, t: Any) -> float:
        """The loss on samples `x` against `t`: labels (samples,) or targets (samples, outputs).

        For the cross-entropy the mean over the samples of −Σ t·log(y + 1e-7); for the binary one
        that of −Σ t·log(y) + (1 − t)·log(1 − y)
        (:func:`fastnn.functions.binary_cross_entropy_error`); for the squared error the book's
        ½·Σ (y − t)², which has no mean over the samples. A single sample takes a scalar label or a
        1-D target. With a single output, targets of shape (samples,) are its values, to the binary
        cross-entropy 0 or 1 or what is between.

        Raises
        ------
        InputError
            If samples or targets do not fit the network, or hold NaN or infinity; or if with the
            cross-entropy the targets of a sample do not sum to one, or with the binary one a target
            is below 0 or above 1.
        """
        with self.backend.current():
            x, t = self._enter_samples_and_targets(x, t)
            return float(self.backend.to_numpy(self._loss(x, t)))

    def accuracy(self, x: Any, t: Any) -> float:
        """The fraction of samples whose largest output is where the target's largest value is.

        With the binary cross-entropy, of those of which every output is right: above one half where
        the target is, and only there (with several outputs the subset accuracy, which is
        scikit-learn's score of multi-label targets).

        Raises
        ------
        InputError
            If there is a single output and it always is the largest; or if an output is not finite:
            a parameter is not, or `x` is beyond the range of the dtype.
        """
        if not self.has_accuracy:
            raise InputError(
                "a network with a single output has no accuracy: that output is the largest for "
                "every sample; take network.loss(x, t)"
            )
        counts = self._each_piece(self._count_of_piece, x, t)
        correct, samples = map(sum, zip(*counts, strict=True))
        return correct / samples

    def _count_of_piece(self, enter: Callable[[], tuple[Array, Array]]) -> tuple[float, int]:
        """How many samples of a piece are right, and how many there are."""
        piece, targets = enter()
        with self.backend.current(), np.errstate(invalid="ignore"):  # refused, with the reason
            logits = self._logits(piece)
            if not self.backend.all_finite(logits):
                self._refuse_outputs()
            correct = self.backend.count_correct(logits, targets, self.loss_name)
            return float(self.backend.to_numpy(correct)), piece.shape[0]

    def _refuse_outputs(self) -> None:
        """Raise InputError for outputs that are not finite, with the reason."""
        for name, parameter in self.params.items():
            check_finite(parameter, f"params[{name!r}]", self.backend.xp)
        raise InputError(
            f"an output of the network is beyond the range of {self.dtype}, so that no accuracy "
            "can be told; scale x, or use a network of dtype 'float64'"
        )

    def gradient(self, x: Any, t: Any) -> dict[str, Array]:
        """The gradient of the loss by backpropagation.

        Returns
        -------
        dict of str to array
            One gradient for each entry of `params`, under its name and of its shape.

        Notes
        -----
        For the cross-entropy this is the book's (y − t) / samples at the logits: the derivative of
        −Σ t·log(y) for targets that sum to one, without the 1e-7 that the loss adds to y. From the
        derivative of the loss as it is computed, which the numerical gradient approximates, it
        differs by the factor y / (y + 1e-7) in the contribution of a sample whose target has the
        probability y: 1e-6 at y = 0.1, but one half at y = 1e-7.

        For the binary cross-entropy it is (y − t) / samples, too, and goes on where the loss has
        reached its limit.
        """
        x, t = self._enter_pair(x, t)
        self._check_separate()
        return self._gradient(x, t)

    def _gradient(self, x: Array, t: Array) -> dict[str, Array]:
        """The same for checked samples and targets."""
        with self.backend.current():
            return self._of_layers(self._backward(x, t, {})[1])

    def _of_layers(self, layers: list[LayerDelta]) -> dict[str, Array]:
        gradients = {}
        for W, b, entering, delta in layers:
            gradients[W], gradients[b] = self.backend.dense_gradient(entering, delta)
        return {name: gradients[name] for name in self.params}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the network to a file, from which :func:`fastnn.load` makes it again.

        The format is safetensors: the parameters under their names, and in the metadata what makes
        them a network. The file is whole at any moment: what was at `path` is replaced when all of
        the new one is on the disk. A symbolic link stays one, and the file it points to is written.

        Three more attributes go with the network if it has them: `label_names`, a list of str, one
        for each output; and `preprocessing` and `provenance`, dicts of what JSON can hold, for what
        was done to the samples, and for what the network comes of.

        Parameters
        ----------
        path : path
            Of a regular file, or of none yet.

        Raises
        ------
        CheckpointError
            If the file cannot be written; what was at `path` is untouched.
        InputError, DtypeError
            If a parameter holds NaN or infinity, or if the file could not say all of what this
            network is: one of a class derived from ours, or with attributes of its own.

        Examples
        --------
        >>> import tempfile
        >>> from pathlib import Path
        >>> from fastnn import TwoLayerNet, load
        >>> net = TwoLayerNet(784, 50, 10, rng=0)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     net.save(Path(folder, "network.safetensors"))
        ...     again = load(Path(folder, "network.safetensors"), backend="numpy")
        >>> bool((again.params["W1"] == net.params["W1"]).all())
        True
        """
        from .files import save

        save(self, path)

    @property
    def sizes(self) -> tuple[int, ...]:
        """The sizes that the constructor takes, from features to outputs."""
        return self._features, *(shape[1] for shape in self._shapes.values() if len(shape) == 2)

    @property
    def has_accuracy(self) -> bool:
        """Whether the outputs tell a class: several of them, or one that says yes or no."""
        return self._outputs > 1 or LOSSES[self.loss_name].single_output_decides

    # -- for the training loop, which has checked its data once ------------------------------------

    def buffers(self, batch_size: int) -> dict[str, Array]:
        """Arrays for the intermediate results of a step on so many samples, for :meth:`descend`."""
        return {}

    def descend(
        self, x: Array, t: Array | WeightedTargets, optimizer: Any, out: dict[str, Array]
    ) -> Array:
        """A step by backpropagation on a batch of this network's dataset; the loss before it.

        `optimizer` moves the parameters: it has ``update(params, grads)``.
        """
        value, layers = self._backward(x, t, out)
        rate = plain_rate(optimizer)
        if rate is None:
            optimizer.update(self.params, self._of_layers(layers))
        else:
            self._descend_layers(layers, rate, out)
        return value

    def _descend_layers(
        self, layers: list[LayerDelta], learning_rate: float, out: dict[str, Array]
    ) -> None:
        """A step of plain gradient descent, which needs no gradient of its own in memory."""
        for W, b, entering, delta in layers:
            self.backend.dense_descent(
                self.params[W], self.params[b], entering, delta, learning_rate, out=out.get(W)
            )

    def descend_numerically(
        self, x: Array, t: Array | WeightedTargets, optimizer: Any, out: dict[str, Array]
    ) -> Array:
        """What :meth:`descend` does, with the numerical gradient in place of backpropagation."""
        value, gradients = (
            self._weighted_differences(t)
            if isinstance(t, WeightedTargets)
            else self._differences(self.default_method, x, t, self._training_h)
        )
        rate = plain_rate(optimizer)
        if rate is None:
            optimizer.update(self.params, gradients)
        else:
            for name, gradient in gradients.items():
                self.backend.descent(self.params[name], gradient, rate)
        return value

    def _weighted_differences(self, t: WeightedTargets) -> tuple[Array, dict[str, Array]]:
        """The weighted loss and its central differences.

        They are sums of those of samples that weigh the same.
        """
        groups = [(weight, x.shape[0], x, some) for weight, x, some in t.groups()]
        mean = LOSSES[self.loss_name].mean
        total = sum(weight * count for weight, count, *_ in groups)
        value: Any = 0.0
        gradients: dict[str, Array] = {}
        for weight, count, x, some in groups:
            share = weight * count / total if mean else weight
            loss, found = self._differences(self.default_method, x, some, self._training_h)
            value = value + share * loss
            for name, g in found.items():
                gradients[name] = gradients[name] + share * g if name in gradients else share * g
        return value, gradients

    def _loss_gradient(
        self, logits: Array, t: Array | WeightedTargets, out: Array | None = None
    ) -> tuple[Array, Array]:
        """The loss of a batch, and its derivative with respect to the logits."""
        if isinstance(t, WeightedTargets):
            return self.backend.weighted_loss_gradient(
                logits, t.t, t.weights, self.loss_name, out=out
            )
        return self.backend.loss_gradient(logits, t, self.loss_name, out=out)

    def training_step(
        self,
        data: Dataset,
        operations: Callable[[Array, float], Array],
        *,
        gradient: str,
        update: Update,
        batch_size: int,
    ) -> TrainingStep | None:
        """What a step of training does, as data, or None.

        None is for a network whose step can only be made over the operations.

        Parameters
        ----------
        data : Dataset
        operations : callable
            The step over the operations, from row numbers and learning rate to the loss.
        gradient : {"backprop", "numerical"}
        update : Update
        batch_size : int
        """
        stating = next(cls for cls in type(self).__mro__ if "architecture" in vars(cls))
        if self.architecture is None or self._differs_from(stating):
            return None
        activation = getattr(self, "activation", None)
        formulas = self.params, activation, self.loss_name, gradient, self._training_h
        return TrainingStep(self.architecture, *formulas, update, data, batch_size, operations)

    def _differs_from(self, cls: type[Network]) -> bool:
        """Whether a class derived from `cls`, or this object, may change what a step does.

        It may where it has something of its own in place of what `cls` has.
        """
        ours = {
            name for ancestor in cls.__mro__[:-1] for name in vars(ancestor)
        } - _NO_PART_OF_A_STEP
        derived = type(self).__mro__[: type(self).__mro__.index(cls)]
        return bool(ours & (vars(self).keys() | {name for c in derived for name in vars(c)}))

    def count_correct(self, x: Array, t: Array) -> Array:
        """How many of these samples of its dataset are classified right; stays with the backend."""
        return self.backend.count_correct(self._logits(x), t, self.loss_name)

    def dataset(self, x: Any, t: Any, name: str = "", sample_weight: Any = None) -> Dataset:
        """Samples and targets, checked once and kept as the backend likes; messages say `name`.

        `sample_weight`, shape (samples,), is how much each counts in a step of training: the loss
        of a batch is Σ wᵢ·lossᵢ / Σ wᵢ, or Σ wᵢ·lossᵢ for a loss that has no mean over the samples.
        A weight of 0 leaves a sample out, and one of 2 repeats it.
        """
        data = self._stream_dataset(x, t, name)
        if data is None:
            data = self._dataset(x, t, name)
        if sample_weight is not None:
            with self.backend.current():
                name = "sample_weight"
                weights = self._convert(self.backend.asarray(sample_weight, name=name), name)
                check_weights(weights, len(data), name, xp=self.backend.xp)
                data.weights = weights
        return data

    def _dataset(self, x: Any, t: Any, name: str) -> Dataset:
        x, t = self._enter_pair(x, t, name, use="dataset")
        self._check_separate()
        return self.backend.dataset(x, t)

    def _stream_dataset(self, x: Any, t: Any, name: str) -> Dataset | None:
        """What comes in pieces as a dataset, that of a file streamed; None for all else."""
        stream = streamed(x)
        if stream is None:
            return None
        t = self._enter_stream(stream, t, name)
        self._check_separate()
        if not stream.in_memory:
            return StreamedDataset(self.backend, stream, t, self.dtype)
        with self.backend.current():
            x = self.backend.collected(stream, self.dtype)
            return self.backend.dataset(x, t)

    def _loss(self, x: Array, t: Array) -> Array:
        # Of batches, for which `_outputs_of` has no quicker way.
        y = self.backend.output(self._logits(x), self.loss_name)
        return self.backend.loss(y, t, self.loss_name)
