"""fastnn: the two-layer network of "Deep Learning from Scratch", fast on the hardware at hand.

Importing it loads nothing: each name below is imported when it is first used, and Numba and CuPy
when a backend needs them.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import distributed, functions, optimizers, plotting, schedules
    from .backends import available_backends, get_backend
    from .callbacks import Callback
    from .data import load_data, load_idx, load_mnist
    from .differentiation import (
        GradientReport,
        gradient_check,
        gradient_descent,
        numerical_diff,
        numerical_gradient,
        numerical_gradient_rows,
    )
    from .early_stopping import EarlyStopping
    from .errors import (
        BackendError,
        BackendImportError,
        BackendNotInstalledError,
        CheckpointError,
        ClusterError,
        DataFileError,
        DeviceError,
        DeviceMemoryError,
        DivergenceError,
        DtypeError,
        ExtraNotInstalledError,
        FastnnError,
        ForeignArrayError,
        HostMemoryError,
        InputError,
        UnknownBackendError,
    )
    from .estimators import TwoLayerClassifier as TwoLayerClassifier
    from .estimators import TwoLayerRegressor as TwoLayerRegressor
    from .export import from_torch
    from .files import load
    from .history import History
    from .interrupts import InterruptWarning
    from .networks import SimpleNet, TwoLayerNet, simpleNet
    from .optimizers import SGD, AdaGrad, Adam, Momentum, Nesterov, RMSprop
    from .prediction import Predictor
    from .resumption import resume
    from .training import train

__version__ = "0.2.0"

__all__ = [
    "SGD",
    "AdaGrad",
    "Adam",
    "BackendError",
    "BackendImportError",
    "BackendNotInstalledError",
    "Callback",
    "CheckpointError",
    "ClusterError",
    "DataFileError",
    "DeviceError",
    "DeviceMemoryError",
    "DivergenceError",
    "DtypeError",
    "EarlyStopping",
    "ExtraNotInstalledError",
    "FastnnError",
    "ForeignArrayError",
    "GradientReport",
    "History",
    "HostMemoryError",
    "InputError",
    "InterruptWarning",
    "Momentum",
    "Nesterov",
    "Predictor",
    "RMSprop",
    "SimpleNet",
    "TwoLayerNet",
    "UnknownBackendError",
    "available_backends",
    "distributed",
    "from_torch",
    "functions",
    "get_backend",
    "gradient_check",
    "gradient_descent",
    "load",
    "load_data",
    "load_idx",
    "load_mnist",
    "numerical_diff",
    "numerical_gradient",
    "numerical_gradient_rows",
    "optimizers",
    "plotting",
    "resume",
    "schedules",
    "simpleNet",
    "train",
]

#: What needs scikit-learn. It is not in `__all__`: `from fastnn import *` needs no extra.
ESTIMATORS = ("TwoLayerClassifier", "TwoLayerRegressor")

#: Where each name is: module → names in it.
_HOMES = {
    "backends": ("available_backends", "get_backend"),
    "callbacks": ("Callback",),
    "data": ("load_data", "load_idx", "load_mnist"),
    "differentiation": (
        *("GradientReport", "gradient_check", "gradient_descent"),
        *("numerical_diff", "numerical_gradient", "numerical_gradient_rows"),
    ),
    "distributed": (),
    "early_stopping": ("EarlyStopping",),
    "estimators": ESTIMATORS,
    "errors": tuple(name for name in __all__ if name.endswith("Error")),
    "export": ("from_torch",),
    "files": ("load",),
    "functions": (),
    "history": ("History",),
    "interrupts": ("InterruptWarning",),
    "networks": ("SimpleNet", "TwoLayerNet", "simpleNet"),
    "optimizers": ("AdaGrad", "Adam", "Momentum", "Nesterov", "RMSprop", "SGD"),
    "plotting": (),
    "prediction": ("Predictor",),
    "resumption": ("resume",),
    "schedules": (),
    "training": ("train",),
}


def __getattr__(name: str) -> Any:
    module = next((home for home, names in _HOMES.items() if name == home or name in names), None)
    if module is None:
        raise AttributeError(f"module 'fastnn' has no attribute {name!r}")
    from importlib import import_module

    found = import_module(f".{module}", __name__)
    value = globals()[name] = found if name == module else getattr(found, name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *ESTIMATORS})
