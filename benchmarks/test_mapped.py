"""Memory while a .npy file is trained on that is larger than what may be in memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.lib import format as npy

from . import peak_memory
from .recording import Record

#: Bytes of the file, and how many gigabytes of memory the process may take in all, Python and its
#: libraries included.
FILE, BOUND = 2**32, 1.0


def _write(path: Path, samples: int, features: int) -> None:
    """Samples of float32, a few of them random and the others zeros that take no disk."""
    header = {"descr": "<f4", "fortran_order": False, "shape": (samples, features)}
    with path.open("wb") as file:
        npy.write_array_header_1_0(file, header)
        start = file.tell()
        file.truncate(start + 4 * samples * features)
        rng = np.random.default_rng(0)
        for row in range(0, samples, max(samples // 1000, 1)):
            file.seek(start + 4 * row * features)
            file.write(rng.random(features, np.float32).tobytes())
    np.save(path.with_name("y.npy"), np.arange(samples, dtype=np.uint8) % 10)


@pytest.mark.skipif(sys.platform == "win32", reason="has no count of the memory in use")
@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("scaling", ["none", "standard"])
def test_memory_of_a_mapped_file(
    tmp_path: Path, record: Record, backend: str, scaling: str
) -> None:
    """4 GB of samples, twenty batches and an evaluation of all, in at most 1 GB."""
    features, size = 784, FILE // 1000 if record.quick else FILE
    path = tmp_path / "x.npy"
    _write(path, size // (4 * features), features)
    options = ["--data", path, "--scaling", scaling, "--backend", backend, "--dtype", "float32"]
    options += ["--iterations", 20, "--validation", 0.1, "--json"]
    used = tmp_path / "used"
    done = subprocess.run(
        [sys.executable, peak_memory.__file__, used, "fastnn", "train", *map(str, options)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert done.returncode == 0, done.stderr
    text = f"a mapped file of 4 GB takes at most {BOUND:g} GB of memory"
    if record.quick:
        return
    gigabytes = float(used.read_text()) / 2**10
    record.statement(f"training on {backend}, scaling {scaling}", text, gigabytes, BOUND)
