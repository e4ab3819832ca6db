"""Arrays of CuPy on an NVIDIA GPU, with CUDA kernels for what trains the book's network.

To read in this order: `backend`, the operations; `foreign`, arrays of other libraries on the same
GPU; `support`, what the kernels can do; `rows`, batches that are not gathered; `cooperative`, steps
that one kernel makes; `training`, which steps become a graph; `graph`, recording and replaying
them; `kernels` and `differences`, how each kernel is launched; `sources`, what is compiled
together; `cuda/`, the kernels.
"""
