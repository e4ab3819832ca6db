"""What the parameters of an estimator may be, beside what scikit-learn allows for its own."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.utils._param_validation import Interval, Options, StrOptions

from ..backends import Backend
from ..errors import InputError
from ..validation import shown

_FRACTION = Interval(Real, 0, 1, closed="left")

#: For ``BaseEstimator``, which raises a ValueError that says what each may be.
CONSTRAINTS: dict[str, list[Any]] = {
    "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
    "activation": [StrOptions({"identity", "logistic", "tanh", "relu"})],
    "solver": [StrOptions({"lbfgs", "sgd", "adam"})],
    "alpha": [Interval(Real, 0, None, closed="left")],
    "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
    "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"})],
    "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
    "power_t": [Interval(Real, 0, None, closed="left")],
    "max_iter": [Interval(Integral, 1, None, closed="left")],
    "shuffle": ["boolean"],
    "random_state": ["random_state"],
    "tol": [Interval(Real, 0, None, closed="left")],
    "verbose": ["verbose"],
    "warm_start": ["boolean"],
    "momentum": [Interval(Real, 0, 1, closed="both")],
    "nesterovs_momentum": ["boolean"],
    "early_stopping": ["boolean"],
    "validation_fraction": [_FRACTION],
    "beta_1": [_FRACTION],
    "beta_2": [_FRACTION],
    "epsilon": [Interval(Real, 0, None, closed="neither")],
    "n_iter_no_change": [Interval(Integral, 1, None, closed="left"), Options(Real, {np.inf})],
    "max_fun": [Interval(Integral, 1, None, closed="left")],
    "backend": [str, Backend],
}


def hidden_units(estimator: Any) -> int:
    """How many hidden units there are.

    Raises
    ------
    InputError
        If there is not one hidden layer, or the solver is none of ours.
    """
    if estimator.solver == "lbfgs":
        raise InputError(
            "solver='lbfgs' is not here; take 'adam', or 'sgd', or for small data "
            f"sklearn.neural_network.{estimator._counterpart}(solver='lbfgs')"
        )
    sizes = estimator.hidden_layer_sizes
    sizes = [sizes] if not hasattr(sizes, "__iter__") else list(sizes)
    if len(sizes) != 1:
        raise InputError(
            f"hidden_layer_sizes={shown(tuple(sizes))} asks for {len(sizes)} hidden layers, and "
            "there is one; give a single size, or for more layers take "
            f"sklearn.neural_network.{estimator._counterpart}"
        )
    if not isinstance(sizes[0], Integral) or sizes[0] <= 0:
        raise InputError(f"hidden_layer_sizes must be > 0, got {sizes}; give a positive integer")
    return int(sizes[0])
