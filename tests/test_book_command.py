"""``python -m fastnn.book``: what becomes of a script is what plain Python makes of it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import python_after

SCRIPTS = Path(__file__).with_name("book_scripts")


def ours(text):
    """Without what fastnn says of the modules."""
    lines = text.splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("fastnn.book: "))


def test_command(python):
    code, out, err = python(
        "-m", "fastnn.book", SCRIPTS / "ch05" / "gradient_check.py", "--backend", "numba"
    )
    assert code == 0, err
    assert [line.split(":")[0] for line in out.splitlines()] == ["W1", "b1", "W2", "b2"]
    said = [line.split(" is ")[0] for line in err.splitlines()]
    assert said == [
        f"fastnn.book: {name}"
        for name in ("dataset.mnist", "common.gradient", "common.layers", "two_layer_net")
    ]
    assert "on numba: it computes what fastnn's does (ReLU units in layers)" in err


FAULTS = {
    "raises": "def f():\n    return 1 / 0\nprint('before', flush=True)\nf()\n",
    "chained": "try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    raise KeyError('k') from e\n",
    "group": "raise ExceptionGroup('several', [ValueError(1), TypeError(2)])\n",
    "no Python": "def f(:\n    pass\n",
    "not indented": "if True:\nprint(1)\n",
    "nobody has it": "import numpyy\n",
    "a name that numpy lacks": "from numpy import nothing\n",
    "a module that raises": "import raising\n",
    "a module that is no Python": "import broken\n",
    "exits": "import sys\nsys.exit(7)\n",
    "exits with a message": "raise SystemExit('that was it')\n",
    "exits with nothing": "import sys\nprint('x')\nsys.exit()\n",
    "reads": "print(input('name? ') + '!')\nprint(input())\n",
    "arguments": "import sys\nprint(sys.argv[1:], __name__, __file__, sys.path[0])\n",
    "is the main module": "import __main__, inspect\nx = 3\n"
    "print(__main__.x, __package__, __spec__)\ndef f():\n    pass\nprint(inspect.getsource(f))\n",
    "pickles": "import pickle\nclass A: pass\nprint(type(pickle.loads(pickle.dumps(A()))))\n",
    "closed output": "import sys\nsys.stdout.close()\n",
    "warns": "import warnings\nwarnings.warn('careful')\n",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_as_plain_python_does(tmp_path, fault):
    (tmp_path / "raising.py").write_text("def g():\n    raise RuntimeError('no')\ng()\n")
    (tmp_path / "broken.py").write_text("x = = 1\n")
    script = tmp_path / "script.py"
    script.write_text(FAULTS[fault])

    def run(*command):
        done = subprocess.run(
            [sys.executable, *command, "script.py", "a", "2"],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(SCRIPTS.parent.parent)},
            input="one\n" if fault == "reads" else "",
            capture_output=True,
            text=True,
        )
        return done.returncode, done.stdout, done.stderr

    assert run("-m", "fastnn.book") == run()


def test_no_script(python, tmp_path):
    def both(name):
        return (
            python("-m", "fastnn.book", *name),
            python(*name),
        )

    (tmp_path / "folder").mkdir()
    for name in ("absent.py", "folder", "folder/absent.py", ""):
        found, expected = both([name] if name else ["script.py" * 60])
        assert found.code == expected.code
        assert found.err.count("\n") == 1
        assert found.err.rpartition(": ")[2][-40:] == expected.err.rpartition(": ")[2][-40:]
    (tmp_path / "folder" / "__main__.py").write_text("import sys\nprint(sys.argv, sys.path[0])\n")
    found, expected = both(["folder", "x"])
    assert found == expected
    code, _, err = python("-m", "fastnn.book", "folder", "--backend", "abacus")
    assert code == 2
    assert "there is no backend 'abacus'" in err
    assert "Traceback" not in err
    code, _, err = python("-m", "fastnn.book", "folder", "--ours", "common.trainer")
    assert code == 2
    assert "no 'common.trainer' to take in place of yours" in err


def test_a_script_on_standard_input(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "fastnn.book", "-"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(SCRIPTS.parent.parent)},
        input="from common.functions import relu\nprint(relu(-1.0), relu(2.0))\n",
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, ours(done.stderr)) == (0, "0.0 2.0\n", "")


def test_an_error_in_what_fastnn_runs_shows_the_readers_code(python, tmp_path):
    """The frames that ran the script, imported and accelerated are left out."""
    (tmp_path / "two_layer_net.py").write_text((SCRIPTS / "plain" / "two_layer_net.py").read_text())
    (tmp_path / "script.py").write_text(
        "from two_layer_net import TwoLayerNet\nnet = TwoLayerNet(3, 2, 2)\n"
        "import numpy as np\nnet.loss(np.ones((2, 5)), np.eye(2))\n"
    )
    code, _, err = python("-m", "fastnn.book", "script.py")
    assert code == 1
    assert "computes what fastnn's does" in err
    frames = [line for line in err.splitlines() if line.startswith("  File")]
    assert [Path(line.split('"')[1]).name for line in frames] == [
        *("script.py", "two_layer_net.py", "two_layer_net.py", "two_layer_net.py")
    ]
    assert "ValueError: shapes (2,5) and (3,2)" in ours(err)


def test_a_download_that_fails(python, tmp_path):
    """As the book's own loader does today, where nothing has been downloaded before."""
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "mnist.py").write_text(
        "from urllib.error import HTTPError\n"
        "def load_mnist():\n    raise HTTPError('http://x', 403, 'Forbidden', None, None)\n"
    )
    (tmp_path / "script.py").write_text("from dataset.mnist import load_mnist\nload_mnist()\n")
    code, _, err = python("-m", "fastnn.book", "script.py")
    assert code == 1
    assert err.splitlines()[-2].endswith("HTTP Error 403: Forbidden")
    assert err.splitlines()[-1].endswith("--ours dataset.mnist takes it in place of yours")
    assert python("-m", "fastnn.book", "script.py", "--ours", "dataset.mnist").code == 0


