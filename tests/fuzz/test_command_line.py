"""Command lines: options with values that are no numbers, no names, no directories."""

import contextlib
import functools
import io
import json
import re
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from idx import NAMES, idx

import fastnn.bench.measure
import fastnn.cli
import fastnn.cli.data_options
import fastnn.cli.gradcheck

from . import calls
from .calls import examples
from .values import mostly

#: Pixels of an image and images: small, so that a command takes milliseconds.
SIDE, IMAGES = 3, 12

NUMBERS = ["1", "2", "3", "0", "-1"]
ODD = [
    *("", " ", "-1", "-5", "0.5", "1e400", "nan", "-inf", "1e-320", "99999999999999999999", "0x10"),
    *("x" * 1000, "é", "½", "\0", "two\nlines", "\ud800", "--", "-", "-x", "--json", "9" * 5000),
    *("{data}", "{data}/" + NAMES[0], "{data}/none", "/", "/dev/null", "numpy", "true", "None"),
]
strange = st.one_of(st.sampled_from(ODD), st.text(max_size=5))
number = mostly(NUMBERS, strange)

BACKEND = mostly(
    ["numpy", "numba", "auto"], st.one_of(strange, st.sampled_from(["cupy", "numpy:0"]))
)
DTYPE = mostly(["float64", "float32"], st.one_of(strange, st.sampled_from(["int64", ">f8", "f4"])))
SHARED = {"--backend": BACKEND, "--threads": number, "--dtype": DTYPE}
COMMANDS = {
    "train": SHARED
    | {
        "--gradient": mostly(["backprop", "numerical"], strange),
        "--hidden": number,
        "--iterations": number,
        "--batch-size": number,
        "--learning-rate": mostly(["0", "0.1", "1e39"], strange),
        "--sampling": mostly(["replacement", "shuffle"], strange),
        "--optimizer": mostly(["sgd", "momentum", "adam"], strange),
        "--schedule": mostly(["constant", "step", "inverse", "cosine"], strange),
        "--warmup": number,
        "--epochs": number,
        "--validation": mostly(["0.2", "0.5"], strange),
        "--early-stopping": number,
        "--resume": None,
        "--checkpoint-every": mostly(["1", "1s"], strange),
        "--seed": number,
        "--data": mostly(["{data}", "{data}/odd", "{data}/table.csv", "{data}/x.npz"], strange),
        "--target": mostly(["kind", "-1", "0", "a"], strange),
        "--test": mostly(["{data}/table.csv", "{data}"], strange),
        "--test-fraction": mostly(["0.5", "0.2"], strange),
        "--split-seed": number,
        "--scaling": mostly(["none", "unit", "standard"], strange),
        "--drop": mostly(["a", "0"], strange),
        "--header": None,
        "--no-header": None,
        "--transpose": None,
        "--first-label": number,
        "--images": mostly(["digits", "resize"], strange),
        "--image-size": mostly(["3", "5"], strange),
        "--activation": mostly(["tanh", "relu"], strange),
        "--loss": mostly(["cross_entropy", "mean_squared_error"], strange),
        "--json": None,
    },
    "gradcheck": SHARED
    | {
        "--method": mostly(["full", "incremental", "projection"], strange),
        "--activation": mostly(["tanh", "relu"], strange),
        "--loss": mostly(["cross_entropy", "mean_squared_error", "binary_cross_entropy"], strange),
        "--hidden": number,
        "--samples": number,
        "--tolerance": mostly(["1e-3", "0"], strange),
        "--seed": number,
    },
    "predict": {
        "--backend": BACKEND,
        "--proba": None,
        "--csv": None,
        "--header": None,
        "--no-header": None,
        "--transpose": None,
        "--json": None,
    },
    "evaluate": {
        "--backend": BACKEND,
        "--target": mostly(["kind", "0"], strange),
        "--test-fraction": mostly(["0.5"], strange),
        "--split-seed": number,
        "--part": mostly(["train", "all"], strange),
        "--header": None,
        "--transpose": None,
        "--json": None,
    },
    "inspect": {"--json": None},
    "export": {"--force": None, "--json": None},
    "bench": {"--dtype": DTYPE, "--hidden": number, "--batch-size": number, "--json": None},
    "backends": {"--json": None},
}

#: What makes a command short, before the options that are drawn.
SHORT = {
    "train": ["--iterations", "2", "--hidden", "3"],
    "gradcheck": ["--hidden", "2"],
    "predict": ["{data}/model", "{data}/table.csv"],
    "evaluate": ["{data}/model", "{data}/table.csv"],
    "inspect": ["{data}/model"],
    "export": ["{data}/model", "{data}/out.onnx"],
    "bench": ["--hidden", "2", "--batch-size", "2"],
    "backends": [],
}


