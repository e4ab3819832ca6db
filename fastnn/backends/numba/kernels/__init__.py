"""All compiled code of the Numba backend, and nothing else: one folder, one cache on disk.

From the ground up: `jit` has the options of the compiler; `atomics`, `vectors` and `elementary` are
what loops are made of; `activations`, `layers`, `softmax`, `compression` and `products` are the
operations; `panels` and `backprop_steps` train by backpropagation in one call, and `workspace`,
`increments`, `hidden_differences`, `output_differences`, `numerical_gradient` and `numerical_steps`
by the numerical gradient.
"""
