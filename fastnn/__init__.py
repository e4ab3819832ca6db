"""fastnn: the two-layer network of "Deep Learning from Scratch", trained fast on the hardware at hand.

Importing it loads NumPy and nothing heavier: Numba and CuPy are imported when a backend needs them, and the tools of
differentiation when one of them is first used.
"""

from typing import TYPE_CHECKING, Any

from . import functions
from .backends import available_backends, get_backend
from .data import load_idx, load_mnist
from .errors import (
    BackendError,
    BackendImportError,
    BackendNotInstalledError,
    DataFileError,
    DeviceError,
    DeviceMemoryError,
    DivergenceError,
    DtypeError,
    FastnnError,
    ForeignArrayError,
    InputError,
    UnknownBackendError,
)
from .networks import SimpleNet, TwoLayerNet
from .training import History, train

if TYPE_CHECKING:
    from .differentiation import (
        GradientReport,
        gradient_check,
        gradient_descent,
        numerical_diff,
        numerical_gradient,
        numerical_gradient_rows,
    )

__version__ = "0.1.0"

__all__ = [
    "BackendError",
    "BackendImportError",
    "BackendNotInstalledError",
    "DataFileError",
    "DeviceError",
    "DeviceMemoryError",
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

#: Name → module of what is imported when it is first used.
_TOOLS = {
    "GradientReport": "differentiation",
    "gradient_check": "differentiation",
    "gradient_descent": "differentiation",
    "numerical_diff": "differentiation",
    "numerical_gradient": "differentiation",
    "numerical_gradient_rows": "differentiation",
}


def __getattr__(name: str) -> Any:
    if name not in _TOOLS:
        raise AttributeError(f"module 'fastnn' has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(f".{_TOOLS[name]}", __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_TOOLS})
