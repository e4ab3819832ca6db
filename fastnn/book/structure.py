"""How a network of a reader's is put together: what it holds beside its parameters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

#: Values that can be told from each other by looking.
_PLAIN = (int, float, complex, str, bytes, bool, type(None), np.generic)


def parts(net: Any) -> tuple[str, ...]:
    """The attributes that hold layers, or anything that is neither plain nor an array."""
    return tuple(
        name
        for name, value in vars(net).items()
        if name != "params" and not isinstance(value, (*_PLAIN, np.ndarray))
    )


def plain_values(net: Any) -> tuple[tuple[str, Any], ...]:
    """Its attributes that are plain values, and how long those are that have a length."""
    return tuple(
        [
            (name, value if isinstance(value, _PLAIN) else _length(value))
            for name, value in vars(net).items()
        ]
    )


def _length(value: Any) -> Any:
    return len(value) if isinstance(value, list | dict | tuple | set) else None


def holders(net: Any) -> list[tuple[dict[str, Any], str, str]]:
    """Where its layers hold its parameters: (what an object holds, under which name, parameter).

    Looked for in the attributes, and in what the lists and dicts among them hold.
    """
    names = {id(p): name for name, p in net.params.items()}
    return [
        (content, attribute, names[id(value)])
        for content in _contents(net)
        for attribute, value in content.items()
        if id(value) in names
    ]


def held_parameters(net: Any) -> frozenset[str]:
    """The parameters that its layers hold."""
    return frozenset(name for _, _, name in holders(net))


def _contents(net: Any) -> Iterator[dict[str, Any]]:
    yield vars(net)
    for name, value in list(vars(net).items()):
        if name == "params":
            continue
        if isinstance(value, dict):
            values = list(value.values())
        else:
            values = list(value) if isinstance(value, list | tuple) else [value]
        for part in values:
            content = getattr(part, "__dict__", None)
            if isinstance(content, dict) and not isinstance(part, type):
                yield content
