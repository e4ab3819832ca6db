"""The compiled kernels on disk are those of the present code."""

import shutil
from pathlib import Path

import fastnn

USE = """
import logging, numpy as np, fastnn
logging.basicConfig(level="INFO", format="%(message)s")
print(fastnn.get_backend("numba").dense(np.ones((1, 1)), np.ones((1, 1)), np.ones(1), "sigmoid"))
"""


def test_a_function_that_a_kernel_calls_has_changed(python, tmp_path):
    copy = tmp_path / "fastnn"
    shutil.copytree(Path(fastnn.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__", "data"))
    for compiles in (True, False):
        found = python("-c", USE, path=[tmp_path])
        assert found.out == "[[0.88079708]]\n", found.err
        assert ("compiling" in found.err) == compiles

    sources = copy / "backends" / "numba" / "kernels" / "elementary.py"
    formula = "return like(x, 1) / (like(x, 1) + exp(-x))"
    text = sources.read_text("utf-8")
    assert formula in text
    sources.write_text(text.replace(formula, "return like(x, 0.25)"), "utf-8")
    assert python("-c", USE, path=[tmp_path]).out == "[[0.25]]\n"
