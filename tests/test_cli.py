"""The command line: what it prints, and that every error is one line and exit code 2."""

import contextlib
import inspect
import json
import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest
from idx import NAMES, idx, write_mnist

import fastnn
from fastnn import console, schedules
from fastnn.cli import cli, main

KEYS = [
    "backend",
    "device",
    "dtype",
    "gradient",
    "iterations",
    "seconds",
    "loss",
    "train_accuracy",
    "test_accuracy",
]


@pytest.fixture
def data(tmp_path):
    """A directory of 40 and 20 images in place of MNIST."""
    directory = tmp_path / "data"
    directory.mkdir()
    write_mnist(directory, train=40, test=20)
    return directory


@pytest.fixture
def run(capfd):
    """Call the program in this process: exit code, standard output and standard error."""

    def call(*arguments):
        with pytest.raises(SystemExit) as exited:
            main([str(argument) for argument in arguments])
        return exited.value.code, *capfd.readouterr()

    return call


def test_the_seed_is_one_generator_for_weights_and_batches(train_json, data):
    (x, t), _ = fastnn.load_mnist(directory=data)
    rng = np.random.default_rng(3)
    net = fastnn.TwoLayerNet(784, 50, 10, backend="numpy", rng=rng)
    history = fastnn.train(net, x, t, iterations=30, batch_size=5, rng=rng)
    assert train_json("--seed", 3, "--backend", "numpy")["loss"] == history.loss[-1]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("learning_rate=0.5 is it; give a learning_rate", "--learning-rate 0.5 is it; give a"),
        ("leave it out: drop='a b', or", "leave it out: --drop 'a b', or"),
        ("leave it out: drop='a', or", "leave it out: --drop a, or"),
        ("began with validation=None;", "began with no --validation;"),
        ("use transpose=True", "use --transpose"),
        ("header=True or header=False", "--header or --no-header"),
        ("drop the row, or name the target", "drop the row, or name the target"),
        ("/tmp/batch_size/drop=1.csv is gone", "/tmp/batch_size/drop=1.csv is gone"),
        ("began with Constant(learning_rate=0.1)", "began with Constant(learning_rate=0.1)"),
        ("x_learning_rate=1 and my.batch_size", "x_learning_rate=1 and my.batch_size"),
    ],
)
def test_what_is_said_of_arguments_is_said_of_options(message, expected):
    assert console.in_options(message, cli.commands["train"]).startswith(expected)


