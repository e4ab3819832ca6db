"""Files of NumPy: archives (.npz), and pairs of arrays (.npy), which may be larger than memory."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataFileError, InputError
from ..streams import STREAMED_FROM, Stream
from .labels import targets_of
from .paths import checked_path, shown
from .scaling import Samples
from .sources import Options, Part, Source, check_lengths, flattened, image_shape_of

#: How samples and targets are called together.
PAIRS = (
    *(("x_{}", "y_{}"), ("x_{}", "t_{}"), ("X_{}", "y_{}"), ("{}_x", "{}_y")),
    *(("{}_images", "{}_labels"), ("{}_data", "{}_labels"), ("{}_features", "{}_labels")),
)
WHOLE = (
    *(("x", "y"), ("x", "t"), ("X", "y"), ("images", "labels"), ("data", "target")),
    *(("data", "labels"), ("features", "labels"), ("samples", "labels")),
)


def read_npz(path: Path, options: Options) -> Source:
    """An archive with arrays of such names: Keras' MNIST, MedMNIST and many more."""
    # Opened here: NumPy leaves a file open that turns out to be no archive.
    with path.open("rb") as file, _open(path, lambda: np.load(file, allow_pickle=False)) as archive:
        names = list(archive.files)

        def array(name: str) -> np.ndarray:
            found: np.ndarray = _open(path, lambda: archive[name])
            return found

        if not options.needs_target and (only := _samples_of(names, options)):
            raw = array(only)
            return Source(Part(flattened(raw, path), None), image_shape=image_shape_of(raw))
        train, test = _pair(names, "train", options), _pair(names, "test", options)
        if train is None:
            train, test = _pair(names, None, options), None
        if train is None:
            raise DataFileError(
                f"{shown(path)} holds {', '.join(names[:8]) or 'nothing'}; fastnn looks for "
                "x_train and y_train, x_test and y_test, or x and y"
            )
        raw = array(train[0])
        source = Source(
            _part(raw, array(train[1]), f"{path}"), image_shape=image_shape_of(raw), name=path.stem
        )
        if test is not None:
            source.test = _part(array(test[0]), array(test[1]), f"{path}")
        return source


def _samples_of(names: list[str], options: Options) -> str | None:
    if len(names) == 1:
        return names[0]
    found = _pair(names, "test", options) or _pair(names, None, options)
    if found is not None:
        return found[0]
    return next((one for one, _ in WHOLE if one in names), None)


def _pair(names: list[str], part: str | None, options: Options) -> tuple[str, str] | None:
    pairs = WHOLE if part is None else [(x.format(part), t.format(part)) for x, t in PAIRS]
    target = options.target
    for x, t in pairs:
        t = target if part is None and isinstance(target, str) else t
        if x in names and t in names:
            return x, t
    return None


def _part(x: np.ndarray, t: np.ndarray, path: str) -> Part:
    return check_lengths(Part(flattened(x, path), targets_of(t)), path)


def read_npy(path: Path, options: Options) -> Source:
    """Samples in a file, and their labels in another one, named after it."""
    x, shape = samples(path, options.mapped)
    if not options.needs_target:
        return Source(Part(x, None), image_shape=shape)
    beside = _targets_of(path, options.target)
    t = _open(beside, lambda: np.load(beside, allow_pickle=False))
    part = check_lengths(Part(x, targets_of(t)), path)
    return Source(part, image_shape=shape, name=path.stem)


def samples(path: Path, mapped: bool | None = None) -> tuple[Samples, tuple[int, int] | None]:
    """Samples of a .npy file, as rows, and the shape of images; mapped if that is large."""
    values = _open(path, lambda: np.load(path, mmap_mode="r", allow_pickle=False))
    if mapped is None:
        mapped = values.nbytes > STREAMED_FROM and values.flags.c_contiguous
    shape = image_shape_of(values) if values.ndim > 1 else None
    if mapped:
        return Stream(values), shape
    rows = flattened(values, path)
    return np.array(rows.astype(rows.dtype.newbyteorder("="), copy=False), order="C"), shape


def files_in(folder: Path) -> Iterator[Path]:
    """The files that :func:`read_folder` reads."""
    for pair in _pairs_in(folder).values():
        yield from pair


def _pairs_in(folder: Path) -> dict[str, tuple[Path, Path]]:
    """Samples and targets in a folder, of training and test."""
    found: dict[str, tuple[Path, Path]] = {}
    for part in ("train", "test"):
        for x, t in PAIRS:
            files = folder / f"{x.format(part)}.npy", folder / f"{t.format(part)}.npy"
            if all(file.is_file() for file in files):
                found.setdefault(part, files)
    return found


def read_folder(folder: Path, options: Options) -> Source | None:
    """A folder with such files as x_train.npy; None if there are none."""
    found = {
        part: read_npy(x, Options(target=t, mapped=options.mapped))
        for part, (x, t) in _pairs_in(folder).items()
    }
    if "train" not in found:
        return None
    source = found["train"]
    source.test = found["test"].train if "test" in found else None
    source.name = folder.name
    return source


def targets_beside(path: Path) -> Path | None:
    """The file with the labels of samples, by its name, if there is one."""
    beside = (path.parent / name for name in _names_beside(path))
    return next(filter(Path.is_file, beside), None)


def _names_beside(path: Path) -> list[str]:
    names = []
    for x, t in (*PAIRS, *WHOLE):
        for part in ("train", "test", "val", "") if "{}" in x else ("",):
            mine = x.format(part).strip("_")
            if path.stem == mine:
                names.append(t.format(part).strip("_") + path.suffix)
    return list(dict.fromkeys(names))


def _targets_of(path: Path, target: Any) -> Path:
    if target is not None:
        return checked_path(target, "target")
    if (found := targets_beside(path)) is not None:
        return found
    names = _names_beside(path)
    looked = f"there is no {', '.join(names)} beside it" if names else "of any name"
    raise InputError(
        f"{shown(path)} holds samples; name the target, the file with their labels ({looked})"
    )


def _open(path: Path, read: Callable[[], Any]) -> Any:
    """What NumPy reads there; DataFileError for what it cannot."""
    try:
        with warnings.catch_warnings():  # of headers that Python 2 wrote, or that are damaged
            warnings.simplefilter("ignore")
            return read()
    except MemoryError as error:
        raise DataFileError(f"{shown(path)} is too large for the memory: {error}") from error
    except OSError as error:
        raise DataFileError(f"{shown(path)} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # its reader of headers is Python's own parser, and raises the like
        reason = "it holds pickled objects" if "allow_pickle" in str(error) else str(error)
        raise DataFileError(
            f"{shown(path)} is not a file of NumPy's arrays that can be read: {reason}"
        ) from error
