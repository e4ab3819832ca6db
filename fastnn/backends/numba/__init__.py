"""Array operations compiled by Numba for the CPU.

To read in this order: `backend`, the operations, and which of them goes to which kernel; `samples`,
compressed samples as the backend hands them round; `kernels`, all compiled code; `threads` and
`helpers`, the threads that share a kernel's work; `cache`, the compiled kernels on disk. Nothing
here imports Numba before the backend is made, except `kernels`.
"""
