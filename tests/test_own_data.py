"""Data of one's own: every kind of file, folder and frame, and what is wrong with others."""

import gzip
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from idx import NAMES, idx, write_mnist

pytest.importorskip("pandas")
pytest.importorskip("polars")
pytest.importorskip("PIL")

import pandas as pd
import polars as pl
from PIL import Image

import fastnn
from fastnn import DataFileError, DtypeError, FastnnError, InputError, load_data
from fastnn.data.labels import Labels
from fastnn.data.preprocessing import Preprocessing, preprocessing_of
from fastnn.data.reading import read_samples
from fastnn.data.scaling import Scaling
from fastnn.data.sources import Options
from fastnn.data.splits import stratified
from fastnn.streams import Stream

RNG = np.random.default_rng(0)


@pytest.fixture
def flowers():
    """A frame of 30 rows, with names for labels."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(30, 3)).round(3)
    frame = pd.DataFrame(values, columns=["length", "width", "height"])
    frame["kind"] = np.array(["rose", "tulip", "daisy"])[np.arange(30) % 3]
    return frame


def expected(flowers):
    x = flowers[["length", "width", "height"]].to_numpy()
    return (x - x.mean(0)) / x.std(0)


def assert_flowers(data, flowers):
    np.testing.assert_allclose(data.x_train, expected(flowers), atol=1e-12)
    assert data.label_names == ["daisy", "rose", "tulip"]
    assert [data.label_names[i] for i in data.t_train] == flowers["kind"].tolist()
    assert data.x_test is None


# -- tables ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["kind", 3, -1, "3", "-1"])
def test_csv_with_a_header(tmp_path, flowers, target):
    flowers.to_csv(tmp_path / "flowers.csv", index=False)
    data = load_data(tmp_path / "flowers.csv", target=target)
    assert_flowers(data, flowers)
    assert data.preprocessing.features == ["length", "width", "height"]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("header", [True, False])
def test_csv_of_any_kind(tmp_path, flowers, separator, header):
    path = tmp_path / "flowers.csv"
    flowers.to_csv(path, sep=separator, header=header, index=False)
    assert_flowers(load_data(path, target=3), flowers)
    assert_flowers(load_data(path, target=3, header=header), flowers)


def test_quotes_blank_lines_and_a_byte_order_mark(tmp_path):
    path = tmp_path / "a.csv"
    text = '\ufeff"a, long",b\n\n1,"x, y"\n2,"z"\n\n'
    path.write_text(text, encoding="utf-8")
    data = load_data(path, target="b")
    assert data.label_names == ["x, y", "z"]
    assert data.preprocessing.features == ["a, long"]
    assert len(data.x_train) == 2


def test_a_header_of_numbers_is_one_if_it_is_asked_for(tmp_path):
    (tmp_path / "a.csv").write_text("0,1,label\n5,6,7\n8,9,10\n")
    data = load_data(tmp_path / "a.csv", target="label")
    assert len(data.x_train) == 2
    assert data.preprocessing.features == ["0", "1"]
    assert len(load_data(tmp_path / "a.csv", target=0, drop=(2,), header=True).x_train) == 2


@pytest.mark.parametrize("target", ["-1", "3", -1, 3])
@pytest.mark.parametrize("first", [[-1, 5, 6, 0], [5, 3, 6, 0]])
def test_the_number_of_a_column_is_no_name_because_it_is_a_value(tmp_path, first, target):
    rows = np.random.default_rng(0).integers(0, 2, (60, 4))
    rows[0] = first
    np.savetxt(tmp_path / "a.csv", rows, fmt="%d", delimiter=",")
    data = load_data(tmp_path / "a.csv", target=target, scaling="none")
    np.testing.assert_array_equal(data.x_train, rows[:, :3])
    np.testing.assert_array_equal(data.t_train, rows[:, 3])
    data = load_data(tmp_path / "a.csv", target=target, drop=("0",), scaling="none")
    np.testing.assert_array_equal(data.x_train, rows[:, 1:3])


@pytest.mark.parametrize("rows", [[[5, 2, 0]], [[0, 1, 1], [1, 0, 0]], [[0, 5, 3], [2, 0, 1]]])
def test_a_model_of_columns_without_names_reads_values_as_values(tmp_path, rows):
    features = Options(needs_target=False, features=["0", "1", "2"], count=3)
    (tmp_path / "a.csv").write_text("".join(",".join(map(str, row)) + "\n" for row in rows))
    np.testing.assert_array_equal(read_samples(tmp_path / "a.csv", features).train.x, rows)


def test_years_are_names_if_all_of_them_are_there(tmp_path):
    (tmp_path / "a.csv").write_text("2019,2021,2020\n5,6,7\n")
    years = Options(needs_target=False, features=["2019", "2020", "2021"], count=3)
    found = read_samples(tmp_path / "a.csv", years).train.x
    np.testing.assert_array_equal(found, [[5, 7, 6]])


@pytest.mark.parametrize("target", ["2", 2, -1])
def test_the_numbers_of_the_columns_may_be_names_or_a_sample(tmp_path, target):
    (tmp_path / "a.csv").write_text("0,1,2\n5,6,1\n3,5,0\n")
    match = r"first row of .* is 0, 1, 2.*header=True or header=False"
    with pytest.raises(InputError, match=match):
        load_data(tmp_path / "a.csv", target=target)
    for header, samples in ((True, 2), (False, 3)):
        assert len(load_data(tmp_path / "a.csv", target=target, header=header).t_train) == samples


def test_names_alone_are_no_header_if_they_repeat(tmp_path):
    (tmp_path / "a.csv").write_text("1,yes\n2,no\n3,yes\n")
    assert len(load_data(tmp_path / "a.csv", target=1).x_train) == 3


def test_whole_numbers_before_others_are_read_as_one_column(tmp_path):
    rows = "".join(f"{i},{i % 2}\n" for i in range(5000)) + "0.5,1\n"
    (tmp_path / "a.csv").write_text("x,t\n" + rows)
    data = load_data(tmp_path / "a.csv", target="t", scaling="none")
    assert data.x_train[-1, 0] == 0.5


@pytest.mark.parametrize("dtype", ["float64", "float32", "int16"])
def test_parquet(tmp_path, flowers, dtype):
    columns = ["length", "width", "height"]
    flowers[columns] = (flowers[columns] * 1000).astype(dtype)
    flowers["kind"] = flowers["kind"].astype("category")
    flowers.to_parquet(tmp_path / "flowers.parquet", engine="pyarrow")
    data = load_data(tmp_path / "flowers.parquet", target="kind", scaling="none")
    assert data.x_train.dtype == (np.float64 if dtype == "float64" else np.float32)
    np.testing.assert_array_equal(data.x_train, flowers[columns])
    assert data.label_names == ["daisy", "rose", "tulip"]


def test_frames(flowers):
    assert_flowers(load_data(flowers, target="kind"), flowers)
    assert_flowers(load_data(pl.from_pandas(flowers), target="kind"), flowers)
    assert_flowers(load_data(flowers.set_index(np.arange(30) * 2), target="kind"), flowers)
    with pytest.raises(DtypeError, match="collect"):
        load_data(pl.from_pandas(flowers).lazy(), target="kind")


def test_columns_are_left_out(tmp_path, flowers):
    flowers.insert(0, "Id", [f"no. {i}" for i in range(30)])
    flowers.to_csv(tmp_path / "a.csv", index=False)
    for drop in ("Id", ["Id"], [0]):
        assert_flowers(load_data(tmp_path / "a.csv", target="kind", drop=drop), flowers)


@pytest.mark.parametrize(
    ("row", "named"),
    [
        ("1,,x", ["row 3", "'b' is missing"]),
        ("1,NA,x", ["row 3", "'b' is missing"]),
        ("1,?,x", ["row 3", "'b' is missing"]),
        ("1,inf,x", ["row 3", "'b' is inf"]),
        ("1,2,", ["row 3", "'t' is missing"]),
        ("1,two,x", ["row 3", "'b' holds 'two'"]),
        ("1,2", ["columns"]),
    ],
)
def test_what_is_missing_in_a_csv_file_is_named_by_row_and_column(tmp_path, row, named):
    path = tmp_path / "a.csv"
    path.write_text(f"a,b,t\n1,2,x\n3,4,y\n{row}\n")
    with pytest.raises((InputError, DataFileError)) as caught:
        load_data(path, target="t")
    for text in (str(path), *named):
        assert text in str(caught.value)
    assert len(str(caught.value)) <= 300


@pytest.mark.parametrize("missing", [None, np.nan])
@pytest.mark.parametrize("library", [pd.DataFrame, pl.DataFrame])
def test_what_is_missing_in_a_frame_is_named_by_row_and_column(library, missing):
    frame = library({"a": [1.0, 2.0, missing], "t": [0, 1, 0]})
    with pytest.raises(InputError, match="row 3, column 'a' is missing"):
        load_data(frame, target="t")


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({}, "name the target"),
        ({"target": "x"}, "no column 'x'; it has 'length', 'width', 'height', 'kind'"),
        ({"target": 7}, "4 columns"),
        ({"target": -5}, "4 columns"),
        ({"target": 1.5}, "no column 1.5"),
        ({"target": "length"}, "column 'kind' holds 'rose' and no number"),
        ({"target": "length", "drop": "kind"}, "a measurement"),
        ({"target": "kind", "drop": "x"}, "no column 'x'"),
        ({"target": "kind", "drop": [0, 1, 2]}, "no columns of features"),
        ({"target": "kind", "drop": 3.5}, "names no columns"),
        ({"target": "kind", "scaling": "log"}, "scaling"),
        ({"target": "kind", "test_fraction": 1}, "less than 1"),
        ({"target": "kind", "test_fraction": 0}, "test_fraction"),
        ({"target": "kind", "test_fraction": "half"}, "test_fraction"),
        ({"target": "kind", "images": "photo"}, "images"),
        ({"target": "kind", "test": 3, "test_fraction": 0.5}, "give one"),
    ],
)
def test_what_is_asked_of_a_table_and_not_there(flowers, options, named):
    with pytest.raises(FastnnError, match=named):
        load_data(flowers, **options)


@pytest.mark.parametrize(
    ("name", "content", "named"),
    [
        ("a.csv", b"", "empty"),
        ("a.csv", b"a,b\n", "0 rows"),
        ("a.csv", b"\x00\x01\x02\xff", "no text"),
        ("a.csv", b"a,t\n\xff\xfe\xfa,1\n", "UTF-8"),
        ("a.csv", b"a,a,t\n1,2,3\n4,5,6\n", "two columns named 'a'"),
        ("a.parquet", b"PAR1 and nothing more", "not a Parquet file"),
        ("a.npz", b"PK\3\4 and nothing more", "not a file of NumPy's"),
        ("a.npy", b"\x93NUMPY", "not a file of NumPy's"),
        ("a.npy", b"", "not a file of NumPy's"),
        ("a.xlsx", b"x", "no format that fastnn knows"),
        ("data", b"x", "no format that fastnn knows"),
    ],
)
def test_files_that_are_none(tmp_path, name, content, named):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataFileError, match=named) as caught:
        load_data(tmp_path / name, target="t")
    assert name in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("path", ["none.csv", "none", "\0", "x" * 5000, "."])
def test_paths_that_lead_nowhere(tmp_path, path):
    with pytest.raises(DataFileError):
        load_data(tmp_path / path)
    with pytest.raises(DtypeError, match="give a path"):
        load_data(7)


# -- labels and splits -----------------------------------------------------------------------------


def test_whole_numbers_are_sorted_as_numbers(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.arange(8.0).reshape(4, 2), y=[10, 2, 10, 9])
    data = load_data(tmp_path / "a.npz")
    assert data.label_names == ["2", "9", "10"]
    assert data.t_train.tolist() == [2, 0, 2, 1]


@pytest.mark.parametrize("y", [[True, False, True], [1.0, 0.0, 1.0], [[0, 1], [1, 0], [0, 1]]])
def test_truth_values_floats_and_one_hot_rows_are_labels(tmp_path, y):
    np.savez(tmp_path / "a.npz", x=np.arange(6.0).reshape(3, 2), y=y)
    data = load_data(tmp_path / "a.npz")
    assert data.t_train.tolist() == [1, 0, 1]
    assert data.label_names == (["false", "true"] if isinstance(y[0], bool) else ["0", "1"])


@pytest.mark.parametrize(
    ("y", "named"),
    [
        ([0.5, 1, 2], "0.5 in row 1, a measurement"),
        ([np.nan, 1, 2], "row 1"),
        ([1, 1, 1], "the one value '1'"),
        ([1, 2], "3 samples and 2 labels"),
        ([[0.5, 0.5], [1, 0], [0, 1]], "one-hot"),
        ([1j, 2j, 3j], "dtype complex128"),
        ([[[1]]] * 3, "shape"),
    ],
)
def test_what_are_no_labels(tmp_path, y, named):
    np.savez(tmp_path / "a.npz", x=np.arange(6.0).reshape(3, 2), y=y)
    with pytest.raises(FastnnError, match=named):
        load_data(tmp_path / "a.npz")


def test_labels_of_a_test_that_the_training_has_not(tmp_path, flowers):
    flowers.to_csv(tmp_path / "a.csv", index=False)
    flowers.replace("rose", "lily").to_csv(tmp_path / "b.csv", index=False)
    with pytest.raises(InputError, match="label 'lily' in row 1, and the classes are daisy, rose"):
        load_data(tmp_path / "a.csv", target="kind", test=tmp_path / "b.csv")


def test_labels_by_the_names_of_a_model():
    labels = Labels.named(["10", "9", "b"])
    assert labels.numbers(np.array([9, 10])).tolist() == [1, 0]
    assert labels.numbers(np.array(["b", "9"])).tolist() == [2, 1]
    with pytest.raises(InputError, match="label 8"):
        labels.numbers(np.array([9, 8]))


@given(
    counts=st.lists(st.integers(1, 40), min_size=1, max_size=5).filter(lambda c: sum(c) > 1),
    fraction=st.floats(0.01, 0.99),
    seed=st.integers(0, 10),
)
def test_a_split_is_stratified(counts, fraction, seed):
    labels = np.random.default_rng(1).permutation(np.repeat(np.arange(len(counts)), counts))
    train, test = stratified(labels, fraction, np.random.default_rng(seed))
    assert sorted([*train, *test]) == list(range(len(labels)))
    assert (np.diff(train) > 0).all()
    assert (np.diff(test) > 0).all()
    samples = len(labels)
    assert len(test) == min(max(round(fraction * samples), 1), samples - 1)
    taken = np.bincount(labels[test], minlength=len(counts))
    shares = np.array(counts) * len(test) / samples
    if min(counts) > 1 and 1 < fraction * samples < samples - len(counts):
        assert (taken >= np.floor(shares)).all()
        assert (np.abs(taken - shares) <= len(counts)).all()
    again = stratified(labels, fraction, np.random.default_rng(seed))[1]
    np.testing.assert_array_equal(again, test)


def test_the_test_part_is_scaled_by_the_training_part(flowers):
    data = load_data(flowers, target="kind", test_fraction=0.3, rng=5)
    assert (len(data.x_train), len(data.x_test)) == (21, 9)
    np.testing.assert_array_equal(np.bincount(data.t_test), [3, 3, 3])
    np.testing.assert_allclose(data.x_train.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(data.x_train.std(0), 1)
    assert np.abs(data.x_test.mean(0)).min() > 1e-3
    other = load_data(flowers, target="kind", test_fraction=0.3, rng=6)
    assert not np.array_equal(other.t_test, data.t_test) or not np.allclose(
        other.x_test, data.x_test
    )


def test_files_of_their_own_for_the_test(tmp_path, flowers):
    flowers["Id"] = range(30)
    flowers.to_csv(tmp_path / "a.csv", index=False)
    flowers[:9].drop(columns="Id")[["kind", "width", "height", "length"]].to_csv(
        tmp_path / "b.csv", index=False
    )
    data = load_data(tmp_path / "a.csv", target="kind", drop="Id", test=tmp_path / "b.csv")
    np.testing.assert_array_equal(data.x_test, data.x_train[:9])
    np.testing.assert_array_equal(data.t_test, data.t_train[:9])
    x = flowers[["length", "width"]].to_numpy()
    for name, array in {"a": x, "b": x[:6], "s": np.arange(30) % 2, "t": np.ones(6, int)}.items():
        np.save(tmp_path / f"{name}.npy", np.ascontiguousarray(array))
    one, other = tmp_path / "a.npy", tmp_path / "b.npy"
    options = {"target": tmp_path / "s.npy", "scaling": "none"}
    data = load_data(one, test=(other, tmp_path / "t.npy"), **options)
    assert data.t_test.tolist() == [1] * 6
    with pytest.raises(InputError, match=r"b\.npy holds samples; name the target"):
        load_data(one, test=other, **options)  # not with the labels of the training
    with pytest.raises(InputError, match="3 entries"):
        load_data(one, test=(other, 1, 2), **options)
    with pytest.raises(InputError, match="MNIST has test samples of its own"):
        load_data(test=one)
    np.save(tmp_path / "b.npy", np.ones((6, 3)))
    with pytest.raises(InputError, match="3 features, and the training samples 2"):
        load_data(one, test=(other, tmp_path / "t.npy"), **options)


# -- scaling ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["unit", "standard"])
@pytest.mark.parametrize("dtype", ["float64", "float32", "int32"])
def test_scaling_as_scikit_learn_has_it(method, dtype):
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    x = (np.random.default_rng(0).normal(3, 50, size=(400, 5))).astype(dtype)
    x[:, 2] = 7  # constant
    theirs = {"unit": preprocessing.MinMaxScaler, "standard": preprocessing.StandardScaler}
    want = theirs[method]().fit(x.astype(np.float64)).transform(x.astype(np.float64))
    scaling = Scaling.fitted(method, x)
    found = scaling(x)
    assert found.dtype == (np.float32 if dtype == "float32" else np.float64)
    np.testing.assert_allclose(found, want, atol=1e-5 if dtype == "float32" else 1e-12)
    again = Scaling.from_dict(json.loads(json.dumps(scaling.to_dict())), 5)
    np.testing.assert_array_equal(again(x), found)


def test_scaling_of_a_stream_is_that_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("fastnn.streams.PIECE", 1000)
    monkeypatch.setattr("fastnn.data.scaling.PIECE", 1000)
    x = np.random.default_rng(0).normal(1e6, 1, size=(500, 4))
    np.save(tmp_path / "x.npy", x)
    stream = Stream(np.load(tmp_path / "x.npy", mmap_mode="r"))
    for method in ("none", "unit", "standard"):
        one, other = Scaling.fitted(method, x), Scaling.fitted(method, stream)
        np.testing.assert_array_equal(one(x), other(x))
    np.testing.assert_allclose(other(x).std(0), 1, rtol=1e-9)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_no_sample(tmp_path, bad):
    x = np.ones((6, 3))
    x[4, 1] = bad
    np.savez(tmp_path / "a.npz", x=x, y=np.arange(6) % 2)
    for scaling in ("none", "unit", "standard"):
        with pytest.raises(InputError, match="a: row 5, column 2 is"):
            load_data(tmp_path / "a.npz", scaling=scaling)


def test_what_no_scaling_can_have():
    with pytest.raises(InputError, match="beyond the range"):
        Scaling.fitted("standard", np.array([[-1e308], [1e308]]))
    for broken in ({}, {"method": "unit"}, None, {"method": "log"}):
        with pytest.raises(InputError):
            Scaling.from_dict(broken, 3)
    good = Scaling.fitted("unit", np.eye(3)).to_dict()
    for change in ({"divisor": 0.0}, {"offset": [1, 2]}, {"dtype": "int8"}, {"offset": ["a"]}):
        with pytest.raises(InputError):
            Scaling.from_dict(good | change, 3)


# -- arrays in files -------------------------------------------------------------------------------


def test_keras_mnist(tmp_path):
    pixels = RNG.integers(256, size=(20, 28, 28)).astype(np.uint8)
    y = np.arange(20).astype(np.uint8) % 10
    np.savez(
        tmp_path / "mnist.npz",
        x_train=pixels[:12], y_train=y[:12], x_test=pixels[12:], y_test=y[12:],
    )  # fmt: skip
    data = load_data(tmp_path / "mnist.npz")
    assert data.x_train.dtype == np.float32
    np.testing.assert_array_equal(
        data.x_train, pixels[:12].reshape(12, 784).astype(np.float32) / np.float32(255)
    )
    assert data.x_test.shape == (8, 784)
    assert data.preprocessing.image_shape == (28, 28)
    assert Preprocessing.from_dict(data.preprocessing.to_dict(), 784) == data.preprocessing
    with pytest.raises(InputError, match="test samples of its own"):
        load_data(tmp_path / "mnist.npz", test_fraction=0.2)


@pytest.mark.parametrize("names", [("x_{}", "t_{}"), ("{}_images", "{}_labels"), ("X_{}", "y_{}")])
def test_other_names_of_arrays(tmp_path, names):
    arrays = {}
    for part, count in (("train", 6), ("test", 4)):
        arrays[names[0].format(part)] = RNG.random((count, 3))
        arrays[names[1].format(part)] = np.arange(count) % 2
    np.savez_compressed(tmp_path / "a.npz", **arrays)
    assert load_data(tmp_path / "a.npz").x_test.shape == (4, 3)
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
    data = load_data(tmp_path)
    assert (data.x_train.shape, data.x_test.shape) == ((6, 3), (4, 3))


def test_archives_of_other_things(tmp_path):
    np.savez(tmp_path / "a.npz", foo=np.ones(3), bar=np.ones(3))
    with pytest.raises(DataFileError, match="holds foo, bar; fastnn looks for x_train"):
        load_data(tmp_path / "a.npz")
    np.savez(tmp_path / "a.npz", x=np.array([{}, {}]), y=np.array([0, 1]))
    with pytest.raises(DataFileError, match="pickled"):
        load_data(tmp_path / "a.npz")
    np.savez(tmp_path / "a.npz", x=np.array(["a", "b"]), y=np.array([0, 1]))
    with pytest.raises(DataFileError, match="no numbers"):
        load_data(tmp_path / "a.npz")


@pytest.mark.parametrize("mapped", [True, False])
@pytest.mark.parametrize("scaling", ["none", "unit", "standard"])
def test_pairs_of_npy_files(tmp_path, mapped, scaling):
    x = np.random.default_rng(0).normal(size=(40, 3))
    np.save(tmp_path / "x_train.npy", x)
    np.save(tmp_path / "y_train.npy", np.arange(40) % 2)
    path = tmp_path / "x_train.npy"
    data = load_data(path, mapped=mapped, scaling=scaling, test_fraction=0.25)
    same = load_data(path, mapped=not mapped, scaling=scaling, test_fraction=0.25)
    assert isinstance(data.x_train, Stream) == mapped
    for one, other in ((data.x_train, same.x_train), (data.x_test, same.x_test)):
        np.testing.assert_array_equal(one[:], other[:])
    assert (data.preprocessing.low, data.preprocessing.high) == (
        same.preprocessing.low,
        same.preprocessing.high,
    )
    assert data.preprocessing.low == np.asarray(data.x_train[:]).min()
    (tmp_path / "y_train.npy").rename(tmp_path / "kinds.npy")
    with pytest.raises(InputError, match=r"there is no y_train\.npy, t_train\.npy beside it"):
        load_data(path)
    assert load_data(path, target=tmp_path / "kinds.npy").sizes == (3, 2)
    np.save(tmp_path / "kinds.npy", np.arange(39))
    with pytest.raises(DataFileError, match="40 samples and 39 labels"):
        load_data(path, target=tmp_path / "kinds.npy")


# -- IDX folders -----------------------------------------------------------------------------------


def test_the_packaged_mnist_is_that_of_load_mnist(mnist):
    (x, t), (x_test, t_test) = load_data()
    for one, other in zip((x, t, x_test, t_test), (*mnist[0], *mnist[1]), strict=True):
        np.testing.assert_array_equal(one, other)
    assert x.dtype == mnist[0][0].dtype


def write_emnist(folder, name, first=1, compress=False):
    rng = np.random.default_rng(0)
    arrays = []
    for part, count in (("train", 12), ("test", 6)):
        images = rng.integers(256, size=(count, 28, 28)).astype(np.uint8)
        labels = (np.arange(count) % 3 + first).astype(np.uint8)
        for what, ndim, array in (("images", 3, images), ("labels", 1, labels)):
            content = idx(array)
            path = folder / f"{name}-{part}-{what}-idx{ndim}-ubyte{'.gz' * compress}"
            path.write_bytes(gzip.compress(content) if compress else content)
            arrays.append(array)
    return arrays


@pytest.mark.parametrize("compress", [True, False])
def test_emnist(tmp_path, compress):
    images, labels, _, _ = write_emnist(tmp_path, "emnist-letters", compress=compress)
    data = load_data(tmp_path, transpose=True, first_label=1)
    assert data.label_names == ["1", "2", "3"]
    np.testing.assert_array_equal(data.t_train, labels - 1)
    upright = images.swapaxes(1, 2).reshape(12, 784).astype(np.float32) / np.float32(255)
    np.testing.assert_array_equal(data.x_train, upright)
    assert load_data(tmp_path).label_names == [str(i) for i in range(10)]
    write_emnist(tmp_path, "emnist-digits")
    with pytest.raises(InputError, match="several sets: emnist-digits, emnist-letters"):
        load_data(tmp_path)
    np.testing.assert_array_equal(
        load_data(tmp_path / "emnist-letters", transpose=True).x_train, data.x_train
    )
    (tmp_path / f"emnist-digits-test-labels-idx1-ubyte{'.gz' * 0}").unlink()
    with pytest.raises(DataFileError, match="emnist-digits-test-labels-idx1-ubyte is missing"):
        load_data(tmp_path / "emnist-digits")
    with pytest.raises(InputError, match="first_label=9"):
        load_data(tmp_path / "emnist-letters", first_label=9)


def test_mnists_own_names_and_a_missing_file(tmp_path):
    x, t, _, _ = write_mnist(tmp_path)
    data = load_data(tmp_path)
    np.testing.assert_array_equal(data.t_train, t)
    assert data.sizes == (784, 10)
    (tmp_path / NAMES[3]).unlink()
    with pytest.raises(DataFileError, match=f"{NAMES[3]} is missing"):
        load_data(tmp_path)
    del x


# -- folders of images -----------------------------------------------------------------------------


def write_images(folder, classes=("cat", "dog"), count=3, size=(10, 12), seed=0):
    rng = np.random.default_rng(seed)
    for name in classes:
        (folder / name).mkdir(parents=True)
        for i in range(count):
            shade = rng.integers(256, size=size[::-1]).astype(np.uint8)
            Image.fromarray(shade).save(folder / name / f"{i}.png")


def test_a_subfolder_is_a_class(tmp_path):
    write_images(tmp_path / "pets", size=(9, 9))
    (tmp_path / "pets" / "cat" / "notes.txt").write_text("no image")
    (tmp_path / "pets" / "empty").mkdir()
    data = load_data(tmp_path / "pets", images="resize", image_size=9, scaling="none")
    assert data.label_names == ["cat", "dog"]
    assert data.t_train.tolist() == [0, 0, 0, 1, 1, 1]
    pixels = np.asarray(Image.open(tmp_path / "pets" / "dog" / "1.png"))
    np.testing.assert_array_equal(data.x_train[4], pixels.reshape(-1))
    assert data.preprocessing.image_shape == (9, 9)
    assert load_data(tmp_path / "pets", images="resize").x_train.shape == (6, 784)


def test_folders_of_numbers_and_of_tests(tmp_path):
    write_images(tmp_path / "train", classes=("2", "10"))
    write_images(tmp_path / "test", classes=("2",), count=2)
    data = load_data(tmp_path, images="resize", image_size=8)
    assert data.label_names == ["2", "10"]
    assert (len(data.x_train), len(data.x_test)) == (6, 2)


def test_images_that_are_none(tmp_path):
    write_images(tmp_path)
    (tmp_path / "cat" / "x.png").write_bytes(b"no image")
    with pytest.raises(DataFileError, match=r"x\.png cannot be read: it is no image"):
        load_data(tmp_path, images="resize")
    Image.new("L", (20, 20), 255).save(tmp_path / "cat" / "0.png")
    with pytest.raises(InputError, match=r"no ink"):
        load_data(tmp_path)
    with pytest.raises(DataFileError, match="not transposed"):
        load_data(tmp_path, transpose=True)


# -- what goes with a model ------------------------------------------------------------------------


def test_what_was_done_is_kept_in_the_file(tmp_path, flowers):
    data = load_data(flowers, target="kind", test_fraction=0.2)
    network = fastnn.TwoLayerNet(3, 4, 3, backend="numpy", rng=0)
    data.describe(network)
    network.save(tmp_path / "model")
    again = fastnn.load(tmp_path / "model", backend="numpy")
    assert again.label_names == data.label_names
    found = preprocessing_of(again)
    x = flowers[["length", "width", "height"]].to_numpy()
    np.testing.assert_array_equal(found(x), data.preprocessing(x))
    assert found.features == ["length", "width", "height"]
    with pytest.raises(InputError, match="3 features and 3 classes"):
        data.describe(fastnn.TwoLayerNet(4, 4, 3, rng=0))


@pytest.mark.parametrize(
    "change",
    [
        {"range": [1]},
        {"range": [2, 1]},
        {"range": ["a", "b"]},
        {"features": ["a"]},
        {"features": [1, 2, 3]},
        {"features": 5},
        {"image": {"shape": [2, 2], "way": "digits"}},
        {"image": {"shape": [1, 3], "way": "oil"}},
        {"image": 7},
        {"scaling": 1},
    ],
)
def test_what_is_no_preprocessing(flowers, change):
    good = load_data(flowers, target="kind").preprocessing.to_dict()
    assert Preprocessing.from_dict(good, 3).to_dict() == good
    with pytest.raises(InputError):
        Preprocessing.from_dict(good | change, 3)


@pytest.mark.parametrize("header", [b"'shape': (2L, 3L), }", b"'shape': (2, 3), }  '\\8'"])
def test_headers_that_python_complains_of_warn_nobody(header, tmp_path):
    """What Python 2 wrote is read; what no Python would write is refused."""
    text = b"{'descr': '<f8', 'fortran_order': False, " + header
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    path = tmp_path / "x.npy"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(48))
    np.save(tmp_path / "t.npy", np.array([0, 1]))
    if b"L" in header:
        assert load_data(path, target=tmp_path / "t.npy").x_train.shape == (2, 3)
    else:
        with pytest.raises(DataFileError):
            load_data(path, target=tmp_path / "t.npy")


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, float("nan")])
def test_a_fraction_that_is_none(fraction):
    with pytest.raises(InputError, match="test_fraction"):
        stratified(np.array([0, 1, 0, 1]), fraction, np.random.default_rng(0))


@pytest.mark.parametrize("scaling", [None, "none", "standard"])
def test_streamed_samples_are_those_in_memory(tmp_path, scaling):
    x = np.random.default_rng(0).integers(256, size=(40, 5, 5)).astype(np.uint8)
    np.savez(tmp_path / "x.npz", x=x, y=np.arange(40) % 2)
    options = {"test_fraction": 0.25, "scaling": scaling}
    expected, found = (
        fastnn.load_data(tmp_path / "x.npz", **options, streamed=streamed)
        for streamed in (False, True)
    )
    for name in ("x_train", "x_test"):
        stream, array = getattr(found, name), getattr(expected, name)
        assert isinstance(stream, Stream)
        assert stream.in_memory
        assert np.asarray(stream).dtype == array.dtype
        assert np.array_equal(np.asarray(stream), array)
    assert np.array_equal(found.t_train, expected.t_train)
