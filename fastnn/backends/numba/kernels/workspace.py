"""The memory of a numerical gradient in compiled loops."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .vectors import WIDE


class Workspace(NamedTuple):
    """Memory for one gradient; compiled code that allocates would take longer to compile.

    All of it together is some arrays of (samples, hidden units) and one of the size of the
    gradient.
    """

    a: np.ndarray  # pre-activations, (samples, padded units)
    z: np.ndarray  # hidden units and a one, (samples, padded units + 1)
    y: np.ndarray  # probabilities or residuals, (samples, outputs)
    logits: np.ndarray  # (samples, outputs), with the cross-entropy only
    c: np.ndarray  # of the increments Δz, (samples, padded units)
    theta: np.ndarray  # likewise
    largest_theta: np.ndarray  # of each sample, as is
    kink: np.ndarray  # the |u| from which on a relu changes sides somewhere
    losses: np.ndarray  # of each sample
    direct: np.ndarray  # how often each part left the series for direct evaluation
    W2T: np.ndarray  # (outputs, padded units)
    span: np.ndarray  # of each unit's weights, (padded units,)
    # Five rows of (padded units + 1,) for each part, for what is computed unit by unit.
    units: np.ndarray
    coefficients: np.ndarray  # five rows of (padded units,) for each part, in the network's dtype
    bounds: np.ndarray  # where to cut the features, (parts + 1,)
    features: np.ndarray  # numbers of the non-zero features of one sample, for each part
    tau: np.ndarray  # of those features, for each part
    powers: np.ndarray  # τ and τ² in the network's dtype
    hidden: np.ndarray  # sums for W1, and one more row a part, for b1
    outputs: np.ndarray  # sums for W2 and b2, (outputs, padded units + 1)


def workspace(
    samples: int, features: int, units: int, outputs: int, dtype: np.dtype, parts: int
) -> Workspace:
    """Allocate what a call for these sizes needs; what must be zero in it the call sets to zero."""
    vector = WIDE // dtype.itemsize
    width, wider = -(-units // vector) * vector, -(-(units + 1) // vector) * vector
    return Workspace(
        a=np.empty((samples, width)),
        z=np.empty((samples, wider)),
        y=np.empty((samples, outputs)),
        logits=np.empty((samples, outputs)),
        c=np.empty((samples, width)),
        theta=np.empty((samples, width)),
        largest_theta=np.empty(samples),
        kink=np.empty(samples),
        losses=np.empty(samples),
        direct=np.zeros(parts, np.intp),
        W2T=np.zeros((outputs, width)),
        span=np.empty(width),
        units=np.zeros((parts, 5, wider)),
        coefficients=np.empty((parts, 5, width), dtype),
        bounds=np.empty(parts + 1, np.intp),
        features=np.empty((parts, features + 1), np.intp),
        tau=np.empty((parts, features + 1)),
        powers=np.empty((parts, 2, features + 1), dtype),
        hidden=np.empty((features + parts, width), dtype),
        outputs=np.empty((outputs, wider)),
    )
