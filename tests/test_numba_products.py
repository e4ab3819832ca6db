"""The products of narrow matrices, and that their sums are in registers on any processor."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numba.core.registry import cpu_target

from fastnn.backends.numba.kernels import products
from fastnn.backends.numba.kernels.dense_samples import add_dense_powers
from fastnn.backends.numba.kernels.jit import kernel


@kernel
def product(x, rows, W, out):
    products.add_product(x, rows, W.shape[0], W, out)


@kernel
def transposed_product(x, rows, low, rate, d, W):
    products.subtract_product(x, rows, low, low + W.shape[0], rate, d, W)


@kernel
def powers(x, left, chosen, packed, F1, F3, total):
    add_dense_powers(0, x.shape[1], x, left, chosen, packed, F1, F3, total)


@pytest.mark.parametrize("samples", [0, 1, 7, 1001])
@pytest.mark.parametrize("vectors", [1, 2, 3, 4, 7, 13])
def test_products(dtype, vectors, samples):
    """Also of more samples than stay near."""
    columns, rng = vectors * 64 // np.dtype(dtype).itemsize, np.random.default_rng(0)
    shapes = (90, 13), (13, columns), (samples, columns)
    x, W, d = (rng.normal(size=shape).astype(dtype) for shape in shapes)
    assert (d.nbytes > products.NEAR) == (samples > 1000 and vectors > 4)
    rows, rate = rng.integers(90, size=samples).astype(np.uint64), np.dtype(dtype).type(0.3)
    exact, out = x[rows].astype(np.longdouble), d.copy()
    expected, moved = d + exact @ W, W - rate * (exact.T @ d)
    product(x, rows, W, out)
    np.testing.assert_allclose(out, expected, rtol=0, atol=50 * np.finfo(dtype).eps)
    tolerance = 2 * (10 + samples) * np.finfo(dtype).eps
    for low in (0, 3):  # also of the features from there on alone
        of_some = W[low:].copy()
        transposed_product(x, rows, low, rate, d, of_some)
        np.testing.assert_allclose(of_some, moved[low:], rtol=0, atol=tolerance)


#: What is multiplied in loops, on the processor that NUMBA_CPU_NAME says.
MULTIPLYING = """
import sys

import numpy as np

sys.path.insert(0, {folder!r})
from test_numba_products import powers, product, transposed_product

for dtype in "float64", "float32":
    x, W, d, total = (np.ones(shape, dtype) for shape in ((9, 8), (8, 112), (9, 112), (8, 112)))
    rows = np.arange(9, dtype=np.uint64)
    product(x, rows, W, d)
    assert (d == 9).all()
    transposed_product(x, rows, 0, d.dtype.type(1), d, W)
    assert (W == 1 - 81).all()
    packed = np.empty((9, 128 // x.itemsize), dtype)
    powers(x, rows > 9, rows.astype(np.intp), packed, d, d, total)
    assert (total == 1 + 162).all()
for function in product, transposed_product, powers:
    for signature in function.signatures:
        print(function.inspect_asm(signature))
"""


@pytest.mark.parametrize("registers", ["32 of 64 bytes", "16 of 32 bytes"])
def test_sums_stay_in_registers(registers, tmp_path):
    """What a loop multiplies and sums up is not kept in memory, which takes several times as long.

    A loop is what is between two labels and multiplies at least eight times.
    """
    features = cpu_target.target_context.codegen().magic_tuple()[2]
    needed, options = "+avx512f", {}
    if registers.startswith("16"):
        names = "avx avx2 fma bmi bmi2 f16c lzcnt movbe popcnt sse sse2 sse3 ssse3 sse4.1 sse4.2"
        of_avx2 = ",".join(f"+{name}" for name in names.split())
        needed, options = "+avx2", {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": of_avx2}
    if needed not in features:
        pytest.skip(f"this processor has no {needed}")
    code = MULTIPLYING.format(folder=str(Path(__file__).parent))
    environment = os.environ | options | {"NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    wide = "zmm" if needed == "+avx512f" else "ymm"
    parts = re.split(r"^\S*:$", done.stdout, flags=re.MULTILINE)
    loops = [part for part in parts if len(re.findall(rf"vfn?m.*{wide}", part)) >= 8]
    assert len(loops) >= 3 * 2
    for loop in loops:
        stack = [line for line in loop.splitlines() if "(%rsp" in line and "mm" in line]
        assert not stack, loop
