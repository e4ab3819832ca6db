"""What was done to the samples of a network, kept with it, and done again to those that follow."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from ..validation import Array, shown
from .scaling import Scaling

if TYPE_CHECKING:
    from ..base_network import Network

#: How image files become samples: as MNIST's were made, or by resizing alone.
IMAGE_WAYS = ("digits", "resize")

#: How many times the range of the training samples a value may be away from it, and as how small a
#: part of it all values together are suspicious.
FAR, SMALL = 1.0, 0.02


@dataclass(frozen=True)
class Preprocessing:
    """From samples as they come to those that a network is trained on.

    Attributes
    ----------
    scaling : Scaling
    low, high : float
        The smallest and the largest value of the scaled training samples.
    features : list of str or None
        The names of columns.
    image_shape : (int, int) or None
        Height and width, if the samples are images.
    image_way : {"digits", "resize"} or None
        How image files become such samples.
    target : str or None
        The name of the column with the labels.
    """

    scaling: Scaling
    low: float
    high: float
    features: list[str] | None = None
    image_shape: tuple[int, int] | None = None
    image_way: str | None = None
    target: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """What goes to the file of a model, as ``network.preprocessing``."""
        result: dict[str, Any] = {
            "scaling": self.scaling.to_dict(),
            "range": [float(self.low), float(self.high)],
        }
        if self.features is not None:
            result["features"] = list(self.features)
        if self.target is not None:
            result["target"] = self.target
        if self.image_shape is not None:
            result["image"] = {"shape": list(self.image_shape), "way": self.image_way}
        return result

    @classmethod
    def from_dict(cls, given: Any, features: int) -> Preprocessing:
        """What :meth:`to_dict` gave, for so many features.

        Raises
        ------
        InputError
            If it is none.
        """
        try:
            low, high = (float(v) for v in given["range"])
            names, image, target = (given.get(n) for n in ("features", "image", "target"))
            shape = way = None
            if image is not None:
                (height, width), way = image["shape"], image["way"]
                shape = int(height), int(width)
            sound = (
                (names is None or (len(names) == features and all(type(n) is str for n in names)))
                and (shape is None or (math.prod(shape) == features and way in IMAGE_WAYS))
                and (shape is None or min(shape) > 0)
                and (target is None or type(target) is str)
                and low <= high
            )
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"{shown(given)} is no preprocessing of fastnn's: {error}") from error
        if not sound:
            raise InputError(f"{shown(given)} does not fit a network of {features} features")
        scaling = Scaling.from_dict(given["scaling"], features)
        return cls(scaling, low, high, names, shape, way, target)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Samples, shape (samples, features), as the network takes them."""
        return self.scaling(x)

    def fault(self, low: float, high: float) -> str | None:
        """What is wrong with scaled samples that go from `low` to `high`, or None.

        They are far outside of what the network was trained on, or only a small part of it.
        """
        span = self.high - self.low
        reach = FAR * span if span else max(abs(self.high), 1.0)
        if low < self.low - reach or high > self.high + reach:
            return (
                f"the samples go from {low:g} to {high:g}, far outside of what the network was "
                f"trained on, {self._trained}, so that its answers mean little; {_REMEDY}"
            )
        if self.scaling.method == "unit" and low < high and self._is_small(low, high):
            return (
                f"the samples only go from {low:g} to {high:g}, and the network was trained on "
                f"{self._trained}; have they been scaled twice? {_REMEDY}"
            )
        return None

    @property
    def _trained(self) -> str:
        scaling = self.scaling
        how = f"scaling {scaling.method!r}"
        if scaling.method == "unit" and np.ndim(scaling.divisor) == 0:
            how += f", pixels divided by {scaling.divisor:g}"
        return f"{self.low:g} to {self.high:g} ({how})"

    def _is_small(self, low: float, high: float) -> bool:
        return max(abs(low - self.low), abs(high - self.low)) < SMALL * (self.high - self.low)


#: Which of the two doors takes what.
_REMEDY = (
    "Network.predict takes samples that are scaled, and fastnn.Predictor, which scales them, "
    "samples as they came"
)


def warn_of(fault: str | None, stacklevel: int = 2) -> None:
    """Warn of a fault, if there is one."""
    if fault is not None:
        warnings.warn(fault, UserWarning, stacklevel=stacklevel + 1)


def preprocessing_of(network: Network) -> Preprocessing | None:
    """What was done to the samples of a network, if fastnn did it.

    Raises
    ------
    InputError
        If it says what cannot be.
    """
    found = vars(network).get("preprocessing")
    if not isinstance(found, dict) or not {"scaling", "range"} <= found.keys():  # the caller's own
        return None
    return Preprocessing.from_dict(found, network.sizes[0])


def warn_of_unusual(network: Network, extremes: Iterable[tuple[float, float]]) -> None:
    """Warn the caller of a network of samples that are far outside of what it was trained on.

    They are given by the smallest and the largest value of some at a time.
    """
    preprocessing = preprocessing_of(network)
    if preprocessing is not None:
        low, high = zip(*extremes, strict=True)
        warn_of(preprocessing.fault(min(low), max(high)), stacklevel=3)


def extremes(x: Array, xp: Any) -> tuple[float, float]:
    """The smallest and the largest value of checked samples, as a backend has them."""
    if not hasattr(x, "samples"):
        return float(xp.min(x)), float(xp.max(x))
    values = x.samples[2]  # of compressed ones; those that are not stored are zeros
    return float(xp.min(values, initial=0.0)), float(xp.max(values, initial=0.0))
