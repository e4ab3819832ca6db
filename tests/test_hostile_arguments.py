"""Each option refuses by its own name what it cannot take, before any work.

One of the kinds that ``test_hostile.py`` lists.
"""

import json
import time
from pathlib import Path

import numpy as np
import pytest
from idx import NAMES, idx, write_mnist

from fastnn.bench.timing import interleave
from fastnn.cli import main


@pytest.fixture
def data(tmp_path):
    directory = tmp_path / "data"
    directory.mkdir()
    write_mnist(directory, train=40, test=20)
    return str(directory)


@pytest.fixture
def run(capfd):
    """The program in this process: exit code, standard output and standard error."""

    def call(*arguments):
        with pytest.raises(SystemExit) as exited:
            main([str(argument) for argument in arguments])
        return exited.value.code, *capfd.readouterr()

    return call


def assert_one_line(code, out, err, *named):
    assert (code, out) == (2, "")
    assert err.startswith("fastnn: error: ")
    assert err.count("\n") == 1
    assert len(err) <= 320
    for text in named:
        assert text in err


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "--batch-size", "-1"],
        ["train", "--hidden", "-5"],
        ["train", "--hidden", "0"],
        ["train", "--iterations", "-1"],
        ["train", "--iterations", "100000000000000000000"],
        ["train", "--hidden", "99999999999999999999"],
        ["bench", "--batch-size", "99999999999999999999"],
        ["train", "--learning-rate", "inf"],
        ["train", "--learning-rate", "nan"],
        ["train", "--seed", "-1"],
        ["train", "--threads", "0"],
        ["train", "--dtype", "int64"],
        ["train", "--gradient", "x" * 100_000],
        ["bench", "--batch-size", "0"],
        ["bench", "--hidden", "-1"],
        ["bench", "--dtype", "float16"],
        ["gradcheck", "--samples", "0"],
        ["gradcheck", "--hidden", "0"],
        ["gradcheck", "--tolerance", "nan"],
        ["gradcheck", "--method", "guess"],
        ["gradcheck", "--activation", "guess"],
        ["gradcheck", "--loss", "guess"],
        ["train", "--data", "a" * 300],
        ["train", "--data", "a" * 100_000],
        ["train", "--data", "a\0b"],
        ["train", "--data", "\udcff\n\x1b[31m"],
    ],
    ids=lambda arguments: " ".join(arguments)[:30],
)
def test_an_option_refuses_by_its_own_name(run, arguments):
    assert_one_line(*run(*arguments), f"'{arguments[1]}'")


def test_data_of_no_known_format_are_refused_by_their_path(run):
    assert_one_line(*run("train", "--data", __file__), __file__, ".csv")


def test_the_command_line_advises_what_it_can_do(run, data):
    for name in NAMES[::2]:
        images = np.full((40 if "train" in name else 20, 28, 28), np.nan, np.float32)
        (Path(data) / name).write_bytes(idx(images))
    code, out, err = run("train", "--data", data)
    assert_one_line(code, out, err, "nan")
    assert "normalize" not in err


def test_a_picture_that_cannot_be_written_is_refused_before_anything_is_measured(run, tmp_path):
    folder = tmp_path / "folder.png"
    folder.mkdir()
    started = time.perf_counter()
    assert_one_line(*run("bench", "--plot", folder), "folder.png", "directory")
    assert time.perf_counter() - started < 5


def test_measurements_are_shown_though_the_picture_fails(run, monkeypatch, tmp_path):
    """As where the folder is removed meanwhile."""
    rows = {name: {"numpy": {"median": 1.0}} for name in ("training_step", "numerical_gradient")}
    network = {"network": "2-2-2", "batch_size": 1, "dtype": "float64"}
    measured = rows | network | {"machine": {"cpu": "a processor"}}
    monkeypatch.setattr("fastnn.bench.measure.measure", lambda **_: measured)
    monkeypatch.setattr("fastnn.bench.report.check_picture", lambda _: None)
    code, out, err = run("bench", "--json", "--plot", tmp_path / "nowhere" / "a.png")
    assert (code, json.loads(out)) == (2, measured)
    assert "cannot be written" in err
    assert err.count("\n") == 1


def test_measuring_says_how_far_it_is():
    told = []
    interleave(
        {"a": lambda: 1.0, "b": lambda: 1.0},
        seconds=0.05,
        told=lambda name, share: told.append((name, share)),
    )
    assert told[:3] == [("a", 0.0), ("b", 0.0), told[2]]
    assert all(0 <= share <= 1 for _, share in told)
    assert told[-1][1] > 0.5
