"""Networks as modules of PyTorch's, both ways, to the last bit."""

import doctest
import io
import json
import sys

import numpy as np
import pytest

import fastnn
from fastnn.cli import main
from fastnn.errors import DtypeError, ExtraNotInstalledError, InputError
from fastnn.export import from_state_dict, from_torch, state_dict, to_file, to_torch
from fastnn.functions import ACTIVATIONS, LOSSES

pytestmark = pytest.mark.torch
X = np.random.default_rng(0).normal(size=(20, 6))


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


def network(activation="relu", loss="cross_entropy", dtype="float64", backend="numpy"):
    return fastnn.TwoLayerNet(
        *(6, 5, 3, 1.0), activation=activation, loss=loss, dtype=dtype, backend=backend, rng=1
    )


def assert_same(net, again):
    assert repr(again) == repr(net)
    for name, parameter in net.params.items():
        assert again.params[name].tobytes() == parameter.tobytes()


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_there_and_back_is_exact(activation, loss, dtype, torch):
    net = network(activation, loss, dtype)
    assert_same(net, from_torch(to_torch(net), loss=loss))
    assert_same(net, from_state_dict(state_dict(net), activation=activation, loss=loss))
    module = to_torch(net)
    ending = {"cross_entropy": torch.nn.Softmax(dim=1), "binary_cross_entropy": torch.nn.Sigmoid()}
    if loss in ending:
        module = torch.nn.Sequential(torch.nn.Flatten(), *module, ending[loss])
        assert_same(net, from_torch(module))
    with torch.no_grad():
        y = module(torch.from_numpy(X.astype(dtype))).numpy()
    tolerance = 1e-5 if dtype == np.float32 else 1e-12
    np.testing.assert_allclose(y, net.predict(X.astype(dtype)), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", ["Sigmoid", "Tanh", "ReLU", "Identity"])
def test_a_module_of_pytorchs_own_and_back(name, torch):
    nn = torch.nn
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(6, 5), getattr(nn, name)(), nn.Linear(5, 3))
    net = fastnn.from_torch(module)
    assert (net.dtype, net.sizes, net.loss_name) == (np.float32, (6, 5, 3), "cross_entropy")
    back = to_torch(net)
    for key, tensor in module.state_dict().items():
        assert torch.equal(back.state_dict()[key], tensor)
    before = net.params["W1"].copy()
    with torch.no_grad():
        module[0].weight.zero_()
    assert np.array_equal(net.params["W1"], before)


def test_onto_any_backend(torch, backend):
    net = network()
    again = from_torch(to_torch(net), backend=backend)
    for name, parameter in net.params.items():
        assert np.array_equal(backend.to_numpy(again.params[name]), parameter)


def test_the_file_is_what_torch_loads(torch, tmp_path, capfd):
    net = network("tanh", dtype="float32")
    net.save(tmp_path / "model")
    with pytest.raises(SystemExit) as exited:
        main(["export", str(tmp_path / "model"), str(tmp_path / "net.pt"), "--json"])
    out, err = capfd.readouterr()
    assert (exited.value.code, err) == (0, "")
    told = json.loads(out)
    assert told["module"] == "Sequential(Linear(6, 5), Tanh(), Linear(5, 3))"
    assert told["output"] == "Softmax"
    state = torch.load(tmp_path / "net.pt", weights_only=True)
    assert told["tensors"] == {name: list(tensor.shape) for name, tensor in state.items()}
    module = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.Tanh(), torch.nn.Linear(5, 3))
    module.load_state_dict(state)
    assert_same(net, from_torch(module))


def test_a_simple_net_is_a_linear_without_a_bias(torch):
    net = fastnn.SimpleNet(6, 3, rng=0)
    with torch.no_grad():
        y = to_torch(net)(torch.from_numpy(X)).numpy()
    np.testing.assert_allclose(y, net.predict(X), rtol=1e-12)


def refused(nn, torch):
    a, b = nn.Linear(6, 5), nn.Linear(5, 3)
    bad = nn.Linear(6, 5)
    with torch.no_grad():
        bad.weight[1, 2] = np.inf
    return {
        "a Linear": a,
        "nothing": nn.Sequential(),
        "one layer": nn.Sequential(a),
        "no activation": nn.Sequential(a, b),
        "three layers": nn.Sequential(a, nn.ReLU(), nn.Linear(5, 5), nn.ReLU(), b),
        "another activation": nn.Sequential(a, nn.GELU(), b),
        "another ending": nn.Sequential(a, nn.ReLU(), b, nn.ReLU()),
        "softmax over samples": nn.Sequential(a, nn.ReLU(), b, nn.Softmax(dim=0)),
        "no bias": nn.Sequential(a, nn.ReLU(), nn.Linear(5, 3, bias=False)),
        "half": nn.Sequential(a, nn.ReLU(), b).half(),
        "two dtypes": nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3).double()),
        "sizes that do not fit": nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(4, 3)),
        "infinity": nn.Sequential(bad, nn.ReLU(), nn.Linear(5, 3)),
        "a device": nn.Sequential(a, nn.ReLU(), b).to("meta"),
        "a network": network(),
        "None": None,
    }


def test_another_module_is_refused(torch):
    for what, module in refused(torch.nn, torch).items():
        with pytest.raises((InputError, DtypeError)) as raised:
            from_torch(module)
        message = str(raised.value)
        assert "\n" not in message, what
        assert len(message) <= 300, what
    module = torch.nn.Sequential(*to_torch(network()), torch.nn.Sigmoid())
    with pytest.raises(InputError, match="leave out loss='cross_entropy'"):
        from_torch(module, loss="cross_entropy")


def test_another_state_dict_is_refused(torch):
    state = state_dict(network())
    for key in state:
        with pytest.raises(InputError, match="it has to have"):
            from_state_dict({k: v for k, v in state.items() if k != key}, activation="relu")
        with pytest.raises(DtypeError, match="give a tensor"):
            from_state_dict(state | {key: [1.0]}, activation="relu")
        with pytest.raises(InputError, match="has shape"):
            from_state_dict(state | {key: torch.zeros(2, 2, 2)}, activation="relu")
    with pytest.raises(InputError, match="activation='softplus' is not known"):
        from_state_dict(state, activation="softplus")


def test_without_pytorch_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ExtraNotInstalledError, match=r"pip install 'fastnn\[torch\]'"):
        to_file(network(), tmp_path / "net.pt")
    assert not list(tmp_path.iterdir())


def test_the_examples_run(torch):
    """Those that are skipped where there is no PyTorch."""
    from fastnn.export import torch_modules

    said, ran = io.StringIO(), 0
    for test in doctest.DocTestFinder().find(torch_modules):
        for example in test.examples:
            example.options.pop(doctest.SKIP, None)
        ran += len(test.examples)
        doctest.DocTestRunner().run(test, out=said.write)
    assert said.getvalue() == ""
    assert ran > 8