def test_no_line_of_the_help_is_cut_off(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = run("--help")
    assert code == 0
    assert "..." not in out.partition("Commands:")[2]


def test_advice_is_to_use_an_option(run, tmp_path):
    table = tmp_path / "table.csv"
    table.write_text("a,b,c,t\n1,2,x,0\n3,4,y,1\n")
    _, _, err = run("train", "--data", table, "--target", "t")
    assert "column 'c' holds 'x' and no number; leave the column out: --drop c, or put" in err
    numbers = "a,b,c,t\n1,2,3,0\n3,4,5,1\n"
    table.write_text(numbers)
    model = tmp_path / "model"
    code, _, _ = run("train", "--data", table, "--target", "t", "--iterations", 1, "--save", model)
    assert code == 0
    table.write_text(numbers.replace("3", "x"))
    for command in ("predict", "evaluate"):  # nothing can be left out there
        _, _, err = run(command, model, table)
        assert "no number; put a number there" in err
    table.write_text("1,2,3,0,1\n1,2,3,4,5\n")
    _, _, err = run("predict", model, table, "--no-header")
    assert "has no column 'a'" in err or "5 columns of features, and the model takes 3" in err


def test_a_training_that_went_wrong_says_so(run, data):
    line = ["train", "--data", data, "--batch-size", 5, "--loss", "mean_squared_error"]
    _, out, _ = run(*line, "--learning-rate", 10, "--iterations", 3)
    assert re.search(
        r"loss +\S{1,12} on the last batch, \S{1,12} on the first: give a smaller", out
    )
    _, out, _ = run(*line, "--learning-rate", 0.001, "--iterations", 3)
    assert re.search(r"loss +\d+\.\d{4} on the last batch$", out, re.MULTILINE)


@pytest.fixture
def train_json(run, data):
    def call(*arguments):
        code, out, err = run(
            "train", "--data", data, "--batch-size", 5, "--iterations", 30, "--json", *arguments
        )
        assert (code, err) == (0, "")
        return json.loads(out)

    return call


def assert_one_line(code, out, err, *named):
    assert code == 2
    assert out == ""
    assert err.startswith("fastnn: error: ")
    assert err.count("\n") == 1
    assert err.endswith("\n")
    assert "Traceback" not in err
    for text in named:
        assert text in err


# -- train -----------------------------------------------------------------------------------------


def test_json_is_one_object_with_the_agreed_keys(train_json):
    result = train_json("--backend", "numpy")
    assert list(result) == KEYS
    assert result["backend"] == "numpy"
    assert result["device"] == fastnn.get_backend("numpy").device
    assert result["dtype"] == "float64"
    assert result["gradient"] == "backprop"
    assert result["iterations"] == 30
    assert result["seconds"] > 0
    for accuracy, samples in [("train_accuracy", 40), ("test_accuracy", 20)]:
        assert 0 <= result[accuracy] <= 1
        assert result[accuracy] * samples == pytest.approx(
            round(result[accuracy] * samples), abs=1e-9
        )


def test_the_result_is_that_of_the_library(train_json, data):
    result = train_json(
        "--backend",
        "numpy",
        "--seed",
        7,
        "--hidden",
        6,
        "--learning-rate",
        0.5,
        "--dtype",
        "float32",
    )
    (x, t), (x_test, t_test) = fastnn.load_mnist(directory=data)
    rng = np.random.default_rng(7)
    net = fastnn.TwoLayerNet(784, 6, 10, backend="numpy", dtype="float32", rng=rng)
    history = fastnn.train(net, x, t, iterations=30, batch_size=5, learning_rate=0.5, rng=rng)
    assert result["dtype"] == "float32"
    assert result["loss"] == float(history.loss[-1])
    assert result["train_accuracy"] == net.accuracy(x, t)
    assert result["test_accuracy"] == net.accuracy(x_test, t_test)


def test_a_seed_repeats_a_run_on_any_backend(train_json):
    losses = [
        train_json("--seed", seed, "--backend", name)["loss"]
        for seed, name in [(1, "numpy"), (1, "numpy"), (1, "numba"), (2, "numpy")]
    ]
    assert losses[0] == losses[1]
    assert losses[0] == pytest.approx(losses[2], abs=1e-9)
    assert losses[0] != losses[3]


def test_auto_is_the_default_backend(train_json):
    assert train_json()["backend"] == fastnn.get_backend("auto").name


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--hidden", 7),
        ("--batch-size", 9),
        ("--learning-rate", 0.01),
        ("--seed", 1),
        ("--dtype", "float32"),
    ],
)
def test_each_option_has_an_effect(train_json, option, value):
    assert (
        train_json("--backend", "numpy", option, value)["loss"]
        != train_json("--backend", "numpy")["loss"]
    )


def test_no_iterations_have_no_loss(run, data):
    code, out, _ = run("train", "--data", data, "--iterations", 0, "--json")
    assert code == 0
    assert json.loads(out)["loss"] is None
    assert run("train", "--data", data, "--iterations", 0)[0] == 0


def test_the_summary_says_what_was_done(run, data):
    code, out, err = run(
        "train",
        "--data",
        data,
        "--backend",
        "numpy",
        "--iterations",
        30,
        "--batch-size",
        5,
        "--hidden",
        6,
    )
    assert (code, err) == (0, "")
    for text in (
        "numpy",
        fastnn.get_backend("numpy").device,
        "784-6-10",
        "float64",
        "30 iterations",
        "backprop",
        "accuracy",
    ):
        assert text in out
    assert len(out.splitlines()) < 12


def test_the_defaults_are_those_of_the_book(run):
    code, out, _ = run("train", "--help")
    assert code == 0
    for text in ("auto", "float64", "backprop", "50", "10000", "100", "0.1"):
        assert f"default: {text}" in " ".join(out.split())


