"""ONNX, against onnxruntime; ``.npz``, there and back; ``fastnn export``."""

import io
import json
import sys
import zipfile

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import onnx
import onnxruntime

import fastnn
from fastnn.cli import main
from fastnn.data.preprocessing import Preprocessing
from fastnn.data.scaling import Scaling
from fastnn.errors import CheckpointError, DtypeError, ExtraNotInstalledError, InputError
from fastnn.export import load_npz, to_file, to_onnx
from fastnn.functions import ACTIVATIONS, LOSSES

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 6)) * RNG.choice([1, 1, 1, 30], size=(40, 1))
LABELS = ["ant", "bee", "ćma 蛾"]


def network(activation="sigmoid", loss="cross_entropy", dtype="float64", outputs=3):
    made = fastnn.TwoLayerNet(
        *(6, 5, outputs, 1.0), activation=activation, loss=loss, dtype=dtype, rng=1
    )
    for name in ("b1", "b2"):
        made.params[name][:] = RNG.normal(size=made.params[name].shape)
    return made


def session(model):
    onnx.checker.check_model(model, full_check=True)
    return onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )


def run(model, x):
    runs = session(model)
    names = [output.name for output in runs.get_outputs()]
    return dict(zip(names, runs.run(None, {"samples": x}), strict=True))


# -- ONNX ------------------------------------------------------------------------------------------

TOLERANCE = {"float32": 1e-5, "float64": 1e-12}


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_onnxruntime_gives_what_predict_gives(activation, loss, dtype):
    net = network(activation, loss, dtype.name)
    x = X.astype(dtype)
    found = run(to_onnx(net), x)
    name = "values" if loss == "mean_squared_error" else "probabilities"
    expected = net.predict(x)
    assert found[name].dtype == dtype
    scale = np.maximum(1, abs(expected)) if name == "values" else 1
    assert (abs(found[name] - expected) / scale).max() <= TOLERANCE[dtype.name]
    clear = abs(np.sort(expected, axis=1)[:, -1] - np.sort(expected, axis=1)[:, -2]) > 1e-4
    if loss == "cross_entropy":
        assert np.array_equal(found["label"][clear], expected.argmax(axis=1)[clear])
        assert clear.sum() > 30
    elif loss == "binary_cross_entropy":
        assert np.array_equal(found["label"], expected > 0.5)
    else:
        assert list(found) == ["values"]


def test_mnist_has_the_same_accuracy_there(mnist):
    _, (x, t) = mnist
    net = fastnn.TwoLayerNet(784, 20, 10, dtype="float32", rng=0)
    fastnn.train(net, *mnist[0], epochs=1, progress=False)
    found = run(to_onnx(net), x)
    assert np.mean(found["label"] == t) == pytest.approx(net.accuracy(x, t), abs=1e-4)
    assert net.accuracy(x, t) > 0.5


def test_a_single_yes_or_no_is_told_for_each_sample():
    net = network(loss="binary_cross_entropy", outputs=1)
    found = run(to_onnx(net), X)
    assert found["label"].shape == (40, 1)
    assert np.array_equal(found["label"], net.predict(X) > 0.5)


def test_the_logits_of_a_simple_net():
    net = fastnn.SimpleNet(6, 3, rng=0)
    found = run(to_onnx(net), X)
    np.testing.assert_allclose(found["logits"], net.predict(X), rtol=1e-12, atol=1e-12)
    assert np.array_equal(found["label"], net.predict(X).argmax(axis=1))


@pytest.mark.parametrize("samples", [0, 1, 7])
def test_any_number_of_samples(samples):
    net = network()
    assert run(to_onnx(net), X[:samples])["probabilities"].shape == (samples, 3)


def test_the_parameters_are_those_of_the_backend(backend, dtype):
    net = fastnn.TwoLayerNet(6, 5, 3, 1.0, backend=backend, dtype=dtype, rng=1)
    model = to_onnx(net)
    constants = {c.name: onnx.numpy_helper.to_array(c) for c in model.graph.initializer}
    for name, parameter in net.params.items():
        assert np.array_equal(constants[name], backend.to_numpy(parameter))


