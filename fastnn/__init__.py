"""fastnn: the two-layer network of "Deep Learning from Scratch", fast on the hardware at hand.

Importing it loads NumPy and nothing heavier: Numba and CuPy are imported when a backend needs them,
and the tools of differentiation when one of them is first used.
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
    HostMemoryError,
    InputError,
    UnknownBackendError,
)
from .history import History
from .networks import SimpleNet, TwoLayerNet
from .training import train

if TYPE_CHECKING:
    from . import plotting
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
    "HostMemoryError",
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
    "plotting",
    "train",
]

#: What is imported when it is first used: name → module, and the name in it or None for the module
#: itself.
_LAZY: dict[str, tuple[str, str | None]] = {
    "GradientReport": ("differentiation", "GradientReport"),
    "gradient_check": ("differentiation", "gradient_check"),
    "gradient_descent": ("differentiation", "gradient_descent"),
    "numerical_diff": ("differentiation", "numerical_diff"),
    "numerical_gradient": ("differentiation", "numerical_gradient"),
    "numerical_gradient_rows": ("differentiation", "numerical_gradient_rows"),
    "plotting": ("plotting", None),
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'fastnn' has no attribute {name!r}")
    from importlib import import_module

    module_name, attribute = _LAZY[name]
    module = import_module(f".{module_name}", __name__)
    value = globals()[name] = module if attribute is None else getattr(module, attribute)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
