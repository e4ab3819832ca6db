"""A progress bar, on standard error or in a notebook: tqdm's, which is touched only to show one."""

from __future__ import annotations

import sys
import threading
import warnings
from contextlib import nullcontext
from functools import cache
from typing import Any


def progress_bar(total: float, shown: bool, **options: Any) -> Any:
    """A context of tqdm's bar, with these options; of None if none is to be shown, or nowhere.

    It is shown on standard error, if that is a terminal, or in a notebook.
    """
    if not shown or not (_is_terminal(sys.stderr) or _in_notebook()):
        return nullcontext()
    return _bar()(total=total, **options)


def _is_terminal(stream: Any) -> bool:
    try:
        return stream is not None and bool(stream.isatty())
    except (AttributeError, ValueError):  # something that is only written to, or is closed
        return False


def _in_notebook() -> bool:
    """Whether IPython runs here, and sends what is shown to a front end."""
    find = getattr(sys.modules.get("IPython"), "get_ipython", None)
    return sys.stderr is not None and hasattr(find() if find else None, "kernel")


@cache
def _bar() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tqdm's advice for notebooks that lack ipywidgets
        from tqdm.auto import tqdm

    class Bar(tqdm):  # type: ignore[misc]
        """One that ends before the work does where standard error cannot be written any more."""

        def display(self, *arguments: Any, **options: Any) -> Any:
            try:
                return super().display(*arguments, **options)
            except (OSError, ValueError):  # full, or closed
                self.disable = True

    # tqdm's own lock holds for processes, too, by a semaphore of the system's, which a process that
    # is ended leaves behind.
    Bar.set_lock(threading.RLock())
    return Bar
