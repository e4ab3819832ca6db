"""Which optimizer a training has, and what is known of it."""

from __future__ import annotations

import copy
from typing import Any

from ..errors import DtypeError, InputError
from ..validation import choice, has_its_methods, kind, real_number, shown
from .base import Optimizer
from .book import OPTIMIZERS, SGD

#: The learning rate of the book's training loop.
BOOKS_RATE = 0.1


def chosen(optimizer: Any, learning_rate: Any) -> tuple[Any, Any]:
    """The optimizer of a training and its learning rate: that one or, if it is None, its own.

    The rate may also be a schedule.

    An object is taken as it is, of a name a new one is made, and None is SGD, at the book's 0.1.

    Raises
    ------
    InputError, DtypeError
        If the name is not known, the object has no ``update``, or a rate is given to one that has
        none.
    """
    if optimizer is None:
        return SGD(), BOOKS_RATE if learning_rate is None else learning_rate
    if isinstance(optimizer, str):
        optimizer = OPTIMIZERS[choice(optimizer, "optimizer", OPTIMIZERS)]()
    if isinstance(optimizer, type) or not callable(getattr(optimizer, "update", None)):
        raise DtypeError(
            f"optimizer={shown(optimizer)} has no update(params, grads); "
            f"give an object such as fastnn.Adam(), or one of {', '.join(map(repr, OPTIMIZERS))}"
        )
    own = getattr(optimizer, "lr", None)
    if learning_rate is None:
        return optimizer, 0.0 if own is None else real_number(own, "optimizer.lr", minimum=0)
    if own is None:
        raise InputError(
            f"learning_rate={shown(learning_rate)} cannot be set: a {kind(optimizer)} has no "
            "attribute lr; leave learning_rate out"
        )
    return optimizer, learning_rate


class Still:
    """Moves nothing."""

    def update(self, params: dict[str, Any], grads: dict[str, Any]) -> None:
        pass


def rehearsing(optimizer: Any) -> Any:
    """What to rehearse a step with, so that the optimizer does not notice.

    That is a copy or, of what may do anything, something that moves nothing.
    """
    return Still() if stated(optimizer) is None else copy.deepcopy(optimizer)


def stated(optimizer: Any) -> Optimizer | None:
    """The optimizer, if its rule is known by its name; None for what may do anything."""
    ours = type(optimizer) in OPTIMIZERS.values()
    return optimizer if ours and has_its_methods(optimizer, Optimizer) else None


def plain_rate(optimizer: Any) -> float | None:
    """The learning rate of a plain gradient descent; None for everything else."""
    plain = (
        type(optimizer) is SGD and not optimizer.weight_decay and "update" not in vars(optimizer)
    )
    return optimizer.lr if plain else None
