"""The book's optimizers: what each is made with."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from ..functions.updates import ROOT_GUARD
from ..validation import Array, positive_int
from .base import Optimizer


class SGD(Optimizer):
    """Plain gradient descent: w ← w − lr·g.

    Parameters
    ----------
    lr : float
    weight_decay : float
        λ of L2: g + λ·w takes the place of g, for every parameter, biases included.

    Examples
    --------
    >>> params = {"w": np.array([1.0, 2.0])}
    >>> SGD(lr=0.5).update(params, {"w": np.array([1.0, 0.0])})
    >>> params["w"]
    array([0.5, 2. ])
    """

    name: ClassVar[str] = "sgd"

    def __init__(self, lr: float = 0.01, *, weight_decay: float = 0.0) -> None:
        super().__init__(lr, weight_decay)


class Momentum(Optimizer):
    """Gradient descent that keeps its direction: v ← m·v − lr·g, w ← w + v.

    Parameters
    ----------
    lr : float
    momentum : float
        m, from 0 to below 1.
    weight_decay : float
        As for :class:`SGD`.

    Attributes
    ----------
    v : dict of str to array, or None
        The velocity of each parameter.

    Examples
    --------
    >>> params, optimizer = {"w": np.array([1.0])}, Momentum(lr=0.5)
    >>> for _ in range(2):
    ...     optimizer.update(params, {"w": np.array([1.0])})
    >>> params["w"], optimizer.v["w"]
    (array([-0.45]), array([-0.95]))
    """

    name: ClassVar[str] = "momentum"
    momentum: float
    v: dict[str, Array] | None

    def __init__(
        self, lr: float = 0.01, momentum: float = 0.9, *, weight_decay: float = 0.0
    ) -> None:
        super().__init__(lr, weight_decay, momentum=momentum)


class Nesterov(Momentum):
    """Nesterov's momentum as the book has it: w ← w + m²·v − (1 + m)·lr·g, then v ← m·v − lr·g.

    Parameters and attributes are those of :class:`Momentum`.

    Examples
    --------
    >>> params = {"w": np.array([1.0])}
    >>> Nesterov(lr=0.5).update(params, {"w": np.array([1.0])})
    >>> params["w"].round(6)
    array([0.05])
    """

    name: ClassVar[str] = "nesterov"


class AdaGrad(Optimizer):
    """A step for each parameter of its own, ever smaller: h ← h + g², w ← w − lr·g / (√h + 1e-7).

    Parameters
    ----------
    lr : float
    weight_decay : float
        As for :class:`SGD`.

    Attributes
    ----------
    h : dict of str to array, or None
        The sum of the squares of each gradient.

    Examples
    --------
    >>> params = {"w": np.array([1.0, 2.0])}
    >>> AdaGrad(lr=0.5).update(params, {"w": np.array([4.0, -0.25])})
    >>> params["w"].round(3)
    array([0.5, 2.5])
    """

    name: ClassVar[str] = "adagrad"
    h: dict[str, Array] | None

    def __init__(self, lr: float = 0.01, *, weight_decay: float = 0.0) -> None:
        super().__init__(lr, weight_decay)


class RMSprop(Optimizer):
    """AdaGrad that forgets: h ← d·h + (1 − d)·g², w ← w − lr·g / (√h + 1e-7).

    Parameters
    ----------
    lr : float
    decay_rate : float
        d, from 0 to below 1.
    weight_decay : float
        As for :class:`SGD`.

    Attributes
    ----------
    h : dict of str to array, or None
        The mean of the squares of each gradient.

    Examples
    --------
    >>> params = {"w": np.array([1.0])}
    >>> RMSprop(lr=0.01).update(params, {"w": np.array([4.0])})
    >>> params["w"].round(3)
    array([0.9])
    """

    name: ClassVar[str] = "rmsprop"
    decay_rate: float
    h: dict[str, Array] | None

    def __init__(
        self, lr: float = 0.01, decay_rate: float = 0.99, *, weight_decay: float = 0.0
    ) -> None:
        super().__init__(lr, weight_decay, decay_rate=decay_rate)


class Adam(Optimizer):
    """Means of the gradient and of its square, corrected for their start at zero, as in the book.

    t ← t + 1, m ← m + (1 − β₁)(g − m), v ← v + (1 − β₂)(g² − v), and then
    w ← w − lr·√(1 − β₂ᵗ) / (1 − β₁ᵗ) · m / (√v + ε).

    Parameters
    ----------
    lr : float
    beta1, beta2 : float
        From 0 to below 1.
    epsilon : float
        ε, likewise; the book has 1e-7.
    weight_decay : float
        As for :class:`SGD`; it is L2, and not what is known as AdamW.

    Attributes
    ----------
    iter : int
        t, how many updates there have been.
    m, v : dict of str to array, or None
        The two means of each parameter.

    Examples
    --------
    >>> params, optimizer = {"w": np.array([1.0, 2.0])}, Adam()
    >>> optimizer.update(params, {"w": np.array([5.0, -0.5])})
    >>> params["w"].round(6), optimizer.iter
    (array([0.999, 2.001]), 1)
    """

    name: ClassVar[str] = "adam"
    beta1: float
    beta2: float
    epsilon: float
    m: dict[str, Array] | None
    v: dict[str, Array] | None

    def __init__(
        self,
        lr: float = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        *,
        epsilon: float = ROOT_GUARD,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(lr, weight_decay, beta1=beta1, beta2=beta2, epsilon=epsilon)
        self.iter = 0

    def rates(self, rates: np.ndarray) -> np.ndarray:
        # One by one: NumPy's powers may depend on how many there are in a call.
        return np.array(
            [
                rate * math.sqrt(1 - self.beta2**t) / (1 - self.beta1**t)
                for t, rate in enumerate(rates.tolist(), self.iter + 1)
            ]
        )

    def count(self, updates: int) -> None:
        self.iter += updates

    def _numbers(self) -> dict[str, Any]:
        return super()._numbers() | {"iter": self.iter}

    def _load_numbers(self, numbers: dict[str, Any]) -> None:
        count = positive_int(numbers["iter"], "iter", 0)
        super()._load_numbers({name: n for name, n in numbers.items() if name != "iter"})
        self.iter = count


#: Every optimizer by the name that :func:`fastnn.train` takes.
OPTIMIZERS: dict[str, type[Any]] = {
    cls.name: cls for cls in (SGD, Momentum, Nesterov, AdaGrad, RMSprop, Adam)
}
