// -- steps that are replayed ----------------------------------------------------------------------

// Where a loop is: the row numbers of all its steps, its losses, and the step that is next.
struct Loop {
    const integer* rows;
    void* losses;
    integer step;
};

// Start a loop.
__global__ void begin(Loop* loop, const integer* rows, void* losses) { *loop = {rows, losses, 0}; }

// Copy the row numbers of the next steps to where the kernels of a graph read them, one thread for
// each.
__global__ void fetch(const Loop* loop, integer* rows, integer size, integer batch_size) {
    const integer place = integer(blockIdx.x) * blockDim.x + threadIdx.x;
    if (place < size) rows[place] = loop->rows[loop->step * batch_size + place];
}

// Copy the losses of the steps, one thread for each, from where the kernels of a graph left them,
// and move on. One block.
template <class T> __global__ void collect(Loop* loop, const T* const* values) {
    static_cast<T*>(loop->losses)[loop->step + threadIdx.x] = *values[threadIdx.x];
    __syncthreads();
    if (threadIdx.x == 0) loop->step += blockDim.x;
}
