"""What a network of two layers predicts for a few samples, in one call.

Of a single sample each operation takes about as long as its call.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .activations import activate
from .compression import compress
from .jit import allocating_kernel
from .softmax import softmax_rows
from .sparse_products import weighted_rows
from .vectors import WIDE, lanes


@allocating_kernel
def probabilities(x: Any, W1: Any, b1: Any, W2: Any, b2: Any, activation: int, out: Any) -> None:
    """softmax(f(x·W1 + b1)·W2 + b2) into `out`; features of x that are zero take no time."""
    samples, columns = x.shape
    room = (samples + 1) * columns + lanes(x, WIDE)
    # So few multiplications are of no more features than 16 bits count.
    indptr, indices = np.empty(samples + 1, np.intp), np.empty(room, np.uint16)
    values, z = np.empty(room, x.dtype), np.empty((samples, b1.size), x.dtype)
    compress(x, indptr, indices, values)
    compressed, rows = (indptr, indices, values), np.arange(samples)
    weighted_rows(compressed, rows, 0, samples, False, W1, b1, z)
    activate(z.reshape(z.size), activation)
    for n in range(samples):
        y = out[n]
        for k in range(b2.size):
            y[k] = b2[k]
        for j in range(b1.size):
            for k in range(b2.size):
                y[k] += z[n, j] * W2[j, k]
    softmax_rows(out, b2.size, out)
