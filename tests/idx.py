"""IDX files, written after the description of the format on LeCun's page."""

import gzip
import struct

import numpy as np

NAMES = [
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
]
TYPES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def idx(array):
    """The bytes of an IDX file, type, number of dimensions, sizes, values, big-endian."""
    array = np.asarray(array)
    header = struct.pack(
        f">HBB{array.ndim}I", 0, TYPES[array.dtype.str[1:]], array.ndim, *array.shape
    )
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def write_mnist(directory, train=6, test=4, *, labels=10, compress=False):
    """Four small files of the right names; returns the arrays."""
    rng = np.random.default_rng(0)
    arrays = []
    for name, samples in zip(NAMES, (train, train, test, test), strict=True):
        shape = (samples, 28, 28) if "images" in name else (samples,)
        arrays.append(
            rng.integers(256 if "images" in name else labels, size=shape).astype(np.uint8)
        )
        content = idx(arrays[-1])
        (directory / (f"{name}.gz" if compress else name)).write_bytes(
            gzip.compress(content) if compress else content
        )
    return arrays
