"""scikit-learn's ``MLPClassifier``, sooner, and with class weights."""

from __future__ import annotations

from numbers import Real
from typing import Any, ClassVar

import numpy as np
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.metrics import accuracy_score
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import column_or_1d
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.class_weight import compute_class_weight, compute_sample_weight
from sklearn.utils.multiclass import (
    _check_partial_fit_first_call,
    type_of_target,
    unique_labels,
)
from sklearn.utils.validation import validate_data

from ..errors import InputError
from ..validation import shown
from .base import TwoLayerEstimator


class TwoLayerClassifier(ClassifierMixin, TwoLayerEstimator):
    """A classifier with one hidden layer: ``MLPClassifier`` of scikit-learn, on fastnn's backends.

    Parameters, defaults and attributes are those of ``sklearn.neural_network.MLPClassifier``, and
    so are all random draws: the same ``random_state`` gives the same model, to rounding. Beyond
    them there are `class_weight` and `backend`.

    Parameters
    ----------
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
        Whether to stop by the accuracy on a fraction of the samples, and to keep the best weights.
        With `warm_start` those are the best ones of each fit; scikit-learn's own keeps the last
        ones from its second fit on, so that the models are others there.
    validation_fraction : float
    beta_1, beta_2, epsilon : float
        Of ``solver="adam"``.
    n_iter_no_change : int
    max_fun : int
        Without effect: it is of ``"lbfgs"``, a solver that scikit-learn has.
    class_weight : None, "balanced" or dict of class to float
        By how much the samples of a class weigh more, in training and in the score that early
        stopping goes by. ``"balanced"`` is samples / (classes · samples of the class).
    backend : str or Backend
        As for :func:`fastnn.get_backend`. Sparse matrices need ``"numba"``, which ``"auto"`` takes
        for them.

    Attributes
    ----------
    classes_ : numpy.ndarray
    coefs_, intercepts_ : list of two numpy.ndarray
        Shapes (features, units) and (units, outputs), and (units,) and (outputs,), of the dtype of
        the first samples, float32 or float64. Two classes have one output.
    loss_, best_loss_, best_validation_score_ : float
    loss_curve_, validation_scores_ : list of float
    n_iter_, t_, n_features_in_, n_outputs_, n_layers_ : int
    out_activation_ : {"softmax", "logistic"}
        The latter for two classes, and for several labels to a sample.
    feature_names_in_ : numpy.ndarray of str, of data frames

    Raises
    ------
    ValueError, TypeError
        As scikit-learn's conventions have it; :class:`fastnn.errors.InputError` is a ValueError.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> model = TwoLayerClassifier(learning_rate_init=0.01, random_state=0).fit(X, y)
    >>> model.score(X, y) > 0.95
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **TwoLayerEstimator._parameter_constraints,
        "class_weight": [dict, StrOptions({"balanced"}), None],
    }
    _counterpart: ClassVar[str] = "MLPClassifier"

    def __init__(
        self,
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
        class_weight: Any = None,
        backend: Any = "auto",
    ) -> None:
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
        self.class_weight = class_weight
        self.backend = backend

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> TwoLayerClassifier:
        """Train on samples `X`, shape (samples, features), and their classes `y`.

        Parameters
        ----------
        X : array_like, data frame or sparse matrix
        y : array_like, shape (samples,), of numbers or str; or of zeros and ones, shape (samples,
            labels)
        sample_weight : array_like, shape (samples,), optional

        Returns
        -------
        self
        """
        return self._fit(X, y, sample_weight, incremental=False)

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None
    ) -> TwoLayerClassifier:
        """Go on training with one epoch on these samples; the first call takes all `classes`."""
        return self._fit(X, y, sample_weight, incremental=True, classes=classes)

    def predict(self, X: Any) -> np.ndarray:
        """The classes of samples, shape (samples,) or (samples, labels)."""
        return self._decoded(self._outputs(X))

    def predict_proba(self, X: Any) -> np.ndarray:
        """The probability of each class, shape (samples, classes), or of each of several labels."""
        y = self._outputs(X)
        return np.hstack([1 - y, y]) if y.shape[1] == 1 else y

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """The logarithm of :meth:`predict_proba`."""
        y = self.predict_proba(X)
        return np.log(y, out=y)

    def _validated(
        self, X: Any, y: Any, *, incremental: bool, reset: bool, classes: Any
    ) -> tuple[Any, np.ndarray, np.ndarray]:
        if incremental and _check_partial_fit_first_call(self, classes):
            several = type_of_target(y).startswith("multilabel")
            self._label_binarizer = LabelBinarizer().fit(y if several else classes)
        X, y = validate_data(
            self,
            X,
            y,
            accept_sparse=self._accepted,
            multi_output=True,
            dtype=(np.float64, np.float32),
            ensure_all_finite=False,  # of X; its dataset sees to it
            reset=reset,
        )
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        self._check_classes(y, incremental=incremental)
        if self._label_binarizer.y_type_ == "multiclass":
            return X, y, np.searchsorted(self.classes_, y)
        targets = self._label_binarizer.transform(y)
        return X, targets if targets.shape[1] > 1 else y, targets.astype(X.dtype)

    def _check_classes(self, y: np.ndarray, *, incremental: bool) -> None:
        """Take the classes from `y`, or hold it against those that there are."""
        if not hasattr(self, "classes_") or not (self.warm_start or incremental):
            self._label_binarizer = LabelBinarizer().fit(y)
            self.classes_ = self._label_binarizer.classes_
            return
        classes = unique_labels(y)
        if self.warm_start:
            if set(classes) != set(self.classes_):
                raise InputError(
                    "warm_start can only be used where `y` has the same classes as in the previous "
                    f"call to fit. Previously got {self.classes_}, `y` has {classes}"
                )
        elif len(np.setdiff1d(classes, self.classes_, assume_unique=True)):
            raise InputError(
                "`y` has classes not in `self.classes_`. "
                f"`self.classes_` has {self.classes_}. 'y' has {classes}."
            )

    def _weights(
        self, X: Any, y: np.ndarray, sample_weight: Any, *, incremental: bool
    ) -> np.ndarray | None:
        weights = super()._weights(X, y, sample_weight, incremental=incremental)
        if self.class_weight is None:
            return weights
        if incremental and self.class_weight == "balanced":
            raise InputError(
                "class_weight='balanced' is of all samples, and partial_fit sees some; give a dict "
                "of weights: sklearn.utils.class_weight.compute_class_weight makes them"
            )
        of_class = self._weights_by_class(y).astype(X.dtype)
        return of_class if weights is None else of_class * weights

    def _weights_by_class(self, y: np.ndarray) -> np.ndarray:
        """What `class_weight` gives each sample."""
        for label, weight in self.class_weight.items() if self.class_weight != "balanced" else ():
            if not (isinstance(weight, Real) and 0 <= float(weight) < np.inf):
                raise InputError(
                    f"class_weight[{label!r}] is {shown(weight)}; give a finite number, 0 or more"
                )
        if y.ndim > 1:
            return np.asarray(compute_sample_weight(self.class_weight, y))
        # A batch of partial_fit need not have all classes that are named.
        of_class = compute_class_weight(self.class_weight, classes=self.classes_, y=y)
        weights: np.ndarray = of_class[np.searchsorted(self.classes_, y)]
        if not weights.any():
            raise InputError(
                f"class_weight={shown(self.class_weight)} gives each of these samples the weight "
                "0; give a class that they have more"
            )
        return weights

    def _ending(self) -> tuple[str, str, int]:
        kind, classes = self._label_binarizer.y_type_, len(self.classes_)
        if kind == "multiclass":
            return "cross_entropy", "softmax", classes
        return "binary_cross_entropy", "logistic", 1 if kind == "binary" else classes

    def _decoded(self, outputs: np.ndarray) -> np.ndarray:
        if self._label_binarizer.y_type_ == "multiclass":
            return self.classes_[outputs.argmax(axis=1)]
        return self._label_binarizer.inverse_transform(
            outputs.ravel() if outputs.shape[1] == 1 else outputs
        )

    def _score(self, y: np.ndarray, predicted: np.ndarray, weights: np.ndarray | None) -> float:
        return float(accuracy_score(y, predicted, sample_weight=weights))

    def _strata(self, targets: np.ndarray) -> np.ndarray | None:
        return targets.ravel() if targets.ndim == 2 and targets.shape[1] == 1 else None

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