def test_labels_beyond_ten_widen_the_network(run, tmp_path):
    write_mnist(tmp_path, train=200, test=50, labels=26)
    code, out, _ = run("train", "--data", tmp_path, "--iterations", 3)
    assert code == 0
    assert "784-50-26" in out


def test_mnist_itself_from_a_fresh_process(python):
    done = python(
        "-m",
        "fastnn",
        "train",
        "--json",
        "--backend",
        "numpy",
        "--dtype",
        "float32",
        "--iterations",
        601,
    )
    assert (done.code, done.err) == (0, "")
    assert len(done.out.splitlines()) == 1
    result = json.loads(done.out)
    assert list(result) == KEYS
    assert 0.7 < result["test_accuracy"] < 1


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a pseudo-terminal")
def test_progress_is_shown_in_a_terminal(data):
    import termios  # exists where pseudo-terminals do

    controller, terminal = os.openpty()
    termios.tcsetwinsize(terminal, (24, 80))
    options = ["--data", str(data), "--iterations", "40", "--backend", "numpy", "--json"]
    command = [sys.executable, "-m", "fastnn", "train", *options]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=terminal, text=True)
    os.close(terminal)
    shown = ""
    with contextlib.suppress(OSError):  # the end of what was written
        while chunk := os.read(controller, 100_000):
            shown += chunk.decode()
    os.close(controller)
    assert done.returncode == 0
    assert "40/40" in shown
    assert list(json.loads(done.stdout)) == KEYS


# -- threads ---------------------------------------------------------------------------------------

#: get_backend learns to take threads elsewhere at this time; delete the mark once it does.
needs_threads = pytest.mark.skipif(
    "threads" not in inspect.signature(fastnn.get_backend).parameters,
    reason="get_backend does not take threads yet",
)


@pytest.fixture
def asked(monkeypatch):
    """What the command line asks get_backend for, by keyword, not how many threads there are."""
    keywords = []

    def get_backend(name, **options):
        keywords.append(options)
        return fastnn.get_backend(name, multiplications=options["multiplications"])

    monkeypatch.setattr("fastnn.cli.options.get_backend", get_backend)
    return keywords


def test_train_asks_for_threads(train_json, asked):
    train_json("--hidden", 6, "--threads", 3)
    assert asked == [{"multiplications": 5 * (785 * 6 + 7 * 10), "threads": 3}]


def test_gradcheck_asks_for_threads(run, asked):
    assert run("gradcheck", "--hidden", 6, "--threads", 3)[0] == 0
    assert asked == [{"multiplications": 100 * (785 * 6 + 7 * 10), "threads": 3}]


def test_threads_are_not_limited_unless_asked(train_json, asked):
    train_json()
    assert asked[0].get("threads") is None


@needs_threads
@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_training_with_one_thread(train_json, backend):
    result = train_json("--backend", backend, "--threads", 1)
    assert result["loss"] == pytest.approx(train_json("--backend", backend)["loss"], rel=1e-9)


@needs_threads
@pytest.mark.parametrize("threads", [0, -1])
def test_an_impossible_number_of_threads(run, data, threads):
    assert_one_line(*run("train", "--data", data, "--threads", threads), "threads")


# -- backends, and the program itself --------------------------------------------------------------


def test_backends_shows_what_can_run_and_why_the_rest_cannot(run):
    code, out, err = run("backends")
    assert (code, err) == (0, "")
    for name, found in fastnn.available_backends().items():
        (line,) = (line for line in out.splitlines() if line.startswith(f"{name} "))
        for text in (found.device, found.reason, found.remedy):
            assert text in line
    assert fastnn.get_backend("auto").name in out.splitlines()[-1]


def test_the_script_and_the_module_are_the_same_program(python):
    script = next(Path(sysconfig.get_path("scripts")).glob("fastnn*"))
    done = subprocess.run([script, "backends"], capture_output=True, text=True)
    module = python("-m", "fastnn", "backends")
    assert (done.returncode, done.stdout, done.stderr) == (module.code, module.out, module.err)
    assert module.code == 0


