"""What a script or a session gets: fastnn's modules, the reader's own, and a word on each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from types import ModuleType

from .. import console
from ..backends import Backend, get_backend
from .acceleration import accelerate
from .choices import Choices
from .definitions import Definitions
from .finder import NETWORK, BookFinder
from .modules import book_modules
from .places import Places
from .probe import METHODS, Findings, probe

#: Takes what is said, line by line.
Report = Callable[[str], None]

#: The class that is probed.
_CLASS = "TwoLayerNet"


def reading(
    places: Places,
    *,
    backend: str | Backend,
    own: Sequence[str],
    ours: Sequence[str],
    explain: bool,
    report: Report | None,
) -> tuple[BookFinder, Definitions]:
    """What finds the book's modules for the script or the session, and the networks it defines."""
    say = to_standard_error if report is None else report
    backend = get_backend(backend)
    modules = book_modules(backend)
    choices = Choices(own, ours, modules)

    def tell(name: str, what: str, details: list[str]) -> None:
        say(f"fastnn.book: {name} is {what}")
        if explain:
            for detail in details:
                say(f"fastnn.book:     {detail}")

    def line(text: str) -> None:
        say(f"fastnn.book: {text}")

    def adopt(module: ModuleType) -> tuple[str, list[str]]:
        cls = vars(module).get(_CLASS)
        if module.__name__.rpartition(".")[2] != NETWORK or not isinstance(cls, type):
            return "", []
        if cls.__module__ != module.__name__:  # imported from elsewhere, and probed there
            return "", []
        return _put_on(cls, backend, line)

    def defined(cls: type) -> None:
        if choices.of(NETWORK) != "own":
            what, details = _put_on(cls, backend, line)
            tell(f"{_CLASS} of {cls.__module__}", f"yours, {what}", details)

    return BookFinder(modules, places, choices, adopt, tell), Definitions(_CLASS, defined)


def to_standard_error(line: str) -> None:
    """Say a line, if there is somebody to hear it."""
    with suppress(console.OutputError):
        console.write(line, error=True)


def _put_on(cls: type, backend: Backend, say: Report) -> tuple[str, list[str]]:
    """Put a reader's network on the backend, if it is the book's; what was done, and details."""
    found = probe(cls)
    if not found.activation:
        return f"as it is: {console.one_line(found.reason)}", found.details
    accelerate(cls, found, backend, say)
    return _described(found, backend), found.details


def _described(found: Findings, backend: Backend) -> str:
    units = {"relu": "ReLU", "sigmoid": "sigmoid"}[found.activation]
    kind = f"{units} units" + (" in layers" if found.held else "")
    text = f"on {backend.name}: it computes what fastnn's does ({kind})"
    if left := [name for name in METHODS if name in found.same and not found.same[name]]:
        text += f", but for {' and '.join(left)}, left as it is: {console.one_line(found.reason)}"
    return text
