"""Data files that are not what they should be, and paths that lead to none.

The kinds of the last: what stands in a file is not what its header says (shorter, longer, damaged,
packed twice); what a header or a label says takes more memory than the file accounts for; a path
that is none, or leads to no regular file. Each is refused in one line of at most 300 characters,
with no more memory taken than the file is worth.
"""

import gzip
import os
import struct
import tracemalloc

import numpy as np
import pytest
from idx import NAMES, idx, write_mnist

import fastnn
from fastnn import DataFileError, load_idx, load_mnist


def assert_one_line(caught):
    text = str(caught.value)
    assert len(text) <= 300, text
    assert text.isprintable(), text


GOOD = idx(np.arange(24, dtype=np.int16).reshape(2, 3, 4))
PACKED = gzip.compress(GOOD)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an IDX file"),
        (b"\0\0\x08", "not an IDX file"),
        (b"<html>403 Forbidden</html>", "not an IDX file"),
        (b"\0\1\x08\1\0\0\0\1a", "not an IDX file"),
        (b"\0\0\x0a\1\0\0\0\1a", "not an IDX file"),
        (GOOD[:10], "truncated"),
        (GOOD[:-1], "truncated"),
        (GOOD + b"\0", "too long"),
        (gzip.compress(GOOD[:-1]), "truncated"),
        (gzip.compress(GOOD + b"\0"), "too long"),
        (gzip.compress(b"<html>"), "not an IDX file"),
        (PACKED[:2], "truncated"),
        (PACKED[:9], "truncated"),
        (PACKED[:-9], "truncated"),
        (PACKED[:-1], "truncated"),
        (PACKED[:-8] + b"\0\0\0\0" + PACKED[-4:], "damaged"),
        (PACKED + b"rubbish", "damaged"),
        (b"\0\0\x08\3" + b"\xff" * 12, "truncated"),
        (b"\0\0\x08\xff" + b"\0\0\0\1" * 255 + b"a", "dimensions|shape"),
        (b"\0\0\x08\4\0\0\0\0" + b"\xff" * 12, "dimensions|shape"),
    ],
    ids=lambda value: f"{len(value)} bytes" if isinstance(value, bytes) else value,
)
def test_a_file_that_is_not_right_is_refused_by_name(tmp_path, content, message):
    path = tmp_path / "some-file"
    path.write_bytes(content)
    with pytest.raises(DataFileError, match=message) as caught:
        load_idx(path)
    assert str(path) in str(caught.value)
    assert isinstance(caught.value, OSError)
    assert_one_line(caught)


@pytest.mark.parametrize("cut", range(len(PACKED)))
def test_no_cut_of_a_file_goes_unnoticed(tmp_path, cut):
    path = tmp_path / "some-file"
    path.write_bytes(PACKED[:cut])
    with pytest.raises(DataFileError, match="some-file"):
        load_idx(path)


def test_what_cannot_be_read_is_refused_by_name(tmp_path):
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(DataFileError, match="cannot be read") as caught:
            load_idx(path)
        assert str(path) in str(caught.value)


# -- More than a file accounts for -----------------------------------------------------------------


@pytest.fixture
def peak():
    """What Python's allocators had at most, NumPy's among them, since the test began."""
    tracemalloc.start()
    yield lambda: tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()


MIB = 2**20


@pytest.mark.parametrize("start", [GOOD, b"\0" * 8], ids=["an IDX file", "zeros"])
def test_no_more_is_unpacked_than_the_header_announces(tmp_path, peak, start):
    path = tmp_path / "bomb.gz"
    with gzip.open(path, "wb") as file:
        file.write(start)
        for _ in range(64):
            file.write(b"\0" * MIB)
    assert path.stat().st_size < MIB / 4
    tracemalloc.reset_peak()
    with pytest.raises(
        DataFileError, match="too long" if start == GOOD else "not an IDX"
    ) as caught:
        load_idx(path)
    assert_one_line(caught)
    assert peak() < MIB


def test_an_array_is_read_without_a_second_copy(tmp_path, peak):
    array = np.arange(4 * MIB, dtype=np.int32)
    path = tmp_path / "file.gz"
    path.write_bytes(gzip.compress(idx(array), 1))
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    read = load_idx(path)
    assert peak() - before < 1.2 * read.nbytes
    np.testing.assert_array_equal(read, array)


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize(
    "sizes", [(2**32 - 1,), (2**16, 2**16), (2**31, 2**31, 2**31), (2**32 - 1,) * 32]
)
def test_sizes_beyond_what_the_file_can_hold_take_no_memory(tmp_path, peak, sizes, compress):
    raw = struct.pack(f">HBB{len(sizes)}I", 0, 0x0E, len(sizes), *sizes) + b"\0" * 1000
    path = tmp_path / "file"
    path.write_bytes(gzip.compress(raw) if compress else raw)
    with pytest.raises(DataFileError, match="truncated") as caught:
        load_idx(path)
    assert_one_line(caught)
    assert peak() < MIB


