"""Networks in files: what is read is what was written, whatever else a path may lead to.

Independent of the code under test are the safetensors package, which reads the same files, and the
digest as the format describes it, which is taken here once more.
"""

import hashlib
import json
import os
import re
import struct
import tracemalloc

import numpy as np
import pytest
import safetensors.numpy
from doors import assert_one_line
from hypothesis import given
from hypothesis import strategies as st

import fastnn
from fastnn import CheckpointError, DtypeError, FastnnError, InputError, SimpleNet, TwoLayerNet
from fastnn.files import container, model
from fastnn.functions import ACTIVATIONS, LOSSES

NETS = {
    "SimpleNet": lambda **options: SimpleNet(5, 3, **options),
    "TwoLayerNet": lambda **options: TwoLayerNet(5, 4, 3, 0.5, **options),
}

posix = pytest.mark.skipif(os.name != "posix", reason="limits, FIFOs and modes are POSIX's")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "network.safetensors"


def names_in(folder):
    return sorted(entry.name for entry in folder.iterdir())


def assert_same(a, b):
    """Every parameter to the last bit, and all else that makes a network."""
    assert type(a) is type(b)
    assert list(a.params) == list(b.params)
    for name, p in a.params.items():
        first, second = a.backend.to_numpy(p), b.backend.to_numpy(b.params[name])
        assert first.dtype == second.dtype
        assert first.tobytes() == second.tobytes()
        assert first.shape == second.shape
    kept = ("dtype", "loss_name", "activation", "sizes", "label_names", "preprocessing")
    assert [getattr(a, name, None) for name in kept] == [getattr(b, name, None) for name in kept]


# -- Round trips -----------------------------------------------------------------------------------


@pytest.mark.parametrize("net", NETS)
def test_a_network_is_the_same_on_every_backend(path, backend, dtype, net):
    net = NETS[net](backend=backend, dtype=dtype, rng=1)
    net.save(path)
    assert_same(fastnn.load(path, backend=backend), net)
    x = np.random.default_rng(0).random((6, 5))
    for other in ("numpy", "auto"):
        again = fastnn.load(path, backend=other)
        assert_same(again, net)
        np.testing.assert_allclose(
            again.backend.to_numpy(again.predict(x)),
            net.backend.to_numpy(net.predict(x)),
            rtol=1e-5,
        )
    saved = NETS["SimpleNet" if isinstance(net, SimpleNet) else "TwoLayerNet"]
    numpys = saved(backend="numpy", dtype=dtype, rng=2)
    numpys.save(path)
    assert_same(fastnn.load(path, backend=backend), numpys)


names = st.text(max_size=8)
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**200), 2**200) | st.floats(allow_nan=False) | names,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)


@given(
    sizes=st.tuples(*[st.integers(1, 9)] * 3),
    dtype=st.sampled_from(["float32", "float64"]),
    activation=st.sampled_from(sorted(ACTIVATIONS)),
    loss=st.sampled_from(sorted(LOSSES)),
    data=st.data(),
)
def test_whatever_a_network_is_comes_back(tmp_path_factory, sizes, dtype, activation, loss, data):
    if loss == "cross_entropy" and sizes[-1] == 1:
        sizes = (*sizes[:-1], 2)
    net = TwoLayerNet(*sizes, 2.0, dtype=dtype, activation=activation, loss=loss, rng=0)
    if data.draw(st.booleans()):
        net.label_names = data.draw(st.lists(names, min_size=sizes[-1], max_size=sizes[-1]))
    if data.draw(st.booleans()):
        net.preprocessing = data.draw(st.dictionaries(names, plain, max_size=3))
    path = tmp_path_factory.getbasetemp() / "any.safetensors"
    net.save(path)
    again = fastnn.load(path, "numpy")
    assert_same(again, net)
    again.save(path)
    assert_same(fastnn.load(path, "numpy"), net)


