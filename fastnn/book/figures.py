"""Matplotlib's backend where there is no display: showing a figure saves it and says where.

Matplotlib imports this module by the name in ``MPLBACKEND``; nothing else does.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
from matplotlib import pyplot
from matplotlib.backend_bases import FigureManagerBase
from matplotlib.backends.backend_agg import FigureCanvasAgg


class FigureManager(FigureManagerBase):
    """Saves every open figure, and closes it as its reader would.

    The file is SCRIPT-figure-N.png in the current directory.
    """

    saved = 0

    @classmethod
    def pyplot_show(cls, *, block: bool | None = None) -> None:
        for number in pyplot.get_fignums():
            cls.saved += 1
            path = Path(f"{Path(sys.argv[0]).stem}-figure-{cls.saved}.png").absolute()
            pyplot.figure(number).savefig(path)
            click.echo(f"there is no display: the figure was saved as {path}", err=True)
        pyplot.close("all")


class FigureCanvas(FigureCanvasAgg):
    """Draws as Matplotlib does for files."""

    manager_class: Any = FigureManager
