"""All compiled code of the Numba backend, and nothing else: one folder, one cache on disk.

From the ground up:

`jit`
    The options of the compiler; every function here is compiled by one of its decorators.
`pointers`
    Functions that kernels call by their address, each of them compiled by itself.
`atomics`, `stack`, `vectors`, `elementary`
    What loops are made of: counters for threads, memory for the time of a call, vectors of numbers,
    the exponential and its kin.
`helpers`
    Kernels that several threads execute, and the threads that help with them.
`activations`, `softmax`, `logistic`, `compression`, `layers`, `products`
    The operations, for one batch.
`prediction`
    What a network of two layers makes of a few samples, in one call.
`panels`, `sorted_products`, `batches`, `panel_steps`, `backprop_steps`
    Training by backpropagation, many steps in a call.
`workspace`, `increments`, `unperturbed`, `expansions`, `powers`, `dense_samples`, `hidden_series`,
`hidden_differences`, `output_differences`, `numerical_gradient`, `numerical_steps`
    The numerical gradient, and training by it.
"""
