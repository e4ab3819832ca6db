"""The gradient by backpropagation against one that needs no derivation: the numerical gradient."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from ..base_network import Network
from ..errors import DtypeError
from ..functions import LOG_GUARD, one_hot
from ..notebooks import table
from ..numerical_network import INCREMENTAL_STEP
from ..validation import Array, choice, generator, real_number, shown, targets_of_any_sum

#: All methods; a network has the projection and those of its ``numerical_gradient``.
METHODS = ("incremental", "full", "projection")

#: How many random directions the projection takes for each parameter.
DIRECTIONS = 10

#: What a right gradient may differ by, relative to the largest entry of the parameter's gradient:
#: truncation and rounding at the step taken, ε^(1/3), with a wide margin. In float32 the
#: incremental method leaves only the rounding of backpropagation.
TOLERANCE = {np.dtype(np.float64): 1e-5, np.dtype(np.float32): 1e-2}
INCREMENTAL_TOLERANCE = {np.dtype(np.float64): 1e-5, np.dtype(np.float32): 1e-3}


class ParameterCheck(NamedTuple):
    """How the two gradients of one parameter compare.

    Attributes
    ----------
    maximum_difference, mean_difference : float
        Of the absolute differences.
    relative_error : float
        The maximum difference over the largest absolute value in either gradient of this parameter.
    worst_index : tuple of int
        Where the maximum difference is: an index of the parameter, or with ``"projection"`` the
        number of the direction.
    passed : bool
    """

    maximum_difference: float
    mean_difference: float
    relative_error: float
    worst_index: tuple[int, ...]
    passed: bool


class GradientReport(NamedTuple):
    """The outcome of :func:`gradient_check`; ``print(report)`` shows it as a table.

    Attributes
    ----------
    parameters : dict of str to ParameterCheck
    method : str
    h : float
        The step of the numerical gradient.
    tolerance : float
        The largest relative error that passes.
    noise : float
        The difference that rounding of the loss explains, which passes always.
    """

    parameters: dict[str, ParameterCheck]
    method: str
    h: float
    tolerance: float
    noise: float

    @property
    def passed(self) -> bool:
        """Whether every parameter passed."""
        return all(check.passed for check in self.parameters.values())

    def __repr__(self) -> str:
        worst = max((c.relative_error for c in self.parameters.values()), default=0.0)
        return (
            f"<GradientReport: {self._verdict}, method {self.method}, "
            f"largest relative error {worst:.2g}>"
        )

    def _repr_html_(self) -> str:
        """The table, for notebooks."""
        head, *rows = self._rows()
        return table(self._summary(), head, rows)

    @property
    def _verdict(self) -> str:
        return "pass" if self.passed else "FAIL"

    def _rows(self) -> list[tuple[str, ...]]:
        rows: list[tuple[str, ...]] = [
            ("parameter", "max difference", "mean difference", "relative error", "worst at", "")
        ]
        for name, check in self.parameters.items():
            index = ", ".join(map(str, check.worst_index))
            rows.append(
                (
                    name,
                    f"{check.maximum_difference:.3e}",
                    f"{check.mean_difference:.3e}",
                    f"{check.relative_error:.3e}",
                    f"direction {index}" if self.method == "projection" else f"[{index}]",
                    "pass" if check.passed else "FAIL",
                )
            )
        return rows

    def _summary(self) -> str:
        return (
            f"{self._verdict}: method {self.method}, h = {self.h:.2g}, relative error allowed "
            f"{self.tolerance:.2g}, difference explained by rounding {self.noise:.2g}"
        )

    def __str__(self) -> str:
        rows = self._rows()
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        return "\n".join([*lines, self._summary()])


def gradient_check(
    network: Network,
    x: Any,
    t: Any,
    *,
    method: str | None = None,
    tolerance: float | None = None,
    rng: Any = 0,
) -> GradientReport:
    """Compare a network's gradient by backpropagation with the numerical one.

    Parameters
    ----------
    network : Network
        Its parameters are as before afterwards.
    x, t : array_like
        Samples and targets, as for :meth:`TwoLayerNet.loss`; a few samples will do.
    method : {"incremental", "full", "projection"}, optional
        ``"incremental"`` and ``"full"`` compare every entry with the network's
        ``numerical_gradient`` of that method; by default the fastest that it has, ``"incremental"``
        for a :class:`TwoLayerNet`, ``"full"`` for a :class:`SimpleNet`. ``"projection"`` compares
        the derivatives along ten random directions of unit length in each parameter, with two
        evaluations of the loss for each: an error in any entry shows with probability one, if it is
        well above rounding.
    tolerance : float, optional
        The largest relative error that passes. By default 1e-5 in float64 and 1e-2 in float32, 1e-3
        for the incremental method.
    rng : None, int or numpy.random.Generator
        Where the directions come from.

    Returns
    -------
    GradientReport

    Raises
    ------
    InputError, DtypeError
        If the data do not fit the network, it does not have the method, or an argument is
        impossible.

    Notes
    -----
    The step h is ε^(1/3) of the dtype, 6e-6 or 5e-3, and √ε of float64, 1.5e-8, for the incremental
    method. A difference passes, too, if rounding explains it where the entries of a gradient
    cancel: of the loss L, ``3 · ε · max(|L|, 1) / h``. The incremental method does not take
    differences of losses; what remains is the rounding of backpropagation and the truncation,
    ``(3 · ε + h²) · max(|L|, 1)``.

    The gradient by backpropagation leaves out the 1e-7 that the cross-entropy adds to the
    probabilities (see :meth:`TwoLayerNet.gradient`). What that makes of it is known, and is added
    before the two are compared.

    Where an activation has a kink, as relu has, a hidden unit within h of it makes the two
    gradients differ although both are right.

    Examples
    --------
    >>> from fastnn import TwoLayerNet
    >>> network = TwoLayerNet(4, 3, 2, rng=0)
    >>> report = gradient_check(network, np.eye(4), [0, 1, 1, 0], method="full")
    >>> report.passed
    True
    """
    if not isinstance(network, Network):
        raise DtypeError(f"network={shown(network)} is no network; pass one, as a TwoLayerNet")
    with targets_of_any_sum():  # whose gradient by backpropagation is not one: that is to be seen
        return _report(network, x, t, method, tolerance, rng)


def _report(
    network: Network, x: Any, t: Any, method: str | None, tolerance: float | None, rng: Any
) -> GradientReport:
    method = (
        network.default_method
        if method is None
        else choice(method, "method", (*network.methods, "projection"))
    )
    loss = network.loss(x, t)
    if tolerance is None:
        tolerance = (INCREMENTAL_TOLERANCE if method == "incremental" else TOLERANCE)[network.dtype]
    else:
        tolerance = real_number(tolerance, "tolerance", minimum=0)
    epsilon = float(np.finfo(network.dtype).eps)
    if method == "incremental":
        h, noise = INCREMENTAL_STEP, 3 * epsilon + INCREMENTAL_STEP**2
    else:
        h, noise = epsilon ** (1 / 3), 3 * epsilon ** (2 / 3)
    noise *= max(abs(loss), 1.0)

    to_numpy = network.backend.to_numpy
    backprop = _backprop(network, x, t)
    if method == "projection":
        pairs = _projections(network, x, t, h, backprop, generator(rng))
    else:
        numerical = network.numerical_gradient(x, t, h, method)
        pairs = (
            (name, g, to_numpy(numerical[name]).astype(np.float64)) for name, g in backprop.items()
        )
    checks = {name: _compare(expected, found, tolerance, noise) for name, expected, found in pairs}
    return GradientReport(checks, method, h, tolerance, noise)


def _compare(
    backprop: np.ndarray, numerical: np.ndarray, tolerance: float, noise: float
) -> ParameterCheck:
    difference = abs(backprop - numerical)
    worst = np.unravel_index(difference.argmax(), difference.shape)
    maximum, scale = float(difference[worst]), float(max(abs(numerical).max(), abs(backprop).max()))
    return ParameterCheck(
        maximum_difference=maximum,
        mean_difference=float(difference.mean()),
        relative_error=maximum / scale if scale else 0.0,
        worst_index=tuple(map(int, worst)),
        passed=maximum <= tolerance * scale + noise,  # False for NaN
    )


def _projections(
    network: Network,
    x: Any,
    t: Any,
    h: float,
    backprop: dict[str, np.ndarray],
    rng: np.random.Generator,
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """For each parameter, derivatives along random directions by both methods."""
    for name, gradient in backprop.items():
        parameter = network.params[name]
        expected, found = np.empty(DIRECTIONS), np.empty(DIRECTIONS)
        for i in range(DIRECTIONS):
            direction = rng.standard_normal(gradient.shape)
            direction /= np.linalg.norm(direction)
            step = network.backend.asarray(h * direction, network.dtype)
            try:
                with network.backend.current():
                    network.params[name] = parameter + step
                    above = network.loss(x, t)
                    network.params[name] = parameter - step
                    below = network.loss(x, t)
            finally:
                network.params[name] = parameter
            expected[i] = (gradient * direction).sum()
            found[i] = (above - below) / (2 * h)
        yield name, expected, found


def _backprop(network: Network, x: Any, t: Any) -> dict[str, np.ndarray]:
    """The gradient by backpropagation, with the guard of the logarithm, which it leaves out."""
    found = network.gradient(x, t)
    if network.loss_name == "cross_entropy":
        backend = network.backend
        with backend.current():
            x, t = network._enter_pair(x, t)
            y = network._outputs_of(x)
            rows = one_hot(backend.xp, t, y)
            # d/dlogits of -sum t log(y + c) is y sum(kt) - kt with k = y / (y + c): the book's y -
            # t', its targets t' being kt and, so that they sum to one, y for the rest. Both terms
            # are of that form: what is wrong in `found` stays wrong.
            guarded, bare = (
                network._gradient(x, _filled(backend.xp, a, y))
                for a in (rows * (y / (y + LOG_GUARD)), rows)
            )
            found = {name: g + (guarded[name] - bare[name]) for name, g in found.items()}
    return {name: network.backend.to_numpy(g).astype(np.float64) for name, g in found.items()}


def _filled(xp: Any, t: Array, y: Array) -> Array:
    """Targets that sum to one, with the outputs of the network for what these lack."""
    return t + (1 - xp.sum(t, axis=1, keepdims=True)) * y
