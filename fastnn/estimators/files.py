"""Estimators in files: the network as fastnn writes it, and in its `provenance` the rest."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils.validation import check_is_fitted

from ..backends import Backend
from ..errors import CheckpointError, InputError
from ..files import load as load_network
from ..networks import TwoLayerNet
from ..validation import shown
from .network import ACTIVATION, NAMES

#: Under which name it stands there.
ENTRY = "estimator"

#: Attributes that are kept beside the parameters and the classes.
KEPT = (
    *("n_features_in_", "n_iter_", "t_", "n_layers_", "n_outputs_", "out_activation_"),
    *("loss_", "best_loss_", "loss_curve_", "validation_scores_", "best_validation_score_"),
    "_no_improvement_count",
)


def save(self: Any, path: str | os.PathLike[str]) -> None:
    """Write the fitted estimator to a file: its network, which :func:`fastnn.load` reads, and all.

    Nothing in it is pickled. What the solver remembers is not kept: a `partial_fit` after loading
    begins with a new one.

    Raises
    ------
    InputError
        If a parameter, or a class, is nothing that a file can hold, such as a
        ``numpy.random.RandomState``.
    CheckpointError
        If the file cannot be written.
    """
    check_is_fitted(self)
    network = self._network_of(None)
    i, j, k = network.sizes
    plain: Any = TwoLayerNet(
        i,
        j,
        k,
        0.0,
        activation=ACTIVATION[self.activation],
        loss=network.loss_name,
        dtype=network.dtype,
        rng=0,
    )
    plain.params = dict(zip(NAMES, map(np.ascontiguousarray, network.parameters()), strict=True))
    kept: dict[str, Any] = {
        "class": type(self).__name__,
        "parameters": {
            name: _plain(value, name) for name, value in self.get_params(deep=False).items()
        },
        "attributes": {name: _plain(getattr(self, name), name) for name in KEPT},
    }
    if hasattr(self, "feature_names_in_"):
        kept["feature_names"] = self.feature_names_in_.tolist()
    if hasattr(self, "classes_"):
        kept["classes"] = _plain(self.classes_, "classes_")
        kept["kind"] = self._label_binarizer.y_type_
        kept["sparse"] = bool(self._label_binarizer.sparse_input_)
        if len(self.classes_) == self.n_outputs_:
            plain.label_names = [str(name) for name in self.classes_]
    plain.provenance = {ENTRY: kept}
    plain.save(path)


def load(cls: Any, path: str | os.PathLike[str]) -> Any:
    """The estimator that :meth:`save` has written.

    Raises
    ------
    CheckpointError
        If the file is none, or of another estimator.
    """
    network: Any = load_network(path, backend="numpy")
    kept = vars(network).get("provenance", {}).get(ENTRY)
    if not isinstance(kept, dict) or kept.get("class") != cls.__name__:
        raise CheckpointError(f"{path} holds no {cls.__name__}; fastnn.load reads its network")
    try:
        made = cls(**{name: _value(value) for name, value in kept["parameters"].items()})
        attributes = {name: _value(kept["attributes"][name]) for name in KEPT}
        if "feature_names" in kept:
            made.feature_names_in_ = np.array(kept["feature_names"], object)
        if "classes" in kept:
            made.classes_ = _value(kept["classes"])
            made._label_binarizer = _binarizer(made.classes_, kept["kind"])
            made._label_binarizer.sparse_input_ = bool(kept.get("sparse", False))
        made._validate_params()
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(
            f"{path} describes a {cls.__name__} that cannot be: {error}"
        ) from error
    vars(made).update(attributes)
    W1, b1, W2, b2 = (network.params[name] for name in NAMES)
    made.coefs_, made.intercepts_ = [W1, W2], [b1, b2]
    return made


def _binarizer(classes: np.ndarray, kind: str) -> LabelBinarizer:
    if kind.startswith("multilabel"):
        return LabelBinarizer().fit(np.eye(len(classes), dtype=int))
    return LabelBinarizer().fit(classes)


def _plain(value: Any, name: str) -> Any:
    """A parameter or attribute as what JSON can hold."""
    if isinstance(value, Backend):
        return value.name
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, np.ndarray):
        return {"array": [_plain(v, name) for v in value.tolist()], "dtype": value.dtype.str}
    if isinstance(value, tuple):
        return {"tuple": [_plain(v, name) for v in value]}
    if isinstance(value, dict):
        return {"dict": [[_plain(k, name), _plain(v, name)] for k, v in value.items()]}
    if isinstance(value, list):
        return [_plain(v, name) for v in value]
    if isinstance(value, float) and not np.isfinite(value):
        return {"float": repr(value)}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise InputError(
        f"{name}={shown(value)} cannot be said in a file; set a number, a str or None, or pickle "
        "the estimator"
    )


def _value(plain: Any) -> Any:
    """What :func:`_plain` was given."""
    if isinstance(plain, list):
        return [_value(v) for v in plain]
    if not isinstance(plain, dict):
        return plain
    if "array" in plain:
        return np.array(plain["array"], np.dtype(plain["dtype"]))
    if "tuple" in plain:
        return tuple(_value(v) for v in plain["tuple"])
    if "dict" in plain:
        return {_value(k): _value(v) for k, v in plain["dict"]}
    return float(plain["float"])
