"""From samples as they come, or images, to labels: a network with what was done to its data."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import numpy as np

from .backends import Backend
from .base_network import Network
from .data.images import sample_of
from .data.paths import checked_path
from .data.preprocessing import preprocessing_of, warn_of
from .data.reading import read, read_samples
from .data.scaling import Samples
from .data.sources import Options
from .data.tables import is_frame
from .errors import InputError
from .files import load
from .functions import LOSSES
from .streams import PIECE, Stream
from .validation import check_samples, real_array

#: Samples that the network has at a time.
AT_A_TIME = 2000


class Predictions(NamedTuple):
    """What a network says of some samples.

    Attributes
    ----------
    labels : list of str
        The class of the largest output, by its name; of several that are independent of each other
        (``"binary_cross_entropy"``) the most probable one. Of a single output ``"1"`` where its
        probability is above one half and ``"0"`` elsewhere, and with the squared error its value.
    outputs : numpy.ndarray, shape (samples, classes)
        Probabilities; of a network with the squared error, outputs of any size.
    """

    labels: list[str]
    outputs: np.ndarray

    @property
    def numbers(self) -> np.ndarray:
        """The number of each class, from 0: int64, shape (samples,)."""
        return self.outputs.argmax(axis=1)


class Predictor:
    """A network with its label names and the scaling of its samples, as its file has them.

    Parameters
    ----------
    network : Network
        Best one that :meth:`fastnn.data.Data.describe` has told of them. One that knows of none
        takes samples as they are, and has the numbers of its outputs for names.

    Attributes
    ----------
    network : Network
    label_names : list of str
    preprocessing : Preprocessing or None

    Raises
    ------
    InputError
        If what the network says of its samples cannot be.

    Examples
    --------
    >>> from fastnn import TwoLayerNet
    >>> from fastnn.data import load_data
    >>> data = load_data()
    >>> network = TwoLayerNet(784, 50, 10, rng=0)
    >>> data.describe(network)
    >>> pixels = np.zeros((2, 784), np.uint8)
    >>> pixels[:, 300:310] = 255
    >>> predictions = Predictor(network)(pixels)
    >>> len(predictions.labels), predictions.outputs.shape
    (2, (2, 10))
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self.preprocessing = preprocessing_of(network)
        names = vars(network).get("label_names")
        count = network.sizes[-1]
        numbers = ["output"] if count == 1 else [str(i) for i in range(count)]
        self.label_names = numbers if names is None else list(names)

    @classmethod
    def load(cls, path: str | os.PathLike[str], backend: str | Backend = "auto") -> Predictor:
        """That of a model's file: see :func:`fastnn.load`."""
        return cls(load(path, backend))

    @property
    def gives_probabilities(self) -> bool:
        """Whether the outputs are probabilities."""
        return LOSSES[self.network.loss_name].targets != "values"

    @property
    def image_shape(self) -> tuple[int, int] | None:
        """Height and width of the samples, if they are images."""
        return None if self.preprocessing is None else self.preprocessing.image_shape

    def __call__(self, x: Any) -> Predictions:
        """What the network says of samples as they come: not scaled.

        Parameters
        ----------
        x : array_like, shape (samples, features), or (features,) for one; a stream or a frame
            Images may have a shape of (samples, height, width).

        Raises
        ------
        InputError, DtypeError
            If they do not fit the network, or they or the outputs for them hold NaN or infinity.

        Warns
        -----
        UserWarning
            If they are far outside of what the network was trained on.
        """
        x = self._entered(x)
        rows = min(AT_A_TIME, max(PIECE // (8 * x.shape[1]), 1))
        network, low, high = self.network, np.inf, -np.inf
        found = []
        for start in range(0, len(x), rows):
            some = x[start : start + rows]
            with network.backend.current(), np.errstate(all="ignore"):  # all of it is checked
                some = some if self.preprocessing is None else self.preprocessing(some)
                low, high = min(low, float(some.min())), max(high, float(some.max()))
                entered, _ = network._enter(some)
                found.append(network.backend.to_numpy(network._outputs_of(entered)))
        outputs = np.concatenate(found)
        check_outputs(outputs)
        if self.preprocessing is not None:
            warn_of(self.preprocessing.fault(low, high))
        return Predictions(self._labels(outputs), outputs)

    def _labels(self, outputs: np.ndarray) -> list[str]:
        if outputs.shape[1] > 1:
            return [self.label_names[i] for i in outputs.argmax(axis=1)]
        if self.gives_probabilities:
            return ["1" if p > 0.5 else "0" for p in outputs[:, 0]]
        return [f"{value:g}" for value in outputs[:, 0]]

    def prepared(self, x: Any) -> np.ndarray:
        """Samples as the network takes them: scaled, shape (samples, features)."""
        entered = self._entered(x)
        some = entered[:] if isinstance(entered, Stream) else entered
        return some if self.preprocessing is None else self.preprocessing(some)

    def image(
        self, source: str | os.PathLike[str] | bytes | np.ndarray, name: str | None = None
    ) -> np.ndarray:
        """An image as a sample of this network, not scaled: uint8, shape (height, width).

        Parameters
        ----------
        source : path, bytes or array
            An image file or its content, or its shades of grey, uint8, shape (height, width).
        name : str, optional
            For messages.

        Raises
        ------
        DataFileError, InputError
            If it is no image, or one without ink; or if the network was not trained on images.
        """
        from .data.images import as_sample

        shape, way = self._of_images()
        if isinstance(source, np.ndarray):
            return as_sample(source, shape, way)
        return sample_of(source, shape, way, name)

    def read(self, path: Any, **options: Any) -> Samples:
        """The samples in a file, not scaled; an image is one, and labels are ignored.

        Parameters
        ----------
        path : path or frame
            Columns are taken by the names that they had in the training.
        **options
            What :func:`fastnn.load_data` has, such as ``transpose``.

        Raises
        ------
        DataFileError, InputError, DtypeError
            If it cannot be read, or lacks a column.
        """
        if is_frame(path):
            return read(path, self.options(**options)).train.x
        source = read_samples(checked_path(path, "path"), self.options(**options))
        return (source.test or source.train).x

    def options(self, **others: Any) -> Options:
        """How to read samples for this network."""
        known: dict[str, Any] = {"needs_target": False, "count": self.network.sizes[0]}
        if self.preprocessing is not None:
            known["features"] = self.preprocessing.features
            if self.preprocessing.image_shape is not None:
                known["image_shape"], known["image_way"] = self._of_images()
        return Options(**known | others)

    def _of_images(self) -> tuple[tuple[int, int], str]:
        found = self.preprocessing
        if found is None or found.image_shape is None:
            raise InputError(
                "the network was not trained on images, or does not say so; "
                f"give samples of {self.network.sizes[0]} features"
            )
        return found.image_shape, found.image_way or "digits"

    def _entered(self, x: Any) -> Any:
        if isinstance(x, Stream):
            return x
        if is_frame(x):
            return self.read(x)
        x = np.asarray(real_array(x, "x"))
        if x.ndim > 2 or (x.ndim == 2 and x.shape == self.image_shape):
            x = x.reshape(1 if x.shape == self.image_shape else len(x), -1)
        return check_samples(x, self.network.sizes[0], "x")


def check_outputs(outputs: np.ndarray) -> None:
    """Raise InputError unless all outputs of a network are finite."""
    finite = np.isfinite(outputs).all(axis=1)
    if not finite.all():
        raise InputError(
            f"the outputs for x[{finite.argmin()}] are beyond the range of {outputs.dtype}; "
            "give smaller samples, or a network of smaller parameters"
        )
