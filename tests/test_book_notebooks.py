"""Notebooks in the manner of the book's readers, and sessions: installed, used and undone."""

import io
import os
import sys
from contextlib import redirect_stderr
from pathlib import Path

import numpy as np
import pytest
from test_book_scripts import FOLDER, plain_python, small_mnist  # noqa: F401

import fastnn
from fastnn import book

NOTEBOOKS = Path(__file__).with_name("book_notebooks")
ROOT = Path(__file__).parent.parent


def cells(name):
    """The code cells of a notebook that is written as a script with ``# %%`` between them."""
    parts = (NOTEBOOKS / name).read_text().split("# %%")
    return [part for part in parts if part.strip() and not part.startswith(" [markdown]")]


# -- in this process -------------------------------------------------------------------------------


@pytest.fixture
def session(tmp_path, monkeypatch):
    """A current directory, and what was imported before put back."""
    monkeypatch.chdir(tmp_path)
    before = sys.path[:], sys.meta_path[:], set(sys.modules)
    yield tmp_path
    book.uninstall()
    assert (sys.path, sys.meta_path) == before[:2]
    assert not {n for n in sys.modules if n.startswith(("common.", "dataset."))} - before[2]


def test_install_and_uninstall(session, monkeypatch):
    theirs = type(sys)("common")
    monkeypatch.setitem(sys.modules, "common", theirs)
    lines = []
    book.install("numba", report=lines.append)
    import common.functions
    import two_layer_net
    from common import optimizer

    assert common.functions.softmax is fastnn.functions.softmax
    assert optimizer.Adam is fastnn.Adam
    assert two_layer_net.TwoLayerNet(4, 3, 2).backend.name == "numba"
    assert two_layer_net.simpleNet().W.shape == (2, 3)
    assert "fastnn.book: two_layer_net is fastnn's: there is none beside the script" in lines
    book.install("numpy", report=lines.append)  # again
    from two_layer_net import TwoLayerNet

    assert TwoLayerNet(4, 3, 2).backend.name == "numpy"
    book.uninstall()
    book.uninstall()
    assert sys.modules["common"] is theirs
    with pytest.raises(ModuleNotFoundError):
        import dataset.mnist  # noqa: F401


def test_own_files_in_the_current_directory_come_first(session):
    (session / "two_layer_net.py").write_text((FOLDER / "plain" / "two_layer_net.py").read_text())
    sys.path.insert(0, "")
    try:
        lines = []
        book.install(report=lines.append)
        import two_layer_net

        assert two_layer_net.__file__ == str(session / "two_layer_net.py")
        assert any("computes what fastnn's does (sigmoid units)" in line for line in lines)
    finally:
        sys.path.remove("")


def test_a_network_defined_in_a_cell(session):
    lines = []
    book.install(report=lines.append)
    cell = (FOLDER / "plain" / "two_layer_net.py").read_text() + "\nnet = TwoLayerNet(3, 2, 2)\n"
    exec(compile(cell, "cell", "exec"), {"__name__": "__main__"})
    book.uninstall()
    assert lines[-1].startswith("fastnn.book: TwoLayerNet of __main__ is yours, on numpy")


def test_by_default_it_is_said_on_standard_error(session):
    with redirect_stderr(io.StringIO()) as said:
        book.install()
        import common.util
    assert said.getvalue().startswith("fastnn.book: common.util is fastnn's")
    book.load_ipython_extension(None)
    book.unload_ipython_extension(None)
    with pytest.raises(ModuleNotFoundError):
        import common.util  # noqa: F401


def test_what_notebooks_show():
    net = fastnn.TwoLayerNet(784, 50, 10, activation="relu")
    assert repr(net) == (
        "<TwoLayerNet 784-50-10: relu, cross_entropy, float64, 39,760 parameters on numpy>"
    )
    assert "<td>W1</td><td>784 × 50</td><td>39,200</td>" in net._repr_html_()
    simple = fastnn.simpleNet()
    assert repr(simple) == "<SimpleNet 2-3: cross_entropy, float64, 6 parameters on numpy>"
    report = fastnn.gradient_check(simple, [[0.1, 0.2]], [1])
    assert repr(report).startswith("<GradientReport: pass, method full, largest relative error")
    assert report._repr_html_().count("<tr>") == 2
    assert "\n" not in repr(report) + repr(net)


