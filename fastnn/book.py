"""Run a script written for the book as it stands: ``python -m fastnn.book SCRIPT.py [--backend numba]``.

The book's scripts import their tools from modules that lie beside them: ``common.functions``, ``common.gradient``,
``common.layers``, ``dataset.mnist`` and ``two_layer_net``. Here these names lead to fastnn's, whatever lies beside the
script, so that the ``TwoLayerNet`` of a script, its numerical gradient included, runs on the backend that was chosen. What
the book has beyond that is not provided, and importing it says so.

Where there is no display, ``plt.show()`` saves the figures to the current directory and says where.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import os
import runpy
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import numpy as np

from . import functions
from .backends import Backend, get_backend
from .book_layers import Affine, Relu, Sigmoid, SoftmaxWithLoss, softmax_loss
from .data import load_mnist
from .differentiation import numerical_gradient, numerical_gradient_rows
from .errors import FastnnError
from .networks import TwoLayerNet
from .validation import Array

#: What ``from common.functions import *`` brings into a script; the book's scripts count on NumPy being among it.
_FUNCTIONS = {
    "np": np,
    "softmax_loss": softmax_loss,
    **{
        name: getattr(functions, name)
        for name in (
            "identity_function",
            "step_function",
            "sigmoid",
            "sigmoid_grad",
            "relu",
            "relu_grad",
            "softmax",
            "mean_squared_error",
            "sum_squared_error",
            "cross_entropy_error",
        )
    },
}


def book_modules(backend: Backend) -> dict[str, dict[str, Any]]:
    """What the book's modules hold, by the module's name, for this backend."""

    class BookTwoLayerNet(TwoLayerNet):
        """fastnn's network behind the book's constructor, whose weights come from ``numpy.random.randn`` as in the book."""

        def __init__(self, input_size: int, hidden_size: int, output_size: int, weight_init_std: float = 0.01) -> None:
            super().__init__(input_size, hidden_size, output_size, weight_init_std, backend=backend)
            for name in ("W1", "W2"):
                weights = weight_init_std * np.random.randn(*self.params[name].shape)  # noqa: NPY002
                self.params[name] = backend.asarray(weights)

        def predict(self, x: Any) -> Array:
            """The class probabilities, always as a NumPy array, for a script that goes on computing with them."""
            return backend.to_numpy(super().predict(x))

    BookTwoLayerNet.__name__ = BookTwoLayerNet.__qualname__ = "TwoLayerNet"
    layers = {"Affine": Affine, "Relu": Relu, "Sigmoid": Sigmoid, "SoftmaxWithLoss": SoftmaxWithLoss}
    return {
        "common": {},
        "common.functions": _FUNCTIONS,
        "common.gradient": {"np": np, "numerical_gradient": numerical_gradient, "numerical_gradient_2d": _numerical_gradient_2d},
        "common.layers": _FUNCTIONS | layers,
        "dataset": {},
        "dataset.mnist": {"np": np, "load_mnist": load_mnist},
        "two_layer_net": {"TwoLayerNet": BookTwoLayerNet},
    }


def _numerical_gradient_2d(f: Any, X: Array) -> Array:
    """The gradient at a point, or at each row of `X` as a point of its own."""
    return numerical_gradient(f, X) if X.ndim == 1 else numerical_gradient_rows(f, X)


class _BookFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Answers for the book's modules before Python looks on disk."""

    def __init__(self, modules: dict[str, dict[str, Any]]) -> None:
        self._modules = modules
        self.packages = {name.partition(".")[0] for name in modules}

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if fullname.partition(".")[0] not in self.packages:
            return None
        if fullname not in self._modules:
            provided = ", ".join(name for name, content in self._modules.items() if content)
            raise ModuleNotFoundError(f"fastnn.book does not provide {fullname}; it provides {provided}", name=fullname)
        return importlib.machinery.ModuleSpec(fullname, self, origin="fastnn.book", is_package=not self._modules[fullname])

    def exec_module(self, module: ModuleType) -> None:
        content = self._modules[module.__name__]

        def missing(name: str) -> Any:
            if name.startswith("__"):  # Python itself is looking for something optional
                raise AttributeError(name)
            known = sorted(content) or [n for n in self._modules if n.startswith(f"{module.__name__}.")]
            raise ImportError(f"fastnn.book's {module.__name__} has no {name}; it has {', '.join(known)}", name=module.__name__)

        module.__dict__.update(content, __all__=list(content), __getattr__=missing)


@contextmanager
def _prepared(script: Path, arguments: Sequence[str], backend: Backend) -> Iterator[None]:
    """The interpreter as the script expects it, and as it was afterwards."""
    finder = _BookFinder(book_modules(backend))
    saved = sys.argv, sys.path[:], sys.meta_path[:], os.environ.get("MPLBACKEND")

    def forget() -> None:
        for name in [name for name in sys.modules if name.partition(".")[0] in finder.packages]:
            del sys.modules[name]

    forget()
    sys.argv = [str(script), *arguments]
    sys.path.insert(0, str(script.parent))  # as Python does for a script
    sys.meta_path.insert(0, finder)
    if not _has_display():
        os.environ["MPLBACKEND"] = "module://fastnn.book_figures"  # read by Matplotlib if the script imports it
    try:
        yield
    finally:
        forget()
        sys.argv, sys.path[:], sys.meta_path[:] = saved[:3]
        if saved[3] is None:
            os.environ.pop("MPLBACKEND", None)
        else:
            os.environ["MPLBACKEND"] = saved[3]


def _has_display() -> bool:
    chosen = os.environ.get("MPLBACKEND", "agg").lower() != "agg"
    return chosen or sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def run_script(
    script: str | os.PathLike[str], *, backend: str | Backend = "numpy", arguments: Sequence[str] = ()
) -> dict[str, Any]:
    """Run a script of the book's on a backend.

    Parameters
    ----------
    script : path
    backend : str or Backend
        What the script's ``TwoLayerNet`` runs on, as for :func:`fastnn.get_backend`.
    arguments : sequence of str
        What the script finds in ``sys.argv`` after its own name.

    Returns
    -------
    dict
        The script's global names.

    Raises
    ------
    ImportError
        If the script imports from one of the book's modules what is not provided; the message lists what is.
    """
    path = Path(script)
    with _prepared(path, arguments, get_backend(backend)):
        return runpy.run_path(str(path), run_name="__main__")


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("script", type=click.Path(exists=True, dir_okay=False))
@click.argument("arguments", nargs=-1)
@click.option("--backend", default="numpy", show_default=True, help="numpy, numba, cupy, cupy:1, ... or auto.")
def main(script: str, arguments: tuple[str, ...], backend: str) -> None:
    """Run SCRIPT, written for the book "Deep Learning from Scratch", with fastnn in place of the book's modules.

    ARGUMENTS go to the script; put them after -- if they start with a dash.
    """
    try:
        chosen = get_backend(backend)
    except FastnnError as error:
        raise click.ClickException(str(error)) from error
    run_script(script, backend=chosen, arguments=arguments)


if __name__ == "__main__":
    main(prog_name="python -m fastnn.book")
