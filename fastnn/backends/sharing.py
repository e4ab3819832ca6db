"""One instance of a backend in a process for the same class and arguments.

Also for what was pickled elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

T = TypeVar("T")

_instances: dict[Any, Any] = {}


def shared(cls: type[T], *arguments: Any, **options: Any) -> T:
    """The instance for these arguments: the first one made, whichever threads ask at once."""
    key = cls, arguments, tuple(sorted(options.items()))
    found = _instances.get(key)
    return _instances.setdefault(key, cls(*arguments, **options)) if found is None else found


def recreated(cls: type[T], arguments: tuple[Any, ...], options: Mapping[str, Any]) -> T:
    """What a pickled backend becomes: this process's instance, if the arguments can tell which."""
    try:
        hash((arguments, tuple(options.values())))
    except TypeError:
        return cls(*arguments, **options)
    return shared(cls, *arguments, **options)
