"""Checkpoints: what is read is what was written, generators go on, and data are told apart.

What a file must be to be read is tested with networks (test_model_files.py), how it is written with
them, too (test_writing_files.py); here is what checkpoints have beside them.
"""

import datetime
import hashlib
import itertools
import json
import os
import re
import time
import tracemalloc

import numpy as np
import pytest
import safetensors
from doors import assert_one_line
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import fastnn
from fastnn import (
    BackendError,
    CheckpointError,
    DtypeError,
    ForeignArrayError,
    InputError,
    SimpleNet,
    TwoLayerNet,
)
from fastnn.checkpoints import (
    CheckpointWriter,
    digest_of,
    random_state,
    read_checkpoint,
    restore_generator,
    write_checkpoint,
)
from fastnn.files import container

NETWORK = TwoLayerNet(3, 2, 2, rng=0)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "training.safetensors"


def assert_same(found, expected):
    """Equal to the last bit, and of the same types, whatever is nested in what."""
    assert type(found) is type(expected)
    if isinstance(expected, dict):
        assert list(found) == list(expected)
        for key, value in expected.items():
            assert_same(found[key], value)
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for a, b in zip(found, expected, strict=True):
            assert_same(a, b)
    elif isinstance(expected, np.ndarray):
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
        assert found.tobytes() == expected.tobytes()
    elif isinstance(expected, float) and expected != expected:
        assert found != found  # NaN, of which there are many, and nobody tells them apart
    elif isinstance(expected, float):
        assert np.float64(found).tobytes() == np.float64(expected).tobytes()
    else:
        assert found == expected


def host(net):
    return {name: net.backend.to_numpy(p) for name, p in net.params.items()}


# -- Round trips -----------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [SimpleNet, TwoLayerNet], ids=lambda cls: cls.__name__)
def test_a_checkpoint_is_the_same_on_every_backend(path, backend, dtype, make):
    net = make(*(4, 3, 2)[: 2 if make is SimpleNet else 3], backend=backend, dtype=dtype, rng=0)
    arrays = {"m/W1": np.arange(12.0).reshape(4, 3), "network/W1": np.ones(2, np.float32)}
    state = {"iteration": 3, "best": {"W1": np.zeros((4, 3), dtype)}}
    write_checkpoint(path, network=net, arrays=arrays, state=state)
    read = read_checkpoint(path, backend=backend)
    assert read.network.backend is net.backend
    assert_same(host(read.network), host(net))
    assert_same(dict(sorted(read.arrays.items())), arrays)
    assert_same(read.state, state)
    for loaded in (read_checkpoint(path, backend="numpy").network, fastnn.load(path)):
        assert_same(host(loaded), host(net))


@pytest.mark.parametrize("name", ["numpy", "numba"])
def test_a_network_goes_back_to_its_backend(path, name):
    """Another one would go on with other bits."""
    write_checkpoint(path, network=TwoLayerNet(3, 2, 2, backend=name, rng=0))
    assert read_checkpoint(path).network.backend.name == name


dtypes = st.sampled_from(
    ["?", "b", "B", "h", "H", "i", "I", "l", "L", "e", "f", "d", ">f8", ">i4", ">u2"]
)
arrays = st.builds(
    lambda a, flip: a[::-1].T if flip and a.ndim else a,
    hnp.arrays(dtypes, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)),
    st.booleans(),
)
names = st.text(max_size=6).filter(lambda name: name != "__array__")
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**300), 2**300) | st.floats() | names | arrays,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=10,
)