def test_metadata_say_whose_model_it_is():
    net = network()
    net.label_names = LABELS
    model = to_onnx(net)
    told = session(model).get_modelmeta().custom_metadata_map
    assert json.loads(told["label_names"]) == LABELS
    assert json.loads(told["sizes"]) == [6, 5, 3]
    assert (told["activation"], told["loss"], told["dtype"]) == (
        *("sigmoid", "cross_entropy", "float64"),
    )
    assert told["fastnn_version"] == fastnn.__version__ == model.producer_version
    assert model.producer_name == "fastnn"
    values = (*model.graph.input, *model.graph.output)
    shapes = [[d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in values]
    assert shapes == [["batch", 6], ["batch", 3], ["batch"]]


def test_what_has_no_operator_is_refused(monkeypatch):
    monkeypatch.setitem(ACTIVATIONS, "cube", ACTIVATIONS["tanh"])
    with pytest.raises(InputError, match="activation='cube' has no formula in ONNX here"):
        to_onnx(network("cube"))
    monkeypatch.setitem(LOSSES, "own", LOSSES["mean_squared_error"])
    with pytest.raises(InputError, match="loss='own' has no formula in ONNX here"):
        to_onnx(network(loss="own"))


class Derived(fastnn.TwoLayerNet):
    pass


@pytest.mark.parametrize("what", ["derived", "attribute", "nan"])
@pytest.mark.parametrize("suffix", [".onnx", ".npz"])
def test_a_network_that_no_file_can_say_is_refused(what, suffix, tmp_path):
    net = Derived(6, 5, 3) if what == "derived" else network()
    if what == "attribute":
        net.mine = 3
    if what == "nan":
        net.params["W1"][2, 1] = np.nan
    with pytest.raises((InputError, DtypeError)):
        to_file(net, tmp_path / f"net{suffix}")
    assert not list(tmp_path.iterdir())


def test_without_onnx_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ExtraNotInstalledError, match=r"pip install 'fastnn\[export\]'"):
        to_file(network(), tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())


# -- with scaling ----------------------------------------------------------------------------------


@pytest.mark.parametrize("samples", ["float32", "float64"])
@pytest.mark.parametrize("method", ["none", "unit", "standard"])
def test_it_takes_samples_as_they_come(method, samples, dtype):
    x = (X * [1, 10, 100, 0.1, 0.01, 1] + [0, 5, 1000, 0, 0, 0]).astype(samples)
    scaling = Scaling.fitted(method, x)
    scaled = scaling(x)
    net = network(dtype=dtype.name)
    net.preprocessing = Preprocessing(scaling, scaled.min(), scaled.max()).to_dict()
    expected = fastnn.Predictor(net)(x).outputs
    found = run(to_onnx(net), x)["probabilities"]
    assert found.dtype == dtype
    exact = samples == dtype.name == "float64"
    assert abs(found - expected).max() <= (1e-12 if exact else 1e-5)


def test_pixels_as_they_come(mnist):
    pixels = fastnn.load_mnist(normalize=False)[1][0][:100]
    net = fastnn.TwoLayerNet(784, 20, 10, 0.1, rng=0)
    fastnn.load_data().describe(net)
    found = run(to_onnx(net), pixels.astype(np.float32))
    expected = fastnn.Predictor(net)(pixels)
    assert abs(found["probabilities"] - expected.outputs).max() <= 1e-12
    assert [expected.labels[i] for i in range(100)] == [str(i) for i in found["label"]]


# -- .npz ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_npz_there_and_back(activation, loss, dtype, tmp_path):
    net = network(activation, loss, dtype.name)
    net.label_names, net.preprocessing = LABELS, {"mine": [1, 2.5, None]}
    to_file(net, tmp_path / "net.npz")
    again = load_npz(tmp_path / "net.npz", backend="numpy")
    assert repr(again) == repr(net)
    assert (again.label_names, again.preprocessing) == (LABELS, {"mine": [1, 2.5, None]})
    for name, parameter in net.params.items():
        assert again.params[name].tobytes() == parameter.tobytes()


def test_numpy_alone_reads_it(tmp_path):
    to_file(fastnn.SimpleNet(6, 3, rng=0), tmp_path / "net.npz")
    with np.load(tmp_path / "net.npz", allow_pickle=False) as arrays:
        assert np.array_equal(arrays["W"], fastnn.SimpleNet(6, 3, rng=0).W)
        assert str(arrays["architecture"]) == "simple"


def test_a_damaged_npz_is_refused(tmp_path):
    path = tmp_path / "net.npz"
    to_file(network(), path)
    whole = path.read_bytes()
    rng = np.random.default_rng(2)
    messages = []
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(int(rng.integers(1, 4))):
            data[rng.integers(len(data))] = rng.integers(256)
        path.write_bytes(data[: rng.integers(len(data))] if rng.random() < 0.2 else data)
        try:
            load_npz(path, backend="numpy")
        except CheckpointError as error:
            messages.append(str(error))
    assert len(messages) > 200
    assert all(len(m) <= 300 and "net.npz" in m for m in messages)


