"""Derivatives of any function by differences, gradient descent, and the check of a network.

Read in this order: :mod:`.derivative`, :mod:`.gradient`, :mod:`.rows` and :mod:`.descent` are the
public functions; :mod:`.steps` and :mod:`.quotients` what a difference quotient is made of;
:mod:`.perturbed` how f is evaluated with one element changed at a time:
:mod:`.in_place` (and :mod:`.book`, its shortest form), :mod:`.blocks`,
:mod:`.compiled` with :mod:`.tasks`; :mod:`.points` and :mod:`.values` check what enters: x, and
what f returns. :mod:`.gradient_checking` stands above the networks, all else below them: they
import it for their own numerical gradient.

The step decides how good a finite difference is. Its truncation error grows with the step h, as h
for the one-sided differences and h² for the central one; the rounding of f's values, relative error
ε, is divided by h and grows as it shrinks. The book's h = 1e-4 suits the central difference in
float64. ``h="auto"`` takes the step where both errors are about equal: ε^(1/3) for the central and
ε^(1/2) for a one-sided difference, times max(1, |x|) for each element (Nocedal and Wright,
Numerical Optimization, section 8.1). The complex step (Squire and Trapp, 1998), Im f(x + ih) / h,
subtracts nothing, so that its step can be as small as one likes and its error is that of f itself.
"""

from typing import TYPE_CHECKING, Any

from .derivative import numerical_diff
from .descent import gradient_descent
from .gradient import numerical_gradient
from .rows import numerical_gradient_rows
from .steps import SCHEMES
from .tasks import Workers
from .values import Function

if TYPE_CHECKING:
    from .gradient_checking import GradientReport, ParameterCheck, gradient_check

__all__ = [
    "SCHEMES",
    "Function",
    "GradientReport",
    "ParameterCheck",
    "Workers",
    "gradient_check",
    "gradient_descent",
    "numerical_diff",
    "numerical_gradient",
    "numerical_gradient_rows",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import gradient_checking  # imports the networks, which import this package

    return getattr(gradient_checking, name)
