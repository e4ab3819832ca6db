"""fastnn: the two-layer network of "Deep Learning from Scratch", trained fast on the hardware at hand.

Importing it loads NumPy and nothing heavier: Numba and CuPy are imported when a backend needs them.
"""

from . import functions
from .backends import available_backends, get_backend
from .datasets import load_idx, load_mnist
from .differentiation import gradient_descent, numerical_diff, numerical_gradient, numerical_gradient_rows
from .errors import (
    BackendError,
    BackendImportError,
    BackendNotInstalledError,
    DataFileError,
    DeviceError,
    DivergenceError,
    DtypeError,
    FastnnError,
    ForeignArrayError,
    InputError,
    UnknownBackendError,
)
from .gradient_check import GradientReport, gradient_check
from .networks import SimpleNet, TwoLayerNet
from .training import History, train

__version__ = "0.1.0"

__all__ = [
    "BackendError",
    "BackendImportError",
    "BackendNotInstalledError",
    "DataFileError",
    "DeviceError",
    "DivergenceError",
    "DtypeError",
    "FastnnError",
    "ForeignArrayError",
    "GradientReport",
    "History",
    "InputError",
    "SimpleNet",
    "TwoLayerNet",
    "UnknownBackendError",
    "available_backends",
    "functions",
    "get_backend",
    "gradient_check",
    "gradient_descent",
    "load_idx",
    "load_mnist",
    "numerical_diff",
    "numerical_gradient",
    "numerical_gradient_rows",
    "train",
]
