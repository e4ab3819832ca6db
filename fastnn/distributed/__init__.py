"""Training on a cluster of Dask's, with samples that no single machine could hold.

The loop, the optimizer, the callbacks and the checkpoints are those of :func:`fastnn.train`, in the
process of the caller. Only gradients, and counts of what is classified right, are computed
where the samples are. Read in this order: :mod:`.training` has the public functions;
:mod:`.arrays` is what may enter; :mod:`.dataset` what the loop sees; :mod:`.parts` how the samples
come to the workers, and what becomes of them when one is lost; :mod:`.cluster` who the workers are;
:mod:`.placement` which of them gets what; :mod:`.worker` what runs there; and :mod:`.summation` why
the result does not depend on how many there are.

It needs ``pip install fastnn[dask]``, on the workers, too.
"""

from .training import resume, train

__all__ = ["resume", "train"]
