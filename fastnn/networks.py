"""The networks: formulas in terms of a backend's operations.

A network holds its backend, its dtype and its parameters, a plain dict of the backend's arrays. What a user hands in passes
one door, where it is checked and becomes arrays of that backend and dtype; behind the door nothing is converted or copied
between devices any more.
"""

from __future__ import annotations

import math
from operator import itemgetter
from typing import Any, ClassVar, Self

import numpy as np

from .backends import Backend, get_backend
from .backends.base import Dataset
from .errors import DtypeError, InputError
from .functions import ACTIVATIONS, DEFAULT_STEP, LOSSES
from .validation import (
    Array,
    all_finite,
    check_finite,
    check_samples,
    check_targets,
    choice,
    float_dtype,
    generator,
    positive_int,
    real_number,
)

#: The step that suits the incremental numerical gradient, which computes in float64 and takes no difference of rounded losses:
#: truncation, of the order of h², is no more than rounding.
INCREMENTAL_STEP = float(np.finfo(np.float64).eps) ** (1 / 2)

#: How many samples a step is taken to have where a backend is chosen by the size of the work: as many as in the book.
USUAL_BATCH = 100

#: The parameters of a :class:`TwoLayerNet`, from its dict.
_W1_b1_W2_b2 = itemgetter("W1", "b1", "W2", "b2")

#: A layer as a backward pass leaves it: the names of its weights and biases, its input, and the derivative of the loss with
#: respect to its pre-activation.
LayerDelta = tuple[str, str, Array, Array]


