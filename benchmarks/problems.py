"""The problems that everything is timed on, the same for every contestant.

A problem is sizes, data, initial weights and batches.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache, cached_property

import numpy as np

from fastnn import TwoLayerNet, load_mnist
from fastnn.backends import Backend, get_backend

LEARNING_RATE = 0.1

#: Of the central differences: the book's.
STEP = 1e-4

#: How many parameters the reference kernel of a numerical gradient differentiates, and so how many
#: losses it evaluates: twice that, whatever the size of the network.
REFERENCE_PARAMETERS = 10

OUTPUTS = 10

DTYPES = ("float64", "float32")


@dataclass(frozen=True)
class Size:
    """A network, by its features and hidden units, and a batch."""

    inputs: int
    hidden: int
    batch: int

    def __str__(self) -> str:
        return f"{self.inputs}-{self.hidden}-{OUTPUTS}, batch {self.batch}"

    @property
    def parameters(self) -> int:
        """How many there are in W1, b1, W2 and b2."""
        return (self.inputs + 1) * self.hidden + (self.hidden + 1) * OUTPUTS

    def iterations(self, work: float) -> int:
        """The number of training steps for so many floating-point operations: 3 to 1000."""
        # Two for each parameter and sample on the way forward, four on the way back.
        return int(min(1000, max(3, work / (6 * self.parameters * self.batch))))

    def shrunk(self) -> Size:
        """A size for running a benchmark once, untimed; a few batches hold every label."""
        return Size(min(self.inputs, 30), min(self.hidden, 6), min(self.batch, 50))


SIZES = {"tiny": Size(784, 10, 1), "book": Size(784, 50, 100), "wide": Size(784, 500, 1000)}


@cache
def _samples(data: str, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    (x, t), _ = load_mnist()
    t = t.astype(np.intp)
    if data == "dense":  # MNIST's shape and labels, but no zeros
        x = np.random.default_rng(1).uniform(0.1, 1.0, x.shape)
    return x.astype(dtype, copy=False), t


@dataclass(frozen=True)
class Problem:
    """Data of a network in one dtype, with the initial weights and batches that all share."""

    size: Size
    dtype: str
    data: str = "mnist"
    quick: bool = False

    @cached_property
    def x(self) -> np.ndarray:
        """Samples (rows, inputs): all of them, or a few when quick.

        Of fewer inputs than there are pixels, those from the middle on.
        """
        x = _samples(self.data, self.dtype)[0]
        x = x[:200] if self.quick else x
        middle = x.shape[1] // 2
        return (
            x
            if self.size.inputs == x.shape[1]
            else np.ascontiguousarray(x[:, middle : middle + self.size.inputs])
        )

    @cached_property
    def t(self) -> np.ndarray:
        """Labels (rows,)."""
        return _samples(self.data, self.dtype)[1][: len(self.x)]

    @cached_property
    def targets(self) -> np.ndarray:
        """The labels as one-hot rows, for those that take no labels."""
        return np.eye(OUTPUTS, dtype=self.dtype)[self.t]

    def rows(self, iterations: int) -> np.ndarray:
        """The row numbers of so many batches, (iterations, batch): always the same ones first."""
        return np.random.default_rng(2).integers(len(self.x), size=(iterations, self.size.batch))

    def network(self, backend: str | Backend = "numpy") -> TwoLayerNet:
        """A new network on this backend, always with the same initial weights.

        "auto" chooses the backend for this batch.
        """
        backend = get_backend(backend, multiplications=self.size.batch * self.size.parameters)
        return TwoLayerNet(
            self.size.inputs, self.size.hidden, OUTPUTS, backend=backend, dtype=self.dtype, rng=3
        )

    @property
    def params(self) -> dict[str, np.ndarray]:
        """Those weights, new arrays each time."""
        return self.network().params

    def resized(self, **sizes: int) -> Problem:
        """The same problem with another number of hidden units or samples a batch."""
        return replace(self, size=replace(self.size, **sizes))


def tolerance(dtype: str) -> float:
    """How far a result may be from the reference before it is not worth timing.

    Relative to the largest entry of the reference.
    """
    return 1e-9 if dtype == "float64" else 1e-4


def assert_close(found: np.ndarray, expected: np.ndarray, tolerance: float, what: str) -> None:
    """Raise unless the largest difference is at most `tolerance` times the largest expected."""
    scale = max(float(np.abs(expected).max()), 1e-30)
    error = float(np.abs(np.asarray(found, np.float64) - expected).max()) / scale
    assert error <= tolerance, (
        f"{what} is off by {error:.1e} of its largest entry; {tolerance:g} is allowed"
    )
