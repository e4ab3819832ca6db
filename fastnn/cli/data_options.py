"""The options that say what to read, and how: those of :func:`fastnn.load_data`."""

from __future__ import annotations

from types import SimpleNamespace

import click

from ..data import Data, load_data
from ..data.preprocessing import IMAGE_WAYS
from ..data.scaling import METHODS
from . import options
from .help import option, together

DATA = "Data"

source = option(
    "--data",
    type=options.Source(),
    metavar="PATH",
    group=DATA,
    help="A .csv, .parquet, .npz or .npy file, or a folder of IDX or .npy files, or of images, "
    "one subfolder a class.  [default: MNIST]",
)
target = option(
    "--target",
    metavar="COLUMN|FILE",
    group=DATA,
    help="The column with the labels, by name or number; of a .npy file the file with them.",
)
split = together(
    option(
        "--test-fraction",
        type=options.FRACTION,
        metavar="FRACTION",
        group=DATA,
        help="Of the samples of each class, to set aside for the test.",
    ),
    option(
        "--split-seed",
        type=options.Whole(min=0),
        metavar="N",
        default=0,
        show_default=True,
        group=DATA,
        help="Which ones.",
    ),
)
test = option(
    "--test",
    type=options.Source(),
    metavar="PATH",
    group=DATA,
    help="Test samples of their own, like --data.",
)
scaling = option(
    "--scaling",
    type=click.Choice(METHODS),
    group=DATA,
    help="Of each feature: none, to [0, 1], or to mean 0 and deviation 1; kept in the model.  "
    "[default: unit for pixels, else standard]",
)
_header = option(
    "--header/--no-header",
    default=None,
    group=DATA,
    help="Whether the first row of a CSV file has the names.  [default: looked at]",
)
_transpose = option(
    "--transpose",
    is_flag=True,
    group=DATA,
    help="Exchange rows and columns of IDX images, as EMNIST's need.",
)
reading = together(
    option(
        "--drop",
        multiple=True,
        metavar="COLUMN",
        group=DATA,
        help="Leave this column out; may be repeated.",
    ),
    _header,
    _transpose,
    option(
        "--first-label",
        type=options.Whole(min=0),
        metavar="N",
        group=DATA,
        help="The first label of IDX files, such as 1 for EMNIST's letters.",
    ),
)
#: Of samples for a model, which says the rest.
reading_flags = together(_header, _transpose)

pictures = together(
    option(
        "--images",
        type=click.Choice(IMAGE_WAYS),
        group=DATA,
        help="How image files become samples: as MNIST's digits were made, or resized only.  "
        "[default: digits]",
    ),
    option(
        "--image-size",
        type=options.COUNT,
        metavar="PIXELS",
        group=DATA,
        help="The side of these samples.  [default: 28]",
    ),
)

#: Of what is trained on.
of_training = together(source, target, test, split, scaling, reading, pictures)


def loaded(o: SimpleNamespace) -> Data:
    """The data that the options of a training name."""
    return load_data(
        o.data,
        target=o.target,
        test=o.test,
        test_fraction=o.test_fraction,
        rng=o.split_seed,
        scaling=o.scaling,
        drop=o.drop,
        header=o.header,
        transpose=o.transpose,
        first_label=o.first_label,
        images=o.images,
        image_size=o.image_size,
        streamed=True,
    )
