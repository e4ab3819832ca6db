"""A model in a file, and samples as they come: the same scaling, the same columns, the names."""

import warnings

import numpy as np
import pytest

pytest.importorskip("pandas")
pytest.importorskip("polars")
pytest.importorskip("PIL")

import pandas as pd
import polars as pl
from PIL import Image

import fastnn
from fastnn import DataFileError, InputError, Predictor, TwoLayerNet, load_data
from fastnn.streams import Stream


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(50, 20, size=(60, 3)), columns=["a", "b", "c"])
    frame["kind"] = np.where(frame["a"] > 50, "large", "small")
    return frame


@pytest.fixture
def model(frame, tmp_path):
    """The file of a network that has learnt the frame, and its data."""
    data = load_data(frame, target="kind")
    network = TwoLayerNet(3, 6, 2, backend="numpy", rng=0)
    fastnn.train(network, data.x_train, data.t_train, iterations=300, learning_rate=0.5, rng=0)
    data.describe(network)
    network.save(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def pictures(tmp_path):
    """The file of a network of images."""
    data = load_data()
    network = TwoLayerNet(784, 5, 10, backend="numpy", rng=0)
    data.describe(network)
    network.save(tmp_path / "pictures")
    return tmp_path / "pictures"


def values(frame):
    return frame[["a", "b", "c"]].to_numpy()


def test_what_was_learnt_is_said_of_samples_as_they_come(model, frame):
    predictor = Predictor.load(model)
    predictions = predictor(values(frame))
    right = np.mean([a == b for a, b in zip(predictions.labels, frame["kind"], strict=True)])
    assert right > 0.9
    np.testing.assert_allclose(predictions.outputs.sum(axis=1), 1)
    scaled = load_data(frame, target="kind").x_train
    np.testing.assert_array_equal(predictions.outputs, predictor.network.predict(scaled))
    np.testing.assert_array_equal(predictor.prepared(values(frame)), scaled)
    assert predictor(values(frame)[0]).labels == predictions.labels[:1]
    assert [predictor.label_names[i] for i in predictions.numbers] == predictions.labels


def test_on_every_backend(model, frame, backend):
    expected = Predictor.load(model, "numpy")(values(frame)).outputs
    found = Predictor.load(model, backend)(values(frame)).outputs
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("library", ["pandas", "polars", "csv", "parquet", "npy", "without names"])
def test_columns_are_found_by_their_names(model, frame, tmp_path, library):
    predictor = Predictor.load(model)
    expected = predictor(values(frame)).outputs
    mixed = frame[["kind", "c", "a", "b"]]
    if library == "pandas":
        source = mixed
    elif library == "polars":
        source = pl.from_pandas(mixed)
    elif library == "csv":
        mixed.to_csv(source := tmp_path / "x.csv", index=False)
    elif library == "parquet":
        mixed.to_parquet(source := tmp_path / "x.parquet", engine="pyarrow")
    elif library == "npy":
        np.save(source := tmp_path / "x.npy", values(frame))
    else:
        frame[["a", "b", "c"]].to_csv(source := tmp_path / "x.csv", index=False, header=False)
    np.testing.assert_array_equal(predictor(predictor.read(source)).outputs, expected)


def test_a_column_that_is_not_there(model, frame, tmp_path):
    predictor = Predictor.load(model)
    with pytest.raises(InputError, match="no column 'b', which the model was trained on"):
        predictor(frame.drop(columns="b"))
    np.save(tmp_path / "x.npy", np.ones((3, 4)))
    with pytest.raises(InputError, match="4 features, but the network takes 3"):
        predictor(predictor.read(tmp_path / "x.npy"))


def test_streams(model, frame, tmp_path):
    predictor = Predictor.load(model)
    np.save(tmp_path / "x.npy", np.ascontiguousarray(values(frame)))
    x = Stream(np.load(tmp_path / "x.npy", mmap_mode="r"))
    np.testing.assert_array_equal(predictor(x).outputs, predictor(values(frame)).outputs)


def test_images(pictures, tmp_path):
    predictor = Predictor.load(pictures)
    _, (x, _) = fastnn.load_mnist(normalize=False)
    image = x[3].reshape(28, 28)
    Image.fromarray(255 - np.pad(image, 9)).save(tmp_path / "a.png")
    sample = predictor.image(tmp_path / "a.png")
    np.testing.assert_array_equal(sample, image)
    np.testing.assert_array_equal(predictor.image(image), image)
    np.testing.assert_array_equal(predictor.image((tmp_path / "a.png").read_bytes()), image)
    expected = predictor(x[3]).outputs
    np.testing.assert_array_equal(predictor(sample).outputs, expected)
    np.testing.assert_array_equal(predictor(predictor.read(tmp_path / "a.png")).outputs, expected)
    np.testing.assert_array_equal(predictor(x[:2].reshape(2, 28, 28)).outputs[0].shape, (10,))
    np.testing.assert_array_equal(
        predictor(x[3]).outputs[0], predictor.network.predict(x[3] / np.float32(255))
    )


def test_an_image_for_a_network_of_other_things(model, tmp_path):
    Image.new("L", (28, 28)).save(tmp_path / "a.png")
    predictor = Predictor.load(model)
    for call in (predictor.image, predictor.read):
        with pytest.raises(InputError, match="not trained on images"):
            call(tmp_path / "a.png")
    with pytest.raises(DataFileError, match="give the files in it"):
        predictor.read(tmp_path)
    with pytest.raises(DataFileError, match="No such file"):
        predictor.read(tmp_path / "none.csv")


def test_a_network_that_knows_of_nothing():
    network = TwoLayerNet(3, 4, 2, backend="numpy", rng=0)
    predictor = Predictor(network)
    x = np.random.default_rng(0).normal(size=(5, 3))
    np.testing.assert_array_equal(predictor(x).outputs, network.predict(x))
    assert set(predictor(x).labels) <= {"0", "1"}
    assert predictor.preprocessing is None
    network.preprocessing = {"of": "the caller's own"}
    assert Predictor(network).preprocessing is None
    network.predict(x)
    assert predictor.gives_probabilities
    squared = TwoLayerNet(3, 4, 2, loss="mean_squared_error", backend="numpy", rng=0)
    assert not Predictor(squared).gives_probabilities


# -- warnings --------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend_name", ["numpy", "numba"])
def test_pixels_that_are_not_scaled_are_warned_of(pictures, backend_name):
    network = fastnn.load(pictures, backend=backend_name)
    _, (x, _) = fastnn.load_mnist(normalize=False)
    with pytest.warns(UserWarning, match=r"go from 0 to 255, far outside .*'unit'.*255") as caught:
        network.predict(x[:100])
    assert caught[0].filename == __file__
    assert len(str(caught[0].message)) <= 300
    network.predict(x[:100] / 255)
    network.predict(np.zeros(784))
    Predictor(network)(x[:100])
    Predictor(network)(np.zeros((1, 784), np.uint8))


@pytest.mark.parametrize("backend_name", ["numpy", "numba"])
def test_one_of_many_samples_that_is_not_scaled_is_warned_of(pictures, backend_name):
    network = fastnn.load(pictures, backend=backend_name)
    _, (x, _) = fastnn.load_mnist(normalize=False)
    mixed = x[:2500] / 255
    network.predict(mixed)
    mixed[2400] *= 255
    with pytest.warns(UserWarning, match="far outside") as caught:
        network.predict(mixed)
    assert [warning.filename for warning in caught] == [__file__]


def test_pixels_that_are_scaled_twice_are_warned_of(pictures):
    predictor = Predictor.load(pictures)
    _, (x, _) = fastnn.load_mnist(normalize=True)
    with pytest.warns(UserWarning, match=r"only go from 0 to 0\.0039.*scaled twice") as caught:
        predictor(x[:100])
    assert caught[0].filename == __file__


@pytest.mark.parametrize("scaling", ["none", "unit", "standard"])
def test_values_far_outside_are_warned_of_by_the_scaling(frame, scaling):
    data = load_data(frame, target="kind", scaling=scaling)
    network = TwoLayerNet(3, 6, 2, backend="numpy", rng=0)
    data.describe(network)
    predictor = Predictor(network)
    x = values(frame)
    predictor(x)
    network.predict(data.x_train)
    with pytest.warns(UserWarning, match=f"far outside.*scaling '{scaling}'"):
        predictor(x * 1000)
    if scaling != "none":
        with pytest.warns(UserWarning, match="far outside"):
            network.predict(x * 10)


def test_a_warning_is_no_part_of_training(frame):
    data = load_data(frame, target="kind")
    network = TwoLayerNet(3, 6, 2, backend="numpy", rng=0)
    data.describe(network)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fastnn.train(network, data.x_train * 1e3, data.t_train, iterations=2, rng=0)


def test_a_single_output_is_no_class():
    """Its label is whether it is probable or, of a regression, its value."""
    x = np.array([[0.0, 0.0], [1.0, 1.0]])
    for loss, labels in (("binary_cross_entropy", ["0", "1"]), ("mean_squared_error", None)):
        net = fastnn.TwoLayerNet(2, 3, 1, loss=loss, rng=0)
        net.params["W1"][...], net.params["W2"][...], net.params["b2"][...] = 1, 4, -8
        predictor = fastnn.Predictor(net)
        assert predictor.label_names == ["output"]
        expected = [f"{v:g}" for v in net.predict(x)[:, 0]] if labels is None else labels
        assert predictor(x).labels == expected


def test_outputs_beyond_the_range_are_none(backend):
    network = TwoLayerNet(4, 3, 2, 1.0, activation="relu", backend=backend, dtype="float32", rng=0)
    x = np.ones((5, 4))
    x[3:] = 3e38
    with pytest.raises(InputError, match=r"the outputs for x\[3\] are beyond the range of float32"):
        Predictor(network)(x)
