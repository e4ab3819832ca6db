"""The numerical gradient of a network: its methods, their steps, and what is checked of both."""

from __future__ import annotations

import math
import warnings
from typing import Any, ClassVar

import numpy as np

from .doors import Doors
from .errors import InputError
from .functions import DEFAULT_STEP
from .validation import Array, check_finite, choice, real_number

#: The step that suits the incremental numerical gradient, which computes in float64 and takes no
#: difference of rounded losses: truncation, of the order of h², is no more than rounding.
INCREMENTAL_STEP = float(np.finfo(np.float64).eps) ** (1 / 2)


class NumericalNetwork(Doors):
    """A network that has a loss: the derivatives of that, by central differences alone."""

    def _loss(self, x: Array, t: Array) -> Array:
        """The loss on checked samples and targets: a scalar that stays with the backend."""
        raise NotImplementedError

    def numerical_gradient(
        self, x: Any, t: Any, h: float | str = DEFAULT_STEP, method: str | None = None
    ) -> dict[str, Array]:
        """The gradient of the loss by central differences with step `h`.

        For each parameter w that is (L(w + h) − L(w − h)) / 2h.

        Parameters
        ----------
        x, t : array_like
            As for :meth:`loss`.
        h : float or "auto"
            The step. ``"auto"`` suits what the method computes in: for ``"full"`` it is that of
            :func:`fastnn.numerical_gradient` for the network's dtype, for ``"incremental"`` √ε of
            float64, 1.5e-8.
        method : {"full", "incremental"}, optional
            ``"full"`` is the book's loop: two evaluations of the loss on all samples for each
            parameter. ``"incremental"``, which a :class:`TwoLayerNet` has, evaluates again only
            what each parameter changes, in float64 whatever the dtype, and is exact to rounding. By
            default the fastest that the network has.

        Returns
        -------
        dict of str to array
            One gradient for each entry of `params`, under its name and of its shape.

        Raises
        ------
        InputError
            If `h` is not positive and finite, or so small that adding it to a parameter changes
            nothing; or if a parameter is not finite. The parameters are as before then, as they are
            when the loss raises.

        Warns
        -----
        RuntimeWarning
            If rounding of the loss drowns the result of the method ``"full"``, as in float32 with h
            = 1e-4; or if the loss or the result is beyond the range of the dtype.
        """
        method = self.default_method if method is None else choice(method, "method", self._methods)
        step = self._step(h, method)
        with self.backend.current():
            x, t = self._enter_samples_and_targets(x, t)
            self._check_separate()
            self._check_steps(step, method)
            gradients = self._differences(method, x, t, step)[1]
            self._warn_unless_finite(gradients)
            return gradients

    def _warn_unless_finite(self, gradients: dict[str, Array]) -> None:
        names = [name for name, g in gradients.items() if not self.backend.all_finite(g)]
        if names:
            warnings.warn(
                f"the numerical gradient of {', '.join(names)} is not finite: it, or the loss, is "
                f"beyond the range of {self.dtype}; scale x, or use a network of dtype 'float64'",
                RuntimeWarning,
                stacklevel=3,
            )

    def _step(self, h: float | str, method: str) -> float | str:
        if isinstance(h, str) and h == "auto":
            return h if method == "full" else INCREMENTAL_STEP
        return real_number(h, "h", above=0)

    def _check_steps(self, h: float | str, method: str) -> None:
        """Raise unless every entry of every parameter is finite and moves by a step of `h`."""
        sizes = [*map(self.backend.largest, self.params.values())]
        if not all(map(math.isfinite, sizes)):
            for name, parameter in self.params.items():
                check_finite(parameter, f"params[{name!r}]", self.backend.xp)
        if isinstance(h, str):
            return
        computes_in = self.dtype.type if method == "full" else float
        for name, w in zip(self.params, map(computes_in, sizes), strict=True):
            if w + h == w:
                raise InputError(
                    f"h={h:g} is too small: there is an entry w of {name} "
                    f"for which w + h == w in {np.dtype(computes_in)}"
                )

    #: The methods of the numerical gradient by name, fastest last: (x, t, h) → the loss and its
    #: central differences.
    _methods: ClassVar[dict[str, str]] = {"full": "_full_differences"}

    def _differences(
        self, method: str, x: Array, t: Array, h: float | str
    ) -> tuple[Array, dict[str, Array]]:
        return getattr(self, self._methods[method])(x, t, h)

    def _full_differences(
        self, x: Array, t: Array, h: float | str
    ) -> tuple[Array, dict[str, Array]]:
        """The loss and its central differences by the book's loop.

        The parameters are restored whatever happens.
        """
        # A fifth of the time that `import fastnn` would take.
        from .differentiation.gradient import of_loss

        def loss(_: Array) -> Array:
            return self._loss(x, t)

        xp = self.backend.xp
        value = self._loss(x, t)
        return value, {
            name: of_loss(loss, parameter, h=h, xp=xp) for name, parameter in self.params.items()
        }

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods that :meth:`numerical_gradient` has for this network."""
        return tuple(self._methods)

    @property
    def default_method(self) -> str:
        """The fastest of them."""
        return self.methods[-1]

    @property
    def _training_h(self) -> float | str:
        """The step of the numerical gradient in training: the book's, or "auto".

        It is "auto" where rounding of the loss would drown what the book's gives.
        """
        return (
            "auto" if self.default_method == "full" and self.dtype != np.float64 else DEFAULT_STEP
        )
