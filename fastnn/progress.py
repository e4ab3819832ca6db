"""A progress bar, on standard error or in a notebook: tqdm's, which is touched only to show one."""

from __future__ import annotations

import sys
import threading
import warnings
from contextlib import nullcontext
from functools import cache
from typing import Any


def progress_bar(total: float, shown: bool, **options: Any) -> Any:
    """A context of tqdm's bar, with these options; of None if none is to be shown, or nowhere."""
    if not shown or sys.stderr is None:
        return nullcontext()
    return _bar()(total=total, **options)


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