class Network:
    """What the networks share: the door, and everything that follows from logits and deltas.

    Attributes
    ----------
    params : dict of str to array
        The parameters, arrays of the backend. Assigning a new array to an entry takes effect at once.
    backend : fastnn.backends.base.Backend
    dtype : numpy.dtype
        float32 or float64; data is converted to it on the way in.
    loss_name : str
        ``"cross_entropy"`` or ``"mean_squared_error"``.
    """

    params: dict[str, Array]

    def __init__(self, shapes: dict[str, tuple[int, ...]], *, loss: str, backend: str | Backend, dtype: Any) -> None:
        self.loss_name = choice(loss, "loss", LOSSES)
        self.dtype = float_dtype(dtype)
        self._shapes = shapes
        self.backend = get_backend(backend, multiplications=USUAL_BATCH * self.size)

    # -- formulas that each network gives ------------------------------------------------------------------------------

    def _logits(self, x: Array) -> Array:
        """The last layer's pre-activations."""
        raise NotImplementedError

    def _backward(self, x: Array, t: Array, out: dict[str, Array]) -> tuple[Array, list[LayerDelta]]:
        """Forward and backward pass: the loss, and what the parameter gradients of each layer follow from.

        `out` holds arrays to write intermediate results to, by name; with an empty dict they are new.
        """
        raise NotImplementedError

    # -- the book's methods --------------------------------------------------------------------------------------------

    def predict(self, x: Any) -> Array:
        """What the network makes of samples: class probabilities; with the squared error, its plain outputs.

        Parameters
        ----------
        x : array_like, shape (samples, features), or (features,) for a single sample

        Returns
        -------
        array of the backend and of the network's dtype, shape (samples, outputs) or (outputs,)
        """
        x, single = self._enter(x)
        with self.backend.current():
            y = self.backend.output(self._logits(x), self.loss_name)
            return y[0] if single else y

    def loss(self, x: Any, t: Any) -> float:
        """The loss on samples `x` against `t`: labels of shape (samples,), or targets of shape (samples, outputs).

        For the cross-entropy the mean over the samples of −Σ t·log(y + 1e-7); for the squared error the book's
        ½·Σ (y − t)², which has no mean over the samples. A single sample takes a scalar label or a 1-D target.
        """
        x, t = self._enter_pair(x, t)
        with self.backend.current():
            return float(self.backend.to_numpy(self._loss(x, t)))

    def accuracy(self, x: Any, t: Any) -> float:
        """The fraction of samples whose largest output is where the target has its largest value."""
        x, t = self._enter_pair(x, t)
        with self.backend.current():
            return float(self.backend.to_numpy(self.backend.count_correct(self._logits(x), t))) / len(x)

    def gradient(self, x: Any, t: Any) -> dict[str, Array]:
        """The gradient of the loss by backpropagation.

        Returns
        -------
        dict of str to array
            One gradient for each entry of `params`, under its name and of its shape.

        Notes
        -----
        For the cross-entropy this is the book's (y − t) / samples at the logits: the derivative of −Σ t·log(y) for targets
        that sum to one, without the 1e-7 that the loss adds to y. From the derivative of the loss as it is computed, which
        the numerical gradient approximates, it differs by the factor y / (y + 1e-7) in the contribution of a sample whose
        target has the probability y: 1e-6 at y = 0.1, but one half at y = 1e-7.
        """
        x, t = self._enter_pair(x, t)
        gradients = {}
        with self.backend.current():
            _, layers = self._backward(x, t, {})
            for W, b, entering, delta in layers:
                gradients[W], gradients[b] = self.backend.dense_gradient(entering, delta)
        return {name: gradients[name] for name in self.params}

    def numerical_gradient(self, x: Any, t: Any, h: float | str = DEFAULT_STEP, method: str | None = None) -> dict[str, Array]:
        """The gradient of the loss by central differences with step `h`, (L(w + h) − L(w − h)) / 2h for each parameter w.

        Parameters
        ----------
        x, t : array_like
            As for :meth:`loss`.
        h : float or "auto"
            The step. ``"auto"`` suits what the method computes in: for ``"full"`` it is that of
            :func:`fastnn.numerical_gradient` for the network's dtype, for ``"incremental"`` √ε of float64, 1.5e-8.
        method : {"full", "incremental"}, optional
            ``"full"`` is the book's loop: two evaluations of the loss on all samples for each parameter. ``"incremental"``,
            which a :class:`TwoLayerNet` has, evaluates again only what each parameter changes, in float64 whatever the
            dtype, and is exact to rounding. By default the fastest that the network has.

        Returns
        -------
        dict of str to array
            One gradient for each entry of `params`, under its name and of its shape.

        Raises
        ------
        InputError
            If `h` is not positive and finite, or so small that adding it to a parameter changes nothing; or if a
            parameter is not finite. The parameters are as before then, as they are when the loss raises.

        Warns
        -----
        RuntimeWarning
            If rounding of the loss drowns the result of the method ``"full"``, as in float32 with h = 1e-4.
        """
        method = self.default_method if method is None else choice(method, "method", self._methods)
        step = self._step(h, method)
        x, t = self._enter_pair(x, t)
        with self.backend.current():
            for name, parameter in self.params.items():
                self._check_step(step, method, name, parameter)
            return self._methods[method](self, x, t, step)[1]

    def _step(self, h: float | str, method: str) -> float | str:
        if isinstance(h, str) and h == "auto":
            return h if method == "full" else INCREMENTAL_STEP
        return real_number(h, "h", above=0)

    def _check_step(self, h: float | str, method: str, name: str, parameter: Array) -> None:
        """Raise unless every entry of the parameter is finite and moves by a step of `h`."""
        largest = max(float(parameter.max()), -float(parameter.min()))
        if not math.isfinite(largest):  # NaN, too, is the maximum wherever it is
            check_finite(parameter, f"params[{name!r}]")
        dtype = self.dtype if method == "full" else np.dtype(np.float64)  # in which the method computes
        w = dtype.type(largest)
        if not isinstance(h, str) and w + h == w:
            raise InputError(f"h={h:g} is too small: there is an entry w of {name} for which w + h == w in {dtype}")

    def _full_differences(self, x: Array, t: Array, h: float | str) -> tuple[Array, dict[str, Array]]:
        """The loss and its central differences by the book's loop; the parameters are restored whatever happens."""
        from .differentiation import numerical_gradient  # a fifth of the time that `import fastnn` would take

        def loss(_: Array) -> Array:
            return self._loss(x, t)

        value = self._loss(x, t)
        return value, {name: numerical_gradient(loss, parameter, h=h) for name, parameter in self.params.items()}

    #: The loss and its central differences, (network, x, t, h) → (loss, gradients), by the name of the method; fastest last.
    _methods: ClassVar[dict[str, Any]] = {"full": _full_differences}

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods that :meth:`numerical_gradient` has for this network."""
        return tuple(self._methods)

    @property
    def default_method(self) -> str:
        """The fastest of them."""
        return self.methods[-1]

    def to(self, backend: str | Backend) -> Self:
        """A copy of the network on another backend, with copies of its parameters."""
        target = get_backend(backend, multiplications=USUAL_BATCH * self.size)
        self._check_params()
        moved = object.__new__(type(self))
        moved.__dict__.update(self.__dict__)
        moved.backend = target
        moved.params = {name: moved._parameter(self.backend.to_numpy(p)) for name, p in self.params.items()}
        return moved

    # -- for the training loop, which has checked its data once --------------------------------------------------------

    def buffers(self, batch_size: int) -> dict[str, Array]:
        """Arrays for the intermediate results of a step on `batch_size` samples, for :meth:`descend`."""
        return {}

    def descend(self, x: Array, t: Array, learning_rate: float, out: dict[str, Array]) -> Array:
        """One step of gradient descent on a batch of this network's dataset, by backpropagation; the loss before it."""
        value, layers = self._backward(x, t, out)
        for W, b, entering, delta in layers:
            self.backend.dense_descent(self.params[W], self.params[b], entering, delta, learning_rate, out=out.get(W))
        return value

    def descend_numerically(self, x: Array, t: Array, learning_rate: float, out: dict[str, Array]) -> Array:
        """What :meth:`descend` does, with the numerical gradient in place of backpropagation."""
        method = self.default_method
        # In float32, rounding of the loss would drown what the book's step gives.
        h = "auto" if method == "full" and self.dtype != np.float64 else DEFAULT_STEP
        value, gradients = self._methods[method](self, x, t, h)
        for name, gradient in gradients.items():
            self.backend.descent(self.params[name], gradient, learning_rate)
        return value

    def count_correct(self, x: Array, t: Array) -> Array:
        """How many of these samples of this network's dataset are classified right; stays with the backend."""
        return self.backend.count_correct(self._logits(x), t)

    @property
    def size(self) -> int:
        """The number of parameters, and so of the multiplications that one sample takes."""
        return sum(math.prod(shape) for shape in self._shapes.values())

    def dataset(self, x: Any, t: Any, name: str = "") -> Dataset:
        """Samples and targets, checked once and kept the way the backend likes them; `name` is for error messages."""
        x, t = self._enter_pair(x, t, name, allow_single=False)
        return self.backend.dataset(x, t)

    # -- the door ------------------------------------------------------------------------------------------------------

    def _loss(self, x: Array, t: Array) -> Array:
        return self.backend.loss(self.backend.output(self._logits(x), self.loss_name), t, self.loss_name)

    def _enter(self, x: Any, name: str = "x") -> tuple[Array, bool]:
        """Samples as a checked 2-D array of the backend and dtype, and whether they were a single sample."""
        self._check_params()
        with self.backend.current():
            x = self.backend.asarray(x, name=name)
            checked = check_samples(x, self._features, name)
            return self._convert(checked, name), x.ndim == 1

    def _convert(self, a: Array, name: str) -> Array:
        """Checked numbers in the network's dtype, unless that cannot hold them."""
        if a.dtype == self.dtype:
            return self.backend.asarray(a)
        with np.errstate(over="ignore"):
            converted = self.backend.asarray(a, self.dtype)
        if not all_finite(converted):
            raise InputError(
                f"{name} holds values beyond the range of {self.dtype}; scale them, or use a network of dtype 'float64'"
            )
        return converted

    def _enter_pair(self, x: Any, t: Any, name: str = "", *, allow_single: bool = True) -> tuple[Array, Array]:
        x_name, t_name = (f"x_{name}", f"t_{name}") if name else ("x", "t")
        x, single = self._enter(x, x_name)
        with self.backend.current():
            t = check_targets(self.backend.asarray(t, name=t_name), len(x), self._outputs, t_name, single=single and allow_single)
            return x, t if t.ndim == 1 else self._convert(t, t_name)

    @property
    def _features(self) -> int:
        return next(iter(self._shapes.values()))[0]

    @property
    def _outputs(self) -> int:
        return next(reversed(self._shapes.values()))[-1]

    def _parameter(self, values: np.ndarray) -> Array:
        """A new array of the backend with these values."""
        values = self.backend.asarray(values, self.dtype)
        with self.backend.current():
            parameter = self.backend.empty(values.shape, self.dtype)
            parameter[...] = values
        return parameter

    def _check_params(self) -> None:
        """Raise unless every parameter is an array of this backend, dtype and network: a user may have assigned it."""
        self.backend.check_arrays(**{f"params[{name!r}]": p for name, p in self.params.items()})
        if self.params.keys() != self._shapes.keys():
            raise InputError(f"params has the entries {list(self.params)}; a {type(self).__name__} has {list(self._shapes)}")
        for name, shape in self._shapes.items():
            parameter = self.params[name]
            if parameter.dtype != self.dtype:
                fix = f"assign an array of {self.dtype}: a.astype({self.dtype.name!r})"
                raise DtypeError(f"params[{name!r}] is of dtype {parameter.dtype}; {fix}")
            if parameter.shape != shape:
                raise InputError(f"params[{name!r}] has shape {parameter.shape}; in this network it is {shape}")
            if not getattr(parameter.flags, "writeable", True):
                raise InputError(f"params[{name!r}] is read-only; assign a copy: params[{name!r}].copy()")


