"""A backend has the methods of the contract, as the contract has them."""

import inspect
from difflib import get_close_matches

from ..base import Backend
from ..completeness import METHODS, lacks, parameters


def overrides(cls):
    """The public names that a backend's classes define themselves."""
    own = cls.__mro__[: cls.__mro__.index(Backend)]
    return sorted({name for c in own for name in vars(c) if not name.startswith("_")})


def test_a_backend_is_complete(backend):
    assert lacks(type(backend).name, type(backend)) == []


def test_an_override_has_the_signature_of_the_reference(backend):
    cls = type(backend)
    for name in overrides(cls):
        if not hasattr(Backend, name):
            continue
        expected, found = inspect.getattr_static(Backend, name), inspect.getattr_static(cls, name)
        if name in METHODS:
            assert type(found) is type(expected), f"{name} is a {type(found).__name__}"
            assert parameters(cls, name) == parameters(Backend, name), name
        else:  # an attribute of the class, or a property
            assert not inspect.isfunction(found), f"{name} is an attribute, not a method"


def test_no_method_is_misspelt(backend):
    """What a backend has besides the contract is its own affair, unless meant as an override."""
    for name in overrides(type(backend)):
        if not hasattr(Backend, name):
            close = get_close_matches(name, METHODS, 1, 0.85)
            assert not close, f"{name} is not in the contract; is it {close[0]}?"
