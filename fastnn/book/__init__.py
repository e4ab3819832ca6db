"""Run a script written for the book as it stands: ``python -m fastnn.book SCRIPT.py``.

The book's scripts import their tools from modules that lie beside them: ``common.functions``,
``common.gradient``, ``common.layers``, ``dataset.mnist`` and ``two_layer_net``. Here these names
lead to fastnn's, whatever lies beside the script, so that the ``TwoLayerNet`` of a script, its
numerical gradient included, runs on the backend that was chosen. What the book has beyond that is
not provided, and importing it says so.

Where there is no display, ``plt.show()`` saves the figures to the current directory and says where.
"""

from .modules import book_modules
from .script import run_script

__all__ = ["book_modules", "run_script"]