class SimpleNet(Network):
    """The book's ``simpleNet``: one layer of weights without a bias, softmax, cross-entropy.

    Parameters
    ----------
    input_size, output_size : int
        The book's are 2 and 3.
    loss : {"cross_entropy", "mean_squared_error"}
    backend : str or Backend
        As for :func:`fastnn.get_backend`.
    dtype : {"float64", "float32"}
    rng : None, int or numpy.random.Generator
        Where the weights, standard normal as in the book, come from: fresh entropy, a seed, or this generator.

    Examples
    --------
    >>> net = SimpleNet(rng=0)
    >>> net.W.shape
    (2, 3)
    >>> net.gradient(np.array([0.6, 0.9]), 2)["W"].shape
    (2, 3)
    """

    def __init__(
        self,
        input_size: int = 2,
        output_size: int = 3,
        *,
        loss: str = "cross_entropy",
        backend: str | Backend = "numpy",
        dtype: Any = "float64",
        rng: Any = None,
    ) -> None:
        shape = positive_int(input_size, "input_size"), positive_int(output_size, "output_size")
        super().__init__({"W": shape}, loss=loss, backend=backend, dtype=dtype)
        self.params = {"W": self._parameter(generator(rng).standard_normal(shape))}
        self._no_bias = self.backend.asarray(np.zeros(shape[1]), self.dtype)

    def to(self, backend: str | Backend) -> Self:
        moved = super().to(backend)
        moved._no_bias = moved.backend.asarray(np.zeros(self._outputs), self.dtype)
        return moved

    @property
    def W(self) -> Array:
        """The weights, shape (input_size, output_size): ``params["W"]``."""
        return self.params["W"]

    @W.setter
    def W(self, value: Array) -> None:
        self.params["W"] = value

    def predict(self, x: Any) -> Array:
        """The logits x·W, as the book's ``simpleNet`` returns them: the softmax is part of its loss."""
        x, single = self._enter(x)
        logits = self._logits(x)
        return logits[0] if single else logits

    def _logits(self, x: Array) -> Array:
        return self.backend.dense(x, self.W, self._no_bias)

    def _backward(self, x: Array, t: Array, out: dict[str, Array]) -> tuple[Array, list[LayerDelta]]:
        value, delta = self.backend.loss_gradient(self._logits(x), t, self.loss_name)
        return value, [("W", "b", x, delta)]

    def descend(self, x: Array, t: Array, learning_rate: float, out: dict[str, Array]) -> Array:
        value, [(*_, x, delta)] = self._backward(x, t, out)
        self.backend.descent(self.W, self.backend.dense_gradient(x, delta)[0], learning_rate)
        return value


