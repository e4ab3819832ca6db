"""A hostile environment is survived, or named in one line.

The kinds, each with the real thing in a fresh process where that matters:

- **nothing to write to**: no standard error or output, a full disk, a closed pipe, an encoding that
  lacks our symbols, a standard error that breaks while a progress bar is shown;
- **no place, or a bad one, for compiled kernels** (``test_hostile_kernels.py``): none that can be
  written, an archive or a frozen program without files, a folder that others can write to; damaged
  files are in ``test_numba_cache.py``;
- **somebody else's code** (``test_hostile_code.py``): a plug-in that is broken in any way, a script
  of the book's that raises, a script without a main guard;
- **Ctrl-C at any moment**: while loading, too; and what is no Ctrl-C is not taken for it;
- **arguments** (``test_hostile_arguments.py``): each option refuses by its own name what it cannot
  take, before any work.

``test_chaos.py`` has several of them at once, and limits of the system's.
"""

import errno
import io
import os
import re
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from idx import write_mnist

import fastnn
from fastnn import console
from fastnn.cli import main
from fastnn.progress import progress_bar

#: A training on files of 40 and 20 images; the folder comes after it.
TRAIN = ["train", "--iterations", "3", "--batch-size", "5", "--backend", "numpy", "--data"]


@pytest.fixture
def data(tmp_path):
    directory = tmp_path / "data"
    directory.mkdir()
    write_mnist(directory, train=40, test=20)
    return str(directory)


def program(*arguments, env=None, **options):
    """The program in a fresh process."""
    command = [sys.executable, "-m", "fastnn", *map(str, arguments)]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    return subprocess.run(command, env=os.environ | (env or {}), **options)


# -- nothing to write to ---------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["cp932", "cp949", "gbk", "ascii", "latin-1", "utf-8"])
def test_the_result_is_shown_in_any_encoding(monkeypatch, encoding, data):
    """In the encodings of Windows's consoles, strictly."""
    shown = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict")
    monkeypatch.setattr(sys, "stdout", shown)
    with pytest.raises(SystemExit) as exited:
        main([*TRAIN, data])
    assert exited.value.code == 0
    text = shown.buffer.getvalue().decode(encoding)
    unit = "µs" if encoding in ("latin-1", "utf-8") else "us"
    assert f" {unit} an iteration" in text
    assert "test accuracy" in text


def test_symbols_without_a_plain_form_are_shown_by_their_number(monkeypatch):
    shown = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", shown)
    console.write("3 × µ − 隼 \udcff")
    assert shown.buffer.getvalue() == b"3 x u - \\u96bc \\udcff\n"


