"""``fastnn train`` with a checkpoint, and a model at the end."""

import json
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from idx import write_mnist

import fastnn
import fastnn.checkpoints


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_mnist(folder, train=400, test=40)
    return folder


@pytest.fixture
def train(python, data):
    def run(*options):
        options = (
            "--data",
            data,
            "--hidden",
            5,
            "--batch-size",
            20,
            "--backend",
            "numpy",
            *options,
        )
        return python("-m", "fastnn", "train", "--json", *options)

    return run


@pytest.fixture
def resume(python, data):
    def run(path, *options):
        options = ("--data", data, "--checkpoint", path, "--resume", *options)
        return python("-m", "fastnn", "train", "--json", *options)

    return run


def result(done):
    assert done.code == 0, done.err
    return json.loads(done.out) | {"seconds": 0}


OPTIONS = ("--iterations", 3000, "--optimizer", "adam", "--sampling", "shuffle", "--seed", 3)


def test_killed_and_resumed(train, resume, data, tmp_path):
    expected = result(train(*OPTIONS, "--save", tmp_path / "whole"))
    path = tmp_path / "run"
    command = [sys.executable, "-m", "fastnn", "train", "--data", data, "--hidden", 5]
    command += ["--batch-size", 20, "--backend", "numpy", *OPTIONS, "--checkpoint", path]
    command += ["--checkpoint-every", 50]
    process = subprocess.Popen([*map(str, command)], stdout=subprocess.DEVNULL)
    while not path.exists() and process.poll() is None:
        time.sleep(0.005)
    time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert result(resume(path, "--save", tmp_path / "resumed")) == expected
    whole, resumed = (
        fastnn.load(tmp_path / name, backend="numpy") for name in ("whole", "resumed")
    )
    for name, parameter in whole.params.items():
        assert np.array_equal(parameter, resumed.params[name])


REFUSED = {
    "another batch size": (["--batch-size", 30], "--batch-size 30, but .* --batch-size 20"),
    "another optimizer": (["--optimizer", "sgd"], "--optimizer sgd, but .* 'adam'"),
    "another rate": (["--learning-rate", 0.5], "--learning-rate 0.5, but"),
    "another validation": (["--validation", 0.1], "--validation 0.1, but .* no --validation;"),
    "units": (["--hidden", 5], "--hidden is for the beginning; leave it out with --resume"),
    "a seed": (["--seed", 3], "--seed is for the beginning"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_other_options_are_refused(train, resume, tmp_path, what):
    options, message = REFUSED[what]
    path = tmp_path / "run"
    result(train("--iterations", 30, "--optimizer", "adam", "--checkpoint", path))
    before = path.read_bytes()
    done = resume(path, *options)
    assert (done.code, done.out) == (2, "")
    assert re.search(message, done.err), done.err
    assert done.err.count("\n") == 1
    assert path.read_bytes() == before


def test_a_checkpoint_is_not_replaced_by_another_training(train, tmp_path):
    path = tmp_path / "run"
    result(train("--iterations", 3, "--checkpoint", path))
    before = path.read_bytes()
    done = train("--iterations", 3, "--checkpoint", path)
    assert done.code == 2
    assert "is there already; go on from it with --resume, or remove it" in done.err
    assert path.read_bytes() == before


def test_resume_needs_a_checkpoint(train, resume, tmp_path):
    done = train("--resume")
    assert (done.code, done.err) == (
        2,
        "fastnn: error: --resume is for a --checkpoint; give its file, too.\n",
    )
    done = resume(tmp_path / "none")
    assert done.code == 2
    assert done.err.startswith("fastnn: error: ")
    assert "none" in done.err
    assert done.err.count("\n") == 1


def test_a_model_that_cannot_be_written_is_told(train, tmp_path):
    done = train("--iterations", 3, "--save", tmp_path / "no folder" / "model")
    assert (done.code, done.out) == (2, "")
    assert "no such folder" in done.err


def test_ctrl_c_keeps_what_was_reached(data, resume, tmp_path):
    path = tmp_path / "run"
    command = [sys.executable, "-m", "fastnn", "train", "--data", data, "--hidden", 5]
    command += ["--batch-size", 20, "--backend", "numpy", "--iterations", 10**6]
    command += ["--checkpoint", "run", "--save", "model", "--json"]
    process = subprocess.Popen(
        [*map(str, command)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        start_new_session=True,
    )
    while not path.exists() and process.poll() is None:
        time.sleep(0.005)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert (process.returncode, out) == (130, "")
    assert err.count("\n") == 1
    assert "interrupted by SIGINT after " in err
    assert "; model is not written; run has it, and --resume goes on" in err
    assert not (tmp_path / "model").exists()
    kept = fastnn.checkpoints.read_checkpoint(path)
    assert f"after {kept.state['loop']['iteration']} of 1000000 iterations" in err