class TwoLayerNet(Network):
    """The book's network: a hidden layer, an output layer, and the loss of what comes out.

    Parameters
    ----------
    input_size, hidden_size, output_size : int
        Features of a sample, hidden units, classes or outputs.
    weight_init_std : float
        Standard deviation of the normal distribution of the initial weights; biases start at zero.
    activation : {"sigmoid", "tanh", "relu", "identity"}
        Of the hidden layer.
    loss : {"cross_entropy", "mean_squared_error"}
        The cross-entropy is that of the softmax of the outputs; the squared error, ½·Σ (y − t)², that of the plain outputs.
    backend : str or Backend
        What carries out the work, as for :func:`fastnn.get_backend`; resolved once, here.
    dtype : {"float64", "float32"}
        Of parameters and of everything computed.
    rng : None, int or numpy.random.Generator
        Where the initial weights come from: fresh entropy, a seed, or this generator. The same seed gives the same
        weights on every backend.

    Attributes
    ----------
    params : dict
        ``W1`` (input_size, hidden_size), ``b1`` (hidden_size,), ``W2`` (hidden_size, output_size), ``b2`` (output_size,).

    Raises
    ------
    InputError, DtypeError
        For sizes below one, unknown names, a negative standard deviation, or a dtype that parameters cannot have.

    Examples
    --------
    >>> net = TwoLayerNet(784, 50, 10, rng=0)
    >>> net.predict(np.zeros((3, 784))).shape
    (3, 10)
    >>> net.params["W1"].shape
    (784, 50)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        output_size: int,
        weight_init_std: float = 0.01,
        *,
        activation: str = "sigmoid",
        loss: str = "cross_entropy",
        backend: str | Backend = "numpy",
        dtype: Any = "float64",
        rng: Any = None,
    ) -> None:
        i = positive_int(input_size, "input_size")
        j = positive_int(hidden_size, "hidden_size")
        k = positive_int(output_size, "output_size")
        scale = real_number(weight_init_std, "weight_init_std", minimum=0)
        self.activation = choice(activation, "activation", ACTIVATIONS)
        super().__init__({"W1": (i, j), "b1": (j,), "W2": (j, k), "b2": (k,)}, loss=loss, backend=backend, dtype=dtype)
        rng = generator(rng)
        host = {
            name: scale * rng.standard_normal(shape) if name.startswith("W") else np.zeros(shape)
            for name, shape in self._shapes.items()
        }
        self.params = {name: self._parameter(value) for name, value in host.items()}

    def _logits(self, x: Array) -> Array:
        W1, b1, W2, b2 = _W1_b1_W2_b2(self.params)
        z1 = self.backend.dense(x, W1, b1, self.activation)
        return self.backend.dense(z1, W2, b2)

    def _backward(self, x: Array, t: Array, out: dict[str, Array]) -> tuple[Array, list[LayerDelta]]:
        W1, b1, W2, b2 = _W1_b1_W2_b2(self.params)
        z1 = self.backend.dense(x, W1, b1, self.activation, out=out.get("z1"))
        logits = self.backend.dense(z1, W2, b2, out=out.get("logits"))
        value, delta2 = self.backend.loss_gradient(logits, t, self.loss_name, out=out.get("delta2"))
        delta1 = self.backend.dense_backward(delta2, W2, z1, self.activation, out=out.get("delta1"))
        return value, [("W1", "b1", x, delta1), ("W2", "b2", z1, delta2)]

    def _incremental_differences(self, x: Array, t: Array, h: float) -> tuple[Array, dict[str, Array]]:
        W1, b1, W2, b2 = _W1_b1_W2_b2(self.params)
        value, gradients = self.backend.numerical_gradient(x, t, W1, b1, W2, b2, self.activation, self.loss_name, h)
        return value, dict(zip(self._shapes, gradients, strict=True))

    _methods: ClassVar[dict[str, Any]] = {**Network._methods, "incremental": _incremental_differences}

    def buffers(self, batch_size: int) -> dict[str, Array]:
        n, (i, j), (_, k) = batch_size, self._shapes["W1"], self._shapes["W2"]
        shapes = {"z1": (n, j), "logits": (n, k), "delta2": (n, k), "delta1": (n, j), "W1": (i, j), "W2": (j, k)}
        return {name: self.backend.empty(shape, self.dtype) for name, shape in shapes.items()}
