"""``fastnn train``: train on MNIST, or on data of one's own."""

from __future__ import annotations

import json
import sys
import warnings
from types import SimpleNamespace
from typing import Any

from ..backends import get_backend
from ..console import SignalError, write
from ..data import Data
from ..data.paths import checked_path
from ..data.reading import files_of
from ..early_stopping import EarlyStopping
from ..evaluations import held_out
from ..files.atomic import check_writable
from ..history import History
from ..interrupts import InterruptWarning
from ..networks import TwoLayerNet
from ..optimizers.book import OPTIMIZERS
from ..optimizers.choosing import BOOKS_RATE
from ..resumption import resume
from ..sampling import SAMPLERS
from ..training import interrupted, train
from ..validation import generator
from . import data_options, options, pictures, training_options
from .files import check_apart
from .help import command as described
from .summary import Ends, provenance, result, summary


@described(
    "train",
    "fastnn train --data iris.csv --target species --test-fraction 0.2 --save iris.safetensors",
    "fastnn train --optimizer adam --epochs 5 --validation 0.1 --early-stopping 3",
)
@data_options.of_training
@training_options.of_network
@training_options.of_training
@options.backend
@options.threads
@training_options.of_files
def command(**options_: Any) -> None:
    """Train on MNIST, or on data of your own.

    Accuracy and time are reported.
    """
    o, given = SimpleNamespace(**options_), training_options.given()
    training_options.check(o, given)
    check_apart(
        {"--data": files_of(o.data, o.target), "--test": files_of(o.test)},
        {"--save": o.save, "--checkpoint": o.checkpoint, "--plot": o.picture},
    )
    if o.save is not None:
        check_writable(checked_path(o.save, "save"))
    if o.picture is not None:
        pictures.check_picture(o.picture)
    data = data_options.loaded(o)
    if o.epochs is not None:
        samples = len(data.x_train)
        samples -= held_out(samples, o.validation) if o.validation else 0
        # Of a generator of its own, which is not used.
        sampler = SAMPLERS[o.sampling](samples, o.batch_size, generator(0))
        o.iterations = o.epochs * sampler.steps_per_epoch
    end = Ends()
    begin_or_go_on = _go_on if o.resume else _begin
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InterruptWarning)  # which is told below
        network, history = begin_or_go_on(
            o,
            data,
            x_test=data.x_test,
            t_test=data.t_test,
            callbacks=[end],
            progress=sys.stderr is not None and sys.stderr.isatty(),
            **_chosen(o, given),
        )
    if end.state.signal is not None:
        kept = f"; {o.checkpoint} has it, and --resume goes on" if o.checkpoint else ""
        lost = "" if o.save is None else f"; {o.save} is not written"
        raise SignalError(interrupted(end.state) + lost + kept, end.state.signal)
    found = result(network, history, end.state, data)
    if o.save is not None:
        seed = vars(network).get("provenance", {}).get("seed")
        network.provenance = provenance(found, end.state, data, seed)
        network.save(o.save)
    if o.picture is not None:
        _draw(history, o.picture)
    write(json.dumps(found) if o.as_json else summary(found, network, end, data))


def _chosen(o: SimpleNamespace, given: set[str]) -> dict[str, Any]:
    """What `train` takes; of a training that goes on, what was given, to be compared."""
    rate = o.learning_rate
    if rate is None:
        rate = BOOKS_RATE if o.optimizer == "sgd" else OPTIMIZERS[o.optimizer]().lr
    names = {
        *("batch_size", "sampling", "gradient", "optimizer", "validation", "checkpoint_every"),
        "iterations" if o.epochs is None else "epochs",
    }
    chosen = {name: getattr(o, name) for name in names if name in given or not o.resume}
    if not o.resume or given & {"learning_rate", "schedule", "warmup"}:
        chosen["learning_rate"] = training_options.rate_of(o.schedule, rate, o.iterations, o.warmup)
    if o.resume and "backend" in given:
        chosen["backend"] = get_backend(o.backend, threads=o.threads)
    return chosen


def _begin(o: SimpleNamespace, data: Data, **arguments: Any) -> tuple[Any, History]:
    features, classes = data.sizes
    layers = (features, o.hidden, classes)
    rng = generator(o.seed)
    backend = options.chosen_backend(o.backend, o.threads, layers=layers, samples=o.batch_size)
    network: Any = TwoLayerNet(
        *layers, activation=o.activation, loss=o.loss, backend=backend, dtype=o.dtype, rng=rng
    )
    data.describe(network)
    network.provenance = {"seed": o.seed}
    stopping = None if o.early_stopping is None else EarlyStopping(o.early_stopping)
    samples = data.x_train, data.t_train
    return network, train(
        network, *samples, early_stopping=stopping, checkpoint=o.checkpoint, rng=rng, **arguments
    )


def _go_on(o: SimpleNamespace, data: Data, **arguments: Any) -> tuple[Any, History]:
    return resume(o.checkpoint, data.x_train, data.t_train, **arguments)


def _draw(history: History, path: str) -> None:
    from ..plotting import plot_history

    pictures.save(path, lambda figure: plot_history(history, axes=figure.subplots(1, 2)), (10, 4))