def native(value):
    """With arrays in the machine's byte order, as they come back."""
    if isinstance(value, dict):
        return {key: native(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [native(entry) for entry in value]
    if isinstance(value, np.ndarray):
        return value.astype(value.dtype.newbyteorder("="))
    return value


@given(
    state=st.dictionaries(names, values, max_size=4),
    given=st.dictionaries(st.text(max_size=6, alphabet=st.characters(codec="utf-8")), arrays),
)
def test_whatever_a_state_holds_comes_back(tmp_path_factory, state, given):
    path = tmp_path_factory.getbasetemp() / "any.safetensors"
    write_checkpoint(path, network=NETWORK, arrays=given, state=state)
    read = read_checkpoint(path)
    assert_same(read.state, native(state))
    assert_same(dict(sorted(read.arrays.items())), dict(sorted(native(given).items())))


def test_numbers_keep_every_bit(path):
    state = {
        "floats": [0.1 + 0.2, -0.0, 5e-324, 1.7976931348623157e308, float("inf"), float("-inf")],
        "nan": float("nan"),
        "integers": [2**128 - 1, -(2**64), 2**2047],
        "text": "\0\n\"\\'é\ud800\N{SNAKE}",
        "bools": [True, False, None, 1, 0],
    }
    write_checkpoint(path, network=NETWORK, state=state)
    assert_same(read_checkpoint(path).state, state)


def test_arrays_that_come_back_are_apart_and_may_be_written_to(path):
    arrays = {name: np.arange(4.0) for name in "ab"}
    write_checkpoint(path, network=NETWORK, arrays=arrays, state={"c": np.arange(4.0)})
    read = read_checkpoint(path)
    found = [*read.arrays.values(), read.state["c"], *read.network.params.values()]
    for a in found:
        a += 1
        a.fill(7)
    for a, b in itertools.combinations(found, 2):
        assert not np.may_share_memory(a, b)


def test_labels_go_with_the_network(path):
    net = TwoLayerNet(3, 2, 2, rng=0)
    net.label_names = ["no", "yes"]
    write_checkpoint(path, network=net)
    assert read_checkpoint(path).network.label_names == ["no", "yes"]


# -- What is not written ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"a": (1, 2)}, r"state'\]\['a'\] is \(1, 2\), a tuple"),
        ({"a": np.float64(1)}, r"\['a'\] is .*, a float64"),
        ({"a": [0, np.int64(1)]}, r"\['a'\]\[1\] is .*, a int64"),
        ({"a": {1: 2}}, r"\['a'\] has the key 1"),
        ({"a": b"bytes"}, "a bytes"),
        ({"a": 1j}, "a complex"),
        ({"a": object()}, "a object"),
        ({"a": {"__array__": "0"}}, "__array__"),
        ({"a": 2**2048}, "give it as an array"),
        ({"a": "x" * 2**22}, "give what is long as arrays"),
        ({"a": np.array(["text"])}, "state/0 is of dtype '<U4'"),
        ({"a": np.array([None])}, "state/0 is of dtype 'object'"),
        ({"a": np.zeros(2, complex)}, "state/0 is of dtype 'complex128'"),
        ({"a": np.zeros(2, "f4,f8")}, "state/0 is of dtype"),
        ([1], r"state is \[1\], a list; give a dict"),
        (np.zeros(3), "state is array.*give a dict"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_state_that_a_file_cannot_hold_is_refused(path, state, message):
    path.write_bytes(b"before")
    with pytest.raises((InputError, DtypeError), match=message) as caught:
        write_checkpoint(path, network=NETWORK, state=state)
    assert_one_line(caught)
    assert path.read_bytes() == b"before"


def test_what_is_nested_without_end_is_refused(path):
    state = {}
    state["self"] = [state]
    with pytest.raises(InputError, match="nested") as caught:
        write_checkpoint(path, network=NETWORK, state=state)
    assert_one_line(caught)
    deep = {}
    for _ in range(97):
        deep = {"a": deep}
    write_checkpoint(path, network=NETWORK, state=deep)
    assert_same(read_checkpoint(path).state, deep)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_training_that_has_diverged_leaves_the_checkpoint_before(path, value):
    write_checkpoint(path, network=NETWORK)
    before = path.read_bytes()
    net = TwoLayerNet(3, 2, 2)
    net.params["b1"][1] = value
    with pytest.raises(InputError, match=r"params\['b1'\]\[1\] is"):
        write_checkpoint(path, network=net)
    assert path.read_bytes() == before


# -- What is not read ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    path = tmp_path_factory.mktemp("good") / "training"
    state = {"iteration": 7, "rng": random_state(np.random.default_rng(0)), "best": np.ones(2)}
    write_checkpoint(path, network=TwoLayerNet(2, 1, 2, rng=0), state=state)
    return path.read_bytes()


def refused(path, raw, match=""):
    path.write_bytes(raw)
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path)
    assert_one_line(caught, path)
    assert re.search(match, str(caught.value).replace(path.as_posix(), ""))


def test_every_flipped_byte_and_every_cut_is_found(path, good):
    for i in range(len(good)):
        raw = bytearray(good)
        raw[i] ^= 1 << i % 8
        refused(path, raw)
        refused(path, good[:i])
    path.write_bytes(good)
    assert read_checkpoint(path).state["iteration"] == 7


def test_the_file_of_a_network_is_no_checkpoint(path):
    NETWORK.save(path)
    refused(path, path.read_bytes(), "is a 'model', and no checkpoint")


def altered(raw, change):
    """The file with a change to its description, and the digest that belongs to it."""
    length = int.from_bytes(raw[:8], "little")
    head, data = json.loads(raw[8 : 8 + length]), raw[8 + length :]
    described = json.loads(head["__metadata__"]["fastnn"])
    described["digest"] = "f" * 64
    change(head, described)
    head["__metadata__"]["fastnn"] = json.dumps(described)
    text = json.dumps(head).encode()
    raw = len(text).to_bytes(8, "little") + text + data
    right = hashlib.sha256(raw.replace(b"f" * 64, b"0" * 64)).hexdigest()
    return raw.replace(b"f" * 64, right.encode())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda _, d: d.update(format_version=7), "version 7 of the format, .* reads version 1"),
        (lambda _, d: d.update(state=[1]), "has the state"),
        (lambda _, d: d.pop("state"), "has the state None"),
        (lambda _, d: d.update(backend=3), "of the backend 3"),
        (lambda _, d: d["state"].update(best={"__array__": "1"}), "refers to the array '1'"),
        (lambda _, d: d["state"].update(best={"__array__": [0]}), "refers to the array"),
        (lambda _, d: d["state"].update(best={"__array__": "0", "a": 1}), "refers to the array"),
        (lambda h, _: h.update({"W1": h.pop("state/0")}), "belong to nothing: .'W1'"),
        (lambda h, _: h.update({"network/b3": h.pop("state/0")}), "holds the arrays .*b3"),
        (lambda h, _: h.update({"array/W1": h.pop("network/W1")}), "holds the arrays"),
    ],
)
def test_a_description_that_is_not_right_is_refused(path, good, change, message):
    refused(path, altered(good, change), message)


