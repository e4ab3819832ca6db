"""Support tables: what an override can do. Whatever is not in its table goes to the reference.

A table stands beside the overrides and is consulted here, in one place, so that no override asks
for itself and none can forget to::

    SUPPORT = {"dense": Support(activation=("sigmoid", "relu"), contiguous=("W",)), ...}

    class MyBackend(Backend):
        @supported(SUPPORT["dense"])
        def dense(self, x, W, b, activation="identity", *, out=None):
            ...  # only ever called for what the table lists
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from functools import cache, wraps
from typing import Any, TypeVar

from .datasets import Dataset
from .steps import TrainingStep

F = TypeVar("F", bound=Callable[..., Any])


class Support:
    """What one override can do.

    Parameters
    ----------
    contiguous : tuple of str
        Which of its arrays have to be C-contiguous.
    sizes : tuple of (callable, int)
        Sizes of a call, computed from all its arguments by name, and the largest that is taken of
        each.
    data : type, optional
        For training: the datasets that can be trained on.
    values : containers by the name of an argument, or of what a training step chooses
        What it may be.
    """

    def __init__(
        self,
        *,
        contiguous: tuple[str, ...] = (),
        sizes: tuple[tuple[Callable[..., float], float], ...] = (),
        data: type = Dataset,
        **values: Container,
    ) -> None:
        self.contiguous = contiguous
        self.sizes = sizes
        self.data = data
        self.values = values

    def covers(self, arguments: Mapping[str, Any]) -> bool:
        """Whether a call with these arguments is in the table."""
        for name, allowed in self.values.items():
            if name in arguments and arguments[name] not in allowed:
                return False
        for name in self.contiguous:
            if not arguments[name].flags.c_contiguous:
                return False
        return all(size(**arguments) <= largest for size, largest in self.sizes)

    def covers_step(self, step: TrainingStep) -> bool:
        """Whether such steps are in the table: of what it does not name, nothing may be asked."""
        asked = step.choices
        choices = {name: value for name, value in asked.items() if value is not None}
        if not choices.keys() <= self.values.keys():
            return False
        others = {name: value for name, value in vars(step).items() if name not in asked}
        return isinstance(step.data, self.data) and self.covers(
            {**others, **step.params, **choices}
        )


def supported(support: Support, *, composed: bool = False) -> Callable[[F], F]:
    """Decorate an override, which is called for what `support` covers.

    For everything else the method that it overrides is called. If that is `composed` of other
    operations, they may read what only overrides do.
    """

    def decorate(method: Any) -> Any:
        names = method.__code__.co_varnames[1 : method.__code__.co_argcount]
        name, covers = method.__name__, support.covers
        defaults = dict(zip(reversed(names), reversed(method.__defaults__ or ()), strict=False))
        # A call costs a microsecond: no dict is made of it where no size is to be computed from it.
        values = [(names.index(key), allowed) for key, allowed in support.values.items()]
        contiguous = [names.index(key) for key in support.contiguous]

        count = -1 if support.sizes else len(names)

        @wraps(method)
        def run(backend: Any, *arguments: Any, **options: Any) -> Any:
            if len(arguments) == count:
                for place, allowed in values:
                    if arguments[place] not in allowed:
                        break
                else:
                    for place in contiguous:
                        if not arguments[place].flags.c_contiguous:
                            break
                    else:
                        return method(backend, *arguments, **options)
            elif covers(defaults | dict(zip(names, arguments, strict=False)) | options):
                return method(backend, *arguments, **options)
            # What only the override reads, such as compressed rows, becomes what the reference
            # reads.
            if not composed:
                arguments = tuple(a.gathered() if hasattr(a, "gathered") else a for a in arguments)
            overridden = getattr(super(_owner(backend.__class__, run), backend), name)
            return overridden(*arguments, **options)

        return run

    return decorate


@cache
def _owner(cls: Any, override: Any) -> Any:
    """The class that has this override, of `cls` and those that it is derived from."""
    for owner in cls.__mro__:
        method = vars(owner).get(override.__name__)
        while method is not None:
            if method is override:
                return owner
            method = getattr(method, "__wrapped__", None)
    raise TypeError(f"{override.__qualname__} is no method of {cls.__name__}")
