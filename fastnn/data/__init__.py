"""Where data come from: the MNIST that is part of the package, any IDX file, and data of one's own.

Read in this order: `sources` (what a reader gives), the readers `idx_folders`, `numpy_files`,
`tables`, `csv_files` and `image_folders`, `reading` (which of them a source is for), `labels`,
`splits`, `scaling` and `preprocessing` (what is done to what they give), and `loading`, which puts
it together. `images` and `ink` make samples of pictures.
"""

from .digits import load_mnist
from .idx import load_idx
from .loading import Data, load_data

__all__ = ["Data", "load_data", "load_idx", "load_mnist"]
