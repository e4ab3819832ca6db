"""The history of a training: continued, in a file, as a table, and for people."""

import json
import math
import os
import pickle
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("matplotlib")

import matplotlib.pyplot as plt

from fastnn import DataFileError, DtypeError, History, InputError, TwoLayerNet, train

X, T = np.random.default_rng(0).random((50, 6)), np.arange(50) % 4

floats = st.floats(allow_nan=True, allow_infinity=True)


@st.composite
def histories(draw):
    dtype = draw(st.sampled_from(["float32", "float64"]))
    width = 32 if dtype == "float32" else 64
    loss = draw(st.lists(st.floats(width=width), max_size=20))
    count = draw(st.integers(0, min(len(loss), 4)))
    history = History(
        np.array(loss, dtype), sorted(draw(st.permutations(range(len(loss))))[:count])
    )
    for name in History.EVALUATED:
        if draw(st.booleans()):
            setattr(history, name, draw(st.lists(floats, min_size=count, max_size=count)))
    history.seconds = draw(st.floats(0, 1e9))
    history.stopped = draw(st.none() | st.text(max_size=20))
    history.best_iteration = draw(st.none() | st.integers(0, 2**40))
    return history


def bits(history):
    """All of it, so that NaN equals NaN."""
    lists = [[v.hex() for v in getattr(history, name)] for name in History.EVALUATED]
    loss = history.loss
    # Of a NaN its payload says nothing.
    whole = np.where(np.isnan(loss), np.nan, loss).astype(loss.dtype).tobytes()
    rest = history.iterations, history.seconds, history.stopped, history.best_iteration
    return loss.dtype, whole, lists, rest


@given(history=histories())
def test_a_history_comes_back_from_a_file_and_a_dict(tmp_path_factory, history):
    path = tmp_path_factory.mktemp("histories") / "history.json"
    history.save(path)
    for again in (
        History.load(path),
        History.load(str(path)),
        History.from_dict(history.to_dict()),
        history.copy(),
        pickle.loads(pickle.dumps(history)),
    ):
        assert bits(again) == bits(history)
        assert not np.shares_memory(again.loss, history.loss)
    assert [entry.name for entry in path.parent.iterdir()] == ["history.json"]
    # Which other programs read.
    strict = json.loads(path.read_text(), parse_constant=lambda text: pytest.fail(text))
    assert strict["iterations"] == history.iterations


def trained(backend="numpy", rng=0, dtype="float64", **options):
    net = TwoLayerNet(6, 5, 4, 0.5, backend=backend, dtype=dtype, rng=0)
    return net, train(net, X, T, **({"batch_size": 8, "rng": rng} | options))


@pytest.mark.parametrize("cut", [0, 1, 6, 13, 40])
def test_a_continued_training_is_one_training(backend, cut):
    """But for the seconds, of which there are more."""
    options = {"x_test": X[:9], "t_test": T[:9], "validation": (X[9:20], T[9:20])}
    one, expected = trained(backend, iterations=40, **options)
    rng = np.random.default_rng(0)
    net, first = trained(backend, rng, iterations=cut, **options)
    kept = first.copy()
    second = train(net, X, T, iterations=40 - cut, batch_size=8, rng=rng, history=first, **options)
    assert bits(first) == bits(kept)
    assert second.seconds >= first.seconds
    second.seconds = expected.seconds
    assert bits(second) == bits(expected)
    for name, p in one.params.items():
        expected_p = backend.to_numpy(p)
        np.testing.assert_array_equal(backend.to_numpy(net.params[name]), expected_p)


def test_learning_rates_and_callbacks_go_on_counting():
    seen = []

    class Watch:
        def on_iteration(self, state):
            seen.append(state.iteration)

    def rate(i):
        seen.append(-i)
        return 0.1

    _, first = trained(iterations=3)
    seen.clear()
    net = TwoLayerNet(6, 5, 4, rng=0)
    train(
        net,
        X,
        T,
        iterations=2,
        batch_size=8,
        history=first,
        learning_rate=rate,
        callbacks=[Watch()],
    )
    assert {*seen} == {-3, 4, -4, 5}


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"history": [1]}, DtypeError, r"history=\[1\]"),
        ({"dtype": "float32"}, InputError, "history has losses of float64.*computes in float32"),
        ({"x_test": X, "t_test": T}, InputError, "history has train_accuracy, and now .*test_acc"),
        ({"validation": 0.5}, InputError, "history has train_accuracy, and now .*validation_acc"),
    ],
)
def test_a_history_that_cannot_be_continued(options, error, message):
    _, first = trained(iterations=3)
    with pytest.raises(error, match=message):
        trained(**({"history": first, "iterations": 2} | options))


# -- files that are none ---------------------------------------------------------------------------


