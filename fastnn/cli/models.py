"""The argument MODEL of commands, and the samples that they read for it."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np

from ..data import csv_files, images, reading
from ..data.paths import shown
from ..data.scaling import Samples
from ..data.sources import Options
from ..errors import DataFileError, FastnnError, InputError
from ..prediction import Predictor
from . import options as shared

#: What stands for standard input.
STANDARD_INPUT = "-"

model = click.argument("model", type=shared.AnyPath(), metavar="MODEL")


class Entry(NamedTuple):
    """Samples of one file, not scaled, and what each is called in the output."""

    names: list[str]
    x: Samples


def read_samples(predictor: Predictor, path: str, options: Options) -> Entry:
    """The samples in a file; in standard input, where the path is "-".

    Raises
    ------
    DataFileError, InputError, DtypeError
        The message names the file.
    """
    name = name_of(path)
    if path == STANDARD_INPUT:
        source = _standard_input(options)
    else:
        source = reading.read_samples(Path(path), options)
    x = (source.test or source.train).x
    check_features(predictor, x, shown(Path(name)))
    if len(x) == 1:
        return Entry([name], x)
    return Entry([f"{name}:{row + 1}" for row in range(len(x))], x)


def name_of(path: str) -> str:
    """What messages and the output call the samples of a path."""
    return "standard input" if path == STANDARD_INPUT else path


def check_features(predictor: Predictor, x: Samples, name: str) -> None:
    """Raise InputError unless samples have as many features as the model takes."""
    takes = predictor.network.sizes[0]
    if x.shape[1] != takes:
        raise InputError(
            f"{name} has samples of {x.shape[1]} features, and the model takes {takes}; "
            "give such as it was trained on"
        )


def _standard_input(options: Options) -> Any:
    """An image, numbers as JSON, or a table as CSV."""
    name = "standard input"
    if sys.stdin is None:
        raise DataFileError("there is no standard input; give files")
    raw = getattr(sys.stdin, "buffer", None)
    content = sys.stdin.read().encode() if raw is None else raw.read()
    if images.is_image(content[:16]):
        return reading.image(content, name, options)
    if content.startswith(b"\x93NUMPY"):
        return reading.source_of_arrays(_array(content), name)
    start = content.lstrip()[:1]
    if start in (b"[", b"{"):
        return reading.source_of_arrays(_from_json(content, options), name)
    return csv_files.read_text(content, options, name)


def _array(content: bytes) -> np.ndarray:
    try:
        found: np.ndarray = np.load(io.BytesIO(content), allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise DataFileError(f"standard input is no array of NumPy's: {error}") from error
    return found


def _from_json(content: bytes, options: Options) -> np.ndarray:
    """A sample, a list of samples, or an object, or several, with a number for each column."""
    try:
        given = json.loads(content)
        if isinstance(given, dict) and "samples" in given:
            given = given["samples"]
        given = [given] if isinstance(given, dict) else given
        if given and isinstance(given[0], dict):
            names = options.features or list(given[0])
            given = [[float(sample[name]) for name in names] for sample in given]
        found = np.array(given, np.float64)
    except KeyError as error:
        raise InputError(f"standard input lacks the column {error} of a sample") from error
    except (ValueError, TypeError, RecursionError, FastnnError) as error:
        raise DataFileError(f"standard input is no JSON of samples: {error}") from error
    if not np.isfinite(found).all():
        raise InputError("standard input holds NaN or infinity; give finite numbers")
    return found.reshape(1, -1) if found.ndim == 1 else found
