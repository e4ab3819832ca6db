"""``fastnn train``: train on MNIST, or on data in files of the same names."""

from __future__ import annotations

import json
import os
import sys
import warnings
from typing import Any

import click

from ..callbacks import Callback
from ..console import SignalError, write
from ..data import load_mnist
from ..early_stopping import EarlyStopping
from ..errors import DtypeError
from ..evaluations import held_out
from ..interrupts import InterruptWarning
from ..networks import TwoLayerNet
from ..preparation import ITERATIONS
from ..sampling import SAMPLERS
from ..schedules import CosineWithWarmup, InverseScaling, Schedule, StepDecay
from ..stepping import GRADIENTS
from ..training import interrupted, train
from ..training_state import TrainingState
from ..validation import generator
from . import options

#: Of a learning rate, an iteration count and a warm-up: the learning rate as `train` takes it.
SCHEDULES: dict[str, Any] = {
    "constant": lambda rate, _iterations, _warmup: rate,
    "step": lambda rate, iterations, _: StepDecay(rate, every=max(-(-iterations // 3), 1)),
    "inverse": lambda rate, _iterations, _warmup: InverseScaling(rate),
    "cosine": lambda rate, iterations, warmup: CosineWithWarmup(rate, iterations, warmup),
}


class _Directory(click.ParamType):
    """A directory that can be looked into; what is wrong with any other is said by the system."""

    name = "directory"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        try:
            os.scandir(value).close()
        except OSError as error:
            self.fail(f"{value!r}: {error.strerror}.", param, ctx)
        except ValueError as error:  # a null character in it
            self.fail(f"{value!r}: {error}.", param, ctx)
        return value


@click.command("train")
@options.backend
@options.threads
@options.dtype
@click.option(
    "--gradient",
    type=click.Choice(list(GRADIENTS)),
    default="backprop",
    show_default=True,
    help="How to compute it.",
)
@options.hidden
@click.option(
    "--iterations",
    type=options.Count(min=0),
    default=ITERATIONS,
    show_default=True,
    help="Steps of gradient descent.",
)
@click.option(
    "--epochs",
    type=options.Count(min=0),
    metavar="N",
    help="Epochs, in place of --iterations.",
)
@options.batch_size
@click.option(
    "--sampling",
    type=click.Choice(list(SAMPLERS)),
    default="replacement",
    show_default=True,
    help="Batches drawn independently, as in the book, or each sample once an epoch.",
)
@click.option(
    "--learning-rate",
    type=options.FINITE,
    default=0.1,
    show_default=True,
    help="Factor of the gradient in a step.",
)
@click.option(
    "--schedule",
    type=click.Choice(list(SCHEDULES)),
    default="constant",
    show_default=True,
    help="How it falls: to a tenth after each third, by the root of the iteration, or to 0.",
)
@click.option(
    "--warmup",
    type=options.Count(min=0),
    default=0,
    show_default=True,
    help="Steps in which the schedule cosine rises first.",
)
@click.option(
    "--validation",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    metavar="FRACTION",
    help="Of the training images, to set aside and evaluate, too.",
)
@click.option(
    "--early-stopping",
    type=options.COUNT,
    metavar="N",
    help="Stop after N evaluations on these without an improvement, with the best parameters.",
)
@options.seed("the initial weights and the batches")
@click.option(
    "--data",
    type=_Directory(),
    metavar="DIR",
    help="Directory with four IDX files named as MNIST's.  [default: MNIST]",
)
@options.as_json("a summary")
def command(
    backend: str,
    threads: int | None,
    dtype: str,
    gradient: str,
    hidden: int,
    iterations: int,
    epochs: int | None,
    batch_size: int,
    sampling: str,
    learning_rate: float,
    schedule: str,
    warmup: int,
    validation: float | None,
    early_stopping: int | None,
    seed: int,
    data: str | None,
    as_json: bool,
) -> None:
    """Train on MNIST and report accuracy and time."""
    context = click.get_current_context()
    given = context.get_parameter_source("iterations") is not click.core.ParameterSource.DEFAULT
    if epochs is not None and given:
        raise click.UsageError("--iterations and --epochs both say how long to train; give one.")
    if warmup and schedule != "cosine":
        raise click.UsageError(f"--warmup is for --schedule cosine, and not for {schedule}.")
    if early_stopping is not None and validation is None:
        raise click.UsageError("--early-stopping goes by --validation; give a fraction of it, too.")
    rng = generator(seed)
    try:
        (x_train, t_train), (x_test, t_test) = load_mnist(directory=data)
    except DtypeError as error:  # its remedy is one for programs
        fault = str(error).partition(";")[0]
        raise click.ClickException(f"{data}: {fault}; give images of 8 bits, uint8") from error
    classes = max(10, int(t_train.max()) + 1) if t_train.dtype.kind in "iu" else 10
    layers = (x_train.shape[1], hidden, classes)
    chosen = options.chosen_backend(backend, threads, layers=layers, samples=batch_size)
    network = TwoLayerNet(*layers, backend=chosen, dtype=dtype, rng=rng)
    if epochs is not None:
        samples = len(x_train) - (held_out(len(x_train), validation) if validation else 0)
        # Of a generator of its own, which is not used.
        iterations = epochs * SAMPLERS[sampling](samples, batch_size, generator(0)).steps_per_epoch
    rate = _rate(schedule, learning_rate, iterations, warmup)
    end = _End()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InterruptWarning)  # which is told below
        history = train(
            network,
            x_train,
            t_train,
            x_test=x_test,
            t_test=t_test,
            iterations=iterations if epochs is None else None,
            epochs=epochs,
            batch_size=batch_size,
            sampling=sampling,
            learning_rate=rate,
            gradient=gradient,
            validation=validation,
            early_stopping=None if early_stopping is None else EarlyStopping(early_stopping),
            callbacks=[end],
            rng=rng,
            progress=sys.stderr is not None and sys.stderr.isatty(),
        )
    if end.state.signal is not None:
        raise SignalError(interrupted(end.state), end.state.signal)
    iterations = len(history.loss)
    result = {
        "backend": chosen.name,
        "device": chosen.device,
        "dtype": network.dtype.name,
        "gradient": gradient,
        "iterations": iterations,
        "seconds": round(history.seconds, 6),
        "loss": float(history.loss[-1]) if iterations else None,
        "train_accuracy": network.accuracy(x_train, t_train),
        "test_accuracy": network.accuracy(x_test, t_test),
    }
    if validation is not None and history.iterations:
        best = history.best_iteration
        at = -1 if best is None else history.iterations.index(best)
        result |= {
            "validation_loss": history.validation_loss[at],
            "validation_accuracy": history.validation_accuracy[at],
            "stopped": history.stopped,
            "best_iteration": best,
        }
    write(json.dumps(result) if as_json else _summary(result, layers, batch_size))


class _End(Callback):
    """Keeps the state that a training ended in."""

    state: TrainingState

    def on_end(self, state: TrainingState) -> None:
        self.state = state


def _rate(name: str, rate: float, iterations: int, warmup: int) -> float | Schedule:
    if name == "cosine" and warmup >= iterations:
        raise click.UsageError(f"--warmup {warmup} leaves none of {iterations} iterations.")
    return SCHEDULES[name](rate, iterations, warmup)


def _summary(result: dict[str, Any], layers: tuple[int, ...], batch_size: int) -> str:
    iterations, seconds = result["iterations"], result["seconds"]
    rate, loss = "", "not computed: no iterations"
    if iterations:
        rate = f" ({seconds / iterations * 1e6:.0f} µs an iteration, evaluations included)"
        loss = f"{result['loss']:.4f} on the last batch"
    lines = [
        f"backend        {result['backend']} on {result['device']}",
        f"network        {'-'.join(map(str, layers))}, {result['dtype']}",
        f"training       {iterations} iterations of {batch_size} samples by {result['gradient']}",
        f"time           {seconds:.2f} s{rate}",
        f"loss           {loss}",
        f"train accuracy {result['train_accuracy']:.4f}",
        f"test accuracy  {result['test_accuracy']:.4f}",
    ]
    if "stopped" in result:
        best = result["best_iteration"]
        when = (
            "" if best is None else f", best after iteration {best} (stopped: {result['stopped']})"
        )
        lines.append(f"validation     {result['validation_accuracy']:.4f}{when}")
    return "\n".join(lines)
