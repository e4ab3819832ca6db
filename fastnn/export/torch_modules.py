"""Networks as modules of PyTorch's, both ways: a ``Sequential`` of Linear, activation, Linear.

PyTorch keeps the weights of a layer as (outputs, inputs), the transpose of ours. A module holds no
loss; ours is what the argument says, or what the output function at the end of the module does.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..backends import Backend
from ..base_network import Network
from ..errors import DtypeError, ExtraNotInstalledError, InputError
from ..files.model import parameters
from ..functions import ACTIVATIONS, LOSSES
from ..networks import SimpleNet, TwoLayerNet
from ..validation import check_finite, choice, kind, shown

#: The module of ``torch.nn`` that an activation is.
MODULES = {"sigmoid": "Sigmoid", "tanh": "Tanh", "relu": "ReLU", "identity": "Identity"}

#: The loss that goes with a module at the end, which turns logits into probabilities.
ENDINGS = {"Softmax": "cross_entropy", "Sigmoid": "binary_cross_entropy"}

#: The names of the tensors of a Sequential of Linear, activation, Linear, and what they are here.
_NAMES = {"0.weight": "W1", "0.bias": "b1", "2.weight": "W2", "2.bias": "b2"}

_EXPECTED = "give a Sequential of Linear, Sigmoid, Tanh, ReLU or Identity, Linear"


def torch() -> Any:
    """PyTorch, or an error that names the extra."""
    try:
        import torch as module
    except ImportError as error:
        raise ExtraNotInstalledError(
            f"PyTorch's formats need PyTorch ({error}): pip install 'fastnn[torch]'"
        ) from error
    return module


# -- to PyTorch ------------------------------------------------------------------------------------


def state_dict(network: Network) -> dict[str, Any]:
    """The parameters as tensors, as ``Sequential(Linear, activation, Linear)`` names and lays them.

    Parameters
    ----------
    network : TwoLayerNet or SimpleNet
        Of a :class:`~fastnn.SimpleNet` there is one tensor, of a single Linear without a bias.

    Returns
    -------
    dict of str to torch.Tensor
        Copies, on the CPU, of the network's dtype.

    Raises
    ------
    ExtraNotInstalledError
        If PyTorch is not installed.
    InputError, DtypeError
        If the network is another one, or a parameter is not finite.
    """
    tensor = torch().from_numpy
    if type(network) not in (TwoLayerNet, SimpleNet):
        raise DtypeError(f"network is a {kind(network)}; give a TwoLayerNet or a SimpleNet")
    found = parameters(network)
    names = {"0.weight": "W"} if isinstance(network, SimpleNet) else _NAMES
    return {name: tensor(np.array(found[of].T, order="C")) for name, of in names.items()}


def to_torch(network: Network) -> Any:
    """The network as a ``torch.nn.Sequential``, which computes its logits.

    Raises
    ------
    ExtraNotInstalledError, InputError, DtypeError
        As :func:`state_dict`, and if PyTorch has no module for the activation.
    """
    state, nn = state_dict(network), torch().nn
    options = {"dtype": state["0.weight"].dtype, "device": "cpu"}
    if isinstance(network, SimpleNet):
        module = nn.Sequential(nn.Linear(*network.sizes, bias=False, **options))
    else:
        i, j, k = network.sizes
        activation = getattr(nn, _module_name(network))()
        module = nn.Sequential(nn.Linear(i, j, **options), activation, nn.Linear(j, k, **options))
    module.load_state_dict(state)
    return module


def spelled(network: Network) -> str:
    """The module that takes the state_dict of a network, as Python writes it."""
    if isinstance(network, SimpleNet):
        i, k = network.sizes
        return f"Sequential(Linear({i}, {k}, bias=False))"
    i, j, k = network.sizes
    return f"Sequential(Linear({i}, {j}), {_module_name(network)}(), Linear({j}, {k}))"


def _module_name(network: Any) -> str:
    if network.activation not in MODULES:
        raise InputError(
            f"activation={shown(network.activation)} has no module of PyTorch's here; those of "
            f"{', '.join(MODULES)} have"
        )
    return MODULES[network.activation]


def to_bytes(state: dict[str, Any]) -> bytes:
    """The content of the file that ``torch.load`` reads, with ``weights_only`` as well."""
    buffer = io.BytesIO()
    torch().save(state, buffer)
    return buffer.getvalue()


# -- from PyTorch ----------------------------------------------------------------------------------


def from_torch(
    module: Any, *, loss: str | None = None, backend: str | Backend = "numpy"
) -> TwoLayerNet:
    """A network with the parameters of a PyTorch module, to the last bit.

    Parameters
    ----------
    module : torch.nn.Sequential
        Linear, then Sigmoid, Tanh, ReLU or Identity, then Linear; before them a Flatten, and after
        them a Softmax or a Sigmoid may stand.
    loss : {"cross_entropy", "mean_squared_error", "binary_cross_entropy"}, optional
        By default that of the module at the end: ``"binary_cross_entropy"`` for a Sigmoid, else
        ``"cross_entropy"``.
    backend : str or Backend
        As for :func:`fastnn.get_backend`.

    Returns
    -------
    TwoLayerNet
        Of the dtype of the module. It shares no memory with it.

    Raises
    ------
    DtypeError, InputError
        If the module is another one: of other layers, without biases, of a dtype that parameters
        cannot have, on a device, or with NaN or infinity in it.

    Examples
    --------
    >>> import fastnn, numpy as np
    >>> from torch import nn  # doctest: +SKIP
    >>> module = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))  # doctest: +SKIP
    >>> net = fastnn.from_torch(module)  # doctest: +SKIP
    >>> net.activation, net.predict(np.ones((5, 4), np.float32)).shape  # doctest: +SKIP
    ('relu', (5, 2))
    """
    nn = torch().nn
    if not isinstance(module, nn.Sequential):
        raise DtypeError(f"module is a {kind(module)}; {_EXPECTED}")
    layers = list(module)
    if layers and isinstance(layers[0], nn.Flatten) and layers[0].start_dim == 1:
        layers = layers[1:]
    ending = None
    if len(layers) == 4:
        ending = _ending(layers.pop(), loss)
    found = shown(", ".join(type(layer).__name__ for layer in module))[1:-1]
    if len(layers) != 3 or any(type(layer) is not nn.Linear for layer in layers[::2]):
        raise InputError(f"module is a Sequential of {found or 'nothing'}; {_EXPECTED}")
    kinds = {getattr(nn, of): name for name, of in MODULES.items()}
    activation = kinds.get(type(layers[1]))
    if activation is None:
        raise InputError(f"module has a {kind(layers[1])} between its layers; {_EXPECTED}")
    state: dict[str, Any] = {}
    for position in (0, 2):
        weight, bias = layers[position].weight, layers[position].bias
        if bias is None:
            raise InputError(
                "a layer of module has no bias, and those of a network have one; "
                "give it one of zeros"
            )
        state |= {f"{position}.weight": weight, f"{position}.bias": bias}
    return from_state_dict(
        state, activation=activation, loss=loss or ending or "cross_entropy", backend=backend
    )


def _ending(layer: Any, loss: str | None) -> str:
    """The loss that goes with the last module."""
    nn = torch().nn
    found = {getattr(nn, of): name for of, name in ENDINGS.items()}.get(type(layer))
    if found is None or (type(layer) is nn.Softmax and layer.dim not in (1, -1)):
        raise InputError(
            f"module ends with {shown(layer)}; let it end with the Linear, a Softmax(dim=1) or a "
            "Sigmoid"
        )
    if loss not in (None, found):
        raise InputError(
            f"module ends with a {type(layer).__name__}, as loss={found!r} has it; "
            f"leave out loss={shown(loss)}, or that layer"
        )
    return found


def from_state_dict(
    state: Mapping[str, Any],
    *,
    activation: str,
    loss: str = "cross_entropy",
    backend: str | Backend = "numpy",
) -> TwoLayerNet:
    """A network of the tensors of a ``state_dict``, such as ``torch.load`` gives of a ``.pt`` file.

    Parameters
    ----------
    state : mapping of str to torch.Tensor
        ``0.weight`` (units, features), ``0.bias`` (units,), ``2.weight`` (outputs, units) and
        ``2.bias`` (outputs,), on the CPU. The tensors are copied.
    activation, loss : str
        What the tensors do not say.
    backend : str or Backend

    Raises
    ------
    DtypeError, InputError
        If a tensor is missing, is on a device, or does not fit the others.

    Examples
    --------
    >>> import fastnn
    >>> from fastnn.export import from_state_dict, state_dict
    >>> net = fastnn.TwoLayerNet(4, 3, 2, rng=0)
    >>> again = from_state_dict(state_dict(net), activation="sigmoid")  # doctest: +SKIP
    >>> bool((again.params["W1"] == net.params["W1"]).all())  # doctest: +SKIP
    True
    """
    choice(activation, "activation", ACTIVATIONS)
    choice(loss, "loss", LOSSES)
    if not isinstance(state, Mapping) or state.keys() != _NAMES.keys():
        names = shown(list(state)) if isinstance(state, Mapping) else f"a {kind(state)}"
        raise InputError(f"state has {names}; it has to have {', '.join(_NAMES)}")
    arrays = {of: _array(state[name], name) for name, of in _NAMES.items()}
    W1, W2 = arrays["W1"], arrays["W2"]
    shapes = TwoLayerNet.shapes(W1.shape[0], W1.shape[-1], W2.shape[-1])
    for name, of in _NAMES.items():
        a = arrays[of]
        if a.shape != shapes[of]:
            raise InputError(
                f"{name} has shape {a.shape[::-1]}; {shapes[of][::-1]} fits the others"
            )
        if a.dtype != W1.dtype:
            raise DtypeError(f"{name} is of {a.dtype}, and 0.weight of {W1.dtype}; make them alike")
    network = TwoLayerNet(
        *(*W1.shape, W2.shape[1]),
        activation=activation,
        loss=loss,
        backend=backend,
        dtype=W1.dtype,
        rng=0,
    )
    network.params = {name: network._parameter(a) for name, a in arrays.items()}
    return network


def _array(tensor: Any, name: str) -> np.ndarray:
    """A tensor as an array of ours: transposed, a copy."""
    library = torch()
    if not isinstance(tensor, library.Tensor):
        raise DtypeError(f"{name} is a {kind(tensor)}; give a tensor of PyTorch's")
    if tensor.device.type != "cpu":
        raise InputError(
            f"{name} is on {tensor.device}, and is needed on the CPU; give module.cpu()"
        )
    if tensor.dtype not in (library.float32, library.float64):
        raise DtypeError(f"{name} is of {tensor.dtype}; give module.float() or module.double()")
    if tensor.ndim != (2 if name.endswith("weight") else 1) or 0 in tensor.shape:
        raise InputError(f"{name} has shape {tuple(tensor.shape)}; give that of a Linear")
    array = np.array(tensor.detach().numpy().T, order="C")
    check_finite(array, name)
    return array
