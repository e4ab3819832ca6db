"""The book's optimizers: what moves the parameters against their gradients.

Each has the book's name, arguments, defaults and formula, and ``update(params, grads)``, which
changes `params` in place; it can be used alone or handed to :func:`fastnn.train`. What it remembers
starts at zero, is made at the first update, and is kept by the name of the parameter in the
attributes that the book has for it, None before.

Beyond the book, each takes `weight_decay` (L2): weight_decay·w is added to the gradient of every
parameter first, weights and biases alike, as PyTorch does.

PyTorch's SGD with momentum, plain and Nesterov's, makes the same steps as long as the rate stays
the same: its buffer is the book's v without the rate. Its Adagrad and RMSprop are these with
``eps=1e-7`` (and ``alpha=decay_rate``). Its Adam adds `eps` to the root of the corrected v, the
book's adds its `epsilon` to the root of v as it is, as if `eps` were epsilon / √(1 − β₂ᵗ) there.
scikit-learn's Adam, with the same `epsilon`, and its two momenta are the book's.
"""

from .base import Optimizer
from .book import OPTIMIZERS, SGD, AdaGrad, Adam, Momentum, Nesterov, RMSprop

__all__ = ["OPTIMIZERS", "SGD", "AdaGrad", "Adam", "Momentum", "Nesterov", "Optimizer", "RMSprop"]
