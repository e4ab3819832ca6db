"""Run what was written for the book as it stands: ``python -m fastnn.book SCRIPT.py``.

The book's scripts import their tools from modules that lie beside them: ``common.functions``,
``common.gradient``, ``common.layers``, ``common.optimizer``, ``common.util``, ``dataset.mnist`` and
``two_layer_net``. The reader's own files come first. A ``TwoLayerNet`` of the reader's that is
found to compute what fastnn's does runs on the backend that was chosen, its numerical gradient
included; anything else runs as it is. Modules that the reader does not have are fastnn's. One line
on standard error says so for each module.

In a notebook, ``%load_ext fastnn.book`` or :func:`install` makes the same imports work.

Where there is no display, ``plt.show()`` saves the figures to the current directory and says where.
"""

from .modules import book_modules
from .script import run_script
from .session import install, load_ipython_extension, uninstall, unload_ipython_extension

__all__ = [
    "book_modules",
    "install",
    "load_ipython_extension",
    "run_script",
    "uninstall",
    "unload_ipython_extension",
]
