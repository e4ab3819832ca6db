"""Networks that a script or a notebook defines itself: they are met where they are defined.

Python makes each class by ``builtins.__build_class__``. While this is on, one of the name
``TwoLayerNet`` in the main module is handed on when the first object is made of it: what its
methods use may be defined below it.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable
from functools import wraps
from typing import Any

#: Its own types do not allow for another way to make classes.
_builtins: Any = builtins


class Definitions:
    """Hands on the classes of one name that the main module defines.

    Parameters
    ----------
    name : str
    adopt : callable
        Takes each class, before its first object is made.
    """

    def __init__(self, name: str, adopt: Callable[[type], None]) -> None:
        self._name = name
        self._adopt = adopt
        self._before: Any = None

    def start(self) -> None:
        """Begin to look at what is defined."""
        before = self._before = _builtins.__build_class__

        @wraps(before)
        def build(function: Any, name: str, *bases: Any, **options: Any) -> Any:
            made = before(function, name, *bases, **options)
            if name == self._name and isinstance(made, type) and made.__module__ == "__main__":
                self._hand_on_later(made)
            return made

        _builtins.__build_class__ = self._ours = build

    def stop(self) -> None:
        """End it."""
        if _builtins.__build_class__ is self._ours:
            _builtins.__build_class__ = self._before

    def _hand_on_later(self, cls: Any) -> None:
        original = vars(cls).get("__init__")
        if original is None:  # derived from a class that has one, and from a network perhaps
            return

        @wraps(original)
        def first(net: Any, *arguments: Any, **options: Any) -> None:
            if vars(cls).get("__init__") is first:
                cls.__init__ = original
                if type(net) is cls:
                    self._adopt(cls)
            cls.__init__(net, *arguments, **options)

        cls.__init__ = first