def test_a_backend_that_is_not_there_is_named(path, good):
    path.write_bytes(altered(good, lambda _, d: d.update(backend="abacus")))
    with pytest.raises(BackendError, match="abacus"):
        read_checkpoint(path)
    assert_same(host(read_checkpoint(path, "numpy").network), host(TwoLayerNet(2, 1, 2, rng=0)))


def test_the_safetensors_package_reads_the_same(path):
    arrays = {"m/W1": np.arange(6.0)}
    state = {"iteration": 3, "order": np.arange(5)}
    write_checkpoint(path, network=NETWORK, arrays=arrays, state=state)
    with safetensors.safe_open(path, "np") as file:
        found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        described = json.loads(file.metadata()["fastnn"])
    assert_same(found.pop("array/m/W1"), arrays["m/W1"])
    assert_same(found.pop("state/0"), state["order"])
    assert_same(
        dict(sorted(found.items())),
        {f"network/{name}": p for name, p in sorted(NETWORK.params.items())},
    )
    assert described["state"] == {"iteration": 3, "order": {"__array__": "0"}}
    assert described["kind"] == "checkpoint"


# -- Generators ------------------------------------------------------------------------------------

GENERATORS = ["MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64"]


def draws(rng):
    """Of every kind, also those of which half a word may be left over."""
    return [
        rng.integers(10, size=3, dtype=np.uint32).tolist(),
        rng.integers(2**60, size=3).tolist(),
        rng.standard_normal(3).tolist(),
        rng.permutation(9).tolist(),
        rng.random(3, dtype=np.float32).tolist(),
        [child.random() for child in rng.spawn(2)],
    ]