@pytest.mark.parametrize("encoding", ["cp932", "ascii"])
def test_a_console_of_another_encoding(encoding, data):
    variables = {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    done = program(*TRAIN, data, env=variables)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b" us an iteration" in done.stdout
    failed = program("train", "--backend", "µ", env=variables)
    assert failed.returncode == 2
    assert failed.stderr.count(b"\n") == 1
    assert b"Traceback" not in failed.stderr


@pytest.mark.parametrize("missing", ["stderr", "stdout"])
def test_without_standard_streams_as_under_pythonw(monkeypatch, data, missing, capfd):
    monkeypatch.setattr(sys, missing, None)
    for arguments, code in (
        ([*TRAIN, data], 0),
        (["backends"], 0),
        (["train", "--hidden", "0"], 2),
    ):
        with pytest.raises(SystemExit) as exited:
            main(arguments)
        assert exited.value.code == code
    net = fastnn.TwoLayerNet(4, 3, 2, backend="numpy", rng=0)
    fastnn.train(net, np.eye(4), [0, 1, 0, 1], iterations=3, batch_size=2, progress=True)
    assert capfd.readouterr().err.count("error") == (missing == "stdout")


def test_tqdm_is_not_touched_unless_a_bar_is_shown(python):
    code = """
import sys, numpy as np, fastnn
net = fastnn.TwoLayerNet(4, 3, 2, backend="numpy", rng=0)
def train(**options):
    fastnn.train(net, np.eye(4), [0, 1, 0, 1], iterations=3, batch_size=2, **options)
train()
stderr, sys.stderr = sys.stderr, None
train(progress=True)
sys.stderr = stderr
train(progress=True)  # it is no terminal
assert "tqdm" not in sys.modules
stderr.isatty = lambda: True
train(progress=True)
from tqdm.std import tqdm, TqdmDefaultWriteLock
assert not hasattr(tqdm, "_lock") and not hasattr(TqdmDefaultWriteLock, "mp_lock")
"""
    done = python("-W", "error", "-c", code)
    assert done.code == 0, done.err
    assert "3/3" in done.err


def test_a_bar_that_cannot_be_written_any_more_ends_and_the_work_goes_on(monkeypatch):
    class Full(io.StringIO):
        def write(self, text):
            raise OSError(errno.ENOSPC, "No space left on device")

        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stderr", Full())
    with progress_bar(10, True) as bar:
        bar.update(5)
        bar.update(5)


FULL = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")


@FULL
@pytest.mark.parametrize("arguments", [["backends"], ["--help"], ["train", "--help"]])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk(arguments, unbuffered):
    with Path("/dev/full").open("w") as full:
        done = program(*arguments, env={"PYTHONUNBUFFERED": unbuffered}, stdout=full)
        assert done.returncode == 2
        assert done.stderr.count(b"\n") == 1
        assert b"the output cannot be written: No space left on device" in done.stderr
        nowhere = program("trian", stderr=full)
        assert (nowhere.returncode, nowhere.stdout) == (2, b"")


@pytest.mark.skipif(os.name != "posix", reason="needs pipes of POSIX")
@pytest.mark.parametrize("arguments", [["backends"], ["--help"]])
def test_a_pipe_that_nobody_reads(arguments):
    reading, writing = os.pipe()
    os.close(reading)
    done = program(*arguments, stdout=writing)
    os.close(writing)
    assert done.returncode == 2
    assert done.stderr.startswith(b"fastnn: error: the output cannot be written")
    assert done.stderr.count(b"\n") == 1


def test_a_warning_is_one_line(capfd, monkeypatch):
    def available():
        warnings.warn("a\nb", stacklevel=2)
        return {}

    monkeypatch.setattr("fastnn.cli.backends.available_backends", available)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        with pytest.raises(SystemExit):
            main(["backends"])
    assert capfd.readouterr().err == "fastnn: warning: a b\n"


# -- Ctrl-C ----------------------------------------------------------------------------------------


@pytest.mark.skipif(os.name != "posix", reason="needs signals of POSIX")
@pytest.mark.parametrize(
    "command", [["-m", "fastnn"], ["-c", "from fastnn.__main__ import main; main()"]]
)
@pytest.mark.parametrize("while_loading", ["numpy", "click", "fastnn.networks"])
def test_ctrl_c_while_loading(tmp_path, command, while_loading):
    """The signal comes in the middle of an import."""
    (tmp_path / "usercustomize.py").write_text("")
    (tmp_path / "sitecustomize.py").write_text(f"""
import os, signal, sys
class Finder:
    def find_spec(name, path=None, target=None):
        if name == {while_loading!r}:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder)
""")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    arguments = [sys.executable, *command, "backends"]
    done = subprocess.run(
        arguments, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "fastnn: error: interrupted\n")


def test_the_program_starts_where_ctrl_c_is_caught():
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text()
    assert 'fastnn = "fastnn.__main__:main"' in text


@pytest.mark.skipif(os.name != "posix", reason="needs signals of POSIX")
@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_ctrl_c_while_training(data, name, code):
    """It comes, as from another process, when the first steps are made."""
    program = """
import os, signal, sys, threading, fastnn.callbacks
from fastnn.cli import main
signal.signal(signal.SIGINT, signal.default_int_handler)  # also in the background
begin, number = fastnn.callbacks.Callbacks.call, getattr(signal, sys.argv.pop(1))
def call(self, event, *arguments):
    if event == "on_begin":
        threading.Timer(0.5, os.kill, [os.getpid(), number]).start()
    begin(self, event, *arguments)
fastnn.callbacks.Callbacks.call = call
main()
"""
    command = [sys.executable, "-c", program, name, *TRAIN, data, "--iterations", "100000000"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (code, "")
    reached = rf"interrupted by {name} after \d+ of 100000000 iterations: loss .*, test_accuracy .*"
    assert re.fullmatch(rf"fastnn: error: {reached}\n", done.stderr)


@pytest.mark.skipif(os.name != "posix", reason="needs signals of POSIX")
def test_ctrl_c_at_any_time(data):
    """In the middle of what comes before the training, or of the training, is one line."""
    command = [sys.executable, "-m", "fastnn", *TRAIN, data, "--iterations", "100000000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        time.sleep(3)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (130, b"")
    assert err.startswith(b"fastnn: error: interrupted")
    assert err.count(b"\n") == 1


def test_an_end_of_file_is_no_ctrl_c(monkeypatch):
    def available():
        raise EOFError("Ran out of input")

    monkeypatch.setattr("fastnn.cli.backends.available_backends", available)
    with pytest.raises(EOFError):
        main(["backends"])
