"""Large layers: the product is cuBLAS's, and one pass over its result does the rest."""

from __future__ import annotations

from typing import Any

from ...validation import Array
from ..base import Backend
from ..support import supported
from .kernels import Kernels
from .support import SUPPORT


class LargeLayers(Backend):
    """The operations with products of matrices, of any size.

    Attributes
    ----------
    xp : module
        CuPy.
    kernels : Kernels
    """

    xp: Any
    kernels: Kernels

    @supported(SUPPORT["large layers"])
    def dense(
        self,
        x: Array,
        W: Array,
        b: Array,
        activation: str = "identity",
        *,
        out: Array | None = None,
    ) -> Array:
        out = self.xp.empty((len(x), W.shape[1]), W.dtype) if out is None else out
        self.xp.matmul(x, W, out=out)
        self.kernels.add_and_activate(out, b, activation)
        return out

    @supported(SUPPORT["large layers"])
    def dense_backward(
        self, delta: Array, W: Array, z: Array, activation: str, *, out: Array | None = None
    ) -> Array:
        out = self.xp.empty(z.shape, z.dtype) if out is None else out
        self.xp.matmul(delta, W.T, out=out)
        if activation != "identity":
            self.kernels.multiply_by_derivative(out, z, activation)
        return out
