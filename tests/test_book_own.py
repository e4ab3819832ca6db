"""A reader's own files come first, and are put on a backend only where that changes nothing."""

import builtins
import copy
import sys

import numpy as np
import pytest

import fastnn
from fastnn.book import run_script
from fastnn.errors import InputError

FUNCTIONS = """
import numpy as np
from common.functions import *
from common.gradient import numerical_gradient


class TwoLayerNet:
    def __init__(self, input_size, hidden_size, output_size, weight_init_std=0.01):
        self.params = {
            "W1": weight_init_std * np.random.randn(input_size, hidden_size),
            "b1": np.zeros(hidden_size),
            "W2": weight_init_std * np.random.randn(hidden_size, output_size),
            "b2": np.zeros(output_size),
        }

    def hidden(self, x):
        return sigmoid(np.dot(x, self.params["W1"]) + self.params["b1"])

    def predict(self, x):
        return softmax(np.dot(self.hidden(x), self.params["W2"]) + self.params["b2"])

    def loss(self, x, t):
        return cross_entropy_error(self.predict(x), t)

    def accuracy(self, x, t):
        t = t if t.ndim == 1 else t.argmax(axis=1)
        return np.mean(self.predict(x).argmax(axis=1) == t)

    def numerical_gradient(self, x, t):
        return {k: numerical_gradient(lambda _: self.loss(x, t), p) for k, p in self.params.items()}

    def gradient(self, x, t):
        z = self.hidden(x)
        delta2 = (self.predict(x) - t) / len(x)
        delta1 = np.dot(delta2, self.params["W2"].T) * z * (1 - z)
        return {
            "W1": np.dot(x.T, delta1), "b1": delta1.sum(axis=0),
            "W2": np.dot(z.T, delta2), "b2": delta2.sum(axis=0),
        }
"""

SCRIPT = """
import numpy as np
from two_layer_net import TwoLayerNet
np.random.seed(3)
x = np.random.rand(20, 9)
t = np.eye(4)[np.random.randint(4, size=20)]
net = TwoLayerNet(9, 5, 4, 0.5)
results = []
for _ in range(3):
    results += [net.loss(x, t), net.accuracy(x, t), net.predict(x)]
    for gradients in (net.gradient(x, t), net.numerical_gradient(x, t)):
        results += list(gradients.values())
        for key, g in gradients.items():
            net.params[key] -= 0.3 * g
accelerated = "fastnn" in TwoLayerNet.loss.__code__.co_filename
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Write files, run the script among them, and return its names and what was said."""
    folder = tmp_path / "reader"
    folder.mkdir()
    monkeypatch.chdir(tmp_path)

    def run(script=SCRIPT, network=FUNCTIONS, **options):
        (folder / "script.py").write_text(script)
        if network is not None:
            (folder / "two_layer_net.py").write_text(network)
        lines = []
        names = run_script(folder / "script.py", report=lines.append, **options)
        said = {line.split(" is ")[0]: line for line in lines}
        return names, said.get("fastnn.book: two_layer_net", ""), lines

    run.folder = folder
    return run