@pytest.mark.parametrize("sizes", [(1,) * 33, (0,) * 64, (1,) * 255])
def test_more_dimensions_than_data_have_are_refused(tmp_path, sizes):
    path = tmp_path / "file"
    path.write_bytes(struct.pack(f">HBB{len(sizes)}I", 0, 8, len(sizes), *sizes) + b"a")
    with pytest.raises(DataFileError, match=f"{len(sizes)} dimensions") as caught:
        load_idx(path)
    assert_one_line(caught)


@pytest.mark.skipif(os.name != "posix", reason="limits of a process are POSIX's")
def test_a_file_beyond_the_memory_is_refused(tmp_path, python):
    path = tmp_path / "file"
    path.write_bytes(struct.pack(">HBBII", 0, 8, 2, 2**16, 2**16))
    os.truncate(path, 12 + 2**32)  # of holes, and so of no size on the disk
    script = """
import resource, sys, fastnn
resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
try:
    fastnn.load_idx(sys.argv[1])
except fastnn.DataFileError as error:
    print(error)
"""
    code, out, err = python("-c", script, path)
    assert (code, err) == (0, "")
    assert "too large" in out
    assert out.count("\n") == 1


def test_members_of_one_gzip_file_belong_together(tmp_path):
    path = tmp_path / "file.gz"
    path.write_bytes(gzip.compress(GOOD[:20]) + gzip.compress(b"") + gzip.compress(GOOD[20:]))
    assert load_idx(path).shape == (2, 3, 4)
    path.write_bytes(PACKED * 2)
    with pytest.raises(DataFileError, match="too long") as caught:
        load_idx(path)
    assert_one_line(caught)


@pytest.mark.parametrize("kind", ["u1", "i4"])
def test_labels_beyond_any_table_are_not_made_one_hot(tmp_path, peak, kind):
    """A label of 2**31 - 1 would take 48 GiB for the six; one of 255 is fine."""
    arrays = write_mnist(tmp_path)
    labels = arrays[1].astype(kind)
    labels[-1] = np.iinfo(kind).max
    (tmp_path / NAMES[1]).write_bytes(idx(labels))
    if kind == "u1":
        (_, rows), _ = load_mnist(one_hot_label=True, directory=tmp_path)
        np.testing.assert_array_equal(rows, np.eye(256)[labels])
        return
    with pytest.raises(DataFileError, match=r"label 2147483647.*one-hot") as caught:
        load_mnist(one_hot_label=True, directory=tmp_path)
    assert_one_line(caught)
    assert peak() < MIB
    assert load_mnist(directory=tmp_path)[0][1].max() == 2**31 - 1


def test_images_without_pixels_are_refused(tmp_path):
    write_mnist(tmp_path)
    for name, count in ((NAMES[0], 6), (NAMES[2], 4)):
        (tmp_path / name).write_bytes(idx(np.zeros((count, 0, 28), np.uint8)))
    with pytest.raises(DataFileError, match="there must be some") as caught:
        load_mnist(directory=tmp_path)
    assert_one_line(caught)


# -- Paths -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [None, 3, 2.5, b"file", ["file"], np.zeros((300, 300))])
def test_what_is_no_path_is_refused(path):
    with pytest.raises(fastnn.DtypeError, match="path is a") as caught:
        load_idx(path)
    assert_one_line(caught)
    if path is not None:
        with pytest.raises(fastnn.DtypeError, match="directory is a") as caught:
            load_mnist(directory=path)
        assert_one_line(caught)


@pytest.mark.parametrize(
    "path",
    ["\0", "a\0b", "x" * 256, "x" * 5000, "/".join(["x" * 200] * 30), "two\nlines", "", "\ud800"],
    ids=lambda path: f"{path[:3]!a} of {len(path)}",
)
def test_a_path_that_no_file_can_have_is_named_in_one_line(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    for load in (load_idx, lambda path: load_mnist(directory=path)):
        with pytest.raises(DataFileError) as caught:
            load(path)
        assert_one_line(caught)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no FIFOs")
def test_a_fifo_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(DataFileError, match="not a regular file"):
        load_idx(tmp_path / "fifo")


@pytest.mark.parametrize("flag", ["normalize", "flatten", "one_hot_label"])
@pytest.mark.parametrize("value", [None, "yes", 0.5, np.zeros(3)], ids=repr)
def test_flags_are_true_or_false(flag, value):
    with pytest.raises(fastnn.DtypeError, match=f"{flag} is a") as caught:
        load_mnist(**{flag: value})
    assert_one_line(caught)
