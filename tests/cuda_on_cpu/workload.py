"""Work for every kernel: what the backend does with one network and one batch."""

import itertools
from typing import NamedTuple

import numpy as np

import fastnn
from fastnn.backends.cupy.large import LargeLayers

ACTIVATIONS = "sigmoid", "tanh", "relu", "identity"


class Work(NamedTuple):
    """A network, and a batch of samples for it."""

    hidden: int
    batch: int
    outputs: int
    features: int
    dtype: str = "float64"
    loss: str = "cross_entropy"
    targets: str = "labels"
    activation: str = "sigmoid"
    iterations: int = 5  # of which a graph makes four

    def data(self):
        rng = np.random.default_rng(0)
        shape = self.batch, self.features
        x = rng.normal(size=shape) * (rng.random(shape) < 0.5)
        labels = rng.integers(self.outputs, size=self.batch)
        if self.targets == "labels":
            return x, labels
        return x, rng.dirichlet(np.ones(self.outputs), self.batch)

    def run(self, backend):
        """Every operation, and every way to train."""
        x, t = self.data()
        options = {"loss": self.loss, "dtype": self.dtype, "backend": backend, "rng": 0}
        sizes = self.features, self.hidden, self.outputs
        net = fastnn.TwoLayerNet(*sizes, 0.1, activation=self.activation, **options)
        net.gradient(x, t)
        self._large(net, backend.asarray(x, net.dtype))
        net.numerical_gradient(x, t)
        net.numerical_gradient(10 * x, t, h=0.1)  # beyond the series
        for gradient in ("backprop", "numerical"):
            self._train(net, gradient)
        self._train(fastnn.SimpleNet(self.features, self.outputs, **options), "backprop")

    @staticmethod
    def _large(net, x):
        """What a larger layer would go through."""
        backend, (W1, b1, W2, b2) = net.backend, net.params.values()
        z = LargeLayers.dense(backend, x, W1, b1, net.activation)
        delta = LargeLayers.dense(backend, z, W2, b2)
        LargeLayers.dense_backward(backend, delta, W2, z, net.activation)

    def _train(self, net, gradient):
        """By one kernel that stays, where there is one, and by graphs."""
        steps = {"iterations": self.iterations, "batch_size": self.batch, "learning_rate": 1e-6}
        options = {"gradient": gradient, "evaluate_every": 0, "progress": False, "rng": 0}
        backend = net.backend
        for cooperative in (1, 0) if gradient == "backprop" else (1,):
            backend.device_attributes = backend.device_attributes | {
                "CooperativeLaunch": cooperative
            }
            fastnn.train(net, *self.data(), **steps, **options)


def _varied(shapes):
    """Each shape in both dtypes, with one loss, kind of target and activation after the other."""
    kinds = itertools.cycle(
        (loss, targets, activation)
        for activation in ACTIVATIONS
        for loss in ("cross_entropy", "mean_squared_error")
        for targets in ("labels", "soft")
    )
    return [
        Work(*shape, dtype, *next(kinds)) for shape in shapes for dtype in ("float64", "float32")
    ]


#: What every run of the tests has time for, and yet every kernel and every loop of one.
FEW = [
    Work(7, 5, 3, 12),
    Work(7, 5, 3, 12, "float32", "mean_squared_error", "soft", "tanh"),
    Work(17, 6, 3, 30),
    Work(20, 4, 10, 20, "float32", "mean_squared_error"),
    Work(3, 150, 4, 5, "float64", "cross_entropy", "soft", "relu"),
    Work(66, 9, 5, 40, "float32"),
    Work(5, 2, 2, 1030, "float32", "mean_squared_error", "labels", "identity"),
    Work(4, 2100, 4, 2),
    Work(5, 3, 65, 4),
    Work(5, 3, 65, 4, "float32", "cross_entropy", "soft"),
]

#: For which there is a session of nox: around the blocks' sizes, more than a block holds, and the
#: book's.
MANY = _varied(
    [
        *itertools.product((1, 7, 33, 65), (1, 3, 33, 130), (2, 10, 33), (1, 12, 130)),
        *((50, 100, 10, 784), (64, 64, 32, 784), (129, 1000, 10, 12), (1024, 3, 3, 5)),
        *((1025, 3, 3, 5), (7, 3, 65, 1500), (7, 9000, 10, 5), (20, 300, 100, 2100)),
    ]
)
