"""Tables: Parquet files, and frames of pandas, polars and whatever else exports Arrow's columns.

PyArrow reads them; it comes with ``pip install 'fastnn[data]'``.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import BackendNotInstalledError, DataFileError, DtypeError, InputError
from ..validation import kind, shown
from .labels import MOST_CLASSES
from .paths import shown as shown_path
from .sources import Options, Part, Source

#: The number of a column as a text.
_NUMBER = re.compile(r"-?\d+")

#: How many names of columns a message lists.
FEW = 8


class DataDependencyError(BackendNotInstalledError):
    """A library that reads such data is not installed."""


def arrow() -> Any:
    """PyArrow, or an error that names the extra."""
    try:
        import pyarrow
    except ImportError as error:
        raise DataDependencyError(
            f"tables and frames need PyArrow ({error}): pip install 'fastnn[data]'"
        ) from error
    return pyarrow


def is_frame(source: Any) -> bool:
    """Whether it is a frame of columns, of any library that exports them to Arrow."""
    return hasattr(type(source), "__arrow_c_stream__") and not isinstance(source, (str, Path))


def read_frame(frame: Any, options: Options) -> Source:
    """The samples in a frame of pandas, polars or Arrow."""
    try:
        table = arrow().table(frame)
    except (TypeError, ValueError) as error:
        raise DtypeError(f"the {kind(frame)} does not convert to columns: {error}") from error
    return source_of(table, options, f"the {kind(frame)}")


def read_parquet(path: Path, options: Options) -> Source:
    """The samples in a Parquet file."""
    pyarrow = arrow()
    from pyarrow import parquet

    try:
        table = parquet.read_table(str(path), partitioning=None)
    except MemoryError as error:
        raise DataFileError(f"{shown_path(path)} is too large for the memory") from error
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise DataFileError(
            f"{shown_path(path)} is not a Parquet file that can be read: {error}"
        ) from error
    return source_of(table, options, shown_path(path))


def source_of(table: Any, options: Options, where: str, *, unnamed: bool = False) -> Source:
    """The samples and labels in columns.

    Parameters
    ----------
    table : pyarrow.Table
    options : Options
    where : str
        For messages.
    unnamed : bool
        The names of the columns are but their numbers.
    """
    names = [str(name).strip() for name in table.column_names]
    if not table.num_rows or not names:
        raise DataFileError(
            f"{where} has {table.num_rows} rows and {len(names)} columns; give some"
        )
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataFileError(f"{where} has two columns named {shown(twice)}; rename one")
    places = [i for i, name in enumerate(names) if name.startswith("__index_level_")]
    dropped = {column_number(names, column, where, "drop") for column in options.drop} | {*places}
    target = None
    if options.needs_target:
        target = _target(names, options.target, where)
    if options.features is None:
        features = [i for i in range(len(names)) if i != target and i not in dropped]
    elif unnamed and len(names) - (target is not None) == len(options.features):
        features = [i for i in range(len(names)) if i != target]  # without names: in that order
    else:
        features = [_feature(names, name, where) for name in options.features]
    if not features:
        raise InputError(f"{where} has no columns of features; it has {_list(names)}")
    if options.count not in (None, len(features)):
        raise InputError(
            f"{where} has {len(features)} columns of features, and the model takes "
            f"{options.count}; give samples such as it was trained on"
        )

    x = np.empty((table.num_rows, len(features)), _dtype(table, features))
    for i, number in enumerate(features):
        x[:, i] = _numbers(table.column(number), names[number], where, options)
    labels = None
    if target is not None:
        labels = _labels(table.column(target), names[target], where)
    return Source(
        Part(x, labels),
        features=[names[i] for i in features],
        target=None if target is None else names[target],
        name=where,
    )


def column_number(names: list[str], column: Any, where: str, what: str) -> int:
    """The number of a column that is given by its name or number, which may count from the end."""
    if isinstance(column, str) and column in names:
        return names.index(column)
    number = column_of(column)
    if number is not None:
        if -len(names) <= number < len(names):
            return number % len(names)
        raise InputError(
            f"{what}={shown(column)}, and {where} has {len(names)} columns, numbered from 0"
        )
    raise InputError(f"{where} has no column {shown(column)}; it has {_list(names)}")


def column_of(column: Any) -> int | None:
    """The number that stands for a column, perhaps as a text; None where it is a name."""
    if isinstance(column, str) and len(column) < 10 and _NUMBER.fullmatch(column.strip()):
        return int(column)
    is_number = isinstance(column, int | np.integer) and not isinstance(column, bool)
    return int(column) if is_number else None


def _target(names: list[str], target: Any, where: str) -> int:
    if target is None:
        raise InputError(
            f"{where} is a table; name the target, the column with the labels. "
            f"It has {_list(names)}"
        )
    return column_number(names, target, where, "target")


def _feature(names: list[str], name: str, where: str) -> int:
    if name not in names:
        raise InputError(
            f"{where} has no column {shown(name)}, which the model was trained on; "
            f"it has {_list(names)}"
        )
    return names.index(name)


def _list(names: list[str]) -> str:
    few = ", ".join(shown(name) for name in names[:FEW])
    return f"{few}{f', … ({len(names)} in all)' if len(names) > FEW else ''}"


def _dtype(table: Any, features: list[int]) -> type[np.floating]:
    """float32 where each column is of that or a shorter dtype, else float64."""
    short = {"float", "halffloat", "int8", "uint8", "int16", "uint16", "bool"}
    kinds = {str(table.schema.field(i).type) for i in features}
    return np.float32 if kinds <= short else np.float64


def _numbers(column: Any, name: str, where: str, options: Options) -> np.ndarray:
    """A column of numbers; refused with row and column where one is missing or none."""
    leave_out = f"leave the column out: drop={shown(name)}, or " if options.count is None else ""
    pyarrow = arrow()
    types = pyarrow.types
    column = _decoded(column)
    of = column.type
    _refuse_missing(column, name, where)
    if types.is_decimal(of) or types.is_boolean(of):
        column = column.cast(pyarrow.float64())
    elif not (types.is_integer(of) or types.is_floating(of)):
        first = column[0].as_py()
        if (bad := _first_word(column)) is not None:
            row, value = bad
            raise InputError(
                f"{where}, row {row + 1}, column {shown(name)} holds {shown(value)} and no number; "
                f"{leave_out}put a number there"
            )
        raise InputError(
            f"{where}, column {shown(name)} holds {shown(first)}, of type {of}, and no numbers; "
            f"{leave_out}put numbers there"
        )
    values: np.ndarray = np.asarray(column)
    if values.dtype.kind == "f" and not (finite := np.isfinite(values)).all():
        row = int(finite.argmin())
        what = "missing (NaN)" if np.isnan(values[row]) else f"{values[row]}"
        raise InputError(
            f"{where}, row {row + 1}, column {shown(name)} is {what}; "
            "put a number there, or drop the row"
        )
    return values


def _labels(column: Any, name: str, where: str) -> np.ndarray:
    pyarrow = arrow()
    types = pyarrow.types
    column = _decoded(column)
    _refuse_missing(column, name, where)
    of = column.type
    if types.is_integer(of) or types.is_floating(of) or types.is_boolean(of):
        return np.asarray(column)
    if types.is_decimal(of):
        return np.asarray(column.cast(pyarrow.float64()))
    if types.is_string(of) or types.is_large_string(of) or str(of) == "string_view":
        names = column.unique()
        if len(names) > MOST_CLASSES:
            raise InputError(f"{where}, column {shown(name)} has {len(names)} different values")
        return np.array(column.to_pylist(), dtype=np.str_)
    raise InputError(
        f"{where}, column {shown(name)} is of type {of}; labels are whole numbers or names"
    )


def _decoded(column: Any) -> Any:
    """A column of categories as the values themselves."""
    pyarrow = arrow()
    if pyarrow.types.is_dictionary(column.type):
        return column.cast(column.type.value_type)
    return column


def _refuse_missing(column: Any, name: str, where: str) -> None:
    if column.null_count:
        row = int(np.asarray(column.is_null()).argmax())
        raise InputError(
            f"{where}, row {row + 1}, column {shown(name)} is missing; "
            "put a value there, or drop the row"
        )


def _first_word(column: Any) -> tuple[int, str] | None:
    """The first text in a column that is no number."""
    for row, value in enumerate(column.to_pylist()):
        if isinstance(value, str):
            try:
                float(value)
            except ValueError:
                return row, value
    return None
