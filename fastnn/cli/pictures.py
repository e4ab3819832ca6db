"""Pictures that commands draw: checked before the work, written as a whole after it."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..bench.report import check_picture
from ..errors import InputError

__all__ = ["check_folder", "check_picture", "save"]


def check_folder(path: str) -> None:
    """Raise InputError unless :func:`save` can write files into this folder, or make it."""
    folder = Path(path)
    try:
        from matplotlib.figure import Figure  # noqa: F401
    except ImportError as error:
        raise InputError(
            "drawing needs matplotlib; install it with pip install 'fastnn[plot]'"
        ) from error
    try:
        if not folder.exists():
            folder = folder.parent
        fault = None if folder.is_dir() else f"{folder} is no folder"
    except (OSError, ValueError) as error:
        fault = str(error)
    if fault is None and not os.access(folder, os.W_OK | os.X_OK):
        fault = f"{folder} is write-protected"
    if fault is not None:
        raise InputError(f"no pictures can be written to {path}: {fault}")


def save(
    path: str | os.PathLike[str], draw: Callable[[Any], Any], size: tuple[float, float]
) -> None:
    """Draw with a function of the Figure, and write it; its suffix is the format.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    with warnings.catch_warnings():
        # Names in a script that the font lacks become boxes, which is no news to print.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        draw(figure)
        try:
            figure.savefig(path, dpi=120)
        except OSError as error:
            reason = error.strerror or str(error)
            raise InputError(f"the picture {path} cannot be written: {reason}") from error
