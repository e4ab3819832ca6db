"""MNIST as the book's readers load it, any IDX file, and files of a directory."""

import gzip
import hashlib
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from idx import NAMES, TYPES, idx, write_mnist

import fastnn
from fastnn import DataFileError, load_idx, load_mnist
from fastnn.data import digits

# -- MNIST -----------------------------------------------------------------------------------------


def test_mnist_as_the_book_loads_it(mnist):
    (x_train, t_train), (x_test, t_test) = mnist
    assert x_train.shape == (60000, 784)
    assert x_test.shape == (10000, 784)
    assert x_train.dtype == x_test.dtype == np.float32
    assert t_train.shape == (60000,)
    assert t_test.shape == (10000,)
    assert t_train.dtype == t_test.dtype == np.uint8
    assert x_train.min() == x_test.min() == 0
    assert x_train.max() == x_test.max() == 1
    assert t_train[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]  # as the book prints them
    assert t_test[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert np.bincount(t_train).tolist() == [
        5923,
        6742,
        5958,
        6131,
        5842,
        5421,
        5918,
        6265,
        5851,
        5949,
    ]
    for array in (x_train, t_train, x_test, t_test):
        assert array.flags.writeable
        assert array.flags.c_contiguous


def test_mnist_raw(mnist):
    (x_train, t_train), (x_test, _) = load_mnist(normalize=False, flatten=False, one_hot_label=True)
    assert x_train.shape == (60000, 1, 28, 28)
    assert x_test.shape == (10000, 1, 28, 28)
    assert x_train.dtype == np.uint8
    assert t_train.shape == (60000, 10)
    np.testing.assert_array_equal(x_test.reshape(10000, 784) / np.float32(255), mnist[1][0])
    np.testing.assert_array_equal(t_train.argmax(axis=1), mnist[0][1])
    np.testing.assert_array_equal(t_train.sum(axis=1), 1)
    # The pixels as their makers published them, header aside.
    raw = gzip.decompress((Path(digits.FOLDER) / f"{NAMES[0]}.gz").read_bytes())
    assert hashlib.md5(raw).hexdigest() == "6bbc9ace898e44ae57da46a324031adb"
    assert x_train.tobytes() == raw[16:]


def test_the_makers_and_the_licence_are_named():
    text = (Path(digits.FOLDER) / "README.md").read_text()
    assert "LeCun" in text
    assert "Cortes" in text
    assert "Burges" in text
    assert "Attribution-ShareAlike 3.0" in text


@pytest.fixture
def packaged(tmp_path, monkeypatch):
    """A copy of the packaged files that a test may damage."""
    copy = shutil.copytree(Path(digits.FOLDER), tmp_path / "mnist")
    monkeypatch.setattr(digits, "FOLDER", copy)
    return copy


def test_an_altered_packaged_file_is_refused(packaged):
    path = packaged / f"{NAMES[3]}.gz"
    raw = bytearray(gzip.decompress(path.read_bytes()))
    raw[-1] ^= 1
    path.write_bytes(gzip.compress(bytes(raw)))
    with pytest.raises(DataFileError, match=r"altered.*reinstall") as caught:
        load_mnist()
    assert str(path) in str(caught.value)


def test_a_truncated_packaged_file_is_refused(packaged):
    path = packaged / f"{NAMES[0]}.gz"
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(DataFileError, match="truncated") as caught:
        load_mnist()
    assert str(path) in str(caught.value)


def test_a_missing_packaged_file_is_refused(packaged):
    (packaged / f"{NAMES[1]}.gz").unlink()
    with pytest.raises(DataFileError, match=f"{NAMES[1]} is missing"):
        load_mnist()


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("as_text", [False, True])
def test_mnist_from_a_directory(tmp_path, compress, as_text):
    arrays = write_mnist(tmp_path, compress=compress)
    (x_train, t_train), (x_test, t_test) = load_mnist(
        normalize=False, directory=str(tmp_path) if as_text else tmp_path
    )
    np.testing.assert_array_equal(x_train, arrays[0].reshape(6, 784))
    np.testing.assert_array_equal(t_train, arrays[1])
    np.testing.assert_array_equal(x_test, arrays[2].reshape(4, 784))
    np.testing.assert_array_equal(t_test, arrays[3])


def test_a_directory_may_hold_other_labels_and_sizes(tmp_path):
    # The one test label does not say that there are 26 classes.
    write_mnist(tmp_path, train=200, test=1, labels=26)
    (_, t_train), (_, t_test) = load_mnist(one_hot_label=True, directory=tmp_path)
    assert t_train.shape == (200, 26)
    assert t_test.shape == (1, 26)


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_file_of_a_directory_is_named(tmp_path, name):
    write_mnist(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(DataFileError, match="is missing") as caught:
        load_mnist(directory=tmp_path)
    assert str(tmp_path / name) in str(caught.value)


def test_a_missing_directory_is_named(tmp_path):
    with pytest.raises(DataFileError, match="nowhere"):
        load_mnist(directory=tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("name", "array"),
    [
        (NAMES[1], np.zeros(5, np.uint8)),
        (NAMES[1], np.zeros((6, 1), np.uint8)),
        (NAMES[0], np.zeros(6, np.uint8)),
        (NAMES[2], np.zeros((4, 14, 14), np.uint8)),
    ],
    ids=["fewer labels", "2-D labels", "1-D images", "test images of another size"],
)
def test_files_that_do_not_fit_each_other_are_refused(tmp_path, name, array):
    write_mnist(tmp_path)
    (tmp_path / name).write_bytes(idx(array))
    with pytest.raises(DataFileError) as caught:
        load_mnist(directory=tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_images_that_are_not_bytes_cannot_be_normalized(tmp_path):
    write_mnist(tmp_path)
    (tmp_path / NAMES[0]).write_bytes(idx(np.zeros((6, 28, 28), np.float32)))
    with pytest.raises(fastnn.DtypeError, match="normalize=False"):
        load_mnist(directory=tmp_path)
    assert load_mnist(False, directory=tmp_path)[0][0].dtype == np.float32


# -- IDX -------------------------------------------------------------------------------------------


@given(
    st.sampled_from(sorted(TYPES)).flatmap(
        lambda kind: hnp.arrays(
            kind, hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=4)
        )
    ),
    st.booleans(),
)
def test_idx_files_of_every_type(tmp_path_factory, array, compress):
    path = tmp_path_factory.mktemp("idx") / "file"
    path.write_bytes(gzip.compress(idx(array)) if compress else idx(array))
    read = load_idx(path)
    assert read.dtype == array.dtype
    assert read.dtype.isnative
    np.testing.assert_array_equal(read, array)
    assert load_idx(str(path)).shape == array.shape


def test_mnist_from_a_package_in_a_zip(tmp_path, python):
    package, archive = Path(fastnn.__file__).parent, tmp_path / "archive.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as file:
        for path in [*package.rglob("*.py"), *package.rglob("*.gz")]:
            file.write(path, path.relative_to(package.parent))
    code = "import fastnn; (x, _), (_, t) = fastnn.load_mnist(); print(x.shape, t.shape)"
    done = python("-c", f"{code}; assert '.zip' in fastnn.__file__", path=[archive])
    assert (done.code, done.out, done.err) == (0, "(60000, 784) (10000,)\n", "")
