"""Networks, and trainings under way, in files.

Read in this order: `faults` (what is wrong with a file, in one line), `atomic` (a file is whole at
any moment), `plain` (what a description may hold), `container` (arrays and a description in a
safetensors file, with a digest over all of it), `model` (a network in such a file). Nothing is
pickled, and nothing in a file is executed.
"""

from .model import load, save

__all__ = ["load", "save"]