def test_extreme_values_keep_every_bit(path):
    net = TwoLayerNet(3, 2, 2, rng=0)
    tiny, huge = np.nextafter(0, 1), np.finfo(float).max
    net.params["b1"][:] = -0.0, tiny
    net.params["b2"][:] = huge, 0.1 + 0.2
    net.save(path)
    assert_same(fastnn.load(path, "numpy"), net)


def test_parameters_of_any_layout_are_saved(path):
    net = TwoLayerNet(4, 3, 2, rng=0)
    net.params["W1"] = np.asfortranarray(net.params["W1"])
    net.params["W2"] = np.repeat(net.params["W2"], 2, axis=0)[::2][::-1]
    net.save(path)
    assert_same(fastnn.load(path, "numpy"), net)


def test_a_loaded_network_trains_as_the_saved_one(path):
    x = np.random.default_rng(0).random((20, 5))
    t = np.arange(20) % 3
    net = TwoLayerNet(5, 4, 3, rng=0)
    net.save(path)
    again = fastnn.load(path, "numpy")
    for each in (net, again):
        fastnn.train(each, x, t, iterations=20, batch_size=5, rng=1)
    assert_same(again, net)


def test_the_same_network_gives_the_same_file_but_for_nothing(tmp_path):
    """Files that are kept under version control change only where a network does."""
    for name in "ab":
        TwoLayerNet(5, 4, 3, rng=0).save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_files_are_not_loaded_before_they_are_used(python):
    script = """
import sys, fastnn
net = fastnn.TwoLayerNet(2, 2, 2)
assert not {"safetensors", "fastnn.files", "json"} & set(sys.modules) - before
"""
    code, _, err = python(
        "-c", "import sys, numpy, importlib.metadata; before = set(sys.modules)" + script
    )
    assert (code, err) == (0, "")


def test_shapes_are_those_of_the_networks():
    for cls, sizes in ((SimpleNet, (4, 3)), (TwoLayerNet, (5, 4, 3))):
        net = cls(*sizes)
        assert net.sizes == sizes
        assert {name: p.shape for name, p in net.params.items()} == cls.shapes(*sizes)


# -- The format, and other readers of it -----------------------------------------------------------


def digest(raw):
    """The digest as the format has it: of the whole file, with zeros for its own digits."""
    found = re.findall(rb'digest\\": \\"([0-9a-f]{64})\\"', raw)
    assert len(found) == 1
    return hashlib.sha256(raw.replace(found[0], b"0" * 64)).hexdigest().encode(), found[0]


def with_right_digest(raw):
    right, found = digest(raw)
    return raw.replace(found, right)


def header(raw):
    length = int.from_bytes(raw[:8], "little")
    return json.loads(raw[8 : 8 + length]), raw[8 + length :]


def assembled(head, data, pad=0):
    text = json.dumps(head).encode() + b" " * pad
    return struct.pack("<Q", len(text)) + text + data


@pytest.mark.parametrize("net", NETS)
def test_the_safetensors_package_reads_the_same_arrays(path, net, dtype):
    net = NETS[net](dtype=dtype, rng=1)
    net.save(path)
    read = safetensors.numpy.load_file(path)
    assert read.keys() == net.params.keys()
    for name, values in read.items():
        assert values.tobytes() == net.params[name].tobytes()
        assert values.dtype == dtype
    right, found = digest(path.read_bytes())
    assert right == found
    with safetensors.safe_open(path, "np") as file:
        described = json.loads(file.metadata()["fastnn"])
    assert described["kind"] == "model"
    assert described["format_version"] == 1
    assert described["fastnn_version"] == fastnn.__version__
    assert described["network"]["sizes"] == list(net.sizes)
    assert described["network"]["dtype"] == dtype


def test_a_file_that_the_safetensors_package_writes_is_read(path):
    net = TwoLayerNet(5, 4, 3, rng=0)
    described = {"kind": "model", "network": model.description(net)}
    text = json.dumps({"format_version": 1, "digest": "ab" * 32, **described})
    raw = safetensors.numpy.save(net.params, {"fastnn": text, "written by": "somebody"})
    path.write_bytes(with_right_digest(raw))
    assert_same(fastnn.load(path, "numpy"), net)