def test_help_and_version(run):
    assert run("--version") == (0, f"fastnn, version {fastnn.__version__}\n", "")
    for arguments in ([], ["--help"], ["-h"]):
        code, out, err = run(*arguments)
        assert (code, err) == (0, "")
        assert "train" in out
        assert "backends" in out


# -- errors ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--backend", "abacus"], ["'abacus'", "auto, numpy, numba, cupy"]),
        (["--backend", "numpy:0"], ["'numpy'"]),
        (["--dtype", "int64"], ["int64", "float32"]),
        (["--dtype", "complex128"], ["complex128"]),
        (["--dtype", "double trouble"], ["double trouble"]),
        (["--gradient", "guess"], ["'guess'", "backprop"]),
        (["--hidden", "0"], ["hidden", "0"]),
        (["--hidden", "5.5"], ["hidden", "5.5"]),
        (["--hidden", "100000000000000"], ["memory"]),
        (["--iterations", "-1"], ["iterations", "-1"]),
        (["--iterations", "many"], ["iterations", "many"]),
        (["--batch-size", "0"], ["--batch-size", "0"]),
        (["--learning-rate", "-0.1"], ["--learning-rate", "-0.1"]),
        (["--learning-rate", "nan"], ["--learning-rate", "nan"]),
        (["--threads", "many"], ["threads", "many"]),
        (["--seed", "-1"], ["-1"]),
        (["--seed", "x"], ["seed", "x"]),
        (["--data", "nowhere"], ["nowhere"]),
        (["--frobnicate"], ["--frobnicate"]),
        (["again"], ["again"]),
        (["--backend"], ["--backend"]),
    ],
)
def test_bad_options_are_one_line_and_exit_code_2(run, data, arguments, named):
    assert_one_line(*run("train", "--data", data, *arguments), *named)


def test_an_unknown_command_is_refused(run):
    assert_one_line(*run("trian"), "trian")


def write(name, array):
    return lambda directory: (directory / name).write_bytes(idx(array))


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (lambda directory: (directory / NAMES[2]).unlink(), [NAMES[2], "missing"]),
        (lambda directory: os.truncate(directory / NAMES[0], 5000), [NAMES[0], "truncated"]),
        (
            lambda directory: (directory / NAMES[1]).write_text("<html>403</html>"),
            [NAMES[1], "IDX"],
        ),
        (lambda directory: write_mnist(directory, train=0), []),
        (lambda directory: write_mnist(directory, test=0), []),
        (write(NAMES[1], np.zeros(3, np.uint8)), []),
        (write(NAMES[1], np.full(40, np.nan, np.float32)), []),
        (write(NAMES[1], np.full(40, -1, np.int8)), ["-1"]),
        (write(NAMES[3], np.full(20, 200, np.uint8)), ["200"]),
        (write(NAMES[0], np.zeros((40, 28, 28), np.int16)), ["int16"]),
        (write(NAMES[2], np.zeros((20, 14, 14), np.uint8)), []),
    ],
    ids=[
        "missing",
        "truncated",
        "not IDX",
        "no training images",
        "no test images",
        "fewer labels",
        "NaN labels",
        "negative labels",
        "a test label beyond the classes",
        "images of 16 bits",
        "small test images",
    ],
)
def test_bad_data_is_one_line_and_exit_code_2(run, data, damage, named):
    damage(data)
    assert_one_line(*run("train", "--data", data, "--iterations", 3), *named)


def test_divergence_is_one_line_and_exit_code_2(run, data):
    assert_one_line(
        *run("train", "--data", data, "--backend", "numpy", "--learning-rate", "1e308"),
        "diverged",
        "1e+308",
    )


def test_a_backend_that_cannot_run_is_one_line_and_exit_code_2(python, tmp_path):
    package = tmp_path / "fake" / "cupy"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(
        "raise ImportError('libcublas.so.12:\\n  cannot open shared object file')"
    )
    done = python("-m", "fastnn", "train", "--backend", "cupy", path=[package.parent])
    assert_one_line(*done, "libcublas.so.12", "CuPy")
    listed = python("-m", "fastnn", "backends", path=[package.parent])
    assert listed.code == 0
    assert "libcublas.so.12" in listed.out


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize(
    "arguments",
    [["backends"], ["--help"], ["--version"], ["train", "--json"], ["train"]],
    ids=" ".join,
)
def test_an_unwritable_output_is_one_line_and_exit_code_2(python, data, arguments):
    if "train" in arguments:
        arguments = [*arguments, "--data", data, "--iterations", 3, "--backend", "numpy"]
    with Path("/dev/full").open("w") as full:
        done = python("-m", "fastnn", *arguments, stdout=full)
    assert_one_line(*done, "No space left on device")


