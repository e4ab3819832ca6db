"""Scripts in the manner of chapters 2 to 6: the same numbers with fastnn as without it."""

import os
import runpy
import sys
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from idx import NAMES, idx

pytest.importorskip("matplotlib")

import matplotlib as mpl
from matplotlib import pyplot as plt

import fastnn
import fastnn.book.modules
from fastnn.book import run_script

FOLDER = Path(__file__).with_name("book_scripts")
#: Modules that scripts import; all others are scripts.
MODULES = {"two_layer_net.py", "layer_naive.py"}
SCRIPTS = sorted(
    f"{path.parent.name}/{path.name}"
    for path in FOLDER.glob("ch0?/*.py")
    if path.name not in MODULES
)


@pytest.fixture(scope="module")
def small_mnist(mnist, tmp_path_factory):
    """The first images of MNIST, as a folder of IDX files."""
    folder = tmp_path_factory.mktemp("mnist")
    (x, t), (x_test, t_test) = mnist
    images = [
        np.rint(a * 255).astype(np.uint8).reshape(-1, 28, 28) for a in (x[:600], x_test[:200])
    ]
    arrays = images[0], t[:600], images[1], t_test[:200]
    for name, array in zip(NAMES, arrays, strict=True):
        (folder / name).write_bytes(idx(array))
    return folder


@pytest.fixture
def surroundings(small_mnist, monkeypatch):
    """Small data for both, and figures that are drawn and not shown."""
    load = fastnn.load_mnist
    monkeypatch.setattr(
        fastnn.book.modules, "_load_mnist", lambda *a, **o: load(*a, **o, directory=small_mnist)
    )
    monkeypatch.setenv("BOOK_MNIST", str(small_mnist))
    monkeypatch.setattr(plt, "show", lambda: plt.close("all"))
    with mpl.rc_context():
        plt.switch_backend("agg")
        yield


@contextmanager
def plain_python(folder):
    """As ``cd folder; PYTHONPATH=plain python``, with the book's modules as plain files."""
    path, modules, directory, argv = sys.path[:], sys.modules.copy(), Path.cwd(), sys.argv
    sys.path[:0] = [str(folder), str(FOLDER), str(FOLDER / "plain")]
    sys.argv = ["script.py"]
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(directory)
        sys.path[:], sys.argv = path, argv
        for name in set(sys.modules) - set(modules):
            with suppress(TypeError):
                file = getattr(sys.modules[name], "__file__", None) or ""
                if file.startswith(str(FOLDER)) or name in ("common", "dataset"):
                    del sys.modules[name]


@cache
def plainly(script):
    with plain_python((FOLDER / script).parent):
        return numbers(runpy.run_path(str(FOLDER / script), run_name="__main__"))


def numbers(names):
    """What a script has computed: its global names that hold numbers, as flat arrays."""
    found = {name: list(flat(value)) for name, value in names.items() if name[0] != "_"}
    return {name: np.array(values) for name, values in found.items() if values}


def flat(value):
    if isinstance(value, dict):
        for name in value:
            yield from flat(value[name])
    elif isinstance(value, list | tuple):
        for part in value:
            yield from flat(part)
    elif isinstance(value, np.ndarray) and value.size < 100_000 and value.dtype.kind == "f":
        yield from value.ravel().astype(float)
    elif isinstance(value, float | np.floating):
        yield float(value)


@pytest.mark.filterwarnings("ignore:h=0.0001 is lost")
@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("script", SCRIPTS)
def test_same_numbers(script, backend, surroundings, tmp_path, monkeypatch):
    expected = plainly(script)
    monkeypatch.chdir(tmp_path)
    lines = []
    found = numbers(run_script(FOLDER / script, backend=backend, report=lines.append))
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-9, atol=1e-9, err_msg=name)
    assert len(lines) == len(set(lines))
