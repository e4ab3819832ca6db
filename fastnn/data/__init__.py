"""Where data come from: the MNIST that is part of the package, and any IDX file."""

from .digits import load_mnist
from .idx import load_idx

__all__ = ["load_idx", "load_mnist"]