@pytest.mark.parametrize("what", ["nothing", "text", "other arrays", "pickled"])
def test_what_is_no_network_is_refused(what, tmp_path):
    path = tmp_path / "net.npz"
    if what == "other arrays":
        np.savez(path, W1=np.ones((2, 3)), x=np.ones(3))
    elif what == "pickled":
        np.savez(path, W1=np.array([object()]), allow_pickle=True)
    else:
        path.write_bytes(b"" if what == "nothing" else b"W1 = 3")
    with pytest.raises(CheckpointError, match=r"net\.npz"):
        load_npz(path, backend="numpy")


def test_what_would_fill_the_memory_is_refused_unread(tmp_path):
    path = tmp_path / "net.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        header = io.BytesIO()
        shape = {"descr": "<f8", "fortran_order": False, "shape": (2**27, 1)}
        np.lib.format.write_array_header_1_0(header, shape)
        file.writestr("W1.npy", header.getvalue() + bytes(2**23))
    with pytest.raises(CheckpointError, match=r"W1\.npy' would take"):
        load_npz(path, backend="numpy")


# -- fastnn export ---------------------------------------------------------------------------------


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model"
    net = network(dtype="float32")
    net.label_names = LABELS
    net.save(path)
    return path


@pytest.fixture
def command(capfd):
    def call(*arguments):
        with pytest.raises(SystemExit) as exited:
            main(["export", *map(str, arguments)])
        return exited.value.code, *capfd.readouterr()

    return call


def test_export_tells_what_it_wrote(command, model, tmp_path):
    path = tmp_path / "net.onnx"
    code, out, err = command(model, path, "--json")
    assert (code, err) == (0, "")
    assert json.loads(out) == {
        "file": str(path),
        "format": "ONNX",
        "bytes": path.stat().st_size,
        "opset": 22,
        "inputs": {"samples": {"dtype": "float32", "shape": ["batch", 6]}},
        "outputs": {
            "probabilities": {"dtype": "float32", "shape": ["batch", 3]},
            "label": {"dtype": "int64", "shape": ["batch"]},
        },
    }
    net = fastnn.load(model, backend="numpy")
    x = X.astype("float32")
    found = run(onnx.load(path), x)["probabilities"]
    np.testing.assert_allclose(found, net.predict(x), atol=1e-5)
    code, out, err = command(model, tmp_path / "net.npz")
    assert (code, err) == (0, "")
    assert "array   W1 (6, 5)\n" in out
    assert load_npz(tmp_path / "net.npz", backend="numpy").label_names == LABELS


def test_a_file_that_is_there_is_replaced_by_force_alone(command, model, tmp_path):
    path = tmp_path / "net.npz"
    path.write_text("mine")
    code, out, err = command(model, path)
    assert (code, out) == (2, "")
    assert err == f"fastnn: error: {path} is there already; replace it with --force.\n"
    assert path.read_text() == "mine"
    assert command(model, path, "--force")[0] == 0
    assert load_npz(path, backend="numpy").sizes == (6, 5, 3)


REFUSED = {
    "suffix": ("net.txt", r"let it end with .onnx, .npz, .pt"),
    "no suffix": ("net", r"let it end with .onnx, .npz, .pt"),
    "folder": ("none/net.onnx", "there is no such folder"),
    "directory": ("there.npz", "is there already"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_wrong_file_is_refused(what, command, model, tmp_path):
    name, message = REFUSED[what]
    (tmp_path / "there.npz").mkdir()
    before = sorted(tmp_path.rglob("*"))
    code, out, err = command(model, tmp_path / name)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("what", ["missing", "text", "truncated", "itself"])
def test_a_wrong_model_is_refused(what, command, model, tmp_path):
    path, target = tmp_path / "other.npz", tmp_path / "net.npz"
    if what == "text":
        path.write_text("a model")
    elif what == "truncated":
        path.write_bytes(model.read_bytes()[:-1])
    elif what == "itself":
        target = path
    before = sorted(tmp_path.rglob("*"))
    code, out, err = command(path, target)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("fastnn: error: ")
    assert "other.npz" in err
    assert sorted(tmp_path.rglob("*")) == before


def test_help_has_an_example(command):
    code, out, _ = command("--help")
    assert code == 0
    assert "fastnn export digits.safetensors digits.onnx" in out
