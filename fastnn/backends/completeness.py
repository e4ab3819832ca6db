"""Whether a class is a whole backend: what it lacks is said when it is asked for, not in use."""

from __future__ import annotations

import inspect
from types import FunctionType
from typing import Any

from .base import Backend

_KINDS = FunctionType | classmethod | staticmethod

#: Every method of the contract, of the machine, of arrays and of the operations. An override has
#: the same parameters, so that it can be called in the same ways.
METHODS = tuple(
    name
    for part in Backend.__mro__[:-1]
    for name, member in vars(part).items()
    if isinstance(member, _KINDS) and not name.startswith("_")
)


def lacks(name: str, cls: type[Backend]) -> list[str]:
    """What a class lacks to be the backend of this name, each with what to do about it."""
    found = []
    if (given := getattr(cls, "name", None)) != name:
        what = "no name" if given is None else f"the name {given!r}"
        found.append(f"it has {what}; set the class attribute name = {name!r}")
    own = cls.__mro__[: cls.__mro__.index(Backend)]
    if not hasattr(cls, "xp") and not any("__init__" in vars(base) for base in own):
        found.append(NO_XP)
    return found + [text for method in METHODS if (text := _differs(cls, method))]


#: Of an instance, too: its class may leave it to its ``__init__``.
NO_XP = (
    "it has no xp; set the namespace of its arrays, such as xp = numpy, in the class or in __init__"
)


def instance_lacks(cls: type[Backend], created: Any) -> list[str]:
    """The same of what the class creates."""
    if not isinstance(created, Backend):
        expected = (
            f"return an instance, such as super().create(device, threads) or {cls.__name__}()"
        )
        return [f"create() gives a {type(created).__name__}; {expected}"]
    return [] if hasattr(created, "xp") else [NO_XP]


def parameters(cls: type, method: str) -> list[tuple[str, Any, Any]]:
    """Name, kind and default of each parameter, without the annotations."""
    return [(p.name, p.kind, p.default) for p in _signature(cls, method).parameters.values()]


def _differs(cls: type[Backend], method: str) -> str | None:
    member = getattr(cls, method)
    kind = inspect.getattr_static(Backend, method)
    plain = "class method" if isinstance(kind, classmethod) else "method"
    if not callable(member):
        return f"{method} is a {type(member).__name__}; make it a {plain}"
    found = inspect.getattr_static(cls, method)
    bound = classmethod | staticmethod
    if isinstance(found, bound) != isinstance(kind, bound) or isinstance(found, staticmethod):
        return f"{method} is a {type(found).__name__}; make it a {plain}"
    try:
        if parameters(cls, method) == parameters(Backend, method):
            return None
        given = f"({_listed(cls, method)})"
    except (TypeError, ValueError):  # a callable that Python cannot tell the parameters of
        given = "parameters that Python cannot tell"
    return f"{method} takes {given}; let it take ({_listed(Backend, method)})"


def _listed(cls: type, method: str) -> str:
    """The parameters as they are written, without the annotations."""
    signature = _signature(cls, method)
    plain = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
    return str(signature.replace(parameters=plain, return_annotation=signature.empty))[1:-1]


def _signature(cls: type, method: str) -> inspect.Signature:
    member = inspect.getattr_static(cls, method)
    return inspect.signature(getattr(member, "__func__", member))  # of a class method, its function
