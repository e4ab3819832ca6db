"""What was measured, for a person: a table, a picture, and how numbers look in both."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import InputError
from .book_net import BOOK_PARAMETERS

#: The two parts of what :func:`fastnn.bench.measure.measure` returns.
PARTS = ("training_step", "numerical_gradient")

#: What stands below the table.
NOTE = f"""\
vs book: against the faster of the book's loops, whose numerical gradient is timed on \
{BOOK_PARAMETERS} parameters."""


def table(measured: Mapping[str, Any]) -> str:
    """What :func:`fastnn.bench.measure.measure` returned, as lines to read."""
    return "\n".join(_lines(measured))


def _lines(measured: Mapping[str, Any]) -> Iterator[str]:
    machine = measured["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    yield f"{machine['cpu']}; {versions}"
    yield (
        f"{measured['network']} on MNIST, batch {measured['batch_size']}, {measured['dtype']}; "
        "medians of interleaved rounds, quartiles in brackets"
    )
    for part in PARTS:
        yield ""
        yield f"{_title(part):<24} {'time':>9}  {'':<20} {'vs numpy':>10} {'vs book':>10}"
        for name, row in measured[part].items():
            spread = f"[{format_seconds(row['low'])}, {format_seconds(row['high'])}]"
            times = f"{format_seconds(row['median']):>9}  {spread:<20}"
            over_numpy = format_factor(row["speedup_over_numpy"])
            over_book = format_factor(row["speedup_over_book"])
            yield f"  {name:<22} {times} {over_numpy:>10} {over_book:>10}"
        for name, reason in measured["unavailable"].items():
            if name not in measured[part]:
                yield f"  {name:<22} not run: {reason}"
    yield ""
    yield NOTE


def _title(part: str) -> str:
    return part.replace("_", " ")


def format_seconds(seconds: float) -> str:
    """Three significant digits with a fitting unit.

    >>> format_seconds(0.000123456), format_seconds(12.3456)
    ('123 µs', '12.3 s')
    """
    units = (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6))
    unit, scale = next((u, s) for u, s in units if seconds >= 0.9995 * s or s == 1e-6)
    value = seconds / scale
    return f"{value:,.0f} {unit}" if value >= 1000 else f"{f'{value:#.3g}'.rstrip('.')} {unit}"


def format_factor(factor: float) -> str:
    """How many times faster, to two or more digits.

    >>> format_factor(3.14159), format_factor(21234.5), format_factor(0.000123)
    ('3.1 ×', '21,234 ×', '0.00012 ×')
    """
    if factor >= 100:
        return f"{factor:,.0f} ×"
    return f"{factor:.1f} ×" if factor >= 1 else f"{factor:.2g} ×"


def check_picture(path: str | os.PathLike[str]) -> None:
    """Raise InputError unless :func:`plot` can write this file: better before than after."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        advice = "install it with pip install 'fastnn[plot]'"
        raise InputError(f"drawing needs matplotlib; {advice}") from error
    path, formats = Path(path), Figure().canvas.get_supported_filetypes()
    if path.suffix[1:].lower() not in formats:
        advice = f"end its name with one of .{', .'.join(formats)}"
        raise InputError(f"the picture {path} is of no known format; {advice}")
    if not path.parent.is_dir():
        raise _unwritable(path, f"there is no directory {path.parent}")
    if path.is_dir():
        raise _unwritable(path, "it is a directory")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise _unwritable(path, "permission denied")


def _unwritable(path: Path, reason: str) -> InputError:
    return InputError(f"the picture {path} cannot be written: {reason}")


def plot(measured: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Draw what :func:`fastnn.bench.measure.measure` returned, as two bar charts.

    The second has a logarithmic axis; the file's suffix is its format.

    Raises
    ------
    InputError
        If matplotlib is not installed, or knows no such format, or the file cannot be written.
    """
    check_picture(path)
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter

    figure = Figure(figsize=(10, 3.2), layout="constrained")
    for axes, part in zip(figure.subplots(1, 2), PARTS, strict=True):
        rows = measured[part]
        medians = [row["median"] for row in rows.values()]
        bars = axes.barh(list(rows), medians, color="tab:blue")
        axes.bar_label(bars, [f" {format_seconds(median)}" for median in medians])
        axes.set(xscale="linear" if part == "training_step" else "log", title=_title(part))
        axes.xaxis.set_major_formatter(EngFormatter("s"))
        axes.margins(x=0.25)
        axes.invert_yaxis()
    problem = f"{measured['network']}, batch {measured['batch_size']}, {measured['dtype']}"
    figure.suptitle(f"{problem}: {measured['machine']['cpu']}")
    try:
        figure.savefig(path)
    except OSError as error:
        raise _unwritable(Path(path), error.strerror or str(error)) from error