@st.composite
def lines(draw, commands):
    command = draw(st.sampled_from(commands))
    options = COMMANDS[command]
    line = [command, *SHORT[command]]
    for _ in range(draw(st.integers(0, 4)) if options else 0):
        name = draw(st.sampled_from(list(options)))
        line.append(name)
        if options[name] is not None:
            line.append(draw(options[name]))
    if not draw(st.integers(0, 7)):  # something out of place
        extra = draw(st.one_of(strange, st.sampled_from(["--help", "-h", "--version", *options])))
        line.insert(draw(st.integers(0, len(line))), extra)
    return line


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Images in a directory, and others, whose labels are not bytes, in one below."""
    directory = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    (directory / "odd").mkdir()
    for name in NAMES:
        shape = (IMAGES, SIDE, SIDE) if "images" in name else (IMAGES,)
        values = rng.integers(10, size=shape)
        (directory / name).write_bytes(idx(values.astype(np.uint8)))
        kind = np.uint8 if "images" in name else np.int32
        (directory / "odd" / name).write_bytes(idx(values.astype(kind)))
    rows = [f"{i % 5},{i / 2},{'xy'[i % 2]}" for i in range(IMAGES)]
    (directory / "table.csv").write_text("\n".join(["a,b,kind", *rows, ""]))
    np.savez(directory / "x.npz", x=rng.normal(size=(IMAGES, 4)), y=np.arange(IMAGES) % 2)
    table = fastnn.load_data(directory / "table.csv", target="kind")
    network = fastnn.TwoLayerNet(2, 3, 2, backend="numpy", rng=0)
    table.describe(network)
    network.save(directory / "model")
    return directory


@pytest.fixture(autouse=True, scope="module")
def small(data):
    """MNIST and the time that a measurement takes, small."""

    def load(*arguments, directory=None, **options):
        place = data if directory is None else directory
        return fastnn.load_mnist(*arguments, directory=place, **options)

    def load_data(path=None, **options):
        return fastnn.load_data(data if path is None else path, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fastnn.cli.data_options, "load_data", load_data)
        for module in (fastnn.cli.gradcheck, fastnn.bench.measure):
            patch.setattr(module, "load_mnist", load)
        measure = functools.partial(fastnn.bench.measure.measure, seconds=0.001)
        patch.setattr(fastnn.bench.measure, "measure", measure)
        patch.setattr(fastnn.bench.measure, "SAMPLES", 4)
        some = {name: fastnn.available_backends()[name] for name in ("numpy", "numba")}
        patch.setattr(fastnn.bench.measure, "available_backends", lambda: some)
        yield


def run(line):
    """Exit code, standard output and standard error of a command in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            fastnn.cli.main(line)
        except SystemExit as exited:
            return exited.code, out.getvalue(), err.getvalue()
    return None, out.getvalue(), err.getvalue()


def what_is_wrong(line, code, out, err):
    """What a command did that the package does not promise, or None."""
    if code == 2:
        start = "fastnn: error: "
        if not err.startswith(start) or not err.endswith("\n") or len(err.splitlines()) != 1:
            return f"exit code 2 with {err!r:.200}"
        if len(err) > len(start) + calls.LONGEST + 1:
            return f"a message of {len(err)} characters: {err!r:.150}"
        return f"exit code 2 after output: {out!r:.100}" if out else None
    if code == 1 and line[0] == "gradcheck" and "FAIL" in out and not err:
        return None
    if code != 0:
        return f"exit code {code} with {err!r:.200}"
    if err:
        return f"exit code 0 with {err!r:.200}"
    if "--json" in line and "{" in out:
        json.loads(out)
    return None if out else "no output"


def check_line(line, data):
    calls.inputs += 1
    text = "fastnn " + " ".join(repr(part[:100]) if len(part) > 20 else part for part in line)
    arguments = [part.replace("{data}", str(data)) for part in line]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            wrong = what_is_wrong(line, *run(arguments))
        except Exception as error:
            place = calls.innermost(error)
            wrong = f"{type(error).__name__} at {place}: {error!s:.150}"
    if wrong is None and caught:
        wrong = f"a warning: {caught[0].message!s:.150}"
    if wrong is not None:
        command = line[0] if line[0] in COMMANDS else "COMMAND"
        kind = re.sub(r"\d+", "N", wrong)[:60]
        calls.fault(f"fastnn {command}: {kind}", ascii(text)[1:-1], wrong)


@examples(250)
@given(line=lines(["train", "gradcheck", "backends", "predict", "evaluate", "inspect", "export"]))
def test_commands(data, line):
    check_line(line, data)


@examples(12)
@given(line=lines(["bench"]))
def test_bench(data, line):
    check_line(line, data)


@examples(100)
@given(line=st.lists(st.one_of(strange, st.sampled_from([*COMMANDS, "--help", "-h"])), max_size=3))
def test_what_is_no_command(data, line):
    if line and line[0] in COMMANDS:
        line[1:1] = SHORT[line[0]]
    check_line(line or ["--help"], data)