@pytest.mark.parametrize("name", GENERATORS)
@pytest.mark.parametrize("drawn", [0, 1, 7])
@pytest.mark.parametrize("seed", [0, 2**200, [1, 2, 3], None], ids=str)
def test_a_generator_goes_on(path, name, drawn, seed):
    rng = np.random.Generator(getattr(np.random, name)(seed))
    rng.integers(10, size=drawn, dtype=np.uint32)
    rng.spawn(drawn)
    write_checkpoint(path, network=NETWORK, state={"rng": random_state(rng)})
    state = read_checkpoint(path).state["rng"]
    assert_same(state, random_state(rng))
    assert draws(restore_generator(state)) == draws(rng)


@pytest.mark.parametrize("name", GENERATORS)
def test_the_state_that_numpy_gives_comes_back(path, name):
    """With its arrays, and what is set from it goes on."""
    bits = getattr(np.random, name)(5)
    rng = np.random.Generator(bits)
    rng.random(5)
    write_checkpoint(path, network=NETWORK, state={"rng": bits.state})
    other = getattr(np.random, name)(6)
    other.state = read_checkpoint(path).state["rng"]
    assert np.random.Generator(other).random(9).tolist() == rng.random(9).tolist()


def test_a_generator_without_a_seed_sequence_goes_on():
    rng = np.random.Generator(np.random.RandomState(3)._bit_generator)
    assert restore_generator(random_state(rng)).random() == rng.random()


def test_a_generator_of_somebody_is_refused():
    class Own(np.random.PCG64):
        pass

    with pytest.raises(InputError, match="take one of MT19937, PCG64") as caught:
        random_state(np.random.Generator(Own(0)))
    assert_one_line(caught)


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s.clear(),
        lambda s: s["bits"].update(bit_generator="RandomState"),
        lambda s: s["bits"].update(bit_generator=["PCG64"]),
        lambda s: s["bits"].pop("state"),
        lambda s: s["bits"].update(state=None),
        lambda s: s["bits"]["state"].update(state="1"),
        lambda s: s["bits"]["state"].update(state=2**128),
        lambda s: s["bits"]["state"].update(state={"dtype": "object", "values": [1]}),
        lambda s: s["seeds"].update(entropy="1"),
        lambda s: s["seeds"].update(pool_size=2**40),
        lambda s: s["seeds"].pop("spawn_key"),
    ],
)
def test_what_is_no_state_of_a_generator_is_refused(change):
    state = random_state(np.random.default_rng(0))
    change(state)
    with pytest.raises(CheckpointError, match="not the state of a generator") as caught:
        restore_generator(state)
    assert_one_line(caught)


# -- Digests of data -------------------------------------------------------------------------------

X = np.random.default_rng(0).random((40, 6))


def layouts(x, folder):
    """The same values, however they lie."""
    wide = np.zeros((x.shape[0] * 2, x.shape[1] * 3), x.dtype)
    wide[1::2, ::3] = x
    yield x.copy()
    yield np.asfortranarray(x)
    yield wide[1::2, ::3]
    yield x[::-1].copy()[::-1]
    yield x.astype(x.dtype.newbyteorder())
    np.save(folder / "x.npy", x)
    yield np.load(folder / "x.npy", mmap_mode="r")
    np.save(folder / "f.npy", np.asfortranarray(x))
    yield np.load(folder / "f.npy", mmap_mode="r")
    read_only = x.copy()
    read_only.flags.writeable = False
    yield read_only


