"""Importing the book's modules: a reader's own files first, and fastnn's where there are none."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

from .choices import Choices
from .places import Places

#: What is told of a module: its name, what became of it, and more for who asks.
Tell = Callable[[str, str, list[str]], None]

#: What is done with a module of the reader's own once it is loaded: what became of it, and details.
Adopt = Callable[[ModuleType], tuple[str, list[str]]]

#: The module with the network, wherever in a reader's folders it is.
NETWORK = "two_layer_net"


class BookFinder(MetaPathFinder, Loader):
    """Finds the book's modules by name.

    Parameters
    ----------
    modules : dict of str to dict
        fastnn's: name → content, as :func:`fastnn.book.modules.book_modules` gives it. One that
        holds nothing is a package.
    places : Places
        Where the reader's own files are.
    choices : Choices
        Of which modules the reader has said whose they shall be.
    adopt : callable
        Called with each module of the reader's own that has a network in it.
    tell : callable
    """

    def __init__(
        self,
        modules: dict[str, dict[str, Any]],
        places: Places,
        choices: Choices,
        adopt: Adopt,
        tell: Tell,
    ) -> None:
        self._modules = modules
        self.places = places
        self._choices = choices
        self._adopt = adopt
        self._tell = tell
        self.packages = {name.partition(".")[0] for name in modules}

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """The module's specification; None if it is none of the book's.

        Raises
        ------
        ModuleNotFoundError
            If neither the reader has the module nor fastnn.
        """
        last = fullname.rpartition(".")[2]
        if fullname.partition(".")[0] not in self.packages and last != NETWORK:
            return None
        chosen = self._choices.of(fullname)
        provided = fullname in self._modules
        own = None
        if chosen != "ours" or not provided:
            own = self._own(fullname, path)
        if own is not None and own.loader is not None:
            own.loader = OwnLoader(own.loader, self._loaded)
            return own
        if provided and chosen != "own":
            is_package = not self._modules[fullname]
            return ModuleSpec(fullname, self, origin="fastnn.book", is_package=is_package)
        if own is not None or fullname.partition(".")[0] not in self.packages:
            return own
        raise ModuleNotFoundError(self._missing(fullname, chosen), name=fullname)

    def _own(self, fullname: str, path: Any) -> ModuleSpec | None:
        """The reader's own file or folder of this name."""
        where = self.places.entries() if path is None else list(path)
        parent = fullname.rpartition(".")[0]
        if parent in self._modules and getattr(sys.modules.get(parent), "__loader__", 0) is self:
            # As for a package without a file, whose folders may come to the path later.
            where = [os.path.join(entry, parent) for entry in self.places.entries()]  # noqa: PTH118
        return PathFinder.find_spec(fullname, where) if where else None

    def _missing(self, fullname: str, chosen: str) -> str:
        if chosen == "own":
            return f"there is no {fullname} of your own beside the script"
        provided = ", ".join(name for name, content in self._modules.items() if content)
        return (
            f"fastnn.book does not provide {fullname}; it provides {provided}, "
            "and there is none beside the script"
        )

    # -- filling modules ---------------------------------------------------------------------------

    def exec_module(self, module: ModuleType) -> None:
        """Fill a module of fastnn's, and have it say what it holds when asked for anything else."""
        name = module.__name__
        content = self._modules[name]
        is_package = not content

        def missing(attribute: str) -> Any:
            if attribute.startswith("_"):  # somebody is looking for something optional
                raise AttributeError(attribute)
            full = f"{name}.{attribute}"
            if is_package:
                try:
                    return import_module(full)
                except ModuleNotFoundError as error:
                    if error.name != full:
                        raise
            known = sorted(content) or [m for m in self._modules if m.startswith(f"{name}.")]
            message = f"fastnn.book's {name} has no {attribute}; it has {', '.join(known)}"
            raise ImportError(message, name=name) from None

        module.__dict__.update(content, __all__=list(content), __getattr__=missing)
        if content:
            chosen = self._choices.of(name) == "ours"
            why = "as you asked" if chosen else "there is none beside the script"
            self._tell(name, f"fastnn's: {why}", [f"it holds {', '.join(sorted(content))}"])

    def _loaded(self, module: ModuleType) -> None:
        """Say of a module of the reader's own what becomes of it."""
        name, file = module.__name__, getattr(module, "__file__", None)
        if hasattr(module, "__path__") and not _holds_something(module):
            return
        what, details = f"yours ({file})", [f"it was found as {file}"]
        if self._choices.of(name) == "own":
            what += ", as it is, as you asked"
        elif (adopted := self._adopt(module))[0]:
            what += f", {adopted[0]}"
            details += adopted[1]
        self._tell(name, what, details)


class OwnLoader(Loader):
    """Loads a module of the reader's as Python does, and hands it on when it is there."""

    def __init__(self, loader: Any, loaded: Callable[[ModuleType], None]) -> None:
        self._loader = loader
        self._loaded = loaded

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        self._loaded(module)


def _holds_something(package: ModuleType) -> bool:
    return any(not name.startswith("_") for name in vars(package))
