"""Learning rates that change while a network is trained: each is a function of the iteration.

Iterations are counted from 0, and go on counting where a history is continued. A schedule holds no
state, so that a training resumed at any iteration has the rates of one that was never interrupted.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .errors import DtypeError, InputError
from .validation import positive_int, real_number, shown


class Schedule:
    """A learning rate for each iteration; a subclass gives the formula, :meth:`Schedule.at`.

    Examples
    --------
    >>> class Triangle(Schedule):
    ...     def at(self, iterations):
    ...         return 0.1 * np.abs(iterations % 8 - 4)
    >>> Triangle().rates(0, 6).round(1)
    array([0.4, 0.3, 0.2, 0.1, 0. , 0.1])
    """

    def at(self, iterations: np.ndarray) -> np.ndarray:
        """The rates of these iterations: a float64 array of them to another one."""
        raise NotImplementedError

    def rates(self, first: int, last: int) -> np.ndarray:
        """The rates of the iterations from `first` up to, and without, `last`.

        Returns
        -------
        numpy.ndarray of float64, shape (last - first,)

        Raises
        ------
        InputError
            If a rate is negative or not finite; the message names the iteration.
        """
        with np.errstate(all="ignore"):
            rates = np.asarray(self.at(np.arange(first, last, dtype=np.float64)), np.float64)
        return checked_rates(rates, first)

    def __call__(self, iteration: int) -> float:
        return float(self.rates(iteration, iteration + 1)[0])


@dataclass(frozen=True)
class Constant(Schedule):
    """The same learning rate always.

    Examples
    --------
    >>> Constant(0.1).rates(0, 3)
    array([0.1, 0.1, 0.1])
    """

    learning_rate: float

    def __post_init__(self) -> None:
        _rate(self, "learning_rate")

    def at(self, iterations: np.ndarray) -> np.ndarray:
        return np.full(len(iterations), self.learning_rate)


@dataclass(frozen=True)
class StepDecay(Schedule):
    """learning_rate · factor^⌊iteration / every⌋: multiplied by `factor` every so many iterations.

    It is PyTorch's ``StepLR`` with ``gamma=factor, step_size=every``.

    Examples
    --------
    >>> schedule = StepDecay(0.1, every=1000, factor=0.5)
    >>> schedule(999), schedule(1000), schedule(2000)
    (0.1, 0.05, 0.025)
    """

    learning_rate: float
    every: int
    factor: float = 0.1

    def __post_init__(self) -> None:
        _rate(self, "learning_rate")
        _set(self, "every", positive_int(self.every, "every"))
        _set(self, "factor", real_number(self.factor, "factor", minimum=0))

    def at(self, iterations: np.ndarray) -> np.ndarray:
        return self.learning_rate * self.factor ** (iterations // self.every)


@dataclass(frozen=True)
class InverseScaling(Schedule):
    """learning_rate / (iteration + 1)^power.

    It is scikit-learn's ``learning_rate="invscaling"`` with ``power_t=power``, counted in
    iterations.

    Examples
    --------
    >>> schedule = InverseScaling(0.1, power=0.5)
    >>> schedule(0), schedule(3)
    (0.1, 0.05)
    """

    learning_rate: float
    power: float = 0.5

    def __post_init__(self) -> None:
        _rate(self, "learning_rate")
        _set(self, "power", real_number(self.power, "power"))

    def at(self, iterations: np.ndarray) -> np.ndarray:
        return self.learning_rate / (iterations + 1) ** self.power


@dataclass(frozen=True)
class CosineWithWarmup(Schedule):
    """A rise in a straight line, then half a cosine down.

    With w = `warmup`, the rate of iteration i is learning_rate · (i + 1) / w while i < w; then,
    with p = min((i − w) / (total − w), 1), ::

        minimum + (learning_rate − minimum) · (1 + cos(π·p)) / 2

    The cosine is that of Loshchilov and Hutter, "SGDR" (2017), equation 5, without restarts, which
    is PyTorch's ``CosineAnnealingLR(T_max=total - w, eta_min=minimum)``; the warm-up is that of
    Goyal et al., "Accurate, Large Minibatch SGD" (2017), from 0.

    Parameters
    ----------
    learning_rate : float
        The largest.
    total : int
        In which iteration `minimum` is reached; from there on it stays.
    warmup : int
        How many iterations the rise takes; less than `total`.
    minimum : float
        At most `learning_rate`.

    Examples
    --------
    >>> CosineWithWarmup(1.0, total=6, warmup=2).rates(0, 8).round(3)
    array([0.5  , 1.   , 1.   , 0.854, 0.5  , 0.146, 0.   , 0.   ])
    """

    learning_rate: float
    total: int
    warmup: int = 0
    minimum: float = 0.0

    def __post_init__(self) -> None:
        _rate(self, "learning_rate")
        _rate(self, "minimum")
        _set(self, "total", positive_int(self.total, "total"))
        _set(self, "warmup", positive_int(self.warmup, "warmup", 0))
        if self.warmup >= self.total:
            raise InputError(
                f"warmup={shown(self.warmup)} is not less than total={shown(self.total)}; "
                "leave iterations for the cosine"
            )
        if self.minimum > self.learning_rate:
            raise InputError(
                f"minimum={self.minimum:g} is more than learning_rate={self.learning_rate:g}; "
                "give a smaller one"
            )

    def at(self, iterations: np.ndarray) -> np.ndarray:
        rise = self.learning_rate * ((iterations + 1) / max(self.warmup, 1))
        progress = np.minimum((iterations - self.warmup) / (self.total - self.warmup), 1)
        fall = (self.learning_rate - self.minimum) * ((1 + np.cos(math.pi * progress)) / 2)
        return np.where(iterations < self.warmup, rise, self.minimum + fall)


@dataclass(frozen=True)
class OfFunction(Schedule):
    """What a function gives for each iteration, an int."""

    function: Callable[[int], Any]

    def rates(self, first: int, last: int) -> np.ndarray:
        return checked_rates(
            np.array([self._rate(i) for i in range(first, last)], np.float64), first
        )

    def _rate(self, iteration: int) -> float:
        rate = self.function(iteration)
        try:
            return float(rate)
        except (TypeError, ValueError, OverflowError) as error:
            raise DtypeError(
                f"the learning rate of iteration {iteration} is {shown(rate)}, no number; "
                "let the function give a float"
            ) from error


#: Those that are all that they were made with, by name: a file can hold them.
SCHEDULES: dict[str, type[Schedule]] = {
    cls.__name__: cls for cls in (Constant, StepDecay, InverseScaling, CosineWithWarmup)
}


def schedule(learning_rate: Any, dtype: np.dtype) -> Schedule:
    """What gives the rates for `learning_rate`: a number, a :class:`Schedule` or a function.

    A number beyond the range of `dtype` is refused.
    """
    if isinstance(learning_rate, Schedule):
        return learning_rate
    if callable(learning_rate):
        return OfFunction(learning_rate)
    constant = Constant(learning_rate)
    if constant.learning_rate > float(np.finfo(dtype).max):
        raise InputError(
            f"learning_rate={constant.learning_rate:g} is beyond the range of {dtype}, "
            "in which the network computes"
        )
    return constant


def rates_of(schedule: Schedule, dtype: np.dtype, first: int, last: int) -> np.ndarray:
    """The rates of these iterations, float64, checked: also those of a schedule somebody wrote.

    Raises
    ------
    InputError
        For one that cannot be a learning rate, or that `dtype` cannot hold.
    """
    rates = np.asarray(schedule.rates(first, last), np.float64)
    if rates.shape != (last - first,):
        raise InputError(
            f"the schedule gives rates of shape {rates.shape} for {last - first} iterations"
        )
    return checked_rates(rates, first, float(np.finfo(dtype).max))


def checked_rates(rates: np.ndarray, first: int, largest: float = math.inf) -> np.ndarray:
    """`rates`, of the iterations from `first` on, unless one is negative, infinite or larger."""
    bad = ~((rates >= 0) & (rates < np.inf) & (rates <= largest))
    if bad.any():
        i = int(bad.argmax())
        raise InputError(
            f"the learning rate of iteration {first + i} is {rates[i]}; give finite rates of at "
            "least 0, within the range of the dtype in which the network computes"
        )
    return rates


def _rate(schedule: Any, name: str) -> None:
    _set(schedule, name, real_number(getattr(schedule, name), name, minimum=0))


def _set(schedule: Any, name: str, value: Any) -> None:
    object.__setattr__(schedule, name, value)  # which are frozen for everybody else
