"""Importing the book's modules: a finder that answers for them before Python looks on disk."""

from __future__ import annotations

from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


class BookFinder(MetaPathFinder, Loader):
    """Finds modules by name, and fills them; one that holds nothing is a package.

    Parameters
    ----------
    modules : dict of str to dict
        Name → content, as :func:`fastnn.book.modules.book_modules` gives it.
    """

    def __init__(self, modules: dict[str, dict[str, Any]]) -> None:
        self._modules = modules
        self.packages = {name.partition(".")[0] for name in modules}

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """The module's specification; None if it is none of the book's.

        Raises
        ------
        ModuleNotFoundError
            If the book has it, but not fastnn.
        """
        if fullname.partition(".")[0] not in self.packages:
            return None
        if fullname not in self._modules:
            provided = ", ".join(name for name, content in self._modules.items() if content)
            message = f"fastnn.book does not provide {fullname}; it provides {provided}"
            raise ModuleNotFoundError(message, name=fullname)
        is_package = not self._modules[fullname]
        return ModuleSpec(fullname, self, origin="fastnn.book", is_package=is_package)

    def exec_module(self, module: ModuleType) -> None:
        """Fill the module, and have it say what it holds when asked for anything else."""
        content = self._modules[module.__name__]

        def missing(name: str) -> Any:
            if name.startswith("__"):  # Python itself is looking for something optional
                raise AttributeError(name)
            known = sorted(content) or self._modules_of(module.__name__)
            message = f"fastnn.book's {module.__name__} has no {name}; it has {', '.join(known)}"
            raise ImportError(message, name=module.__name__)

        module.__dict__.update(content, __all__=list(content), __getattr__=missing)

    def _modules_of(self, package: str) -> list[str]:
        return [name for name in self._modules if name.startswith(f"{package}.")]
