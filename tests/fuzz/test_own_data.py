"""Files of one's own with bytes changed, cut off and put in; tables of odd cells; odd arguments."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("pandas")
pytest.importorskip("PIL")

import pandas as pd
from PIL import Image

import fastnn
from fastnn.data.images import sample_of

from .calls import check, examples
from .test_data import damaged
from .values import mostly, odd


def of_numpy(save, *arguments, **arrays):
    file = io.BytesIO()
    save(file, *arguments, **arrays)
    return file.getvalue()


def image(kind):
    pixels = np.full((9, 9), 200, np.uint8)
    pixels[2:7, 4] = 20
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def parquet():
    file = io.BytesIO()
    pd.DataFrame({"a": [1.5, 2.5, 3.5], "t": [0, 1, 0]}).to_parquet(file, engine="pyarrow")
    return file.getvalue()


X, T = np.arange(12.0).reshape(4, 3), np.arange(4) % 2
FILES = {
    "a.csv": b"a,b,t\n1,2.5,x\n3,4,y\n5,6,x\n",
    "a.npz": of_numpy(np.savez, x=X, y=T),
    "b.npz": of_numpy(np.savez_compressed, x_train=X, y_train=T, x_test=X, y_test=T),
    "x.npy": of_numpy(np.save, X),
    "a.parquet": parquet(),
}


@st.composite
def files(draw):
    name = draw(st.sampled_from(list(FILES)))
    raw = FILES[name]
    for _ in range(draw(st.sampled_from([0, 1, 1, 2]))):
        raw = draw(damaged(raw))
    return name, raw


def sound(data):
    """A check of what was loaded."""
    finite = all(np.isfinite(x[:]).all() for x in (data.x_train, data.x_test) if x is not None)
    fits = len(data.x_train) == len(data.t_train)
    within = 0 <= data.t_train.min() <= data.t_train.max() < len(data.label_names)
    return None if finite and fits and within else "is not what can be trained on"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    np.save(folder / "y.npy", T)
    return folder


@examples(300)
@given(file=files(), mapped=st.booleans())
def test_damaged_files(folder, file, mapped):
    name, raw = file

    def load(raw):
        (folder / name).write_bytes(raw)
        # Removed, and not written over: a map of the old one must not be cut short.
        target = folder / "y.npy" if name == "x.npy" else "t"
        try:
            return fastnn.load_data(folder / name, target=target, mapped=mapped)
        finally:
            (folder / name).unlink()

    check(f"load_data of {name}", load, raw, result=sound)


CELL = mostly(["1", "2.5", "-3", "x", "y"], st.one_of(st.text(max_size=6), st.sampled_from(
    ["", "NaN", "inf", "-inf", "1e999", '"', '""', '"a,b"', "?", "\x00", "1_000", "0x10", " 1 "]
)))  # fmt: skip


@examples(300)
@given(
    rows=st.lists(st.lists(CELL, min_size=1, max_size=4), min_size=1, max_size=6),
    target=mostly(["0", 1, -1, "x"], odd),
    separator=st.sampled_from(",;\t"),
)
def test_odd_tables(folder, rows, target, separator):
    text = "\n".join(separator.join(row) for row in rows)

    def load(text, target):
        (folder / "odd.csv").write_text(text, encoding="utf-8", errors="surrogatepass")
        return fastnn.load_data(folder / "odd.csv", target=target)

    check("load_data of a table", load, text, target, result=sound)


@examples(150)
@given(
    target=mostly(["t", 2], odd),
    test_fraction=mostly([None, 0.5], odd),
    scaling=mostly([None, "unit", "none"], odd),
    drop=mostly([(), "b", [1]], odd),
    rng=mostly([0, 1], odd),
    first_label=mostly([None, 0], odd),
    images=mostly([None, "resize"], odd),
    image_size=mostly([None, 5], odd),
)
def test_odd_arguments(folder, **options):
    (folder / "good.csv").write_bytes(FILES["a.csv"])
    check("load_data", fastnn.load_data, folder / "good.csv", result=sound, **options)


@examples(100)
@given(mostly(st.text(min_size=1, max_size=300), odd.filter(lambda value: value is not None), 3))
def test_odd_paths(path):
    check("load_data of a path", fastnn.load_data, path, target=0)


@examples(200)
@given(data=st.data(), kind=st.sampled_from(["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM"]))
def test_damaged_images(data, kind):
    raw = image(kind)
    for _ in range(data.draw(st.sampled_from([0, 1, 1, 2]))):
        raw = data.draw(damaged(raw))

    def wrong(sample):
        return None if sample.shape == (28, 28) else f"has shape {sample.shape}"

    check("sample_of", sample_of, raw, result=wrong, documented="")  # Pillow warns of damage
