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
    ones,
    real_array,
    refuse_device_array,
)
from .foreign import (
    WITH_WAYS_OF_THEIR_OWN,
    is_sparse,
    refuse_gradient,
    refuse_sparse,
    refuse_uncomputed,
)
from .objects import has_its_methods
from .samples import (
    check_labels,
    check_probabilities,
    check_samples,
    check_sums,
    check_targets,
    check_weights,
    sums_are_one,
    targets_of_any_sum,
)
from .scalars import choice, float_dtype, function, generator, positive_int, real_number
from .sharing import check_separate
from .sizes import check_size, room_for
from .text import kind, shown

__all__ = [
    "WITH_WAYS_OF_THEIR_OWN",
    "Array",
    "all_finite",
    "array_namespace",
    "check_finite",
    "check_labels",
    "check_probabilities",
    "check_real",
    "check_samples",
    "check_separate",
    "check_size",
    "check_sums",
    "check_targets",
    "check_weights",
    "choice",
    "float_dtype",
    "function",
    "generator",
    "has_its_methods",
    "is_sparse",
    "kind",
    "numpy_dtype",
    "ones",
    "positive_int",
    "real_array",
    "real_number",
    "refuse_device_array",
    "refuse_gradient",
    "refuse_sparse",
    "refuse_uncomputed",
    "room_for",
    "shown",
    "sums_are_one",
    "targets_of_any_sum",
]
