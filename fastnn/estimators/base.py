"""What both estimators share: a fit with the draws and the rules of scikit-learn's."""

from __future__ import annotations

import sys
import warnings
from contextlib import ExitStack
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils import assert_all_finite, check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from ..backends import Backend
from ..errors import InputError
from . import stopping
from .epochs import Epochs
from .files import load, save
from .network import ACTIVATION, PenalizedNet
from .parameters import CONSTRAINTS, hidden_units
from .solvers import Solver

#: How many samples a batch has at most where nobody says: scikit-learn's.
BATCH = 200


class TwoLayerEstimator(BaseEstimator):
    """The base of both."""

    _parameter_constraints: ClassVar[dict[str, Any]] = CONSTRAINTS
    #: What scikit-learn has in place of it.
    _counterpart: ClassVar[str]
    coefs_: list[np.ndarray]
    intercepts_: list[np.ndarray]

    # -- what each of them gives -------------------------------------------------------------------

    def _validated(
        self, X: Any, y: Any, *, incremental: bool, reset: bool, classes: Any
    ) -> tuple[Any, np.ndarray, np.ndarray]:
        """Checked samples, what a score is computed from, and the targets of the network.

        `classes` are those that the first `partial_fit` is told of.
        """
        raise NotImplementedError

    def _ending(self) -> tuple[str, str, int]:
        """The loss of the network, the name of its output function, and how many outputs."""
        raise NotImplementedError

    def _weights(
        self, X: Any, y: np.ndarray, sample_weight: Any, *, incremental: bool
    ) -> np.ndarray | None:
        """What each sample weighs."""
        if sample_weight is None:
            return None
        return np.asarray(_check_sample_weight(sample_weight, X))

    def _decoded(self, outputs: np.ndarray) -> np.ndarray:
        """What is predicted, from the outputs of the network."""
        raise NotImplementedError

    def _score(self, y: np.ndarray, predicted: np.ndarray, weights: np.ndarray | None) -> float:
        """How good that is."""
        raise NotImplementedError

    def _strata(self, targets: np.ndarray) -> np.ndarray | None:
        """By what the samples for validation are drawn."""
        return None

    # -- fit ---------------------------------------------------------------------------------------

    def _fit(
        self, X: Any, y: Any, sample_weight: Any, *, incremental: bool, classes: Any = None
    ) -> Any:
        undo = ExitStack()
        epochs: Epochs | None = None
        undo.callback(self._become, vars(self).copy())
        try:
            network, epochs, *rows = self._prepared(
                X, y, sample_weight, undo, incremental=incremental, classes=classes
            )
            best = self._train(network, epochs, *rows, incremental=incremental)
        except BaseException:
            if epochs is None or not epochs.made:
                undo.close()
            raise
        W1, b1, W2, b2 = network.parameters() if best is None else best
        self.coefs_, self.intercepts_ = [W1, W2], [b1, b2]
        if not all(np.isfinite(w).all() for w in (W1, b1, W2, b2)):
            raise InputError(
                "Solver produced non-finite parameter weights. The input data may contain large "
                "values and need to be preprocessed: scale X, or take a smaller learning_rate_init"
            )
        return self

    def _prepared(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        undo: ExitStack,
        *,
        incremental: bool,
        classes: Any,
    ) -> tuple[PenalizedNet, Epochs, np.ndarray, Any]:
        """What trains, and on which rows, and the samples to validate with; all is checked.

        `undo` gets what gives the generator its draws back.
        """
        units = hidden_units(self)
        if self.early_stopping and incremental:
            raise InputError(
                "partial_fit does not support early_stopping=True; "
                "set early_stopping=False, or use fit"
            )
        first = not hasattr(self, "coefs_") or not (self.warm_start or incremental)
        if not first and self.early_stopping == (self.validation_scores_ is None):
            raise InputError(
                f"early_stopping={self.early_stopping}, and it was not so in the fit that this one "
                "goes on from; set warm_start=False to begin anew"
            )
        X, y, targets = self._validated(X, y, incremental=incremental, reset=first, classes=classes)
        weights = self._weights(X, y, sample_weight, incremental=incremental)
        self._random_state = generator = check_random_state(self.random_state)
        undo.callback(generator.set_state, generator.get_state(legacy=False))
        if first:
            self._initialize(X.shape[1], units, X.dtype)
        elif self.coefs_[0].shape[1] != units:
            raise InputError(
                f"there are {self.coefs_[0].shape[1]} hidden units from the fit before, and "
                f"hidden_layer_sizes={self.hidden_layer_sizes}; set warm_start=False to begin anew"
            )
        if not (incremental and hasattr(self, "_solver")):
            self._solver = Solver(self)
        network = self._network_of(X)
        try:  # looks at all values, so that nobody else has to
            data = network.dataset(X, targets, "train", sample_weight=weights)
        except InputError:
            assert_all_finite(X, estimator_name=type(self).__name__, input_name="X")
            raise
        train, validation = np.arange(len(targets)), None
        if self.early_stopping:
            train, held_out = self._split(targets)
            of_held_out = None if weights is None else weights[held_out]
            if weights is not None and not all(weights[part].any() for part in (train, held_out)):
                raise InputError(
                    "the samples to train on, or those to validate with, all weigh 0; give more "
                    "of them a weight, or set early_stopping=False"
                )
            validation = X[held_out], y[held_out], of_held_out
        sizes = self._size_of_batches(len(train)), len(train)
        epochs = Epochs(network, data, weights, self._solver, *sizes)
        return network, epochs, train, validation

    def _become(self, state: dict[str, Any]) -> None:
        self.__dict__.clear()
        self.__dict__.update(state)

    def _initialize(self, features: int, units: int, dtype: np.dtype) -> None:
        """The first weights, as scikit-learn draws them, by Glorot and Bengio's bounds."""
        self.n_iter_ = self.t_ = 0
        _, self.out_activation_, self.n_outputs_ = self._ending()
        self.n_layers_ = 3
        factor = 2.0 if self.activation == "logistic" else 6.0
        self.coefs_, self.intercepts_ = [], []
        for entering, leaving in ((features, units), (units, self.n_outputs_)):
            bound = np.sqrt(factor / (entering + leaving))
            for kept, shape in ((self.coefs_, (entering, leaving)), (self.intercepts_, leaving)):
                drawn = self._random_state.uniform(-bound, bound, shape)
                kept.append(drawn.astype(dtype, copy=False))
        stopping.begin(self)

    def _split(self, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The rows to train with, and those to validate with."""
        train, held_out = train_test_split(
            np.arange(len(targets)),
            random_state=self._random_state,
            test_size=self.validation_fraction,
            stratify=self._strata(targets),
        )
        if len(held_out) < 2:
            raise InputError(
                "The validation set is too small. Increase 'validation_fraction' "
                "or the size of your dataset."
            )
        return train, held_out

    def _size_of_batches(self, samples: int) -> int:
        if self.batch_size == "auto":
            return min(BATCH, samples)
        if self.batch_size > samples:
            warnings.warn(
                f"batch_size={self.batch_size} is larger than the {samples} samples; "
                "it is going to be clipped",
                stacklevel=2,
            )
        return min(int(self.batch_size), samples)

    def _train(
        self, network: PenalizedNet, epochs: Epochs, train: np.ndarray, validation: Any, **how: Any
    ) -> tuple[np.ndarray, ...] | None:
        """All epochs; the best parameters, if that is asked for."""
        best: tuple[np.ndarray, ...] | None = None
        if validation is not None:
            best = tuple(w.copy() for w in network.parameters())
        order, backend = np.arange(len(train)), network.backend
        work = epochs.batch_size * network.size
        self.n_iter_ = 0
        try:
            with (
                backend.current(),
                backend.limit_threads(work) as turn,
                np.errstate(invalid="ignore"),
                epochs,
            ):
                for _ in range(self.max_iter):
                    if self.shuffle:
                        # The draws of sklearn.utils.shuffle, whose checks take 0.1 ms.
                        numbers = np.arange(len(order))
                        self._random_state.shuffle(numbers)
                        order = order[numbers]
                    self.loss_ = epochs(train[order])
                    self.n_iter_ += 1
                    self.t_ += len(train)
                    self.loss_curve_.append(self.loss_)
                    self._say(f"Iteration {self.n_iter_}, loss = {self.loss_:.8f}")
                    if validation is None:
                        stopping.note_loss(self)
                    else:
                        epochs.bring()
                        if stopping.note_score(self, self._validate(network, *validation)):
                            best = tuple(w.copy() for w in network.parameters())
                        self._say(f"Validation score: {self.validation_scores_[-1]:f}")
                    self._solver.epoch_ends(self.t_)
                    if stopping.has_stalled(self):
                        ends, what = self._solver.stalls()
                        self._say(f"{stopping.reason(self)} {what}")
                        if ends:
                            break
                        self._no_improvement_count = 0
                    if how["incremental"]:
                        break
                    if turn is not None:
                        turn.give_way()
                else:
                    warnings.warn(
                        f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and "
                        "the optimization hasn't converged yet.",
                        ConvergenceWarning,
                        stacklevel=2,
                    )
        except KeyboardInterrupt:
            warnings.warn("Training interrupted by user.", stacklevel=2)
        return best

    def _validate(
        self, network: PenalizedNet, X: Any, y: np.ndarray, weights: np.ndarray | None
    ) -> float:
        outputs = network.outputs(X)
        if not np.isfinite(outputs).all():
            return float("nan")
        return self._score(y, self._decoded(outputs), weights)

    def _say(self, what: str) -> None:
        if self.verbose:
            sys.stdout.write(f"{what}\n")

    # -- the network -------------------------------------------------------------------------------

    def _network_of(self, X: Any) -> PenalizedNet:
        """The network with the parameters of this estimator, for such samples."""
        (W1, W2), (b1, b2) = self.coefs_, self.intercepts_
        parameters, loss = (W1, b1, W2, b2), self._ending()[0]
        backend = "numba" if self.backend == "auto" and hasattr(X, "tocsr") else self.backend
        made_with = self.activation, loss, self.alpha, backend
        known = getattr(self, "_network", None)
        if known is not None and known[0] == made_with:
            found: PenalizedNet = known[1]
            if all(a is b for a, b in zip(found.host, parameters, strict=True)):
                return found
        made = PenalizedNet(
            parameters,
            activation=ACTIVATION[self.activation],
            loss=loss,
            alpha=float(self.alpha),
            backend=backend,
        )
        self._network = made_with, made
        return made

    def _outputs(self, X: Any) -> np.ndarray:
        """What comes out of the network for samples that are not checked yet."""
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse=self._accepted, reset=False)
        return self._network_of(X).outputs(X)

    @property
    def _accepted(self) -> Any:
        """The sparse matrices that `validate_data` lets in: only Numba's kernels take any."""
        backend = self.backend.name if isinstance(self.backend, Backend) else self.backend
        return "csr" if backend in ("auto", "numba") else False

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "coefs_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = bool(self._accepted)
        return tags

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        state.pop("_network", None)  # made again where it is asked for
        return state

    save = save
    load = classmethod(load)
