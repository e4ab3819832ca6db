"""Ctrl-C and SIGTERM while a loop runs: it ends between two steps, and not in the middle of one."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import Any, Self

#: Which signals are waited for, and what they do where nobody has said anything.
_DEFAULTS: dict[int, Any] = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGTERM: signal.SIG_DFL,
}


class InterruptWarning(RuntimeWarning):
    """A training was ended by Ctrl-C or SIGTERM; its parameters and its history are valid.

    Examples
    --------
    A program that looks at ``history.stopped`` itself needs no warning:

    >>> import warnings
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore", InterruptWarning)
    """


class Interrupts:
    """A context in which the first signal is only noted, and the second one ends the program.

    Only in the main thread, where Python handles signals, and only in place of Python's own
    handlers: those that somebody has set are theirs. When the context is left, whatever ended it,
    the handlers are those of before.

    Attributes
    ----------
    caught : int or None
        The number of the signal that came.
    told : bool
        Whether a context around this one has noted it, too.
    """

    def __init__(self) -> None:
        self.caught: int | None = None
        self.told = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            try:
                for number, default in _DEFAULTS.items():
                    handler = signal.getsignal(number)
                    if handler is default or isinstance(_owner(handler), Interrupts):
                        self._before[number] = handler
                        signal.signal(number, self._handle)
            except ValueError:  # an interpreter inside another one, which handles no signals
                self._before = {}
            except BaseException:  # it came just now
                self.__exit__()
                raise
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            # Unless somebody has set another one meanwhile.
            if _owner(signal.getsignal(number)) is self:
                signal.signal(number, handler)

    def pass_on(self) -> None:
        """After the context: send the signal that came again, unless one around it has noted it."""
        if self.caught is not None and not self.told:
            signal.raise_signal(self.caught)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.caught is None:
            self.caught = number
            around = _owner(self._before[number])  # a training inside a callback of another one
            if isinstance(around, Interrupts):
                around._handle(number, frame)
                self.told = True
            return
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)


def _owner(handler: Any) -> Any:
    return getattr(handler, "__self__", None)
