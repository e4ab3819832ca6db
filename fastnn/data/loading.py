"""Data of one's own: read, split, numbered and scaled, and what of that goes with a model."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..errors import DtypeError, InputError
from ..streams import Stream
from ..validation import choice, generator, positive_int, real_number
from .labels import Labels
from .preprocessing import IMAGE_WAYS, Preprocessing
from .reading import read
from .scaling import METHODS, Samples, Scaling, check_finite, fit
from .sources import Options, Source
from .splits import stratified

#: How samples are scaled where nobody says: pixels of 8 bits, and all others.
OF_PIXELS, OF_OTHERS = "unit", "standard"


@dataclass
class Data:
    """Samples and labels, ready to train on; it unpacks as ``load_mnist`` does.

    Attributes
    ----------
    x_train, x_test : array or Stream, shape (samples, features), or None
        Scaled. Of a large .npy file, or if asked for, a stream, which :func:`fastnn.train` takes.
    t_train, t_test : array of int64, shape (samples,), or None
        Labels from 0.
    label_names : list of str
        What they stand for.
    preprocessing : Preprocessing
    name : str
        What was read.
    """

    x_train: Samples
    t_train: np.ndarray
    x_test: Samples | None
    t_test: np.ndarray | None
    label_names: list[str]
    preprocessing: Preprocessing
    name: str = "the data"

    @property
    def sizes(self) -> tuple[int, int]:
        """Features and classes: the first and the last size of a network for this data."""
        return self.x_train.shape[1], len(self.label_names)

    def describe(self, network: Any) -> None:
        """Let a network know what its outputs stand for and how its samples were scaled.

        ``network.save`` then writes it to the file, and :class:`fastnn.Predictor` goes by it.
        """
        if (network.sizes[0], network.sizes[-1]) != self.sizes:
            features, classes = self.sizes
            raise InputError(
                f"the network is {'-'.join(map(str, network.sizes))}, and the data has "
                f"{features} features and {classes} classes; make one of these sizes"
            )
        network.label_names = list(self.label_names)
        network.preprocessing = self.preprocessing.to_dict()

    def __iter__(self) -> Iterator[Any]:
        yield self.x_train, self.t_train
        yield self.x_test, self.t_test


def load_data(
    path: Any = None,
    *,
    target: str | int | os.PathLike[str] | None = None,
    test: Any = None,
    test_fraction: float | None = None,
    rng: Any = 0,
    scaling: str | None = None,
    drop: Sequence[str | int] = (),
    header: bool | None = None,
    transpose: bool = False,
    first_label: int | None = None,
    images: str | None = None,
    image_size: int | None = None,
    mapped: bool | None = None,
    streamed: bool = False,
) -> Data:
    """Samples and labels from files, folders and frames, ready to train on.

    ====================  ==========================================================================
    path                  what it is
    ====================  ==========================================================================
    none                  the MNIST of the package
    folder of IDX files   four, named as MNIST's or EMNIST's, gzipped or not; where there are
                          several sets, the folder with the name of one, as "emnist/emnist-letters"
    folder of .npy        x_train.npy and y_train.npy, perhaps x_test.npy and y_test.npy
    folder of images      one subfolder a class; or two folders, train and test, of such
    .npz                  x_train and y_train (or x and y), perhaps x_test and y_test: Keras' MNIST
    .npy                  samples; labels in a file of the matching name, or `target`
    .csv, .tsv, .parquet  a table, of which the column `target` holds the labels
    a frame               of pandas, polars or any library that exports Arrow's columns
    ====================  ==========================================================================

    Tables need ``pip install 'fastnn[data]'``, and images, too.

    Parameters
    ----------
    path : path, frame or None
    target : str, int or path, optional
        The column with the labels, by name or number (negative: from the end); of a .npy file the
        file with them. Labels are whole numbers or names, and are numbered in ascending order.
    test : path or frame, optional
        Test samples of their own, of the same kind; or a pair of them and their target.
    test_fraction : float, optional
        The part of the samples to set aside for a test: as large a share of each class.
    rng : None, int or numpy.random.Generator
        Which ones.
    scaling : {"none", "unit", "standard"}, optional
        What is done to each feature, as the training part says: nothing; to [0, 1], pixels by 255;
        or to mean 0 and standard deviation 1. By default "unit" for pixels, which are bytes that
        are no column of a table, and else "standard".
    drop : sequence of str or int
        Columns to leave out.
    header : bool, optional
        Whether the first row of a CSV file names the columns. By default it is looked at.
    transpose : bool
        Exchange the rows and the columns of images in IDX files, as those of EMNIST need.
    first_label : int, optional
        The first label of IDX files, as 1 for EMNIST's letters. By default 0, and there are ten
        classes at least.
    images : {"digits", "resize"}, optional
        How image files become samples: as MNIST's were made (grey, light ink on black, cropped to
        the ink, centred by mass), or only resized. By default the former.
    image_size : int, optional
        Pixels a side of these samples; by default 28.
    mapped : bool, optional
        Whether a .npy file stays where it is, and is read batch by batch. By default one of more
        than 256 MiB does.
    streamed : bool
        Samples as streams, which are scaled when they are read, a piece at a time: pixels stay
        bytes until they enter a training, a quarter of what they take when they are scaled.

    Returns
    -------
    Data

    Raises
    ------
    DataFileError
        If a file is missing, damaged, or of no format that fastnn knows.
    InputError, DtypeError
        If a column is not there, a value is missing or is no number (the message names row and
        column), a label is none, or what is asked for does not fit together.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from fastnn import TwoLayerNet, train
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "flowers.npz")
    ...     x = np.random.default_rng(0).normal(size=(60, 4))
    ...     np.savez(path, x=x, y=np.where(x[:, 0] > 0, "rose", "tulip"))
    ...     data = load_data(path, test_fraction=0.2)
    >>> data.x_train.shape, data.x_test.shape, data.label_names
    ((48, 4), (12, 4), ['rose', 'tulip'])
    >>> features, classes = data.sizes
    >>> network = TwoLayerNet(features, 8, classes, rng=0)
    >>> history = train(network, data.x_train, data.t_train, iterations=100, rng=0)
    >>> data.describe(network)
    >>> network.label_names
    ['rose', 'tulip']
    """
    options = Options(
        target=target,
        drop=_columns(drop),
        header=header,
        transpose=transpose,
        first_label=None if first_label is None else positive_int(first_label, "first_label", 0),
        mapped=mapped,
        image_way=None if images is None else choice(images, "images", IMAGE_WAYS),
        image_size=None if image_size is None else positive_int(image_size, "image_size"),
    )
    if scaling is not None:
        choice(scaling, "scaling", METHODS)
    if test is not None and test_fraction is not None:
        raise InputError("test= and test_fraction= both say what the test samples are; give one")
    if test_fraction is not None:
        test_fraction = real_number(test_fraction, "test_fraction", above=0)
        if test_fraction >= 1:
            raise InputError(f"test_fraction={test_fraction:g}; give less than 1")
    source = read(path, options)
    if source.image_shape is not None and source.image_way is None:
        source.image_way = options.image_way or IMAGE_WAYS[0]
    if test is not None:
        _add_test(source, test, options)
    elif test_fraction is not None and source.test is not None:
        raise InputError(
            f"{source.name} has test samples of its own; leave out test_fraction, "
            "or give the files of the training samples alone"
        )
    return _prepared(source, scaling, test_fraction, rng, streamed=streamed)


def _columns(drop: Any) -> tuple[Any, ...]:
    if isinstance(drop, str | int):
        return (drop,)
    try:
        return tuple(drop)
    except TypeError as error:
        raise DtypeError(f"drop={drop!r} names no columns; give a sequence of them") from error


def _add_test(source: Source, test: Any, options: Options) -> None:
    """The test samples of a source of their own."""
    if source.test is not None:
        raise InputError(f"{source.name} has test samples of its own; leave out test")
    if isinstance(test, tuple):
        if len(test) != 2:
            raise InputError(f"test has {len(test)} entries; give a pair, samples and target")
        test, target = test
        options = replace(options, target=target)
    elif source.target is None:  # not the file of the training labels
        options = replace(options, target=None)
    if source.features is not None:  # in the same order
        target = source.target if options.target is None else options.target
        options = replace(options, features=source.features, target=target, drop=())
    found = read(test, options)
    if found.train.x.shape[1] != source.train.x.shape[1]:
        raise InputError(
            f"the test samples have {found.train.x.shape[1]} features, and the training samples "
            f"{source.train.x.shape[1]}"
        )
    source.test = found.train


def _prepared(
    source: Source, method: str | None, fraction: float | None, rng: Any, *, streamed: bool
) -> Data:
    train, test = source.train, source.test
    labels = source.labels or Labels.of(train.labels)
    if len(labels.names) < 2:
        raise InputError(
            f"the target has the one value {labels.names[0]!r}; there must be two classes at least"
        )
    if fraction is not None:
        rows, others = stratified(train.labels, fraction, generator(rng))
        train, test = train.rows(rows), train.rows(others)
    method = method or (OF_PIXELS if source.pixels else OF_OTHERS)
    try:
        scaling, low, high = fit(method, train.x, pixels=source.pixels)
        if test is not None:
            check_finite(test.x)
    except InputError as error:
        raise InputError(f"{source.name}: {error}") from error
    preprocessing = Preprocessing(
        *(scaling, low, high, source.features, source.image_shape, source.image_way),
        target=source.target,
    )
    t_train = labels.numbers(train.labels)
    parts = _scaled(train.x, scaling, streamed), t_train, None, None
    data = Data(*parts, labels.names, preprocessing, source.name)
    if test is not None and test.t is not None:
        data.x_test = _scaled(test.x, scaling, streamed)
        data.t_test = labels.numbers(test.t, "the target of the test samples")
    return data


def _scaled(x: Samples, scaling: Scaling, streamed: bool) -> Samples:
    if not isinstance(x, Stream):
        return Stream(np.ascontiguousarray(x), None, scaling) if streamed else scaling(x)
    if scaling.method == "none" and x.dtype == scaling.dtype:
        return x
    made = x.transformed(scaling)
    made.finite_as |= x.finite_as
    return made
