"""Tables as text: CSV, with commas, semicolons or tabs, with or without a header."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from ..errors import DataFileError, InputError, one_line
from .paths import shown
from .sources import Options, Source
from .tables import arrow, column_of, source_of

#: What may stand between two values, and what for one that is missing.
DELIMITERS = ",;\t|"
MISSING = ["", "NA", "N/A", "NaN", "nan", "NULL", "null", "?"]

#: How much of a file is looked at for its header, and how large a block PyArrow may be given: it
#: tells types by the first one.
LOOKED_AT, LARGEST_BLOCK = 2**16, 2**30


def read(path: Path, options: Options) -> Source:
    """The samples in a CSV file."""
    try:
        with path.open("rb") as file:
            start = file.read(LOOKED_AT)
        size = path.stat().st_size
    except OSError as error:
        raise DataFileError(f"{shown(path)} cannot be read: {error.strerror or error}") from error
    return _read(str(path), start, size, options, shown(path))


def read_text(text: bytes, options: Options, where: str) -> Source:
    """The samples in the content of such a file."""
    return _read(io.BytesIO(text), text[:LOOKED_AT], len(text), options, where)


def _read(source: Any, start: bytes, size: int, options: Options, where: str) -> Source:
    rows, delimiter = _first_rows(start, size, where)
    header = has_header(rows, options, where) if options.header is None else options.header
    pyarrow = arrow()
    from pyarrow import csv as reader

    try:
        table = reader.read_csv(
            source,
            read_options=reader.ReadOptions(
                block_size=min(max(size + 1, 2**20), LARGEST_BLOCK),
                autogenerate_column_names=not header,
            ),
            parse_options=reader.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            convert_options=reader.ConvertOptions(
                null_values=MISSING, strings_can_be_null=True, quoted_strings_can_be_null=False
            ),
        )
    except MemoryError as error:
        raise DataFileError(f"{where} is too large for the memory") from error
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        reason = str(error).removeprefix("CSV parse error: ")
        raise DataFileError(f"{where} is not a table: {reason}") from error
    if not header:
        table = table.rename_columns([str(i) for i in range(table.num_columns)])
    return source_of(table, options, where, unnamed=not header)


def _first_rows(start: bytes, size: int, where: str) -> tuple[list[list[str]], str]:
    """The first rows of a file, and what stands between values."""
    if not start.strip():
        raise DataFileError(f"{where} is empty; give a table with a row for each sample")
    if b"\0" in start:
        raise DataFileError(f"{where} is no text, and so no CSV file")
    try:
        text = start.decode("utf-8-sig", errors="strict" if len(start) == size else "ignore")
    except UnicodeDecodeError as error:
        raise DataFileError(f"{where} is not in UTF-8 ({error.reason}); save it so") from error
    lines = [line for line in text.splitlines() if line.strip()][:50]
    if len(start) < size and len(lines) > 1:
        lines = lines[:-1]  # the last one may be cut
    delimiter = max(DELIMITERS, key=lambda d: _count(lines[0], d))
    try:
        return list(csv.reader(lines, delimiter=delimiter)), delimiter
    except csv.Error as error:
        raise DataFileError(f"{where} is not a table: {error}") from error


def _count(line: str, delimiter: str) -> int:
    """How often a delimiter stands outside of quotes."""
    return "".join(line.split('"')[::2]).count(delimiter)


def has_header(rows: list[list[str]], options: Options, where: str) -> bool:
    """Whether the first row names the columns.

    It does if a column is asked for by a name that stands there, or if there is a column of numbers
    of which its value is none; where there are no numbers, if it repeats in no column.

    Raises
    ------
    InputError
        If it holds the numbers of the columns, which may be their names, or a sample.
    """
    first, others = rows[0], rows[1:]
    numbers = [str(i) for i in range(len(first))]
    if len(first) > 1 and (first == numbers or (_unnamed(options) and first == options.features)):
        raise InputError(
            f"the first row of {where} is {one_line(', '.join(first), 40)}, names of columns or a "
            "sample; say which: header=True or header=False"
        )
    # A label may be a name, too: then its column has it again.
    for at in (first.index(name) for name in _names_asked(first, options)):
        if not any(at < len(row) and row[at] == first[at] for row in others):
            return True
    if not others:
        return not any(map(_is_number, first))
    columns = [[row[i] for row in others if i < len(row)] for i in range(len(first))]
    of_numbers = [
        i for i, values in enumerate(columns) if all(_is_number(v) or v in MISSING for v in values)
    ]
    if of_numbers:
        return any(not _is_number(first[i]) and first[i] not in MISSING for i in of_numbers)
    return all(name not in values for name, values in zip(first, columns, strict=True))


def _names_asked(first: list[str], options: Options) -> list[str]:
    """The names in the first row that are asked for, and can be nothing but names.

    A text that is the number of a column stands for that one. Features that are whole numbers are
    names, such as years, if all of them are there.
    """
    features = options.features or []
    if all(column_of(name) is not None for name in features) and (
        _unnamed(options) or not set(features) <= set(first)
    ):
        features = []
    asked = [
        name
        for name in (options.target, *options.drop)
        if isinstance(name, str)
        and not ((n := column_of(name)) is not None and -len(first) <= n < len(first))
    ]
    return [name for name in (*asked, *features) if name in first]


def _unnamed(options: Options) -> bool:
    """Whether the features may be those of a table without names: the numbers of its columns."""
    features = options.features or []
    most = len(features) + 1 + len(options.drop)
    return bool(features) and all(
        (n := column_of(name)) is not None and str(n) == name and 0 <= n < most for name in features
    )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