def test_through_a_symbolic_link_from_anywhere(python, tmp_path):
    place = tmp_path / "real" / "ch04"
    place.mkdir(parents=True)
    (place / "mine.py").write_text("value = 3\n")
    (place / "script.py").write_text(
        "import mine, sys\nfrom two_layer_net import TwoLayerNet\nprint(mine.value, sys.argv)\n"
    )
    (tmp_path / "link.py").symlink_to(place / "script.py")
    code, out, err = python("-m", "fastnn.book", "link.py", "--", "-x")
    assert (code, out, ours(err)) == (0, "3 ['link.py', '-x']\n", "")


@pytest.mark.skipif(sys.platform == "win32", reason="there are no signals to send")
def test_interrupted(tmp_path):
    (tmp_path / "script.py").write_text("import time\nprint('ready', flush=True)\ntime.sleep(60)\n")
    process = subprocess.Popen(
        # A shell's background process ignores it.
        python_after(
            "signal.signal(signal.SIGINT, signal.SIG_DFL)", "-m", "fastnn.book", "script.py"
        ),
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(SCRIPTS.parent.parent)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == "python -m fastnn.book: error: interrupted\n"


@pytest.mark.parametrize("inherited", [None, "agg", "module://matplotlib_inline.backend_inline"])
def test_show_without_a_display_saves_a_picture(python, tmp_path, monkeypatch, inherited):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "MPLBACKEND"):
        monkeypatch.delenv(name, raising=False)
    if inherited:
        monkeypatch.setenv("MPLBACKEND", inherited)
    script = tmp_path / "curves.py"
    script.write_text(
        "import matplotlib.pyplot as plt\n"
        "for y in ([1, 2], [3, 1]):\n    plt.figure()\n    plt.plot(y)\n"
        "plt.show()\nplt.plot([2, 2])\nplt.show()\n"
    )
    code, out, err = python("-m", "fastnn.book", script)
    assert (code, out) == (0, "")
    for number, line in zip((1, 2, 3), err.splitlines(), strict=True):
        picture = tmp_path / f"curves-figure-{number}.png"
        assert line == f"there is no display: the figure was saved as {picture}"
        assert picture.read_bytes().startswith(b"\x89PNG")


def test_one_blas_thread(python, tmp_path, monkeypatch):
    for name in ("OPENBLAS", "OMP", "MKL", "BLIS"):  # which Dask, for one, sets for its processes
        monkeypatch.delenv(f"{name}_NUM_THREADS", raising=False)
    (tmp_path / "script.py").write_text(
        "import threadpoolctl\n"
        "print({i['num_threads'] for i in threadpoolctl.threadpool_info()\n"
        "       if i['user_api'] == 'blas'})\n"
        "import threading, fastnn, numpy as np\n"
        "def train():\n"
        "    net = fastnn.TwoLayerNet(4, 3, 2)\n"
        "    fastnn.train(net, np.ones((9, 4)), np.zeros(9, int), iterations=3, batch_size=2)\n"
        "thread = threading.Thread(target=train)\nthread.start()\nthread.join()\nprint('joined')\n"
    )
    assert python("-m", "fastnn.book", "script.py").out.endswith("{1}\njoined\n")
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "2")
    assert python("-m", "fastnn.book", "script.py").out.endswith("joined\n")