def test_a_file_of_other_order_and_spaces_is_read(path):
    net = TwoLayerNet(5, 4, 3, rng=0)
    net.save(path)
    head, data = header(path.read_bytes())
    path.write_bytes(with_right_digest(assembled(dict(reversed(head.items())), data, 13)))
    assert_same(fastnn.load(path, "numpy"), net)


# -- What is not saved -----------------------------------------------------------------------------


class Derived(TwoLayerNet):
    def _logits(self, x):
        return super()._logits(x) * 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda net: net.params["W1"].__setitem__((0, 1), np.nan),
            r"params\['W1'\]\[0, 1\] is nan",
        ),
        (lambda net: net.params["b2"].put(1, np.inf), r"params\['b2'\]\[1\] is inf"),
        (lambda net: net.params.pop("b1"), "params has the entries"),
        (lambda net: net.params.update(b1=np.zeros(5)), "has shape"),
        (lambda net: setattr(net, "note", "mine"), "attributes of its own, .'note'"),
        (lambda net: setattr(net, "_logits", lambda x: x), "attributes of its own"),
        (lambda net: setattr(net, "activation", "swish"), "activation='swish' is not known"),
        (lambda net: setattr(net, "label_names", ["a"]), "label_names has 1 entries"),
        (lambda net: setattr(net, "label_names", "abc"), "label_names is 'abc'"),
        (lambda net: setattr(net, "label_names", ("a", "b", "c")), "label_names is"),
        (lambda net: setattr(net, "label_names", [1, 2, 3]), "label_names is"),
        (lambda net: setattr(net, "preprocessing", [1]), "preprocessing is"),
        (lambda net: setattr(net, "preprocessing", {1: 1}), "preprocessing has the key 1"),
        (
            lambda net: setattr(net, "preprocessing", {"mean": np.float64(0.5)}),
            r"preprocessing\['mean'\] is .*float64",
        ),
        (lambda net: setattr(net, "preprocessing", {"a": 1 << 5000}), "give it as an array"),
        (lambda net: setattr(net, "preprocessing", {"a": "x" * 2**22}), "takes 419.... bytes"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_network_that_a_file_cannot_hold_is_refused(path, change, message):
    path.write_bytes(b"before")
    net = TwoLayerNet(5, 4, 3, rng=0)
    change(net)
    with pytest.raises((InputError, DtypeError), match=message) as caught:
        net.save(path)
    assert_one_line(caught)
    assert path.read_bytes() == b"before"
    assert names_in(path.parent) == [path.name]


def test_a_network_of_another_class_is_refused(path):
    with pytest.raises(DtypeError, match=r"Derived.*save a SimpleNet or a TwoLayerNet") as caught:
        Derived(5, 4, 3).save(path)
    assert_one_line(caught)
    assert not path.exists()


def test_what_is_nested_without_end_is_refused(path):
    net = SimpleNet()
    net.preprocessing = {}
    net.preprocessing["self"] = net.preprocessing
    with pytest.raises(InputError, match="nested") as caught:
        net.save(path)
    assert_one_line(caught)


# -- What is not read ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    path = tmp_path_factory.mktemp("good") / "network"
    TwoLayerNet(2, 1, 2, rng=0).save(path)
    return path.read_bytes()


def refused(path, raw, match=""):
    path.write_bytes(raw)
    with pytest.raises(CheckpointError) as caught:
        fastnn.load(path, "numpy")
    assert_one_line(caught, path)
    assert re.search(match, str(caught.value).replace(path.as_posix(), ""))
    assert isinstance(caught.value, OSError)
    assert isinstance(caught.value, FastnnError)


def test_every_flipped_byte_is_found(path, good):
    for i in range(len(good)):
        for flip in (1, 0x80):
            raw = bytearray(good)
            raw[i] ^= flip
            refused(path, raw)


def test_every_cut_and_every_addition_is_found(path, good):
    header_ends = 8 + int.from_bytes(good[:8], "little")
    for cut in range(len(good)):
        refused(path, good[:cut], "not a file of fastnn's" if cut < header_ends else "truncated")
    for cut in range(9, header_ends):
        refused(path, good[:cut], "or truncated: its header would have")
    for more in (b"\0", b" ", b"\0" * 8, good):
        refused(path, good + more, "too long")
        refused(path, more + good)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "0 bytes and starts with nothing"),
        (b"\0" * 7, "7 bytes"),
        (b"\0" * 1000, "starts with 00 00"),
        (b"<html>403 Forbidden</html>" * 9, "not a file of fastnn's"),
        (b"PK\3\4" + b"\0" * 500, "not a file of fastnn's"),
        (b"\x80\x04\x95" + b"\0" * 500, "not a file of fastnn's"),
        (struct.pack("<Q", 2) + b"{}", "without fastnn's description"),
        (struct.pack("<Q", 2) + b"[]", "no JSON object"),
        (struct.pack("<Q", 3) + b"\xff\xfe\xfd", "no JSON"),
        (struct.pack("<Q", 100_000) + b"[" * 100_000, "no JSON"),
        (struct.pack("<Q", 20_002) + b'{"a":' + b"1" * 19_996 + b"}", "no JSON"),
        (struct.pack("<Q", 2**22 + 1) + b" " * (2**22 + 1), "it starts with 01 00 40 00"),
        (struct.pack("<Q", 2**64 - 1) + b"{}", "it starts with ff ff ff"),
        (assembled({"__metadata__": {"format": "pt"}}, b""), "without fastnn's description"),
        (assembled({"__metadata__": {"fastnn": 1}}, b""), "without fastnn's description"),
        (assembled({"__metadata__": [1]}, b""), "without fastnn's description"),
        (assembled({"__metadata__": {"fastnn": "[" * 9999}}, b""), "description is no JSON"),
        (assembled({"__metadata__": {"fastnn": "{}"}}, b""), "is of version None"),
        (safetensors.numpy.save({"W1": np.zeros((2, 2))}), "without fastnn's description"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_file_of_another_program_is_refused(path, raw, message):
    refused(path, raw, message)


def altered(raw, change):
    """The file with a change to its header and description, and the digest that belongs to it."""
    head, data = header(raw)
    described = json.loads(head["__metadata__"]["fastnn"])
    data = change(head, described) or data
    head["__metadata__"]["fastnn"] = json.dumps(described)
    raw = assembled(head, data)
    return with_right_digest(raw) if "digest" in described else raw


def sets(*keys, value):
    def change(head, described):
        entry = described if keys[0] in described else head
        for key in keys[:-1]:
            entry = entry[key]
        entry[keys[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (sets("format_version", value=2), "version 2 of the format, .* reads version 1"),
        (sets("format_version", value="1"), "version '1' of the format"),
        (sets("format_version", value=[[1] * 10] * 10), "version .* of the format"),
        (lambda _, d: d.pop("digest") and None, "damaged"),
        (sets("kind", value="checkpoints"), "is a 'checkpoints', and no model or checkpoint"),
        (sets("kind", value=None), "is a None"),
        (sets("kind", value=["model"]), "is a "),
        (sets("network", value=3), "architecture=None"),
        (sets("network", "architecture", value="three_layer"), "architecture='three_layer'"),
        (sets("network", "architecture", value=["two_layer"]), "architecture="),
        (
            sets("network", "architecture", value="simple"),
            "3 sizes, .* a SimpleNet",
        ),
        (sets("network", "sizes", value=[2, 1]), "2 sizes, .* a TwoLayerNet"),
        (sets("network", "sizes", value=[2, 1, 1, 1]), "4 sizes"),
        (sets("network", "sizes", value=[2, 1, True]), "positive integers"),
        (sets("network", "sizes", value=[2, 1, 2.0]), "positive integers"),
        (sets("network", "sizes", value=[2, -1, 2]), "positive integers"),
        (sets("network", "sizes", value={"a": 1}), "positive integers"),
        (sets("network", "sizes", value=[2**62, 2**62, 2**62]), "holds W1 with shape"),
        (sets("network", "sizes", value=[3, 1, 2]), "holds W1 with shape"),
        (sets("network", "activation", value="swish"), "activation='swish'; known here are"),
        (sets("network", "loss", value=None), "loss=None; known here are"),
        (sets("network", "dtype", value="float32"), "float64; its network has .* of float32"),
        (sets("network", "dtype", value="object"), "dtype='object'; known here are"),
        (sets("network", "label_names", value=["a"]), "label_names has 1 entries"),
        (sets("network", "label_names", value=[1, 2]), "label_names is"),
        (sets("network", "preprocessing", value=[]), "preprocessing is"),
        (sets("network", "provenance", value="here"), "provenance is"),
        (sets("network", "momentum", value=0.9), "what is unknown here: .'momentum'"),
        (sets("W1", "dtype", value="F32"), "the array 'W1' is not one of its format"),
        (sets("W1", "dtype", value="BF16"), "the array 'W1' is not one of its format"),
        (sets("W1", "dtype", value=["F64"]), "the array 'W1' is not one of its format"),
        (sets("W1", "shape", value=[1, 2]), "holds W1 with shape"),
        (sets("W1", "shape", value=[2, 1, 1]), "holds W1 with shape"),
        (sets("W1", "shape", value=[2**40, 2**40]), "the array 'W1' is not one"),
        (sets("W1", "shape", value=[-2, -1]), "the array 'W1' is not one"),
        (sets("W1", "shape", value=[2.0, 1]), "the array 'W1' is not one"),
        (sets("W1", "shape", value=[0, 2**70]), "the array 'W1' is not one"),
        (sets("W1", "shape", value="21"), "the array 'W1' is not one"),
        (sets("W1", "shape", value=None), "the array 'W1' is not one"),
        (sets("W1", "data_offsets", value=[0, 8]), "the array 'W1' is not one"),
        (sets("W1", "data_offsets", value=[8, 24]), "damaged"),
        (sets("W1", "data_offsets", value=[16, 0]), "the array 'W1' is not one"),
        (sets("W1", "data_offsets", value=[0, 16, 16]), "the array 'W1' is not one"),
        (sets("W1", "data_offsets", value=[2**60, 2**60 + 16]), "damaged"),
        (sets("W1", "more", value=1), "the array 'W1' is not one"),
        (sets("W1", value=3), "the array 'W1' is not one"),
        (lambda h, _: h.update(V=h["W1"]), "damaged"),
        (
            lambda h, _: h.update(V={"dtype": "F64", "shape": [0], "data_offsets": [0, 0]}),
            "holds the arrays .*'V'",
        ),
        (lambda h, _: h.pop("b2") and None, "damaged|too long"),
        (lambda h, _: h.update(V=h.pop("b2")), "holds the arrays .*'V'"),
        (lambda *_: np.full(7, np.nan).tobytes(), "NaN or infinity in W1"),
        (lambda *_: np.full(7, -np.inf).tobytes(), "NaN or infinity in W1"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_description_that_is_not_right_is_refused(path, good, change, message):
    """Also with the digest that belongs to it: what it says is held against what there is."""
    refused(path, altered(good, change), message)


def test_the_helper_above_changes_only_what_it_says(path, good):
    path.write_bytes(altered(good, lambda *_: None))
    assert_same(fastnn.load(path, "numpy"), TwoLayerNet(2, 1, 2, rng=0))


def test_a_single_output_of_the_cross_entropy_is_no_network(path):
    TwoLayerNet(2, 1, 1, loss="mean_squared_error", rng=0).save(path)
    change = sets("network", "loss", value="cross_entropy")
    refused(path, altered(path.read_bytes(), change), "a network that cannot be: .*single output")


@pytest.mark.parametrize("name", ["W1", "__metadata__"])
def test_names_that_stand_twice_are_refused(path, good, name):
    head, data = header(good)
    text = json.dumps(head)
    twice = f'{text[:-1]}, "{name}": {json.dumps(head[name])}}}'.encode()
    refused(path, struct.pack("<Q", len(twice)) + twice + data, "a name stands there twice")


def test_a_digest_that_is_written_with_escapes_is_refused(path, good):
    """It is looked for as it is, to be taken for zeros."""
    found = digest(good)[1]
    head, data = header(good)
    text = json.dumps(head).encode().replace(found, b"\\u%04x" % found[0] + found[1:])
    refused(path, struct.pack("<Q", len(text)) + text + data, "damaged")


# -- Memory ----------------------------------------------------------------------------------------


@pytest.fixture
def peak():
    """What Python's allocators had at most, NumPy's among them, since the test began."""
    tracemalloc.start()
    yield lambda: tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()


MIB = 2**20


@posix
@pytest.mark.parametrize("start", ["zeros", "a header", "a length"])
def test_ten_gigabytes_of_nothing_take_no_memory(path, good, peak, start):
    """Of holes, and so of no size on the disk."""
    path.write_bytes(
        {"zeros": b"", "a header": good, "a length": struct.pack("<Q", 9 << 30)}[start]
    )
    os.truncate(path, 10 << 30)
    tracemalloc.reset_peak()
    with pytest.raises(CheckpointError) as caught:
        fastnn.load(path)
    assert_one_line(caught, path)
    assert peak() < MIB


def test_no_header_takes_much_memory(path, peak, monkeypatch):
    monkeypatch.setattr(container, "LONGEST_HEADER", MIB // 4)  # tracing takes its time
    text = b'{"a":[' + b"[]," * (MIB // 12 - 10) + b"1]}"
    path.write_bytes(struct.pack("<Q", len(text)) + text)
    tracemalloc.reset_peak()
    with pytest.raises(CheckpointError, match="without fastnn's description"):
        fastnn.load(path)
    assert peak() < 40 * len(text)


def test_a_network_is_read_without_a_second_copy_of_the_file(path, peak):
    net = TwoLayerNet(4096, 256, 10, rng=0)
    net.save(path)
    size = path.stat().st_size
    del net
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    with container.opened(path) as file:
        arrays = file.read()
    assert peak() - before < 1.1 * size
    assert all(a.flags.writeable for a in arrays.values())


@posix
def test_a_file_beyond_the_memory_is_refused(path, python):
    """A header that fits the file of 4 GiB, in a process that may have 2."""
    described = {
        "architecture": "two_layer",
        "sizes": [2**14, 2**15, 1],
        "activation": "sigmoid",
        "loss": "mean_squared_error",
        "dtype": "float64",
    }
    text = json.dumps(
        {"format_version": 1, "digest": "a" * 64, "kind": "model", "network": described}
    )
    head, end = {"__metadata__": {"fastnn": text}}, 0
    for name, shape in TwoLayerNet.shapes(2**14, 2**15, 1).items():
        begin, end = end, end + 8 * int(np.prod(shape))
        head[name] = {"dtype": "F64", "shape": shape, "data_offsets": [begin, end]}
    raw = assembled(head, b"")
    path.write_bytes(raw)
    os.truncate(path, len(raw) + end)
    script = """
import resource, sys, fastnn
resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
try:
    fastnn.load(sys.argv[1], "numpy")
except fastnn.CheckpointError as error:
    print(error)
"""
    code, out, err = python("-c", script, path)
    assert (code, err) == (0, "")
    assert "no memory" in out
    assert out.count("\n") == 1