def written(path, **changes):
    _, history = trained(iterations=12)
    history.save(path)
    state = json.loads(path.read_text()) | changes
    path.write_text(json.dumps(state))
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "fastnn history 2"}, "fastnn history 2.*fastnn history 1"),
        ({"format": None}, "None is not the format"),
        ({"loss_dtype": "float16"}, "loss_dtype='float16'"),
        ({"loss": "abc"}, "loss='abc' is no list"),
        ({"loss": [1, "x"]}, "loss holds 'x'"),
        ({"loss": [1, None]}, "loss holds None"),
        ({"loss": [True]}, "loss holds True"),
        ({"loss": [10**400]}, "loss holds a number beyond the range"),
        ({"iterations": [0.5]}, "iterations holds 0.5"),
        ({"iterations": ["nan"]}, "iterations holds 'nan'"),
        ({"iterations": [-1, 6]}, "iterations holds -1"),
        ({"iterations": [0, 12]}, "iterations holds 12"),
        ({"train_accuracy": [0.1]}, "train_accuracy has 1 values for 2 evaluations"),
        ({"seconds": []}, "seconds holds"),
        ({"stopped": 3}, "stopped=3"),
        ({"best_iteration": "x"}, "best_iteration='x'"),
    ],
)
def test_a_file_that_is_none_of_ours_says_why(tmp_path, changes, message):
    path = written(tmp_path / "history.json", **changes)
    with pytest.raises(DataFileError, match=message) as caught:
        History.load(path)
    assert "history.json is not a history" in str(caught.value)
    assert len(str(caught.value)) <= 300


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 100, b"[]", b"{", b'{"a": ', b"{" * 10**5, b"{\xff"]
)
def test_a_damaged_file_is_refused(tmp_path, content):
    (tmp_path / "history.json").write_bytes(content)
    with pytest.raises(DataFileError, match="is not a history that"):
        History.load(tmp_path / "history.json")


def test_a_file_of_zeros_is_not_read_as_a_whole(tmp_path):
    with (tmp_path / "zeros").open("wb") as file:
        file.truncate(2**40)  # which no memory holds, and is not on the disk
    with pytest.raises(DataFileError, match="zeros is not a history"):
        History.load(tmp_path / "zeros")


def test_where_no_file_can_be(tmp_path):
    history = History()
    with pytest.raises(DataFileError, match="cannot be read: No such file"):
        History.load(tmp_path / "missing")
    for path in (tmp_path / "missing" / "history.json", tmp_path):
        with pytest.raises(DataFileError, match="cannot be written: "):
            history.save(path)
    assert [entry.name for entry in tmp_path.iterdir()] == []
    for wrong in (None, 3, object()):
        with pytest.raises(DtypeError, match="path is a"):
            history.save(wrong)
        with pytest.raises(DtypeError, match="path is a"):
            History.load(wrong)


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_file_is_there_as_a_whole_or_as_before(tmp_path, monkeypatch, call):
    def fail(*_):
        raise OSError(28, "No space left on device")

    path = tmp_path / "history.json"
    History(np.ones(3)).save(path)
    path.chmod(0o640)
    before = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(DataFileError, match="cannot be written: No space left"):
            History(np.ones(5)).save(path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["history.json"]
    History(np.ones(5)).save(path)
    assert path.stat().st_mode & 0o777 == 0o640
    assert len(History.load(path).loss) == 5


# -- tables, pictures, people ----------------------------------------------------------------------


def test_as_a_table():
    pd = pytest.importorskip("pandas")
    _, history = trained(iterations=20, x_test=X, t_test=T, validation=0.2)
    table = history.to_dataframe()
    columns = ["loss", "train_accuracy", "test_accuracy", "validation_loss", "validation_accuracy"]
    assert table.columns.tolist() == columns
    assert table.index.name == "iteration"
    assert table.index.tolist() == history.iterations
    assert table["loss"].tolist() == [history.loss[i] for i in history.iterations]
    assert table["validation_loss"].tolist() == history.validation_loss
    assert isinstance(History().to_dataframe(), pd.DataFrame)


def test_without_pandas(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"to_dataframe needs pandas .*pip install pandas"):
        History().to_dataframe()


def test_the_repr_is_short():
    assert repr(History()) == "<History of 0 iterations>"
    _, history = trained(iterations=1000, validation=0.2)
    assert len(repr(history)) < 150
    assert repr(history).startswith("<History of 1000 iterations: loss ")
    assert repr(history).endswith("; finished>")
    assert f"validation_loss {history.validation_loss[-1]:.4g}" in repr(history)


def test_the_html_is_a_table_of_the_last_evaluations():
    _, history = trained(iterations=200, validation=0.2)
    history.stopped = "<script>&"
    html = history._repr_html_()
    assert html.count("<tr>") == 11
    assert f"<td>{history.iterations[-1]}</td>" in html
    assert "<script>" not in html
    assert "&lt;script>&amp;" in html
    assert "<th>validation loss</th>" in html
    assert History()._repr_html_().count("<tr>") == 1


def test_a_picture_shows_what_there_is():
    _, history = trained(iterations=20, validation=0.2)
    loss, accuracy = history.plot()
    [validation] = [line for line in loss.lines if line.get_label() == "validation"]
    assert validation.get_xdata().tolist() == history.iterations
    assert validation.get_ydata().tolist() == history.validation_loss
    assert [line.get_label() for line in accuracy.lines] == ["training", "validation"]
    _, axes = plt.subplots(1, 2)
    assert history.plot(axes=axes) is axes
    plt.close("all")


def test_of_a_single_output_there_are_losses_only():
    net = TwoLayerNet(2, 3, 1, loss="mean_squared_error", rng=0)
    x, t = np.random.default_rng(0).random((20, 2)), np.arange(20.0) / 20
    history = train(net, x, t, iterations=8, batch_size=5, learning_rate=0.01, validation=(x, t))
    assert history.train_accuracy == history.validation_accuracy == []
    assert history.iterations == [0, 4]
    assert len(history.validation_loss) == 2
    assert math.isfinite(history.validation_loss[-1])
    _, accuracy = history.plot()
    assert [len(line.get_xdata()) for line in accuracy.lines] == [0]
    plt.close("all")
