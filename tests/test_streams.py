"""Samples that stay in their file: what is trained on them is what is trained on them in memory."""

import numpy as np
import pytest

import fastnn
from fastnn import DtypeError, InputError, TwoLayerNet, streams
from fastnn.backends import streaming
from fastnn.backends.numba.samples import SparseDataset
from fastnn.data.scaling import Scaling
from fastnn.files.digests import digest_of
from fastnn.streams import Stream

SAMPLES, FEATURES, CLASSES = 300, 7, 3


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("stream") / "x.npy"
    np.save(path, np.random.default_rng(0).normal(size=(SAMPLES, FEATURES)))
    return path


@pytest.fixture(scope="module")
def t():
    return np.random.default_rng(1).integers(CLASSES, size=SAMPLES)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Windows of a few steps, pieces of a few rows, and little that may be resident."""
    monkeypatch.setattr(streaming, "WINDOW", 40 * FEATURES * 8)
    monkeypatch.setattr(streams, "PIECE", 90 * FEATURES * 8)
    monkeypatch.setattr(streams, "SMALL_PIECE", 70 * FEATURES * 8)
    monkeypatch.setattr(streams, "RESIDENT", 2**20)


def mapped(path):
    return np.load(path, mmap_mode="r")


OPTIONS = {
    "plain": {},
    "shuffled": {"sampling": "shuffle", "epochs": 4, "optimizer": "adam"},
    "validation": {"validation": 0.3, "early_stopping": 50},
    "weights": {"sample_weight": np.random.default_rng(2).random(SAMPLES).round(1)},
    "rates": {"learning_rate": fastnn.schedules.InverseScaling(0.3)},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("gradient", ["backprop", "numerical"])
def test_trained_as_in_memory(backend, path, t, options, gradient):
    found = []
    for x in (np.load(path), Stream(mapped(path))):
        network = TwoLayerNet(FEATURES, 5, CLASSES, backend=backend, dtype="float32", rng=0)
        arguments = {"batch_size": 16, "gradient": gradient, "rng": 1} | options
        if "epochs" not in options:
            arguments["iterations"] = 25
        history = fastnn.train(network, x, t, x_test=x, t_test=t, **arguments)
        found.append((network, history))
    (one, expected), (other, history) = found
    for name, parameter in one.params.items():
        np.testing.assert_array_equal(
            other.backend.to_numpy(other.params[name]), one.backend.to_numpy(parameter)
        )
    np.testing.assert_array_equal(history.loss, expected.loss)
    for name in ("train_accuracy", "test_accuracy", "validation_loss", "validation_accuracy"):
        assert getattr(history, name) == getattr(expected, name)


def test_a_resumed_training_may_have_the_data_in_memory(path, t, tmp_path):
    class Cut(fastnn.Callback):
        every = 10

        def on_iteration(self, state):
            raise SystemExit

    def begin(**options):
        network = TwoLayerNet(FEATURES, 5, CLASSES, backend="numpy", rng=0)
        x = Stream(mapped(path))
        history = fastnn.train(network, x, t, iterations=20, batch_size=16, rng=1, **options)
        return network, history

    with pytest.raises(SystemExit):
        begin(checkpoint=tmp_path / "run", checkpoint_every=5, callbacks=[Cut()])
    whole, expected = begin()
    network, history = fastnn.resume(tmp_path / "run", np.load(path), t)
    np.testing.assert_array_equal(history.loss, expected.loss)
    np.testing.assert_array_equal(network.params["W1"], whole.params["W1"])


def test_accuracy_and_digest_are_those_in_memory(backend, path, t):
    network = TwoLayerNet(FEATURES, 5, CLASSES, backend=backend, rng=0)
    x = Stream(mapped(path))
    assert network.accuracy(x, t) == network.accuracy(np.load(path), t)
    assert digest_of(x, t) == digest_of(np.load(path), t)
    rows = np.array([5, 3, 3])
    assert digest_of(x.select(rows)) == digest_of(np.load(path)[rows])


def test_rows_slices_and_selections(path):
    x, whole = Stream(mapped(path)), np.load(path)
    rows = np.random.default_rng(3).permutation(SAMPLES)[:50]
    some = x.select(rows)
    assert (x.shape, some.shape, len(some)) == (whole.shape, (50, FEATURES), 50)
    np.testing.assert_array_equal(x[10:20], whole[10:20])
    np.testing.assert_array_equal(some[[7, 0]], whole[rows[[7, 0]]])
    np.testing.assert_array_equal(np.concatenate(list(some.pieces())), whole[rows])
    np.testing.assert_array_equal(some.select(np.array([4]))[:], whole[rows[[4]]])
    assert x[:5].flags.writeable
    assert "300 samples" in repr(x)


def test_a_large_mapped_array_is_streamed(path, t, monkeypatch):
    network = TwoLayerNet(FEATURES, 5, CLASSES, backend="numpy", rng=0)
    assert not isinstance(network.dataset(mapped(path), t), streaming.StreamedDataset)
    monkeypatch.setattr(streams, "STREAMED_FROM", 100)
    assert isinstance(network.dataset(mapped(path), t), streaming.StreamedDataset)


def test_what_is_not_finite_is_refused_with_its_place(tmp_path, t):
    x = np.random.default_rng(0).normal(size=(SAMPLES, FEATURES))
    x[250, 2] = np.nan
    np.save(tmp_path / "x.npy", x)
    network = TwoLayerNet(FEATURES, 5, CLASSES, backend="numpy", rng=0)
    before = network.params["W1"].copy()
    with pytest.raises(InputError, match=r"x_train\[250\]\[2\] is nan"):
        fastnn.train(network, Stream(mapped(tmp_path / "x.npy")), t)
    x[250, 2] = 1e300
    np.save(tmp_path / "y.npy", x)
    network = TwoLayerNet(FEATURES, 5, CLASSES, backend="numpy", dtype="float32", rng=0)
    with pytest.raises(InputError, match=r"x_train\[250\] holds values beyond the range"):
        fastnn.train(network, Stream(mapped(tmp_path / "y.npy")), t)
    assert (network.params["W1"] == before.astype(np.float32)).all()


@pytest.mark.parametrize("call", ["predict", "loss", "gradient"])
def test_what_takes_arrays_only_says_so(path, t, call):
    network = TwoLayerNet(FEATURES, 5, CLASSES, backend="numpy", rng=0)
    arguments = (Stream(mapped(path)), t)[: 1 if call == "predict" else 2]
    with pytest.raises(InputError, match="streamed from a file"):
        getattr(network, call)(*arguments)


def test_what_cannot_be_streamed(path, tmp_path, t):
    with pytest.raises(DtypeError, match="take some of it"):
        np.asarray(Stream(mapped(path)))
    np.save(tmp_path / "f.npy", np.asfortranarray(np.ones((4, 3))))
    with pytest.raises(InputError, match="C order"):
        Stream(mapped(tmp_path / "f.npy"))
    np.save(tmp_path / "s.npy", np.array(["a", "b"]))
    with pytest.raises(DtypeError, match="real numbers"):
        Stream(mapped(tmp_path / "s.npy"))
    network = TwoLayerNet(FEATURES + 1, 5, CLASSES, backend="numpy", rng=0)
    with pytest.raises(InputError, match="x_train has 7 features"):
        fastnn.train(network, Stream(mapped(path)), t)
    with pytest.raises(InputError, match="x has 7 features"):
        network.accuracy(Stream(mapped(path)), t)


def test_integers_are_read_as_they_are(tmp_path, t):
    pixels = np.random.default_rng(0).integers(256, size=(SAMPLES, FEATURES)).astype(np.uint8)
    np.save(tmp_path / "x.npy", pixels)
    x = Stream(mapped(tmp_path / "x.npy"))
    assert x.integral
    network = TwoLayerNet(FEATURES, 5, CLASSES, backend="numpy", rng=0)
    assert network.accuracy(x, t) == network.accuracy(pixels, t)


def test_what_was_read_is_given_back(path, monkeypatch):
    returned = []

    class Map:
        def madvise(self, advice):
            returned.append(advice)

    x = Stream(mapped(path))
    monkeypatch.setattr(x, "_given", type("Mapped", (), {"_mmap": Map()})())
    for _ in range(40):
        x[np.arange(1)]
    assert len(returned) == 40 * (2**16 + FEATURES * 8) // 2**20


# -- streams of what is in memory ------------------------------------------------------------------

rng = np.random.default_rng(3)
NORMAL = rng.normal(size=(SAMPLES, FEATURES))
SPARSE = NORMAL * (rng.random(NORMAL.shape) < 0.1)
BYTES = (SPARSE != 0) * rng.integers(256, size=SPARSE.shape).astype(np.uint8)
#: Sparse samples before dense ones, and after them; a quarter of all values, and more of them.
FIRST, LAST = (np.concatenate(parts) for parts in ((SPARSE, NORMAL), (NORMAL, SPARSE)))
QUARTER = np.zeros((SAMPLES, FEATURES))
QUARTER.flat[: SAMPLES * FEATURES // 4] = 1
MORE = QUARTER.copy()
MORE[-1] = 1

IN_MEMORY = {
    "normal": NORMAL,
    "sparse": SPARSE,
    "float32": SPARSE.astype("float32"),
    "bytes": BYTES,
    "sparse first": FIRST[150:450],
    "sparse last": LAST[150:450],
    "a quarter": QUARTER,
    "more": MORE,
    "zeros": np.zeros((SAMPLES, FEATURES)),
    "rows backwards": SPARSE[::-1].copy(),
}


@pytest.mark.parametrize("values", IN_MEMORY.values(), ids=IN_MEMORY)
@pytest.mark.parametrize("scaled", [False, True], ids=["as it is", "scaled"])
def test_in_memory_as_an_array(backend, values, scaled, t, dtype):
    transform = Scaling("unit", 0.0, 255.0, np.dtype("float32")) if scaled else None
    stream = Stream(values, None, transform)
    array = np.asarray(stream)
    assert stream.in_memory
    assert array.dtype == stream.dtype
    assert np.array_equal(array, transform(values) if scaled else values)
    found = []
    for x in (array, stream):
        network = TwoLayerNet(FEATURES, 5, CLASSES, backend=backend, dtype=dtype, rng=0)
        history = fastnn.train(
            *(network, x, t),
            x_test=x,
            t_test=t,
            iterations=25,
            batch_size=16,
            rng=1,
        )
        accuracy = network.accuracy(x, t)
        parts = (network.backend.to_numpy(p) for p in network.params.values())
        found.append((accuracy, history.test_accuracy, [p.tobytes() for p in parts]))
    assert found[0] == found[1]


@pytest.mark.parametrize("where", [0, SAMPLES * FEATURES - 1])
def test_in_memory_what_is_not_finite_is_refused_where_it_is(backend, t, dtype, where):
    values = SPARSE.copy()
    values.flat[where] = np.nan
    network = TwoLayerNet(FEATURES, 5, CLASSES, backend=backend, dtype=dtype, rng=0)
    row, column = divmod(where, FEATURES)
    for x in (values, Stream(values)):
        with pytest.raises(InputError, match=rf"x_train\[{row}(, |\]\[){column}\] is nan"):
            fastnn.train(network, x, t)


@pytest.mark.parametrize("kept", [True, False])
def test_numba_decides_by_all_values(kept, t):
    """Whatever the rows say that are looked at first, and however the samples come."""
    network = TwoLayerNet(FEATURES, 5, CLASSES, backend="numba", rng=0)
    values = QUARTER if kept else MORE
    for x in (values, Stream(values)):
        assert isinstance(network.dataset(x, t), SparseDataset) == kept


@pytest.mark.parametrize("values", [BYTES, SPARSE.astype("float16"), SPARSE != 0], ids=str)
def test_numba_compresses_samples_of_any_dtype(values, t, dtype):
    network = TwoLayerNet(FEATURES, 5, CLASSES, backend="numba", dtype=dtype, rng=0)
    data = network.dataset(values, t)
    assert isinstance(data, SparseDataset)
    batch, _ = data.batch(np.arange(SAMPLES))
    assert np.array_equal(batch.gathered(), values.astype(dtype))


@pytest.mark.parametrize("values", [NORMAL, SPARSE], ids=["normal", "sparse"])
def test_samples_are_looked_at_once_for_a_dataset(values, t, monkeypatch):
    network = TwoLayerNet(FEATURES, 5, CLASSES, backend="numba", rng=0)
    seen, kept = [], network.backend.kept_samples
    monkeypatch.setattr(
        network.backend, "kept_samples", lambda x, d: seen.append(len(x)) or kept(x, d)
    )
    network.dataset(values, t)
    assert seen == [SAMPLES]


def test_a_fraction_of_what_is_in_memory_enters_once(t, monkeypatch):
    network = TwoLayerNet(FEATURES, 5, CLASSES, backend="numba", rng=0)
    entered, collected = [], network.backend.collected
    monkeypatch.setattr(
        network.backend,
        "collected",
        lambda x, d: entered.append(len(x)) or collected(x, d),
    )
    fastnn.train(network, Stream(SPARSE), t, validation=0.1, iterations=1, rng=0)
    assert sorted(entered) == [SAMPLES // 10, SAMPLES - SAMPLES // 10]
