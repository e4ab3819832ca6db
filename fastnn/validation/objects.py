"""Objects of a caller's that may be ours, and may have been changed."""

from __future__ import annotations

from typing import Any


def has_its_methods(thing: Any, cls: type) -> bool:
    """Whether an object has the methods that `cls` gives it, and no others in their place.

    Examples
    --------
    >>> class A:
    ...     def update(self): ...
    >>> a = A()
    >>> has_its_methods(a, A)
    True
    >>> a.update = print
    >>> has_its_methods(a, A)
    False
    """
    return not vars(thing).keys() & vars(cls).keys()
