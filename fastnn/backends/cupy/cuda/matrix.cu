// Products of small matrices by a warp: PRODUCT_ROWS rows of 4 SLOTS numbers, and PRODUCT_COLUMNS
// columns of as many. With row = lane / 4 and quarter = lane % 4, a thread has
//
//   a  of the rows `row` and row + 8, the SLOTS numbers of its quarter
//   b  of the column `row`, the same SLOTS numbers
//   c  of the product, the rows `row` and row + 8 in the columns 2 quarter and 2 quarter + 1
//
// as the PTX ISA lays them out for mma.m16n8k8 of floats, and for mma.m8n8k4 of doubles. It is all the
// same which numbers of a sum a quarter has.

constexpr int PRODUCT_ROWS = 16, PRODUCT_COLUMNS = 8;
template <class T> constexpr int SLOTS = sizeof(T) == 4 ? 2 : 1;

#ifdef __CUDACC__
// All threads of a warp have to come here together. Of a float, the upper 19 bits are read.
__device__ inline void multiply_add(float (&c)[2][2], const float (&a)[2][2], const float (&b)[2]) {
    const auto bits = [](float value) { return __float_as_uint(value); };
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
                 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(c[0][0]), "+f"(c[0][1]), "+f"(c[1][0]), "+f"(c[1][1])
                 : "r"(bits(a[0][0])), "r"(bits(a[1][0])), "r"(bits(a[0][1])), "r"(bits(a[1][1])),
                   "r"(bits(b[0])), "r"(bits(b[1])));
}

__device__ inline void
multiply_add(double (&c)[2][2], const double (&a)[2][1], const double (&b)[1]) {
#pragma unroll
    for (int r = 0; r < 2; r++)
        asm volatile("mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 "
                     "{%0, %1}, {%2}, {%3}, {%0, %1};"
                     : "+d"(c[r][0]), "+d"(c[r][1])
                     : "d"(a[r][0]), "d"(b[0]));
}
#endif

// The sum of such products: this thread's numbers. Each float is split in two halves, and three of
// the four products of these are added up, side by side; the fourth is as small as the rounding.
template <class T> struct Product {
    T sums[sizeof(T) == 4 ? 3 : 1][2][2] = {};

    __device__ void add(const T (&a)[2][SLOTS<T>], const T (&b)[SLOTS<T>]) {
        if constexpr (sizeof(T) == 4) {
            T upper_a[2][SLOTS<T>], rest_a[2][SLOTS<T>], upper_b[SLOTS<T>], rest_b[SLOTS<T>];
#pragma unroll
            for (int s = 0; s < SLOTS<T>; s++) {
                split(b[s], upper_b[s], rest_b[s]);
#pragma unroll
                for (int r = 0; r < 2; r++) split(a[r][s], upper_a[r][s], rest_a[r][s]);
            }
            multiply_add(sums[0], upper_a, upper_b);
            multiply_add(sums[1], upper_a, rest_b);
            multiply_add(sums[2], rest_a, upper_b);
        } else {
            multiply_add(sums[0], a, b);
        }
    }

    __device__ T operator()(int r, int j) const {
        const T first = sums[0][r][j];
        if constexpr (sizeof(T) == 4) {
            // A half of what is infinite is NaN, and so may the others be then.
            const bool finite = first - first == 0;
            return finite ? first + (sums[1][r][j] + sums[2][r][j]) : first;
        }
        return first;
    }

  private:
    // Both halves have 11 significant bits, and a sign each: those of a float but for the last.
    __device__ static void split(float value, float& upper, float& rest) {
        upper = __uint_as_float((__float_as_uint(value) + 0x1000) & 0xffffe000);
        rest = value - upper;
    }
};
