"""The unperturbed network, which the numerical gradient starts from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ..validation import Array

#: How many perturbed losses of the output layer are evaluated at a time: they stay in a cache.
OUTPUT_BLOCK = 8192

#: What to index a row of samples and the rows of a result with, to leave out features that are
#: zero.
Features = Callable[[Array], Any]


class Evaluated(NamedTuple):
    """The unperturbed network in float64, but for the samples, which are as they were given.

    The last column of `z` is 1: a bias is the weight of one more input.
    """

    x: Array  # (samples, features)
    t: Array  # (samples, outputs)
    a: Array  # (samples, units)
    z: Array  # (samples, units + 1)
    logits: Array  # (samples, outputs)
    y: Array  # (samples, outputs)
    W2: Array  # (units, outputs)
    batch: int  # the losses are means over so many samples, of which these may be some

    def some(self, xp: Any, rows: Array) -> Evaluated:
        """The same of some of the samples."""
        chosen = {name: xp.take(getattr(self, name), rows, axis=0) for name in _OF_SAMPLES}
        return self._replace(**chosen)

    def block(self, rows: slice) -> Evaluated:
        """The same of samples that follow one another."""
        return self._replace(**{name: getattr(self, name)[rows, ...] for name in _OF_SAMPLES})


_OF_SAMPLES = "x", "t", "a", "z", "logits", "y"


def zeros_of(xp: Any, inputs: Array, units: Array) -> Array:
    """A zero for each weight of a layer, of what the samples have for its inputs and its units."""
    return xp.zeros_like(inputs[0, :, None] * units[0, None, :])


def with_ones(xp: Any, a: Array) -> Array:
    """With a column of ones, the inputs of the biases."""
    return xp.concat([a, xp.ones_like(a[:, :1])], axis=1)
