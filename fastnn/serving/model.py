"""What is served: a network, what images become for it, and what it says of samples."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import __version__
from ..base_network import Network
from ..data.preprocessing import Preprocessing
from ..data.scaling import LARGEST_PIXEL, Scaling
from ..functions import LOSSES
from ..networks import TwoLayerNet
from ..prediction import Predictor, check_outputs

#: Features of a network that does not say what its samples are, and is taken for one of MNIST's
#: images, from 0 to 1: the book's.
MNIST_FEATURES, MNIST_SHAPE = 784, (28, 28)


class Served:
    """A network as requests use it, from any thread: nothing in it changes.

    Parameters
    ----------
    network : Network
        Of the backend ``"numpy"``.
    name : str
        What it is called, on the page too.

    Attributes
    ----------
    image_shape : (int, int) or None
        Height and width of its samples, if they are images.
    assumed : bool
        Whether that is only a guess by the number of features.

    Raises
    ------
    InputError
        If what the network says of its samples cannot be.
    """

    def __init__(self, network: Network, name: str) -> None:
        self.network, self.name = network, name
        self._predictor = Predictor(network)
        said = self._predictor.preprocessing
        self.features = network.sizes[0]
        self.assumed = said is None and self.features == MNIST_FEATURES
        if self.assumed:
            scaling = Scaling("unit", 0.0, float(LARGEST_PIXEL), np.dtype(np.float32))
            said = Preprocessing(scaling, 0.0, 1.0, None, MNIST_SHAPE, "digits")
            self._of_images = Predictor(_like(network, said))
        else:
            self._of_images = self._predictor
        self._preprocessing = said
        self.image_shape = None if said is None else said.image_shape

    def image(self, content: bytes, name: str) -> np.ndarray:
        """An image file as a sample, not scaled: uint8, shape (features,).

        Raises
        ------
        DataFileError, InputError
            If it is no image, or one without ink; or if the network was not trained on images.
        """
        return self._of_images.image(content, name).reshape(-1)

    def predict(self, x: Any, *, images: bool, details: bool) -> list[dict[str, Any]]:
        """What the network says of each sample, as JSON holds it.

        Parameters
        ----------
        x : array_like, shape (samples, features)
            As the samples come: before the scaling that the network's file knows of.
        images : bool
            Whether they are of :meth:`image`.
        details : bool
            Whether to tell of the hidden units, and of an image what it looks like, too.

        Raises
        ------
        InputError, DtypeError
            If they do not fit the network, or it says of them what is no number.
        """
        predictor = self._of_images if images else self._predictor
        with np.errstate(all="ignore"):  # what is not finite is refused below
            scaled = predictor.prepared(x)
            hidden, outputs = self._layers(scaled)
        check_outputs(outputs)
        said = predictor.preprocessing
        warning = None if said is None else said.fault(float(scaled.min()), float(scaled.max()))
        found = []
        for i, y in enumerate(outputs):
            of_sample = self._said(y)
            if warning is not None:
                of_sample["warning"] = warning
            if details and hidden is not None:
                of_sample["hidden"] = hidden[i].tolist()
            if details and images:
                of_sample["image"] = np.asarray(x[i]).tolist()
            found.append(of_sample)
        return found

    def metadata(self) -> dict[str, Any]:
        """What the network is, as JSON holds it."""
        network, said = self.network, self._preprocessing
        return {
            "name": self.name,
            "network": type(network).__name__,
            "sizes": list(network.sizes),
            "activation": getattr(network, "activation", None),
            "loss": network.loss_name,
            "dtype": network.dtype.name,
            "labels": self._predictor.label_names,
            "outputs": self._outputs,
            "features": self._names,
            "scaling": None if said is None or self.assumed else said.scaling.method,
            "range": None if said is None else [said.low, said.high],
            "image": None if self.image_shape is None else list(self.image_shape),
            "assumed": self.assumed,
            "fastnn_version": __version__,
        }

    @property
    def _names(self) -> list[str] | None:
        """The names of the features."""
        said = self._preprocessing
        return None if said is None or said.features is None else list(said.features)

    @property
    def _outputs(self) -> str:
        """What the outputs are."""
        if LOSSES[self.network.loss_name].targets == "values":
            return "values"
        return "probabilities"

    def _layers(self, scaled: np.ndarray) -> tuple[np.ndarray | None, np.ndarray]:
        """The hidden units, if there are any, and the outputs; each computed once."""
        network, backend = self.network, self.network.backend
        x, _ = network._enter(scaled)
        p, hidden = network.params, None
        if isinstance(network, TwoLayerNet):
            hidden = backend.dense(x, p["W1"], p["b1"], network.activation)
            logits = backend.dense(hidden, p["W2"], p["b2"])
        else:
            logits = network._logits(x)
        return hidden, backend.output(logits, network.loss_name)

    def _said(self, y: np.ndarray) -> dict[str, Any]:
        names, loss = self._predictor.label_names, LOSSES[self.network.loss_name]
        if loss.targets == "probabilities":  # each output is a yes or no by itself
            said: dict[str, Any] = {"labels": [names[i] for i in np.flatnonzero(y > 0.5)]}
        elif len(y) > 1:
            best = int(y.argmax())
            said = {"label": names[best], "index": best}
        else:
            said = {}
        return said | {self._outputs: y.tolist()}


def _like(network: Network, said: Preprocessing) -> Network:
    """The network with this preprocessing; the parameters are shared."""
    made = object.__new__(type(network))
    vars(made).update(vars(network))
    vars(made)["preprocessing"] = said.to_dict()
    return made