@pytest.mark.parametrize("dtype", ["f8", "f4", "u1", "i8", "?"])
def test_a_digest_does_not_depend_on_the_layout(tmp_path, monkeypatch, dtype):
    x = (X * 200).astype(dtype)
    monkeypatch.setattr("fastnn.files.digests.CHUNK", 100)  # of more than one piece
    assert len({digest_of(a) for a in layouts(x, tmp_path)}) == 1


def test_other_data_has_another_digest():
    changed = X.copy()
    changed[17, 3] = np.nextafter(changed[17, 3], 1)
    t = np.arange(40)
    data = [
        (X,),
        (changed,),
        (X.T,),
        (X.reshape(6, 40),),
        (X[:-1],),
        (X[::-1],),
        (X.astype("f4"),),
        (X, t),
        (t, X),
        (X, t.astype("i4")),
        (X, None),
        (None, X),
        (None,),
        (X[:0],),
        (X[:0].reshape(6, 0),),
        (X[:20], X[20:]),
        (np.float64(0.5),),
        ([0.5],),
    ]
    assert len({digest_of(*items) for items in data}) == len(data)


def test_the_digest_is_that_of_the_bytes():
    """Which another program, or another version, can take, too."""
    expected = hashlib.sha256(b"<f8(40, 6);" + X.tobytes() + b"None;").hexdigest()
    assert digest_of(X, None) == expected


def test_what_is_no_array_yet_counts_by_its_values(backend):
    x = np.arange(6.0).reshape(3, 2)
    assert digest_of(x.tolist()) == digest_of(x) == digest_of(x.view(np.matrix))
    assert digest_of(backend.asarray(x), backend=backend) == digest_of(x)


@pytest.mark.parametrize("kind", ["csr", "csc", "coo", "lil", "dok", "bsr", "dia"])
@pytest.mark.parametrize("made", ["matrix", "array"])
def test_sparse_matrices_count_by_their_entries(kind, made):
    sparse = pytest.importorskip("scipy.sparse")
    dense = X * (X > 0.7)
    matrix = getattr(sparse, f"{kind}_{made}")(dense)
    assert digest_of(matrix) == digest_of(sparse.csr_array(dense))
    assert digest_of(matrix) != digest_of(dense)
    assert digest_of(matrix * 2) != digest_of(matrix)


def test_the_order_of_sparse_entries_and_their_index_type_do_not_count():
    sparse = pytest.importorskip("scipy.sparse")
    csr = sparse.csr_array(X * (X > 0.5))
    indptr, indices, data = csr.indptr, csr.indices.copy(), csr.data.copy()
    for begin, end in itertools.pairwise(indptr):
        indices[begin:end], data[begin:end] = indices[begin:end][::-1], data[begin:end][::-1]
    other = sparse.csr_array((data, indices.astype("i8"), indptr.astype("i8")), csr.shape)
    before = other.indices.copy()
    assert digest_of(other) == digest_of(csr)
    np.testing.assert_array_equal(other.indices, before)  # somebody else's


@pytest.mark.parametrize(
    "data", [np.array(["a"]), np.array([None]), "text", object(), [[1], [2, 3]]]
)
def test_what_is_no_array_of_numbers_has_no_digest(data):
    with pytest.raises(DtypeError, match="has no digest") as caught:
        digest_of(data)
    assert_one_line(caught)


def test_arrays_of_a_device_are_for_their_backend(cupy_on_the_cpu):
    """They are not copied from it unless it is said whose they are."""

    class OnDevice:
        def __array__(self, *_, **__):
            raise TypeError("implicit conversion to a NumPy array is not allowed")

    with pytest.raises((DtypeError, ForeignArrayError)):
        digest_of(OnDevice(), backend=cupy_on_the_cpu)


def test_a_digest_copies_no_more_than_a_piece():
    x = np.zeros((4000, 784))
    views = [x, np.asfortranarray(x), x[::2], x.astype(">f8")]
    tracemalloc.start()
    for view in views:
        digest_of(view)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 * 2**20


# -- When they are written -------------------------------------------------------------------------


