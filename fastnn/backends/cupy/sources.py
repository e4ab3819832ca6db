"""The CUDA sources: what is compiled together, for which types, with which constants."""

from __future__ import annotations

from importlib.resources import files
from typing import NamedTuple

import numpy as np

from ...functions import LOG_GUARD
from ..incremental import SERIES_BOUND
from ..loss_ratios import LARGEST_EXPONENT

#: The C++ names of the dtypes.
TYPES = {np.dtype(np.float32): "float", np.dtype(np.float64): "double"}

OPTIONS = (
    "-std=c++17",
    f"-DLOG_GUARD={LOG_GUARD!r}",
    f"-DSERIES_BOUND={SERIES_BOUND!r}",
    f"-DLARGEST_EXPONENT={LARGEST_EXPONENT!r}",
)


class Sources(NamedTuple):
    """Files of ``cuda/`` that are compiled together, and the kernels that they are compiled for.

    Attributes
    ----------
    names : tuple of str
    templates : tuple of str
        Every kernel with its template arguments, where T stands for the network's type.
    cooperative : bool
        Whether the blocks of these kernels wait for one another, and are launched accordingly.
    capability : int
        The least compute capability that they are for, times ten.
    """

    names: tuple[str, ...]
    templates: tuple[str, ...]
    cooperative: bool = False
    capability: int = 0

    def source(self) -> str:
        """The kernels, CUDA C++ for NVRTC, in ASCII: CuPy writes it in the locale's encoding."""
        folder = files(__package__).joinpath("cuda")
        texts = (
            f'#line 1 "{name}"\n' + folder.joinpath(name).read_text(encoding="utf-8")
            for name in self.names
        )
        return "".join(texts).encode("ascii", "ignore").decode("ascii")

    @property
    def expressions(self) -> list[str]:
        """The kernels by their names in C++."""
        return sorted({t.replace("T", name) for t in self.templates for name in TYPES.values()})


#: What is compiled, each when a kernel of it is first called.
MODULES = {
    "kernels": Sources(
        (
            "common.cu",
            "layers.cu",
            "loss.cu",
            "outputs.cu",
            "step.cu",
            "evaluation.cu",
            "differences.cu",
            "expansion.cu",
            "assembly.cu",
            "replaying.cu",
        ),
        (
            "add_and_activate<T>",
            "assemble<T, false>",
            "assemble<T, true>",
            "begin",
            "coefficients<T>",
            "collect<T>",
            "dense<T, T>",
            "dense<T, double>",
            "dense_backward<T>",
            "dense_gradient<T, false>",
            "dense_gradient<T, true>",
            "descent<T>",
            "expand<T>",
            "fetch",
            "hidden_differences<T>",
            "loss_gradient<T>",
            "multiply_by_derivative<T>",
            "network<T>",
            "output_differences<T>",
            "pass<T>",
            "sum<T>",
            "update<T>",
        ),
    ),
    "cooperative": Sources(
        ("common.cu", "outputs.cu", "grid.cu", "matrix.cu", "cooperative.cu"),
        ("train<T>",),
        cooperative=True,
        capability=80,  # from which on there are products of matrices for both types
    ),
}
