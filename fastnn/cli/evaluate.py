"""``fastnn evaluate``: how good a model is on labelled samples."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import numpy as np

from ..console import write
from ..data.labels import Labels
from ..data.reading import files_of, read
from ..data.scaling import Samples
from ..data.sources import Part
from ..data.splits import stratified
from ..errors import InputError
from ..evaluation import Evaluation, evaluate
from ..prediction import Predictor
from ..validation import generator
from . import models, options, pictures
from .data_options import DATA, reading_flags, split, target
from .files import check_apart
from .help import command as described
from .help import option
from .options import OUTPUT
from .predict import columns

#: Which samples of data that has tests of its own, or of which some are set aside.
PARTS = ("test", "train", "all")

#: What is drawn into a folder.
PICTURES = ("confusion.png", "calibration.png", "errors.png")

#: Classes up to which the confusion matrix is printed.
MOST_CLASSES = 20


@described(
    "evaluate",
    "fastnn evaluate digits.safetensors --plot pictures",
    "fastnn evaluate iris.safetensors iris.csv --test-fraction 0.2",
)
@models.model
@click.argument("data", type=options.Source(), required=False, metavar="[DATA]")
@target
@split
@option(
    "--part",
    type=click.Choice(PARTS),
    default="test",
    show_default=True,
    group=DATA,
    help="Of data that has a test part; of all other, all samples are taken.",
)
@reading_flags
@options.backend
@option(
    "--plot",
    "folder",
    type=options.AnyPath(file_okay=False),
    metavar="DIR",
    group=OUTPUT,
    help="Draw the confusion matrix, the calibration and the worst errors, to files in there.",
)
@options.as_json("tables")
def command(model: str, data: str | None, **options_: Any) -> None:
    """Evaluate MODEL on DATA, by default MNIST's test images.

    DATA is as fastnn train takes it. With the --test-fraction and the --split-seed of the training,
    it is what was set aside there.
    """
    o = SimpleNamespace(**options_)
    if o.folder is not None:
        drawn = [Path(o.folder, name) for name in PICTURES]
        check_apart({"MODEL": model, "DATA": files_of(data, o.target)}, {"--plot": drawn})
        pictures.check_folder(o.folder)
    predictor = Predictor.load(model, o.backend)
    if predictor.network.sizes[-1] == 1:
        raise InputError(f"{model} has a single output, and what is evaluated here are classes")
    part, name = _labelled(predictor, data, o)
    labels = Labels.named(predictor.label_names).numbers(part.labels)
    said = predictor(part.x)
    found = evaluate(
        said.outputs, labels, predictor.label_names, probabilities=predictor.gives_probabilities
    )
    if o.folder is not None:
        _draw(found, part.x, predictor, Path(o.folder))
    write(json.dumps({"data": name} | found.to_dict()) if o.as_json else _report(found, name))


def _labelled(predictor: Predictor, data: str | None, o: SimpleNamespace) -> tuple[Part, str]:
    """The samples to evaluate on, with their labels, and what they are called."""
    known, of_arrays = predictor.preprocessing, Path(data or "").suffix.lower() in (".npy", ".npz")
    named = o.target if o.target or known is None or of_arrays else known.target
    how = replace(
        predictor.options(),
        needs_target=True,
        target=named,
        header=o.header,
        transpose=o.transpose,
    )
    source = read(data, how)
    models.check_features(predictor, source.train.x, source.name)
    if source.test is not None and source.test.t is not None:
        if o.test_fraction is not None:
            raise InputError(f"{source.name} has test samples of its own; leave out test_fraction")
        parts = {"train": source.train, "test": source.test}
    elif o.test_fraction is None or o.part == "all":
        return source.train, f"{source.name}, samples"
    else:
        rows = stratified(source.train.labels, o.test_fraction, generator(o.split_seed))
        parts = {n: source.train.rows(r) for n, r in zip(("train", "test"), rows, strict=True)}
    if o.part != "all":
        return parts[o.part], f"{source.name}, {o.part} samples"
    x = [part.x[:] for part in parts.values()]
    t = [part.labels for part in parts.values()]
    return Part(np.concatenate(x), np.concatenate(t)), f"{source.name}, samples"


def _report(found: Evaluation, name: str) -> str:
    names = found.label_names
    lines = [f"data         {name}: {len(found.labels)}", f"accuracy     {found.accuracy:.4f}"]
    if found.log_loss is not None:
        lines.append(f"log loss     {found.log_loss:.4f}")
    if found.calibration is not None:
        lines.append(f"calibration  {found.calibration.error:.4f} off (expected calibration error)")
    table = [["class", "precision", "recall", "F1", "samples"]]
    for i, label in enumerate(names):
        measures = (f"{m[i]:.4f}" for m in (found.precision, found.recall, found.f1))
        table.append([label, *measures, str(found.support[i])])
    lines += ["", columns(table, right=range(1, 5))]
    if len(names) <= MOST_CLASSES:
        matrix = [["right \\ said", *names]]
        matrix += [
            [label, *(str(n) if n else "." for n in found.confusion[i])]
            for i, label in enumerate(names)
        ]
        lines += ["", columns(matrix, right=range(1, len(names) + 1))]
    return "\n".join(lines)


def _draw(found: Evaluation, x: Samples, predictor: Predictor, folder: Path) -> None:
    from .. import plotting

    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"no pictures can be written to {folder}: {reason}") from error
    shape = predictor.image_shape
    pictures.save(
        folder / PICTURES[0], lambda f: plotting.plot_confusion(found, ax=f.subplots()), (7, 6)
    )
    if found.calibration is not None:
        pictures.save(
            folder / PICTURES[1],
            lambda f: plotting.plot_calibration(found, ax=f.subplots()),
            (6, 5),
        )
    pictures.save(
        folder / PICTURES[2],
        lambda f: plotting.plot_worst(found, x, shape, figure=f),
        (12, 6.5) if shape else (8, 7),
    )