def test_one_is_due_when_the_iterations_pass_a_multiple(path):
    writer = CheckpointWriter(path, every=10)
    assert (writer.iterations, writer.seconds) == (10, None)
    writer.begin(NETWORK, iteration=25)
    assert [i for i in (25, 29, 30, 31) if writer.due(i)] == [30, 31]
    writer.write(network=NETWORK, state={"iteration": 31}, iteration=31)
    assert [i for i in (31, 39, 40, 55) if writer.due(i)] == [40, 55]
    writer.write(network=NETWORK, state={"iteration": 55}, iteration=55)
    assert not writer.due(59)
    assert (writer.written, read_checkpoint(path).state) == (2, {"iteration": 55})


def test_one_is_due_when_the_time_has_passed(path):
    writer = CheckpointWriter(path, every="30s")
    writer.begin(NETWORK, now=1000.0)
    assert [now for now in (1000, 1029.9, 1030, 2000) if writer.due(5, now)] == [1030, 2000]
    before = time.monotonic()
    writer.write(network=NETWORK, iteration=5)
    assert 0 < writer.took < time.monotonic() - before
    writer.took = 0.1
    assert not writer.due(5, time.monotonic() + 29)
    assert writer.due(5, time.monotonic() + 31)


def test_writing_takes_no_more_than_its_share_of_the_time(path):
    writer = CheckpointWriter(path, every="1s")
    writer.write(network=NETWORK, iteration=5)
    writer.took = 0.5  # on a slow disk
    assert not writer.due(5, time.monotonic() + 20)
    assert writer.due(5, time.monotonic() + 26)


@pytest.mark.parametrize(
    ("every", "iterations", "seconds"),
    [
        (1, 1, None),
        (np.int64(3), 3, None),
        ("1000", 1000, None),
        ("1s", None, 1.0),
        ("0.5s", None, 0.5),
        (" 2 min ", None, 120.0),
        ("1h", None, 3600.0),
        (datetime.timedelta(minutes=3), None, 180.0),
    ],
)
def test_how_often_is_iterations_or_a_time(path, every, iterations, seconds):
    writer = CheckpointWriter(path, every)
    assert (writer.iterations, writer.seconds) == (iterations, seconds)


@pytest.mark.parametrize(
    "every",
    [
        *(0, -1, 1.0, True, None, [1], "", "s", "1x", "-1s", "0s", "0", "1 s 2", "1e3s", "٣", "1S"),
        *(datetime.timedelta(0), datetime.timedelta(-1), "9" * 400 + "s", "9" * 5000, "1.s"),
    ],
    ids=lambda value: str(value)[:9],
)
def test_what_is_neither_is_refused(path, every):
    with pytest.raises((InputError, DtypeError), match="checkpoint_every") as caught:
        CheckpointWriter(path, every)
    assert_one_line(caught)


def test_what_will_fail_is_said_before_the_training(tmp_path, path):
    with pytest.raises(CheckpointError, match="no such folder"):
        CheckpointWriter(tmp_path / "missing" / "file").begin(NETWORK)
    with pytest.raises(CheckpointError, match="directory"):
        CheckpointWriter(tmp_path).begin(NETWORK)

    class Derived(TwoLayerNet):
        pass

    with pytest.raises(DtypeError, match="Derived"):
        CheckpointWriter(path).begin(Derived(3, 2, 2))
    assert not os.listdir(tmp_path)  # noqa: PTH208


def test_a_write_that_fails_leaves_the_one_before(path, monkeypatch):
    writer = CheckpointWriter(path, every=1)
    writer.write(network=NETWORK, state={"iteration": 1}, iteration=1)

    def full(*_, **__):
        raise CheckpointError("the disk is full")

    monkeypatch.setattr(container.atomic, "replace", full)
    with pytest.raises(CheckpointError):
        writer.write(network=NETWORK, state={"iteration": 2}, iteration=2)
    assert writer.written == 1
    assert writer.due(2)
    assert read_checkpoint(path).state == {"iteration": 1}
