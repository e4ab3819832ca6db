"""``fastnn predict``: what a model says of samples and images."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click

from ..console import write
from ..data.paths import shown
from ..errors import InputError
from ..prediction import Predictor
from . import models, options
from .data_options import reading_flags
from .help import command as described
from .help import option
from .options import OUTPUT

Row = tuple[str, str, "list[float]"]


@described(
    "predict",
    "fastnn predict digits.safetensors photo.jpg scan.png",
    "fastnn predict iris.safetensors flowers.csv --proba --csv > said.csv",
)
@models.model
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@reading_flags
@options.backend
@option("--proba", is_flag=True, group=OUTPUT, help="Show the probability of every class.")
@option("--csv", "as_csv", is_flag=True, group=OUTPUT, help="Print CSV instead of a table.")
@options.as_json("a table")
def command(model: str, files: tuple[str, ...], **options_: Any) -> None:
    """Say what each sample or image in FILEs is.

    One of them may be -, standard input. Images are made as the training samples were: grey, light
    on dark, cropped to the ink, centred.
    """
    o = SimpleNamespace(**options_)
    if o.as_json and o.as_csv:
        raise click.UsageError("--json and --csv both say how to print; give one.")
    if files.count(models.STANDARD_INPUT) > 1:
        raise click.UsageError("- is there twice, and standard input can be read once.")
    predictor = Predictor.load(model, o.backend)
    how = replace(predictor.options(), header=o.header, transpose=o.transpose)
    entries = [models.read_samples(predictor, path, how) for path in files]
    rows: list[Row] = []
    for path, entry in zip(files, entries, strict=True):
        rows += _rows(predictor, path, entry)
    what = "probability" if predictor.gives_probabilities else "output"
    if o.as_json:
        write(json.dumps(_as_data(predictor, rows, what)))
    elif o.as_csv:
        write(_as_csv(predictor, rows, what, every=o.proba))
    else:
        write(_table(predictor, rows, what, every=o.proba))


def _rows(predictor: Predictor, path: str, entry: models.Entry) -> list[Row]:
    try:
        said = predictor(entry.x)
    except InputError as error:
        raise InputError(f"{shown(Path(models.name_of(path)))}: {error}") from error
    return list(zip(entry.names, said.labels, said.outputs.tolist(), strict=True))


def _as_data(predictor: Predictor, rows: list[Row], what: str) -> dict[str, Any]:
    plural = {"probability": "probabilities", "output": "outputs"}[what]
    names = predictor.label_names
    return {
        "labels": names,
        "predictions": [
            {"sample": name, "label": label, what: max(outputs), plural: outputs}
            for name, label, outputs in rows
        ],
    }


def _as_csv(predictor: Predictor, rows: list[Row], what: str, *, every: bool) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["sample", "label", *(predictor.label_names if every else [what])])
    for name, label, outputs in rows:
        writer.writerow([name, label, *map(repr, outputs if every else [max(outputs)])])
    return file.getvalue().rstrip("\n")


def _table(predictor: Predictor, rows: list[Row], what: str, *, every: bool) -> str:
    numbers = predictor.label_names if every else [what]
    head = ["sample", "label", *numbers]
    lines = [
        [name, label, *(f"{value:.4f}" for value in (outputs if every else [max(outputs)]))]
        for name, label, outputs in rows
    ]
    return columns([head, *lines], right=range(2, len(head)))


def columns(rows: list[list[str]], right: Any = ()) -> str:
    """Rows of cells below each other, some of the columns to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