@pytest.mark.skipif(os.name != "posix", reason="needs a POSIX shell")
def test_a_closed_output_is_no_traceback():
    command = f'"{sys.executable}" -m fastnn backends'
    closed = subprocess.run(f"{command} >&-", shell=True, capture_output=True, text=True)
    assert "Traceback" not in closed.stderr
    piped = subprocess.run(f"{command} | true", shell=True, capture_output=True, text=True)
    assert "Traceback" not in piped.stderr
    assert "Exception ignored" not in piped.stderr


# -- epochs, schedules, validation -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", 0.5),
        ("step", schedules.StepDecay(0.5, every=4)),
        ("inverse", schedules.InverseScaling(0.5)),
        ("cosine", schedules.CosineWithWarmup(0.5, 12, 2)),
    ],
)
def test_the_options_are_the_arguments_of_the_library(run, data, schedule, expected):
    options = ["--epochs", 3, "--batch-size", 8, "--sampling", "shuffle", "--validation", 0.25]
    options += ["--early-stopping", 2, "--learning-rate", 0.5, "--schedule", schedule]
    options += ["--warmup", 2] * (schedule == "cosine")
    code, out, err = run("train", "--data", data, "--backend", "numpy", "--json", *options)
    assert (code, err) == (0, "")
    result = json.loads(out)
    (x, t), (x_test, t_test) = fastnn.load_mnist(directory=data)
    rng = np.random.default_rng(0)
    net = fastnn.TwoLayerNet(784, 50, 10, backend="numpy", rng=rng)
    history = fastnn.train(
        *(net, x, t),
        x_test=x_test,
        t_test=t_test,
        epochs=3,
        batch_size=8,
        sampling="shuffle",
        validation=0.25,
        early_stopping=2,
        learning_rate=expected,
        rng=rng,
    )
    assert list(result)[: len(KEYS)] == KEYS
    assert result["iterations"] == len(history.loss) <= 12  # of 30 samples
    assert result["loss"] == history.loss[-1]
    assert result["best_iteration"] == history.best_iteration
    assert result["stopped"] == history.stopped
    best = history.iterations.index(history.best_iteration)
    assert result["validation_loss"] == history.validation_loss[best]
    assert result["validation_accuracy"] == history.validation_accuracy[best]
    assert result["test_accuracy"] == net.accuracy(x_test, t_test)


def test_validation_is_a_line_of_the_summary(run, data):
    arguments = ["train", "--data", data, "--backend", "numpy", "--iterations", 20]
    code, out, _ = run(*arguments, "--validation", 0.5, "--early-stopping", 3)
    assert code == 0
    assert re.search(r"^validation +0\.\d{4}, best after iteration \d+ \(stopped: ", out, re.M)
    code, out, _ = run(*arguments, "--validation", 0.5)
    assert re.search(r"^validation +0\.\d{4}$", out, re.M)
    code, out, _ = run(*arguments)
    assert "validation" not in out


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--epochs", 2, "--iterations", 5], "--iterations and --epochs"),
        (["--epochs", -1], "-1"),
        (["--sampling", "none"], "--sampling"),
        (["--schedule", "linear"], "--schedule"),
        (["--warmup", 3], "--warmup is for --schedule cosine"),
        (["--schedule", "cosine", "--warmup", 40, "--iterations", 40], "--warmup 40 leaves none"),
        (["--validation", 0], "--validation"),
        (["--validation", 1], "--validation"),
        (["--early-stopping", 3], "--validation"),
        (["--early-stopping", 0, "--validation", 0.5], "--early-stopping"),
    ],
)
def test_options_that_do_not_fit_together(run, data, options, named):
    assert_one_line(*run("train", "--data", data, "--backend", "numpy", *options), named)
