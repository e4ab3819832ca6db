"""An optimizer: its numbers, what it remembers, and its update, which is that of a rule."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np

from ..errors import InputError
from ..functions.updates import RULES
from ..validation import Array, real_number, shown
from ..validation.updated import (
    NUMBERS,
    check_float,
    check_same_library,
    check_updated,
    copied,
    described,
    root,
    write,
    zeros_like,
)


class Optimizer:
    """What all of them share.

    A subclass that changes something is trained with one step after the other, by its ``update``.

    Attributes
    ----------
    name : str
        In :data:`OPTIMIZERS`, for ``fastnn.train(optimizer=name)``.
    lr : float
        The learning rate. A training that is given another one, or a schedule, sets it for the time
        of each step.
    weight_decay : float
        At least 0.
    """

    name: ClassVar[str]

    def __init__(self, lr: float, weight_decay: float, **hyperparameters: float) -> None:
        self.lr = real_number(lr, "lr", minimum=0)
        for name, value in hyperparameters.items():
            number = real_number(value, name, minimum=0)
            if number >= 1:
                raise InputError(f"{name}={shown(value)} is too large; give a number below 1")
            setattr(self, name, number)
        self.weight_decay = real_number(weight_decay, "weight_decay", minimum=0)
        for name in self.state_names:
            setattr(self, name, None)

    @property
    def state_names(self) -> tuple[str, ...]:
        """The attributes with what is remembered: dicts of arrays, or None before the first use."""
        return RULES[self.name].state

    @property
    def hyperparameters(self) -> dict[str, float]:
        """All numbers that it was made with, by name, as they are now."""
        names = ("lr", *RULES[self.name].hyperparameters, "weight_decay")
        return {name: getattr(self, name) for name in names}

    def __repr__(self) -> str:
        numbers = ", ".join(f"{name}={value!r}" for name, value in self.hyperparameters.items())
        return f"{type(self).__name__}({numbers})"

    # -- the update --------------------------------------------------------------------------------

    def update(self, params: dict[str, Any], grads: Mapping[str, Any]) -> None:
        """Move the parameters one step against their gradients, in place.

        Parameters
        ----------
        params : dict of str to array
            Of any floating dtype; arrays of NumPy, or of any library whose arrays can be changed in
            place. Plain floats, as in the book, are replaced in the dict.
        grads : dict of str to array
            A gradient for each of them, of its shape and dtype.

        Raises
        ------
        InputError
            If a gradient is missing or of another shape, a parameter is read-only, or the
            parameters are not those of the update before.
        DtypeError
            If parameters or gradients are not of one floating dtype, or cannot be changed.
        ForeignArrayError
            If arrays of two libraries are mixed.

        Notes
        -----
        Where it raises nothing has been changed.
        """
        for name, w in params.items():
            if name not in grads:
                raise InputError(f"grads has no {shown(name)}; give a gradient for each parameter")
            check_updated(w, grads[name], f"params[{name!r}]", f"grads[{name!r}]")
        state = self.state(params)
        rule, numbers, decay = RULES[self.name], self.numbers(), self.weight_decay
        rate = float(self.rates(np.array([self.lr]))[0])
        moved = {}
        for name, w in params.items():
            g = grads[name] + decay * w if decay else grads[name]
            remembered = tuple(state[kept][name] for kept in rule.state)
            moved[name] = rule.formula(root, w, g, remembered, rate, numbers)
        # Everything is computed before anything is changed.
        for name, (value, remembered) in moved.items():
            if isinstance(params[name], NUMBERS):
                params[name] = value
            else:
                write(params[name], value, f"params[{name!r}]")
            for kept, values in zip(rule.state, remembered, strict=True):
                state[kept][name] = values
        self.count(1)

    def numbers(self) -> tuple[float, ...]:
        """What the formula takes, from the hyperparameters as they are now."""
        rule = RULES[self.name]
        return rule.numbers(*(getattr(self, name) for name in rule.hyperparameters))

    def rates(self, rates: np.ndarray) -> np.ndarray:
        """What the formula takes for its rate in the next updates, from their learning rates."""
        return rates

    def state(self, params: Mapping[str, Any]) -> dict[str, dict[str, Array]]:
        """What is remembered of these parameters, by attribute; made if there is none yet.

        Raises
        ------
        InputError, ForeignArrayError
            If it is of other parameters.
        """
        found = {}
        for kept in self.state_names:
            found[kept] = getattr(self, kept)
            if found[kept] is None:
                found[kept] = {name: zeros_like(w) for name, w in params.items()}
            self._check_state(kept, found[kept], params)
        vars(self).update(found)
        return found

    def _check_state(self, kept: str, state: dict[str, Array], params: Mapping[str, Any]) -> None:
        for name, w in params.items():
            there: Any = state.get(name)
            plain = type(there) is type(w) is np.ndarray
            if plain and (there.shape, there.dtype) == (w.shape, w.dtype):
                continue
            what = f"{kept}[{name!r}] of this {type(self).__name__}"
            if there is None:
                raise InputError(
                    f"{what} is not there, but those of {shown(list(state))}; "
                    "take a new optimizer for other parameters"
                )
            check_same_library(w, there, f"params[{name!r}]", what)
            if described(there) != described(w):
                (shape, dtype), (expected, of) = described(there), described(w)
                raise InputError(
                    f"{what} is {dtype} of shape {shape}, and the parameter {of} of {expected}; "
                    "take a new optimizer for other parameters"
                )

    def count(self, updates: int) -> None:
        """Take note that so many updates have been made."""

    # -- what it is, as data -----------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """All that it is, as a flat dict of numbers and of copies of arrays.

        Numbers stand under their names (of Adam also ``iter``), and what is remembered under
        ``"v.W1"``: attribute, point, parameter.

        Examples
        --------
        >>> from fastnn import Momentum
        >>> optimizer, params = Momentum(), {"w": np.ones(2)}
        >>> optimizer.update(params, {"w": np.ones(2)})
        >>> optimizer.state_dict()["v.w"]
        array([-0.01, -0.01])
        """
        return self._numbers() | {
            f"{kept}.{name}": copied(a)
            for kept in self.state_names
            for name, a in (getattr(self, kept) or {}).items()
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Become what :meth:`state_dict` of an optimizer of this kind gave; arrays are copied.

        They have to be of the library, the device and the dtype of the parameters to come.

        Raises
        ------
        InputError, DtypeError
            If an entry is missing, unknown or impossible; nothing has been changed then.

        Examples
        --------
        >>> from fastnn import Adam
        >>> optimizer = Adam()
        >>> optimizer.load_state_dict(Adam(lr=0.1).state_dict())
        >>> optimizer
        Adam(lr=0.1, beta1=0.9, beta2=0.999, epsilon=1e-07, weight_decay=0.0)
        """
        kept: dict[str, dict[str, Array]] = {name: {} for name in self.state_names}
        numbers = {}
        for key, value in state.items():
            attribute, point, name = str(key).partition(".")
            if not point:
                numbers[key] = value
            elif attribute in kept:
                check_float(value, key)
                kept[attribute][name] = copied(value)
            else:
                raise InputError(f"a {type(self).__name__} remembers no {shown(key)}")
        if len({frozenset(arrays) for arrays in kept.values()}) > 1:
            raise InputError(
                f"{' and '.join(kept)} are of different parameters; give all that state_dict() gave"
            )
        if numbers.keys() != (expected := self._numbers().keys()):
            raise InputError(
                f"the state has the numbers {shown(sorted(numbers))}; "
                f"those of a {type(self).__name__} are {', '.join(expected)}"
            )
        self._load_numbers(numbers)
        vars(self).update({name: arrays or None for name, arrays in kept.items()})

    def _numbers(self) -> dict[str, Any]:
        return dict(self.hyperparameters)

    def _load_numbers(self, numbers: dict[str, Any]) -> None:
        checked = object.__new__(type(self))
        Optimizer.__init__(checked, **numbers)
        vars(self).update(checked.hyperparameters)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        made = memo[id(self)] = object.__new__(type(self))
        for name, value in vars(self).items():
            arrays = name in self.state_names and value is not None
            # Not every library lets its arrays be copied by Python.
            made.__dict__[name] = (
                {key: copied(a) for key, a in value.items()}
                if arrays
                else copy.deepcopy(value, memo)
            )
        return made
