"""From data of one's own to a model and what is made of it, at the command line."""

import csv
import io
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from idx import write_mnist

pytest.importorskip("pandas")
pytest.importorskip("PIL")

import pandas as pd
from digit_pictures import drawn, photo
from PIL import Image

import fastnn
from fastnn import Predictor
from fastnn.cli import main

datasets = pytest.importorskip("sklearn.datasets")


@pytest.fixture
def run(capfd, monkeypatch, tmp_path):
    """Call the program in a folder of its own: exit code, standard output and standard error."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments, stdin=b""):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8"))
        with pytest.raises(SystemExit) as exited:
            main([str(argument) for argument in arguments])
        return exited.value.code, *capfd.readouterr()

    return call


@pytest.fixture
def ok(run):
    """The output of a command that succeeds and says nothing else."""

    def call(*arguments, **options):
        code, out, err = run(*arguments, **options)
        assert (code, err) == (0, "")
        return out

    return call


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """Models of iris and of digits, and iris as a CSV file; made once, at the command line."""
    folder = tmp_path_factory.mktemp("models")
    iris = datasets.load_iris(as_frame=True)
    frame = iris.frame.drop(columns="target")
    frame["species"] = iris.target_names[iris.target]
    frame.to_csv(folder / "iris.csv", index=False)
    common = ["--backend", "numpy", "--json", "--save"]
    table = ["--data", folder / "iris.csv", "--target", "species", "--test-fraction", "0.2"]
    lines = [
        ["train", *table, "--iterations", "800", "--learning-rate", "0.3", *common, "iris"],
        ["train", "--iterations", "3000", "--optimizer", "momentum", *common, "digits"],
    ]
    for line in lines:
        line[-1] = folder / line[-1]
        with pytest.raises(SystemExit) as exited:
            main([str(part) for part in line])
        assert exited.value.code == 0
    return folder


def assert_refused(found, *named):
    """One line, exit code 2, and nothing written: no output and no file."""
    code, out, err = found
    assert code == 2, (out, err)
    assert out == ""
    assert err.startswith("fastnn: error: ")
    assert err.count("\n") == 1
    assert len(err) <= len("fastnn: error: ") + 301
    for text in named:
        assert text in err, err


# -- from an empty folder --------------------------------------------------------------------------


def test_a_csv_of_iris(ok, models, tmp_path):
    data = models / "iris.csv"
    line = ["train", "--data", data, "--target", "species", "--test-fraction", 0.2]
    result = json.loads(ok(*line, "--iterations", 1500, "--save", "iris.safetensors", "--json"))
    assert result["test_accuracy"] >= 0.9
    rows = ok("predict", "iris.safetensors", data).splitlines()
    frame = pd.read_csv(data)
    assert rows[0].split() == ["sample", "label", "probability"]
    said = [row.split()[1] for row in rows[1:]]
    assert np.mean(frame["species"] == said) > 0.93
    assert fastnn.load(tmp_path / "iris.safetensors").label_names == sorted(set(frame["species"]))
    found = json.loads(ok("evaluate", "iris.safetensors", data, "--test-fraction", 0.2, "--json"))
    assert found["samples"] == 30
    assert found["accuracy"] == result["test_accuracy"]


def test_digits_as_a_parquet_file(ok):
    datasets.load_digits(as_frame=True).frame.to_parquet("digits.parquet", engine="pyarrow")
    line = ["train", "--data", "digits.parquet", "--target", "target", "--test-fraction", 0.2]
    line += ["--optimizer", "adam", "--epochs", 60, "--scaling", "unit", "--backend", "numpy"]
    result = json.loads(ok(*line, "--save", "digits.safetensors", "--json"))
    assert result["test_accuracy"] > 0.9
    found = json.loads(ok("evaluate", "digits.safetensors", "digits.parquet", "--json"))
    assert found["samples"] == 1797
    assert found["accuracy"] > 0.93
    assert list(found["classes"]) == [str(i) for i in range(10)]


def test_a_folder_of_20_png_digits(ok, mnist):
    rng = np.random.default_rng(0)
    _, (x, t) = fastnn.load_mnist(normalize=False)
    x = x.reshape(-1, 28, 28)
    for number in (3, 7):
        folder = Path("mine", str(number))
        folder.mkdir(parents=True)
        for i, row in enumerate(np.flatnonzero(t == number)[:10]):
            Image.fromarray(photo(x[row], rng)).save(folder / f"{i}.png")
    line = ["train", "--data", "mine", "--iterations", 200, "--batch-size", 10]
    result = json.loads(ok(*line, "--backend", "numpy", "--save", "mine.safetensors", "--json"))
    assert result["train_accuracy"] == 1
    assert result["test_accuracy"] is None
    out = ok("predict", "mine.safetensors", "mine/3/0.png", "mine/7/4.png", "mine/7/5.png")
    assert [line.split()[:2] for line in out.splitlines()[1:]] == [
        ["mine/3/0.png", "3"],
        ["mine/7/4.png", "7"],
        ["mine/7/5.png", "7"],
    ]
    found = json.loads(ok("evaluate", "mine.safetensors", "mine", "--json"))
    assert (found["samples"], found["accuracy"]) == (20, 1)


def test_mnist_and_digits_of_ones_own(ok, models):
    assert json.loads(ok("evaluate", models / "digits", "--json"))["accuracy"] > 0.9
    for number in (1, 7):
        Image.fromarray(drawn(number)).save(f"{number}.jpg", quality=90)
    out = ok("predict", models / "digits", "1.jpg", "7.jpg")
    assert [line.split()[1] for line in out.splitlines()[1:]] == ["1", "7"]


def test_a_pair_of_npy_files(ok):
    (x, t), _ = fastnn.load_mnist(normalize=False)
    np.save("x_train.npy", x[:500])
    np.save("y_train.npy", t[:500])
    line = ["train", "--data", "x_train.npy", "--iterations", 50, "--backend", "numpy", "--json"]
    one = json.loads(ok(*line, "--save", "a.safetensors"))
    other = json.loads(ok(*line, "--target", "y_train.npy"))
    assert one | {"seconds": 0} == other | {"seconds": 0}
    np.save("x.npy", x[500:503])
    rows = ok("predict", "a.safetensors", "x.npy").splitlines()
    assert [row.split()[0] for row in rows[1:]] == ["x.npy:1", "x.npy:2", "x.npy:3"]


# -- train -----------------------------------------------------------------------------------------


def test_the_options_are_those_of_the_library(ok, models, tmp_path):
    data = models / "iris.csv"
    line = ["train", "--data", data, "--target", "species", "--test-fraction", 0.3]
    line += ["--split-seed", 4, "--scaling", "unit", "--drop", "sepal width (cm)", "--seed", 2]
    line += ["--activation", "tanh", "--loss", "mean_squared_error", "--hidden", 7]
    line += ["--iterations", 40, "--learning-rate", 0.01, "--backend", "numpy", "--json"]
    result = json.loads(ok(*line, "--save", "m"))
    mine = fastnn.load_data(
        data, target="species", test_fraction=0.3, rng=4, scaling="unit", drop=["sepal width (cm)"]
    )
    rng = np.random.default_rng(2)
    network = fastnn.TwoLayerNet(
        3, 7, 3, activation="tanh", loss="mean_squared_error", backend="numpy", rng=rng
    )
    fastnn.train(network, mine.x_train, mine.t_train, iterations=40, learning_rate=0.01, rng=rng)
    saved = fastnn.load(tmp_path / "m", backend="numpy")
    np.testing.assert_array_equal(saved.params["W1"], network.params["W1"])
    assert result["test_accuracy"] == network.accuracy(mine.x_test, mine.t_test)
    assert saved.provenance["seed"] == 2
    assert saved.provenance["data"] == "iris.csv"
    assert saved.preprocessing == mine.preprocessing.to_dict()


def test_files_of_their_own_for_the_test(ok, models):
    frame = pd.read_csv(models / "iris.csv").sample(frac=1, random_state=0)
    frame[:100].to_csv("a.csv", index=False)
    frame[100:][frame.columns[::-1]].to_csv("b.csv", index=False)
    line = ["train", "--data", "a.csv", "--test", "b.csv", "--target", "species"]
    result = ok(*line, "--iterations", 1000, "--backend", "numpy")
    assert "of 100 samples" in result
    assert "of 50 samples" in result
    assert float(result.split("test accuracy")[1].split()[0]) > 0.9


def test_a_resumed_training_knows_the_data(ok, models):
    line = ["train", "--data", models / "iris.csv", "--target", "species", "--backend", "numpy"]
    line += ["--json", "--iterations", 60]
    whole = json.loads(ok(*line, "--seed", 3, "--checkpoint", "c", "--save", "a"))
    again = json.loads(ok(*line, "--checkpoint", "c", "--resume", "--save", "b"))
    assert again | {"seconds": 0} == whole | {"seconds": 0}
    assert Path("a").read_bytes() == Path("b").read_bytes()
    out = ok("inspect", "c")
    assert "a checkpoint" in out
    assert "after iteration 60" in out


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_a_picture_of_the_training(ok, models, suffix):
    line = ["train", "--data", models / "iris.csv", "--target", "species", "--iterations", 20]
    ok(*line, "--backend", "numpy", "--plot", f"loss.{suffix}")
    assert Path(f"loss.{suffix}").stat().st_size > 1000


# -- predict ---------------------------------------------------------------------------------------


def test_json_csv_and_tables_say_the_same(ok, models):
    data = models / "iris.csv"
    found = json.loads(ok("predict", models / "iris", data, "--json"))
    expected = Predictor.load(models / "iris", "numpy")
    said = expected(expected.read(data))
    assert found["labels"] == ["setosa", "versicolor", "virginica"]
    assert [one["label"] for one in found["predictions"]] == said.labels
    np.testing.assert_allclose(
        [one["probabilities"] for one in found["predictions"]], said.outputs, rtol=1e-12
    )
    rows = list(csv.DictReader(io.StringIO(ok("predict", models / "iris", data, "--csv"))))
    assert [row["label"] for row in rows] == said.labels
    np.testing.assert_allclose(
        [float(row["probability"]) for row in rows], said.outputs.max(1), rtol=1e-12
    )
    every = ok("predict", models / "iris", data, "--csv", "--proba")
    rows = list(csv.DictReader(io.StringIO(every)))
    np.testing.assert_allclose(
        [[float(row[name]) for name in found["labels"]] for row in rows], said.outputs, rtol=1e-12
    )
    table = ok("predict", models / "iris", data, "--proba").splitlines()
    assert table[0].split() == ["sample", "label", *found["labels"]]
    assert len(table) == 151


@pytest.mark.parametrize(
    "stdin",
    [
        b"5.1,3.5,1.4,0.2\n",
        b"petal width (cm),petal length (cm),sepal width (cm),sepal length (cm)\n0.2,1.4,3.5,5.1\n",
        b"[5.1, 3.5, 1.4, 0.2]",
        b"[[5.1, 3.5, 1.4, 0.2]]",
        b'{"samples": [[5.1, 3.5, 1.4, 0.2]]}',
        b'{"petal width (cm)": 0.2, "petal length (cm)": 1.4, "sepal width (cm)": 3.5, '
        b'"sepal length (cm)": 5.1}',
    ],
)
def test_standard_input(ok, models, stdin):
    out = ok("predict", models / "iris", "-", "--json", stdin=stdin)
    (one,) = json.loads(out)["predictions"]
    network = Predictor.load(models / "iris", "numpy")
    np.testing.assert_allclose(one["probabilities"], network([[5.1, 3.5, 1.4, 0.2]]).outputs[0])


def test_images_and_arrays_in_standard_input(ok, models):
    file = io.BytesIO()
    Image.fromarray(drawn(7)).save(file, "PNG")
    assert ok("predict", models / "digits", "-", stdin=file.getvalue()).split()[5] == "7"
    _, (x, t) = fastnn.load_mnist(normalize=False)
    file = io.BytesIO()
    np.save(file, x[:20].reshape(20, 28, 28))
    out = ok("predict", models / "digits", "-", "--json", stdin=file.getvalue())
    said = [one["label"] for one in json.loads(out)["predictions"]]
    assert np.mean(np.array(said, int) == t[:20]) > 0.85


def test_idx_files_of_images(ok, models):
    write_mnist(Path(), train=5, test=4)
    out = ok("predict", models / "digits", "t10k-images-idx3-ubyte")
    assert len(out.splitlines()) == 5


def test_scaled_pixels_are_warned_of(run, models):
    _, (x, _) = fastnn.load_mnist()
    np.save("x.npy", x[:5])
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        code, out, err = run("predict", models / "digits", "x.npy")
    assert code == 0
    assert len(out.splitlines()) == 6
    assert err.startswith("fastnn: warning: the samples only go from 0 to 0.0039")
    assert err.count("\n") == 1


# -- evaluate and inspect --------------------------------------------------------------------------


def test_an_evaluation_for_people(ok, models):
    out = ok("evaluate", models / "iris", models / "iris.csv", "--test-fraction", 0.2)
    for text in ("test samples: 30", "accuracy", "log loss", "calibration", "precision", "recall"):
        assert text in out
    assert "right \\ said" in out
    assert "virginica" in out
    assert len(out.splitlines()) < 20


def test_the_parts_of_data(ok, models):
    sizes = {}
    line = ["evaluate", models / "iris", models / "iris.csv", "--test-fraction", 0.2, "--json"]
    for part in ("train", "test", "all"):
        found = json.loads(ok(*line, "--part", part))
        sizes[part] = found["samples"], round(found["accuracy"] * found["samples"])
    assert [samples for samples, _ in sizes.values()] == [120, 30, 150]
    assert sizes["train"][1] + sizes["test"][1] == sizes["all"][1]


def test_pictures_of_an_evaluation(ok, models):
    ok("evaluate", models / "digits", "--plot", "pictures")
    names = {path.name for path in Path("pictures").iterdir()}
    assert names == {"confusion.png", "calibration.png", "errors.png"}
    assert all(min(size_of(path)) > 300 for path in Path("pictures").iterdir())
    ok("evaluate", models / "iris", models / "iris.csv", "--plot", "pictures")
    ok("inspect", models / "digits", "--plot", "units.png")
    assert min(size_of("units.png")) > 300


def size_of(path):
    with Image.open(path) as image:
        return image.size


def test_what_is_in_a_model(ok, models):
    found = json.loads(ok("inspect", models / "iris", "--json"))
    assert found["network"]["sizes"] == [4, 50, 3]
    assert found["label_names"] == ["setosa", "versicolor", "virginica"]
    assert found["samples"]["scaling"] == "standard"
    assert found["samples"]["target"] == "species"
    assert found["provenance"]["training_samples"] == 120
    assert found["file"]["fastnn_version"] == fastnn.__version__
    text = ok("inspect", models / "digits")
    for part in ("784-50-10", "sigmoid", "28 × 28", "scaling unit", "MNIST", "W1, 784 × 50"):
        assert part in text
    network = fastnn.TwoLayerNet(3, 2, 2, rng=0)
    network.save("plain")
    assert "says of no scaling" in ok("inspect", "plain")
    fastnn.SimpleNet(3, 2, rng=0).save("simple")
    assert json.loads(ok("inspect", "simple", "--json"))["network"]["activation"] is None


# -- what is wrong ---------------------------------------------------------------------------------

BAD_TRAININGS = {
    "no such file": (["--data", "none.csv"], ["none.csv"]),
    "no target": (["--data", "{iris.csv}"], ["name the target", "'species'"]),
    "no such column": (["--data", "{iris.csv}", "--target", "kind"], ["no column 'kind'"]),
    "no such number": (["--data", "{iris.csv}", "--target", "9"], ["5 columns"]),
    "a measurement": (
        ["--data", "{iris.csv}", "--target", "0", "--drop", "species"],
        ["a measurement"],
    ),
    "words": (["--data", "{iris.csv}", "--target", "0"], ["row 1", "'species' holds 'setosa'"]),
    "a model": (["--data", "{iris}"], ["no format that fastnn knows"]),
    "a fraction": (
        ["--data", "{iris.csv}", "--target", "species", "--test-fraction", "1.5"],
        ["--test-fraction"],
    ),
    "tests twice": (
        ["--data", "{iris.csv}", "--test", "{iris.csv}", "--test-fraction", "0.5"],
        ["give one"],
    ),
    "tests of MNIST": (["--test-fraction", "0.5"], ["MNIST has test samples of its own"]),
    "a scaling": (["--scaling", "log"], ["--scaling", "unit"]),
    "a seed alone": (["--split-seed", "3"], ["--test-fraction"]),
    "nowhere to save": (["--save", "none/m"], ["none/m", "cannot be written"]),
    "a folder to save": (["--save", "."], ["directory"]),
    "a picture": (["--plot", "x.doc"], ["x.doc", "no known format"]),
    "an activation": (["--activation", "step"], ["--activation", "tanh"]),
    "other tests": (
        ["--data", "{iris.csv}", "--target", "species", "--test", "other.csv"],
        ["no column 'sepal length (cm)'"],
    ),
}


@pytest.mark.parametrize(("options", "named"), BAD_TRAININGS.values(), ids=BAD_TRAININGS)
def test_trainings_that_are_refused(run, models, options, named):
    Path("other.csv").write_text("a,species\n1,setosa\n")
    before = sorted(Path().rglob("*"))
    files = {f"{{{path.name}}}": str(path) for path in models.iterdir()}
    line = [files.get(option, option) for option in options]
    if "--save" not in line:
        line += ["--save", "model"]
    assert_refused(run("train", *line, "--iterations", 5), *named)
    assert sorted(Path().rglob("*")) == before


BAD_USES = {
    "no model": (["predict", "none", "x.csv"], ["none cannot be read"]),
    "no file of ours": (["predict", "{iris.csv}", "x.csv"], ["is not a file of fastnn's"]),
    "no samples": (["predict", "{iris}", "none.csv"], ["none.csv"]),
    "nothing": (["predict", "{iris}"], ["FILE"]),
    "other columns": (["predict", "{iris}", "x.csv"], ["no column 'sepal length (cm)'"]),
    "an image": (["predict", "{iris}", "x.png"], ["not trained on images"]),
    "a blank image": (["predict", "{digits}", "x.png"], ["x.png", "no ink"]),
    "damage": (["predict", "{digits}", "bad.png"], ["bad.png", "image"]),
    "other sizes": (["predict", "{digits}", "x.npy"], ["x.npy", "3 features", "784"]),
    "a folder": (["predict", "{digits}", "."], ["folder"]),
    "one of two": (["predict", "{digits}", "seven.png", "bad.png"], ["bad.png"]),
    "twice": (["predict", "{iris}", "-", "-"], ["twice"]),
    "both": (["predict", "{iris}", "x.csv", "--json", "--csv"], ["give one"]),
    "other data": (["evaluate", "{iris}"], ["784 features", "takes 4"]),
    "other tables": (["evaluate", "{digits}", "{iris.csv}", "--target", "species"], ["features"]),
    "a target": (["evaluate", "{iris}", "{iris.csv}", "--target", "x"], ["no column 'x'"]),
    "other labels": (["evaluate", "{iris}", "labels.csv"], ["label 'rosa' in row 1", "setosa"]),
    "no folder": (["evaluate", "{digits}", "--plot", "a/b"], ["a/b"]),
    "a file as folder": (["evaluate", "{digits}", "--plot", "x.csv"], ["x.csv"]),
    "no file": (["inspect", "none"], ["none cannot be read"]),
    "a picture": (["inspect", "{iris}", "--plot", "units"], ["no known format"]),
    "a picture nowhere": (["inspect", "{iris}", "--plot", "a/b.png"], ["no directory"]),
}


@pytest.mark.parametrize(("line", "named"), BAD_USES.values(), ids=BAD_USES)
def test_uses_that_are_refused(run, models, line, named):
    Path("x.csv").write_text("a,b\n1,2\n")
    Path("labels.csv").write_text((models / "iris.csv").read_text().replace("setosa", "rosa"))
    Path("bad.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    Image.new("L", (50, 50), 200).save("x.png")
    Image.fromarray(drawn(7)).save("seven.png")
    np.save("x.npy", np.ones((2, 3)))
    before = sorted(Path().rglob("*"))
    files = {f"{{{path.name}}}": str(path) for path in models.iterdir()}
    assert_refused(run(*(files.get(part, part) for part in line)), *named)
    assert sorted(Path().rglob("*")) == before


OVERWRITING = {
    "data": ["train", "--data", "a.csv", "--target", "t", "--save", "a.csv"],
    "data by a link": ["train", "--data", "a.csv", "--target", "t", "--save", "link.csv"],
    "data by a hard link": ["train", "--data", "a.csv", "--target", "t", "--save", "hard.csv"],
    "target": ["train", "--data", "x.npy", "--target", "l.npy", "--save", "sub/../l.npy"],
    "target beside": ["train", "--data", "x.npy", "--save", "y.npy"],
    "a test": ["train", "--data", "a.csv", "--target", "t", "--test", "b.csv", "--save", "b.csv"],
    "of a folder": ["train", "--data", "arrays", "--save", "arrays/y_train.npy"],
    "an image": ["train", "--data", "images", "--plot", "images/a/1.png"],
    "of a set": ["train", "--data", "sets/kuzu", "--save", "sets/kuzu-train-labels-idx1-ubyte"],
    "two outputs": ["train", "--save", "s.png", "--plot", "sub/../s.png"],
    "model and checkpoint": ["train", "--save", "m", "--checkpoint", "m"],
    "a model drawn": ["inspect", "m.png", "--plot", "m.png"],
    "a model exported": ["export", "m.npz", "sub/../m.npz", "--force"],
    "a model evaluated": ["evaluate", "sub/errors.png", "a.csv", "--plot", "sub"],
    "an image evaluated": ["evaluate", "m.png", "images", "--plot", "images/a"],
}


@pytest.mark.parametrize("line", OVERWRITING.values(), ids=OVERWRITING)
def test_no_file_is_written_over_another_one_of_the_command(run, line):
    for folder in ("sub", "arrays", "images/a", "images/b", "sets"):
        Path(folder).mkdir(parents=True)
    for name in ("a.csv", "b.csv"):
        Path(name).write_text("x,t\n" + "1,a\n2,b\n" * 5)
    Path("link.csv").symlink_to("a.csv")
    Path("hard.csv").hardlink_to("a.csv")
    for name in ("x", "y", "l", "arrays/x_train", "arrays/y_train"):
        np.save(f"{name}.npy", np.arange(10.0) % 2)
    for name in ("images/a/1.png", "images/b/1.png", "images/a/errors.png"):
        Image.fromarray(drawn(1)).save(name)
    write_mnist(Path("sets"), labels=10)
    for path in list(Path("sets").iterdir()):
        path.rename(path.with_name(f"kuzu-{path.name}".replace("t10k", "test")))
    for name in ("m.png", "m.npz", "sub/errors.png"):
        fastnn.TwoLayerNet(1, 2, 2, rng=0).save(name)
    before = {path: path.is_file() and path.read_bytes() for path in Path().rglob("*")}
    assert_refused(run(*line, *(["--iterations", 1] if line[0] == "train" else [])), "are both")
    assert {path: path.is_file() and path.read_bytes() for path in Path().rglob("*")} == before


def test_a_model_in_the_folder_of_its_data_may_be_replaced(ok):
    Path("arrays").mkdir()
    np.save("arrays/x_train.npy", np.arange(10.0))
    np.save("arrays/y_train.npy", np.arange(10) % 2)
    for _ in range(2):
        ok("train", "--data", "arrays", "--iterations", 1, "--save", "arrays/model")


def test_outputs_beyond_the_range_are_refused_with_the_name_of_the_file(run):
    net = fastnn.TwoLayerNet(2, 3, 2, 1.0, activation="relu", backend="numpy", rng=0)
    net.params["W1"][...] = 4
    net.save("relu")
    Path("small.csv").write_text("a,b\n1,2\n3,4\n")
    Path("large.csv").write_text("a,b\n1,2\n1.7e308,1.7e308\n")
    found = run("predict", "relu", "small.csv", "large.csv", "--json")
    assert_refused(found, "large.csv: the outputs for x[1] are beyond the range of float64")


@pytest.mark.parametrize(
    "stdin",
    [b"", b"[]", b"[[]]", b"{}", b"[1, 2", b'{"samples": 7}', b"[[1, 2, 3, NaN]]", b"[[1], [2, 3]]",
     b"1,2\n3,4\n", b"\0\0\0", b'["a"]', b"[" * 100_000, b"\x93NUMPY", b"\x89PNG\r\n\x1a\n"],
)  # fmt: skip
def test_standard_input_that_is_refused(run, models, stdin):
    assert_refused(run("predict", models / "iris", "-", stdin=stdin))


def test_a_libraries_absence_is_named_with_its_extra(run, models, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert_refused(run("train", "--data", models / "iris.csv", "--target", "4"), "fastnn[data]")
    Image.new("L", (30, 30)).save("a.png")
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert_refused(run("predict", models / "digits", "a.png"), "fastnn[data]")


# -- output ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["ascii", "cp932", "cp949", "latin-1", "utf-8"])
def test_output_survives_any_encoding(models, tmp_path, encoding):
    frame = pd.DataFrame({"länge": [1.0, 2, 3, 4], "種": ["青", "눈", "é", "µ"]})
    frame.to_csv(tmp_path / "データ.csv", index=False)
    environment = os.environ | {"PYTHONIOENCODING": f"{encoding}:strict", "PYTHONUTF8": "0"}
    environment["PYTHONPATH"] = os.pathsep.join(
        [str(Path(fastnn.__file__).parent.parent), os.environ.get("PYTHONPATH", "")]
    )
    for line in (
        ["train", "--data", "データ.csv", "--target", "種", "--iterations", "3", "--save", "m"],
        ["predict", "m", "データ.csv", "--proba"],
        ["evaluate", "m", "データ.csv"],
        ["inspect", "m"],
        ["inspect", "m", "--json"],
        ["train", "--help"],
    ):
        command = [sys.executable, "-m", "fastnn", *line]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True)
        assert done.returncode == 0, done.stderr
        assert done.stdout.decode(encoding)
        assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(
    "command", ["train", "predict", "evaluate", "inspect", "backends", "bench", "gradcheck"]
)
def test_help_is_in_groups_with_an_example_that_has_only_known_options(ok, command):
    out = ok(command, "--help")
    assert "--json" in out
    example = out.split("Example")[1]
    assert f"fastnn {command}" in example
    head = out.split("Example")[0]
    for word in example.split():
        if word.startswith("--"):
            assert word in head
    assert max(map(len, out.splitlines())) <= 100


def test_json_everywhere(ok):
    found = json.loads(ok("backends", "--json"))
    assert found["auto"] in found["backends"]
    checked = json.loads(ok("gradcheck", "--hidden", 3, "--backend", "numpy", "--json"))
    assert checked["passed"]
    assert list(checked["parameters"]) == ["W1", "b1", "W2", "b2"]


def test_the_shell_completes_choices(monkeypatch, capfd):
    monkeypatch.setenv("_FASTNN_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "fastnn train --scaling ")
    monkeypatch.setenv("COMP_CWORD", "3")
    with pytest.raises(SystemExit):
        main([])
    assert {line.split(",")[1] for line in capfd.readouterr().out.split()} == {
        "none",
        "unit",
        "standard",
    }
