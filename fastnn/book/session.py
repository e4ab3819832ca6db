"""The book's imports in a notebook or an interactive session, until they are undone."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from types import ModuleType
from typing import Any

from ..backends import Backend
from .definitions import Definitions
from .finder import BookFinder
from .places import Places
from .reading import Report, reading
from .script import forget

#: What is installed in this process, and the modules that it has taken the place of.
_installed: tuple[BookFinder, Definitions, dict[str, ModuleType]] | None = None


def install(
    backend: str | Backend = "numpy",
    *,
    own: Sequence[str] = (),
    ours: Sequence[str] = (),
    explain: bool = False,
    report: Report | None = None,
) -> None:
    """Make the book's imports work in this session, as for a script.

    Files of the reader's own in the current directory, and wherever else Python looks, come first.
    Installing again takes the place of what was installed; modules that were imported before are
    imported anew.

    Parameters
    ----------
    backend : str or Backend
        What a ``TwoLayerNet`` runs on, as for :func:`fastnn.get_backend`.
    own, ours, explain, report
        As for :func:`run_script`.

    Examples
    --------
    >>> install()
    >>> from common.functions import softmax
    >>> uninstall()
    """
    global _installed
    finder, definitions = reading(
        Places(None), backend=backend, own=own, ours=ours, explain=explain, report=report
    )
    uninstall()
    before = {
        name: module
        for name, module in sys.modules.items()
        if name.partition(".")[0] in finder.packages
    }
    forget(finder.packages)
    sys.meta_path.insert(0, finder)
    definitions.start()
    _installed = finder, definitions, before


def uninstall() -> None:
    """Undo :func:`install`; what was imported meanwhile stays where it was imported to."""
    global _installed
    if _installed is None:
        return
    (finder, definitions, before), _installed = _installed, None
    definitions.stop()
    with suppress(ValueError):
        sys.meta_path.remove(finder)
    forget(finder.packages)
    sys.modules.update(before)


def load_ipython_extension(_shell: Any) -> None:
    """``%load_ext fastnn.book``: install, on NumPy; ``install(backend=...)`` chooses another."""
    if _installed is None:
        install()


def unload_ipython_extension(_shell: Any) -> None:
    """``%unload_ext fastnn.book``."""
    uninstall()