def test_a_list_of_floats_is_a_point():
    gradient = fastnn.numerical_gradient(lambda x: x[0] ** 2 + x[1] ** 2, [3.0, 4.0])
    np.testing.assert_allclose(gradient, [6, 8], atol=1e-8)
    with pytest.raises(TypeError, match="int"):
        fastnn.numerical_gradient(lambda x: x[0] ** 2, [3, 4])


# -- in a kernel -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run_notebook(tmp_path_factory):
    """Run code cells in a fresh kernel and return the cells with their outputs."""
    pytest.importorskip("ipykernel", reason="notebooks need ipykernel, nbclient and nbformat")
    nbclient = pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    folder = tmp_path_factory.mktemp("notebooks")

    def run_notebook(*code, path=()):
        cells = [nbformat.v4.new_code_cell(source) for source in code]
        notebook = nbformat.v4.new_notebook(cells=cells)
        entries = [str(ROOT), *map(str, path), os.environ.get("PYTHONPATH", "")]
        variables = os.environ | {
            "PYTHONPATH": os.pathsep.join(filter(None, entries)),
            "IPYTHONDIR": str(folder),
            "JUPYTER_PLATFORM_DIRS": "1",
        }
        client = nbclient.NotebookClient(
            notebook, timeout=300, resources={"metadata": {"path": str(folder)}}
        )
        client.execute(env=variables)
        return notebook.cells

    return run_notebook


def said(cells, name):
    return "".join(
        output.text for cell in cells for output in cell.outputs if output.get("name") == name
    )


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", sorted(path.name for path in NOTEBOOKS.glob("*.py")))
def test_notebook(name, run_notebook, small_mnist, monkeypatch):  # noqa: F811
    monkeypatch.setenv("BOOK_MNIST", str(small_mnist))
    names = {"__name__": "__main__"}
    source = "\n".join(cells(name)).replace("plt.show()", "plt.close()")
    with plain_python(FOLDER):
        exec(compile(source, name, "exec"), names)
    show = "print('RESULTS', [float(r) for r in results])"
    small = (
        "import fastnn.book.modules as m, functools, fastnn, os\n"
        "m._load_mnist = functools.partial(\n"
        "    fastnn.load_mnist, directory=os.environ['BOOK_MNIST'])\n"
    )
    for backend in ("numpy", "numba"):
        load = f"import fastnn.book\nfastnn.book.install({backend!r})"
        done = run_notebook("%load_ext fastnn.book", small, load, *cells(name), show)
        line = next(s for s in said(done, "stdout").splitlines() if s.startswith("RESULTS"))
        found = np.array(eval(line.removeprefix("RESULTS ")))
        np.testing.assert_allclose(found, names["results"], rtol=1e-9, atol=1e-9)
        assert "is fastnn's: there is none beside the script" in said(done, "stderr")
        if name == "two_layer_net.py":
            shown = done[-2].outputs[-1].data
            assert "<table>" in shown["text/html"]
            assert shown["text/plain"].startswith("<TwoLayerNet 12-4-3: sigmoid")
        if name == "derivatives.py":
            assert any("image/png" in o.get("data", {}) for cell in done for o in cell.outputs)


@pytest.mark.filterwarnings("ignore")
def test_the_extension_and_what_a_kernel_starts(run_notebook, tmp_path, monkeypatch):
    """Compiling is said, the extension is unloaded, and a script saves its figures."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "plot.py").write_text("import matplotlib.pyplot as p\np.plot([1, 2])\np.show()\n")
    done = run_notebook(
        "%matplotlib inline\n%load_ext fastnn.book\nfrom common.functions import relu\nrelu(2.0)",
        "import fastnn\nfastnn.get_backend('numba').largest(__import__('numpy').ones(2))",
        f"!cd {tmp_path} && {sys.executable} -m fastnn.book plot.py",
        "%unload_ext fastnn.book\ntry:\n    import common.util\n"
        "except ModuleNotFoundError:\n    print('as before')",
    )
    assert "compiling kernels for this machine" in said([done[1]], "stderr")
    assert (tmp_path / "plot-figure-1.png").exists()
    assert "as before" in said([done[3]], "stdout")