def assert_same(names, expected):
    assert len(names["results"]) == len(expected["results"])
    for found, value in zip(names["results"], expected["results"], strict=True):
        assert type(found) is type(value)
        np.testing.assert_allclose(found, value, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("hidden", ["sigmoid", "relu"])
def test_a_network_that_is_the_same_runs_on_the_backend(run, backend, hidden):
    network = FUNCTIONS
    if hidden == "relu":
        network = FUNCTIONS.replace("return sigmoid", "return relu").replace(
            "* z * (1 - z)", "* (z > 0)"
        )
    names, said, _ = run(network=network, backend=backend)
    expected, as_it_is, _ = run(network=network, backend=backend, own=["two_layer_net"])
    assert_same(names, expected)
    units = {"sigmoid": "sigmoid", "relu": "ReLU"}[hidden]
    assert f"two_layer_net.py), on {backend.name}: it computes what fastnn's does ({units}" in said
    assert "as it is, as you asked" in as_it_is
    assert names["accelerated"] == (backend.array_type is np.ndarray)
    assert not expected["accelerated"]
    assert "fastnn" in names["TwoLayerNet"].numerical_gradient.__code__.co_filename


DIFFERENT = {
    "tanh": ("return sigmoid(", "return np.tanh(", "sigmoid or ReLU"),
    "guard": ("return cross_entropy_error(self.predict(x), t)",
              "return -np.sum(t * np.log(self.predict(x) + 1e-6)) / len(x)", "its loss differs"),
    "mean": ("return cross_entropy_error(self.predict(x), t)",
             "return -np.sum(t * np.log(self.predict(x) + 1e-7))", "its loss differs"),
    "prints": ("    def loss(self, x, t):\n", "    def loss(self, x, t):\n        print('loss')\n",
               "its methods print"),
    "random": ("return softmax(", "np.random.rand(); return softmax(", "more than they return"),
    "counts": ("    def loss(self, x, t):\n",
               "    def loss(self, x, t):\n        self.n = getattr(self, 'n', 0) + 1\n",
               "more than they return"),
    "size": ("weight_init_std=0.01)", "weight_init_std)", "raises TypeError"),
    "names": ('"W1"', '"w1"', "its params are not"),
    "dtype": ("weight_init_std * np", "np.float32(weight_init_std) * np.float32(1) * np",
              None),
    "equality": ("    def hidden", "    __eq__ = lambda self, o: True\n    def hidden", "equality"),
    "no loss": ("def loss", "def cost", "it has no loss"),
}  # fmt: skip


@pytest.mark.parametrize("kind", DIFFERENT)
def test_a_network_that_is_another_runs_as_it_is(run, kind):
    before, after, reason = DIFFERENT[kind]
    assert before in FUNCTIONS
    script = "from two_layer_net import TwoLayerNet"
    names, said, _ = run(script, FUNCTIONS.replace(before, after), explain=True)
    if reason is None:
        return
    assert "as it is: " in said
    assert reason in said
    assert "fastnn/" not in names["TwoLayerNet"].__init__.__code__.co_filename


def test_a_gradient_that_is_wrong_stays_and_is_told(run):
    wrong = FUNCTIONS.replace("/ len(x)\n", "\n")
    names, said, lines = run(network=wrong, backend="numba", explain=True)
    expected, _, _ = run(network=wrong, own=["two_layer_net"])
    assert_same(names, expected)
    assert "but for gradient, left as it is: its gradient differs by" in said
    assert any("gradient with rows: differs by" in line for line in lines)


CHANGES = {
    "a subclass": "class TwoLayerNet(TwoLayerNet):\n"
    "    def predict(self, x):\n        return super().predict(x) ** 2\n",
    "a new method": "TwoLayerNet.predict = lambda self, x: np.full((len(x), 4), 0.3)\n",
    "a method of the object": "np.random.seed(1)\nnet = TwoLayerNet(9, 5, 4, 0.5)\n"
    "net.predict = lambda x: np.full((len(x), 4), 0.3)\n"
    "TwoLayerNet = lambda *_: net\n",
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_a_script_changes_counts(run, change):
    script = SCRIPT.replace("np.random.seed(3)", CHANGES[change] + "np.random.seed(3)")
    script = script.replace('"fastnn" in TwoLayerNet.loss.__code__.co_filename', "None")
    names, _, _ = run(script)
    expected, _, _ = run(script, own=["two_layer_net"])
    assert_same(names, expected)


def test_an_argument_of_its_own_that_changes_the_loss(run):
    decaying = FUNCTIONS.replace("weight_init_std=0.01)", "weight_init_std=0.01, decay=0)").replace(
        "        self.params = {", "        self.decay = decay\n        self.params = {"
    ).replace("self.predict(x), t)\n", "self.predict(x), t) + self.decay * 3\n")  # fmt: skip
    script = SCRIPT.replace("4, 0.5)", "4, 0.5, decay=0.1)")
    names, said, lines = run(script, decaying)
    expected, _, _ = run(script, decaying, own=["two_layer_net"])
    assert_same(names, expected)
    assert "it computes what fastnn's does" in said
    assert sum("runs as it is: its loss differs" in line for line in lines) == 1
    # And where it is changed later.
    script = SCRIPT.replace("results = []", "net.loss(x, t)\nnet.decay = 2\nresults = []")
    names, _, _ = run(script, decaying)
    expected, _, _ = run(script, decaying, own=["two_layer_net"])
    assert_same(names, expected)


@pytest.mark.parametrize(
    "change",
    [
        "TwoLayerNet.predict = lambda self, x: np.full((len(x), 4), 0.3)",
        "net.predict = lambda x: np.full((len(x), 4), 0.3)",
        "net.decay = 2",
        "net.params = {k: 2 * p for k, p in net.params.items()}",
    ],
)
def test_what_a_script_changes_between_calls_counts(run, change):
    start = "        self.params = {"
    decaying = FUNCTIONS.replace(start, f"        self.decay = 0\n{start}")
    decaying = decaying.replace("self.predict(x), t)\n", "self.predict(x), t) + self.decay * 3\n")
    before = f"net.loss(x, t); net.loss(x, t)\n{change}\nresults = []"
    script = SCRIPT.replace("results = []", before)
    script = script.replace('"fastnn" in TwoLayerNet.loss.__code__.co_filename', "None")
    names, said, _ = run(script, decaying)
    expected, _, _ = run(script, decaying, own=["two_layer_net"])
    assert "it computes what" in said
    assert_same(names, expected)


@pytest.mark.parametrize(
    ("x", "t"),
    [
        ("x[0]", "t[:1]"),
        ("x.tolist()", "t"),
        ("x", "t.argmax(axis=1)"),
        ("x[:, :4]", "t"),
        ("x * np.nan", "t"),
        ("x", "3 * t"),
        ("x.astype(np.float32)", "t.astype(int)"),
        ("np.asfortranarray(x)[::2]", "t[::2]"),
        ("(9 * x).astype(int)", "t"),
    ],
)
def test_unusual_arguments_are_the_readers_own_affair(run, x, t):
    script = SCRIPT.partition("results =")[0] + (
        f"net.loss(x, t), net.gradient(x, t), net.predict(x)\nx, t = {x}, {t}\nresults = []\n"
        "for f, a in ((net.loss, (x, t)), (net.gradient, (x, t)), (net.predict, (x,))):\n"
        "    with np.errstate(all='ignore'):\n"
        "        try:\n            y = f(*a)\n"
        "        except Exception as error:\n            y = repr(error)\n"
        "    results += list(y.values()) if isinstance(y, dict) else [y]\n"
    )
    names, _, _ = run(script)
    expected, _, _ = run(script, own=["two_layer_net"])
    assert len(names["results"]) == len(expected["results"])
    for found, value in zip(names["results"], expected["results"], strict=True):
        if isinstance(value, str):
            assert found == value
        else:
            np.testing.assert_allclose(found, value, rtol=1e-9)


def test_very_many_samples(run):
    """Of the first call, too, of which only some are computed both ways."""
    for network in (FUNCTIONS, LAYERS):
        script = SCRIPT.replace("(20, 9)", "(2500, 9)").replace("size=20", "size=2500")
        script = script.replace("net.numerical_gradient(x, t)", "net.gradient(-x, t)")
        script += "results += [len(net.lastLayer.y)] if hasattr(net, 'lastLayer') else []\n"
        names, _, _ = run(script, network, backend="numba")
        expected, _, _ = run(script, network, own=["two_layer_net"])
        assert_same(names, expected)


def test_networks_can_be_copied_and_kept_apart(run):
    script = SCRIPT + (
        "import copy, pickle, gc, weakref\n"
        "other = copy.deepcopy(net)\nagain = pickle.loads(pickle.dumps(net))\n"
        "other.params['b2'] += [1, 0, 0, 0]\n"
        "losses = [net.loss(x, t), other.loss(x, t), again.loss(x, t)]\n"
        "where = weakref.ref(other)\ndel other\ngc.collect()\ngone = where() is None\n"
    )
    names, _, _ = run(script, backend="numba")
    a, b, c = names["losses"]
    # A copy's first result is the reader's own, as it is compared with fastnn's.
    assert c == pytest.approx(a, rel=1e-14)
    assert b != pytest.approx(a, rel=1e-2)
    assert names["gone"]
    assert copy.copy(names["net"]).loss(names["x"], names["t"]) == pytest.approx(a, rel=1e-14)


# -- layers ----------------------------------------------------------------------------------------

LAYERS = """
import numpy as np
from collections import OrderedDict
from common.layers import *
from common.gradient import numerical_gradient


class TwoLayerNet:
    def __init__(self, input_size, hidden_size, output_size, weight_init_std=0.01):
        sizes = [input_size, hidden_size, output_size]
        self.params, self.layers = {}, OrderedDict()
        for i in (1, 2):
            self.params[f"W{i}"] = weight_init_std * np.random.randn(*sizes[i - 1 : i + 1])
            self.params[f"b{i}"] = np.zeros(sizes[i])
            self.layers[f"Affine{i}"] = Affine(self.params[f"W{i}"], self.params[f"b{i}"])
            if i == 1:
                self.layers["Relu"] = Relu()
        self.lastLayer = SoftmaxWithLoss()

    def predict(self, x):
        for layer in self.layers.values():
            x = layer.forward(x)
        return x

    def loss(self, x, t):
        return self.lastLayer.forward(self.predict(x), t)

    def accuracy(self, x, t):
        t = t if t.ndim == 1 else t.argmax(axis=1)
        return np.mean(self.predict(x).argmax(axis=1) == t)

    def numerical_gradient(self, x, t):
        return {k: numerical_gradient(lambda _: self.loss(x, t), p) for k, p in self.params.items()}

    def gradient(self, x, t):
        self.loss(x, t)
        d = self.lastLayer.backward()
        for layer in reversed(self.layers.values()):
            d = layer.backward(d)
        first, second = self.layers["Affine1"], self.layers["Affine2"]
        return {"W1": first.dW, "b1": first.db, "W2": second.dW, "b2": second.db}
"""


def test_layers_run_on_the_backend_until_they_are_looked_at(run):
    script = SCRIPT + (
        "net.loss(x, t)\nmask = net.layers['Relu'].mask\ny = net.lastLayer.y\n"
        "results += [mask, y, net.layers['Affine1'].dW]\n"
        "net.gradient(x, t)\nresults += [net.layers['Affine2'].db, net.loss(x, t)]\n"
    )
    names, said, lines = run(script, LAYERS, backend="numba")
    expected, _, _ = run(script, LAYERS, own=["two_layer_net"])
    assert names["accelerated"]
    assert "ReLU units in layers" in said
    assert_same(names, expected)
    assert sum("the script uses its layers" in line for line in lines) == 1


def test_parameters_that_layers_do_not_know_of(run):
    """Assigning new arrays changes nothing in the book's network of layers either."""
    script = SCRIPT.replace(
        "net.params[key] -= 0.3 * g", "net.params[key] = net.params[key] - 0.3 * g"
    )
    names, _, _ = run(script, LAYERS)
    expected, _, _ = run(script, LAYERS, own=["two_layer_net"])
    assert_same(names, expected)


def test_a_layer_that_is_exchanged(run):
    script = SCRIPT.replace(
        "results = []",
        "results = [net.loss(x, t), net.loss(x, t)]\n"
        "from common.layers import Sigmoid\nnet.layers['Relu'] = Sigmoid()",
    )
    names, _, _ = run(script, LAYERS)
    expected, _, _ = run(script, LAYERS, own=["two_layer_net"])
    assert_same(names, expected)


# -- whose module it is ----------------------------------------------------------------------------


def test_one_line_for_each_module(run):
    (run.folder / "common").mkdir()
    (run.folder / "common" / "functions.py").write_text("from numpy import *\nsigmoid = 'mine'\n")
    script = "from common import functions\nimport common.layers as L\nimport dataset.mnist\n"
    names, _, lines = run(script, None)
    assert names["functions"].sigmoid == "mine"
    assert names["L"].Affine.__module__ == "fastnn.book.layers"
    assert lines == [
        f"fastnn.book: common.functions is yours ({run.folder}/common/functions.py)",
        "fastnn.book: common.layers is fastnn's: there is none beside the script",
        "fastnn.book: dataset.mnist is fastnn's: there is none beside the script",
    ]
    names, _, lines = run(script, None, ours=["common"], explain=True)
    assert names["functions"].sigmoid is fastnn.functions.sigmoid
    assert "fastnn.book: common.functions is fastnn's: as you asked" in lines
    assert any("it holds Affine, BatchNormalization" in line for line in lines)


@pytest.mark.parametrize(
    "statement",
    [
        "from common import functions as f",
        "import common.functions as f",
        "import common.functions; f = common.functions",
        "import common; f = common.functions",
        "from common import *; import common; from common import functions as f",
        "import importlib; f = importlib.import_module('common.functions')",
        "from common.functions import *; import types; f = types.SimpleNamespace(softmax=softmax)",
    ],
)
@pytest.mark.parametrize("package", ["none", "a folder", "a package"])
def test_every_form_of_import(run, statement, package):
    if package != "none":
        (run.folder / "common").mkdir()
        if package == "a package":
            (run.folder / "common" / "__init__.py").write_text("")
    if package == "a package" and "import common; f" in statement:
        pytest.skip("as for any package, its modules have to be imported")
    names, _, _ = run(statement, None)
    assert names["f"].softmax is fastnn.functions.softmax


def test_own_and_ours_by_hand(run):
    script = "from two_layer_net import TwoLayerNet"
    names, said, _ = run(script, ours=["two_layer_net"])
    assert issubclass(names["TwoLayerNet"], fastnn.TwoLayerNet)
    assert "is fastnn's: as you asked" in said
    with pytest.raises(ModuleNotFoundError, match="no common of your own"):
        run("import common.layers", own=["common"])
    with pytest.raises(InputError, match=r"no 'common\.trainer' to take.*common\.functions"):
        run(script, ours=["common.trainer"])
    with pytest.raises(InputError, match="both"):
        run(script, ours=["common"], own=["common"])


def test_the_folder_above(run, monkeypatch):
    """Which the book's scripts add relative to the current directory, wherever they are run."""
    above = run.folder.parent / "common"
    above.mkdir()
    (above / "trainer.py").write_text("class Trainer: pass\n")
    script = "import os, sys\n{}\nfrom common.trainer import Trainer\nimport common.util"
    for form in (
        "sys.path.append(os.pardir)",
        "sys.path.append('..')",
        "sys.path.append(os.path.join(os.path.dirname(__file__), '..'))",
        "import common.functions; sys.path.append(os.pardir)",
    ):
        _, _, lines = run(script.format(form), None)
        assert f"fastnn.book: common.trainer is yours ({above}/trainer.py)" in lines
        assert "common" not in sys.modules
    with pytest.raises(ModuleNotFoundError):
        run(script.format(""), None)


def test_a_network_in_a_package_is_probed_too(run):
    (run.folder / "ch04").mkdir()
    (run.folder / "ch04" / "two_layer_net.py").write_text(FUNCTIONS)
    _, _, lines = run("from ch04.two_layer_net import TwoLayerNet", None)
    assert any("ch04.two_layer_net is yours" in line and "computes what" in line for line in lines)


def test_a_probe_leaves_no_trace(run):
    script = (
        "import random\nimport numpy as np\nnp.random.seed(1)\nrandom.seed(1)\n"
        "import two_layer_net\ndraws = [np.random.rand(), random.random()]"
    )
    printing = FUNCTIONS.replace("self.params = {", "print('made'); self.params = {")
    np.random.seed(1)
    expected = np.random.rand()
    names, said, _ = run(script, printing)
    assert names["draws"] == [expected, pytest.approx(0.13436424411240122)]
    assert "computes what" in said


# -- a network in the script itself ----------------------------------------------------------------


@pytest.mark.parametrize("network", [FUNCTIONS, LAYERS], ids=["functions", "layers"])
def test_a_network_of_the_script_itself(run, network):
    script = network + SCRIPT.replace("from two_layer_net import TwoLayerNet", "")
    before = builtins.__build_class__
    names, _, lines = run(script, None, backend="numba")
    expected, _, _ = run(script, None, own=["two_layer_net"])
    assert_same(names, expected)
    assert names["accelerated"]
    assert not expected["accelerated"]
    (line,) = (line for line in lines if "TwoLayerNet" in line)
    assert "TwoLayerNet of __main__ is yours, on numba: it computes what fastnn's does" in line
    assert builtins.__build_class__ is before


def test_what_else_a_script_defines(run):
    script = (
        "class A: pass\nclass M(type): pass\nclass TwoLayerNet(metaclass=M):\n    x = 1\n"
        "a, b = A(), TwoLayerNet()\n"
        "class TwoLayerNet:\n    def __init__(self, n=1): self.n = n\n"
        "c = [TwoLayerNet(), TwoLayerNet(3)]\n"
        "class TwoLayerNet(TwoLayerNet): pass\nd = TwoLayerNet(4)\n"
    )
    names, _, lines = run(script, None)
    assert [net.n for net in (*names["c"], names["d"])] == [1, 3, 4]
    assert sum("as it is: TwoLayerNet(6, 4, 3) raises TypeError" in line for line in lines) == 1
