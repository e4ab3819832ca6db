"""Somebody else's code is survived: plug-ins, the book's scripts, scripts without a main guard.

One of the kinds that ``test_hostile.py`` lists.
"""

import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import pytest

import fastnn
from fastnn.backends import availability, available_backends
from fastnn.bench.measure import measure
from fastnn.book import run_script
from fastnn.cli import main

BROKEN = {
    "raises": "raise RuntimeError('boom')",
    "exits": "raise SystemExit('no licence')",
    "is none": "Plugin = 3",
    "probe raises": "def probe(cls): raise OSError('no driver')",
    "probe exits": "def probe(cls): raise SystemExit(3)",
    "probe is none": "def probe(cls): return None",
    "does not start": "def __init__(self): raise OSError('no device')",
    "does not multiply": "def asarray(self, a, dtype=None, *, name='array'): raise OSError",
}


@pytest.fixture
def plugin(monkeypatch, tmp_path):
    """Register a backend that is broken in this way."""

    def register(broken):
        body = BROKEN[broken]
        if body.startswith("def"):
            method = "" if "__init__" in body or "asarray" in body else "@classmethod\n    "
            body = f"class Plugin(NumpyBackend):\n    name = 'broken'\n    {method}{body}"
        (tmp_path / "broken_plugin.py").write_text(
            f"from fastnn.backends.numpy import NumpyBackend\n{body}\n"
        )
        found = tmp_path / "broken-1.dist-info"
        found.mkdir()
        (found / "METADATA").write_text("Name: broken\nVersion: 1\n")
        (found / "entry_points.txt").write_text(
            "[fastnn.backends]\nbroken = broken_plugin:Plugin\n"
        )
        monkeypatch.syspath_prepend(tmp_path)
        clear()

    def clear():
        for cached in (fastnn.backends._registered, fastnn.backends._backend_class, availability):
            cached.cache_clear()

    yield register
    monkeypatch.undo()
    sys.modules.pop("broken_plugin", None)
    clear()


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_plugin_is_one_row_with_its_reason(plugin, broken, monkeypatch, capfd):
    plugin(broken)
    if broken not in ("does not start", "does not multiply"):
        found = available_backends()["broken"]
        assert not found.available
        assert found.reason
    with pytest.raises(SystemExit) as exited:
        main(["backends"])
    out, err = capfd.readouterr()
    assert (exited.value.code, err) == (0, "")
    assert sum(line.startswith("broken ") for line in out.splitlines()) == 1
    backends = {name: availability(name) for name in ("numpy", "broken")}
    monkeypatch.setattr("fastnn.bench.measure.available_backends", lambda: backends)
    measured = measure(hidden_size=2, batch_size=10, seconds=0.05)
    assert measured["unavailable"]["broken"]
    assert "numpy" in measured["training_step"]


@pytest.mark.parametrize("raised", ["input()", "import pickle; pickle.loads(b'')", "1 / 0", "x ="])
def test_a_script_of_the_books_keeps_its_own_traceback(python, tmp_path, raised):
    script = tmp_path / "script.py"
    script.write_text(raised)
    code, out, err = python("-m", "fastnn.book", script)
    expected = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    assert (code, out) == (expected.returncode, expected.stdout) == (1, "")
    assert err == expected.stderr


@pytest.mark.parametrize(
    ("body", "code", "err"),
    [
        ("raise SystemExit(7)", 7, ""),
        ("import sys; sys.exit('stop')", 1, "stop\n"),
        ("raise KeyboardInterrupt", 130, "python -m fastnn.book: error: interrupted\n"),
    ],
)
def test_the_exit_code_of_a_script(python, tmp_path, body, code, err):
    (tmp_path / "script.py").write_text(body)
    assert python("-m", "fastnn.book", tmp_path / "script.py") == (code, "", err)


def test_after_a_script_everything_is_as_before(tmp_path, monkeypatch):
    folder = tmp_path / "scripts"
    (folder / "package").mkdir(parents=True)
    (folder / "mine.py").write_text("")
    (folder / "package" / "__init__.py").write_text("")
    (folder / "package" / "inner.py").write_text("")
    (folder / "script.py").write_text(
        "import mine, package.inner, common.functions, os, sys\n"
        "path = list(sys.path)\nsys.argv.append('x')\nsys.path.append('y')\nos.chdir('/')\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))  # as python -m does
    common = sys.modules["common"] = type(sys)("common")  # somebody else's
    before = sys.argv[:], sys.path[:], sys.meta_path[:], Path.cwd(), dict(os.environ)
    try:
        names = run_script(folder / "script.py")
        assert sys.modules["common"] is common
    finally:
        del sys.modules["common"]
    assert before == (sys.argv, sys.path, sys.meta_path, Path.cwd(), dict(os.environ))
    assert not {"mine", "package", "package.inner", "common.functions"} & sys.modules.keys()
    assert names["path"][0] == str(folder)
    assert str(tmp_path) not in names["path"]


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_workers_in_a_script_without_a_main_guard(python, tmp_path, method):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"there is no {method} here")
    script = tmp_path / "script.py"
    body = f"""
import multiprocessing, numpy as np
from fastnn import numerical_gradient
def f(x): return float(x @ x)
{{}}
    multiprocessing.set_start_method({method!r}, force=True)
    print(numerical_gradient(f, np.arange(3.0), workers=2))
"""
    script.write_text(body.format("if True:"))
    done = python(script)
    assert (done.code, done.out) == (1, "")
    assert done.err.count("Traceback") == 1
    assert "if __name__ == '__main__':" in done.err.splitlines()[-1]
    assert "BrokenProcessPool" not in done.err
    script.write_text(body.format("if __name__ == '__main__':"))
    assert python(script) == (0, "[0. 2. 4.]\n", "")
