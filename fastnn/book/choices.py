"""Whose modules are used where the reader has said it: ``--own`` and ``--ours``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..errors import InputError
from ..validation import shown


class Choices:
    """Which modules shall be the reader's own, as they are, and which fastnn's.

    Parameters
    ----------
    own, ours : sequence of str
        Names of modules, or of packages for all that is in them.
    known : iterable of str
        The modules that fastnn has.

    Raises
    ------
    InputError
        If a name is in both, or among `ours` and unknown.
    """

    def __init__(self, own: Sequence[str], ours: Sequence[str], known: Iterable[str]) -> None:
        known = list(known)
        for name in ours:
            if name not in known:
                raise InputError(
                    f"fastnn.book has no {shown(name)} to take in place of yours; "
                    f"it has {', '.join(known)}"
                )
            if name in own:
                raise InputError(f"{name} cannot be both your own and fastnn's; name it once")
        self._chosen = {**dict.fromkeys(own, "own"), **dict.fromkeys(ours, "ours")}

    def of(self, name: str) -> str:
        """What was said of a module or the nearest package: "own", "ours", or nothing."""
        while name:
            if name in self._chosen:
                return self._chosen[name]
            name = name.rpartition(".")[0]
        return ""
