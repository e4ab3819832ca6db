"""scikit-learn's ``MLPRegressor``, sooner."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.base import RegressorMixin, _fit_context
from sklearn.metrics import r2_score
from sklearn.utils import column_or_1d
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import validate_data

from ..errors import InputError
from .base import TwoLayerEstimator


class TwoLayerRegressor(RegressorMixin, TwoLayerEstimator):
    """A regressor with one hidden layer: ``MLPRegressor`` of scikit-learn, on fastnn's backends.

    Parameters, defaults and attributes are those of ``sklearn.neural_network.MLPRegressor``, and so
    are all random draws: the same ``random_state`` gives the same model, to rounding. Beyond them
    there is `backend`.

    Parameters
    ----------
    loss : {"squared_error"}
    hidden_layer_sizes : int or tuple of one int
        How many hidden units; with more than one hidden layer it refuses to fit.
    activation : {"identity", "logistic", "tanh", "relu"}
    solver : {"sgd", "adam"}
    alpha : float
        Of the L2 penalty of the weights, which is alpha / 2 · Σ W² over the samples of a batch.
    batch_size : int or "auto"
        By default 200, or as many as there are.
    learning_rate : {"constant", "invscaling", "adaptive"}
        Of ``solver="sgd"``, as `power_t`, `momentum` and `nesterovs_momentum` are.
    learning_rate_init, power_t : float
    max_iter : int
        Epochs at most.
    shuffle : bool
    random_state : None, int or numpy.random.RandomState
    tol : float
    verbose : bool
    warm_start : bool
    momentum : float
    nesterovs_momentum : bool
    early_stopping : bool
        Whether to stop by the score on a fraction of the samples, and to keep the best weights.
    validation_fraction : float
    beta_1, beta_2, epsilon : float
        Of ``solver="adam"``.
    n_iter_no_change : int
    max_fun : int
        Without effect: it is of ``"lbfgs"``, a solver that scikit-learn has.
    backend : str or Backend
        As for :func:`fastnn.get_backend`. Sparse matrices need ``"numba"``, which ``"auto"`` takes
        for them.

    Attributes
    ----------
    coefs_, intercepts_ : list of two numpy.ndarray
        Shapes (features, units) and (units, outputs), and (units,) and (outputs,), of the dtype of
        the first samples, float32 or float64.
    loss_, best_loss_ : float
    loss_curve_, validation_scores_ : list of float
    n_iter_, t_, n_features_in_, n_outputs_, n_layers_ : int
    out_activation_ : str
    feature_names_in_ : numpy.ndarray of str, of data frames

    Raises
    ------
    ValueError, TypeError
        As scikit-learn's conventions have it; :class:`fastnn.errors.InputError` is a ValueError.

    Examples
    --------
    >>> from sklearn.datasets import make_regression
    >>> X, y = make_regression(100, 5, random_state=0)
    >>> model = TwoLayerRegressor(max_iter=1000, learning_rate_init=0.1, random_state=0)
    >>> model.fit(X, y).score(X, y) > 0.99
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **TwoLayerEstimator._parameter_constraints,
        "loss": [StrOptions({"squared_error", "poisson"})],
    }
    _counterpart: ClassVar[str] = "MLPRegressor"

    def __init__(
        self,
        loss: str = "squared_error",
        hidden_layer_sizes: Any = (100,),
        activation: str = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: int = 10,
        max_fun: int = 15000,
        backend: Any = "auto",
    ) -> None:
        self.loss = loss
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun
        self.backend = backend

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> TwoLayerRegressor:
        """Train on samples `X`, shape (samples, features), and values `y`.

        Parameters
        ----------
        X : array_like, data frame or sparse matrix
        y : array_like, shape (samples,) or (samples, outputs)
        sample_weight : array_like, shape (samples,), optional

        Returns
        -------
        self
        """
        return self._fit(X, y, sample_weight, incremental=False)

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> TwoLayerRegressor:
        """Go on training with one epoch on these samples; arguments as for :meth:`fit`."""
        return self._fit(X, y, sample_weight, incremental=True)

    def predict(self, X: Any) -> np.ndarray:
        """The values of samples, shape (samples,) or (samples, outputs)."""
        return self._decoded(self._outputs(X))

    def _validated(
        self, X: Any, y: Any, *, incremental: bool, reset: bool, classes: Any
    ) -> tuple[Any, np.ndarray, np.ndarray]:
        if self.loss == "poisson":
            raise InputError(
                "loss='poisson' is not here; take 'squared_error', or "
                "sklearn.neural_network.MLPRegressor(loss='poisson')"
            )
        X, y = validate_data(
            self,
            X,
            y,
            accept_sparse=self._accepted,
            multi_output=True,
            y_numeric=True,
            dtype=(np.float64, np.float32),
            ensure_all_finite=False,  # of X; its dataset sees to it
            reset=reset,
        )
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        if reset:
            self.n_outputs_ = 1 if y.ndim == 1 else y.shape[1]
        return X, y, np.asarray(y.reshape(len(y), -1), X.dtype)

    def _ending(self) -> tuple[str, str, int]:
        return "mean_squared_error", "identity", self.n_outputs_

    def _decoded(self, outputs: np.ndarray) -> np.ndarray:
        return outputs.ravel() if outputs.shape[1] == 1 else outputs

    def _score(self, y: np.ndarray, predicted: np.ndarray, weights: np.ndarray | None) -> float:
        return float(r2_score(y, predicted, sample_weight=weights))
