"""Reads the IDX files in the folder that BOOK_MNIST names."""

import os

import numpy as np


def _read(name, header):
    with open(os.path.join(os.environ["BOOK_MNIST"], name), "rb") as file:
        return np.frombuffer(file.read(), np.uint8, offset=header)


def load_mnist(normalize=True, flatten=True, one_hot_label=False, one_hot=False):
    pairs = []
    for part in ("train", "t10k"):
        x = _read(f"{part}-images-idx3-ubyte", 16).reshape(-1, 784)
        t = _read(f"{part}-labels-idx1-ubyte", 8)
        x = x.astype(np.float32) / 255.0 if normalize else x
        x = x if flatten else x.reshape(-1, 1, 28, 28)
        pairs.append((x, np.eye(10)[t] if one_hot_label or one_hot else t))
    return tuple(pairs)
