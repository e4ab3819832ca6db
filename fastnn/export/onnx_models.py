"""A network as an ONNX model: the scaling of its samples, its layers, its output, and a label.

The input ``samples`` is (batch, features), any number of samples at a time, as they come: before
the scaling that the network's file holds, if any. The first output has the name of what it is,
``probabilities``, ``logits`` or ``values``; where the network is a classifier, ``label`` follows.
Every operation is of the network's dtype, in float64 as well, and has a kernel for that in
onnxruntime on the CPU.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .. import __version__
from ..base_network import Network
from ..data.preprocessing import preprocessing_of
from ..errors import DtypeError, ExtraNotInstalledError, InputError
from ..files.model import parameters
from ..networks import SimpleNet, TwoLayerNet
from ..validation import kind, shown
from .description import texts

if TYPE_CHECKING:
    from onnx import ModelProto

#: The version of the operators and of the file format: the latest ones that onnxruntime knows from
#: 1.22, of May 2025, on. None of these operators has changed since.
OPSET, IR_VERSION = 22, 10

#: The operator that an activation of the hidden layer is, None for none at all.
ACTIVATIONS: dict[str, str | None] = {
    "sigmoid": "Sigmoid",
    "tanh": "Tanh",
    "relu": "Relu",
    "identity": None,
}

#: The operator that makes the output of the logits, by the loss, and what that output is called.
OUTPUTS: dict[str, tuple[str | None, str]] = {
    "cross_entropy": ("Softmax", "probabilities"),
    "binary_cross_entropy": ("Sigmoid", "probabilities"),
    "mean_squared_error": (None, "values"),
}

#: A model in the format that onnx writes takes no more bytes than this.
MOST_BYTES = 2**31 - 2**20


def to_onnx(network: Network) -> ModelProto:
    """The network as an ONNX model.

    Parameters
    ----------
    network : TwoLayerNet or SimpleNet

    Returns
    -------
    onnx.ModelProto
        Its input and outputs are as this module says; its metadata are the texts ``label_names``,
        ``preprocessing`` (both JSON), ``activation``, ``loss``, ``sizes``, ``dtype``,
        ``architecture`` and ``fastnn_version``.

    Raises
    ------
    ExtraNotInstalledError
        If onnx is not installed.
    InputError, DtypeError
        If the network is another one, a parameter is not finite, or there is no operator for its
        activation or loss.

    Examples
    --------
    >>> from fastnn import TwoLayerNet
    >>> from fastnn.export import to_onnx
    >>> model = to_onnx(TwoLayerNet(784, 50, 10, rng=0))
    >>> [node.op_type for node in model.graph.node]
    ['Gemm', 'Sigmoid', 'Gemm', 'Softmax', 'ArgMax']
    """
    try:
        from onnx import helper
    except ImportError as error:
        raise ExtraNotInstalledError(
            f"ONNX models need onnx ({error}): pip install 'fastnn[export]'"
        ) from error
    if type(network) not in (TwoLayerNet, SimpleNet):
        raise DtypeError(f"network is a {kind(network)}; give a TwoLayerNet or a SimpleNet")
    if network.size * network.dtype.itemsize > MOST_BYTES:
        raise InputError(
            f"the network has {network.size:,} parameters, and ONNX takes 2 GiB of them; "
            "export it as .npz"
        )
    graph = _Graph(network)
    _layers(graph, network)
    model = helper.make_model(
        graph.proto(),
        producer_name="fastnn",
        producer_version=__version__,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    helper.set_model_props(model, texts(network))
    return model


def summary(model: ModelProto) -> dict[str, Any]:
    """The opset of a model, and the shapes and dtypes of its inputs and outputs by name."""
    from onnx import helper

    def tensors(values: Any) -> dict[str, Any]:
        return {
            value.name: {
                "dtype": np.dtype(
                    helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
                ).name,
                "shape": [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim],
            }
            for value in values
        }

    return {
        "opset": model.opset_import[0].version,
        "inputs": tensors(model.graph.input),
        "outputs": tensors(model.graph.output),
    }


def output_function(network: Network) -> str | None:
    """What makes of the logits what ``network.predict`` gives."""
    return None if isinstance(network, SimpleNet) else _known(network.loss_name, OUTPUTS, "loss")[0]


def _layers(graph: _Graph, network: Network) -> None:
    """The nodes, from samples to label."""
    p = {name: graph.constant(name, value) for name, value in parameters(network).items()}
    x = graph.scaled_samples()
    k = network.sizes[-1]
    if isinstance(network, SimpleNet):
        y = graph.node("MatMul", x, p["W"], to="logits")
        graph.output(y, network.dtype, k)
    else:
        activation = _known(getattr(network, "activation", None), ACTIVATIONS, "activation")
        function, name = _known(network.loss_name, OUTPUTS, "loss")
        hidden = graph.node("Gemm", x, p["W1"], p["b1"], to="hidden_logits")
        if activation is not None:
            hidden = graph.node(activation, hidden, to="hidden")
        last = name if function is None else "logits"
        y = graph.node("Gemm", hidden, p["W2"], p["b2"], to=last)
        if function is not None:
            y = graph.node(function, y, to=name, **({"axis": -1} if function == "Softmax" else {}))
        graph.output(y, network.dtype, k)
    if network.loss_name == "binary_cross_entropy" and not isinstance(network, SimpleNet):
        half = graph.constant("one_half", np.array(0.5, network.dtype))
        decided = graph.node("Greater", y, half, to="decided")
        graph.output(graph.node("Cast", decided, to="label", type=np.int64), np.int64, k)
    elif network.loss_name == "cross_entropy" or "label_names" in vars(network):
        graph.output(graph.node("ArgMax", y, to="label", axis=-1, keepdims=0), np.int64)


def _known(name: Any, table: dict[str, Any], what: str) -> Any:
    if name not in table:
        raise InputError(
            f"{what}={shown(name)} has no formula in ONNX here; those of {', '.join(table)} have"
        )
    return table[name]


class _Graph:
    """The nodes, constants and outputs of a model while it is made."""

    def __init__(self, network: Network) -> None:
        from onnx import helper, numpy_helper

        self._helper, self._numpy_helper = helper, numpy_helper
        self._network = network
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []

    def constant(self, name: str, value: np.ndarray) -> str:
        array = np.ascontiguousarray(value)
        self._constants.append(self._numpy_helper.from_array(array.reshape(value.shape), name))
        return name

    def node(self, operator: str, *inputs: str, to: str, type: Any = None, **options: Any) -> str:
        if type is not None:
            options["to"] = self._type(type)
        self._nodes.append(self._helper.make_node(operator, list(inputs), [to], name=to, **options))
        return to

    def output(self, name: str, dtype: Any, *shape: int) -> None:
        self._outputs.append(self._value(name, dtype, *shape))

    def scaled_samples(self) -> str:
        """The input, and what the network takes of it."""
        network, preprocessing = self._network, preprocessing_of(self._network)
        scaling = None if preprocessing is None else preprocessing.scaling
        dtype = network.dtype if scaling is None else scaling.dtype
        self._inputs.append(self._value("samples", dtype, network.sizes[0]))
        x = "samples"
        if scaling is not None and scaling.method != "none":
            if np.any(scaling.offset):
                offset = self.constant("scaling_offset", np.asarray(scaling.offset, dtype))
                x = self.node("Sub", x, offset, to="shifted_samples")
            divisor = self.constant("scaling_divisor", np.asarray(scaling.divisor, dtype))
            x = self.node("Div", x, divisor, to="scaled_samples")
        if dtype != network.dtype:
            x = self.node("Cast", x, to="cast_samples", type=network.dtype)
        return x

    def proto(self) -> Any:
        return self._helper.make_graph(
            self._nodes,
            "TwoLayerNet",
            self._inputs,
            self._outputs,
            self._constants,
            doc_string=repr(self._network)[1:-1],
        )

    def _value(self, name: str, dtype: Any, *shape: int) -> Any:
        return self._helper.make_tensor_value_info(name, self._type(dtype), ["batch", *shape])

    def _type(self, dtype: Any) -> int:
        return int(self._helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))
