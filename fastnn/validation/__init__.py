"""The public doors: input becomes a canonical array, or a clear error before anything changes.

Canonical inside fastnn are: samples as a 2-D array (samples, features) of the network's dtype;
targets either as a 1-D array of ``intp`` labels or as a 2-D array (samples, classes) of the
network's dtype. Every function here takes arrays of any library that keeps the array API standard;
`xp` is its namespace, and is asked of the array where it is not given.
"""

from .arrays import (
    Array,
    all_finite,
    array_namespace,
    check_finite,
    check_real,
    numpy_dtype,
    real_array,
    refuse_device_array,
)
from .samples import check_labels, check_samples, check_targets
from .scalars import choice, float_dtype, generator, positive_int, real_number

__all__ = [
    "Array",
    "all_finite",
    "array_namespace",
    "check_finite",
    "check_labels",
    "check_real",
    "check_samples",
    "check_targets",
    "choice",
    "float_dtype",
    "generator",
    "numpy_dtype",
    "positive_int",
    "real_array",
    "real_number",
    "refuse_device_array",
]
