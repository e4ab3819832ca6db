"""``fastnn train``: train on MNIST, or on data in files of the same names."""

from __future__ import annotations

import json
import os
import sys
import warnings
from types import SimpleNamespace
from typing import Any

import click

from ..backends import get_backend
from ..callbacks import Callback
from ..console import SignalError, write
from ..data import load_mnist
from ..early_stopping import EarlyStopping
from ..errors import DtypeError
from ..evaluations import held_out
from ..history import History
from ..interrupts import InterruptWarning
from ..networks import TwoLayerNet
from ..optimizers.book import OPTIMIZERS
from ..optimizers.choosing import BOOKS_RATE
from ..preparation import ITERATIONS
from ..resumption import resume
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
    metavar="RATE",
    help="Factor of the gradient in a step.  [default: 0.1 with sgd, else the optimizer's]",
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
@click.option(
    "--optimizer",
    type=click.Choice(list(OPTIMIZERS)),
    default="sgd",
    show_default=True,
    help="What moves the parameters.",
)
@click.option(
    "--checkpoint",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Keep there what --resume goes on from.",
)
@click.option(
    "--checkpoint-every",
    default="10s",
    show_default=True,
    metavar="N|TIME",
    help="Iterations, or a time such as 30s or 5min.",
)
@click.option("--resume", is_flag=True, help="Go on from the checkpoint, with the same options.")
@click.option(
    "--save",
    type=click.Path(dir_okay=False),
    metavar="MODEL",
    help="Write the network to a file, at the end.",
)
@options.seed("the initial weights and the batches")
@click.option(
    "--data",
    type=_Directory(),
    metavar="DIR",
    help="Directory with four IDX files named as MNIST's.  [default: MNIST]",
)
@options.as_json("a summary")
def command(**options_: Any) -> None:
    """Train on MNIST and report accuracy and time."""
    o, given = SimpleNamespace(**options_), _given()
    _check(o, given)
    try:
        (x_train, t_train), (x_test, t_test) = load_mnist(directory=o.data)
    except DtypeError as error:  # its remedy is one for programs
        fault = str(error).partition(";")[0]
        raise click.ClickException(f"{o.data}: {fault}; give images of 8 bits, uint8") from error
    if o.epochs is not None:
        samples = len(x_train) - (held_out(len(x_train), o.validation) if o.validation else 0)
        # Of a generator of its own, which is not used.
        sampler = SAMPLERS[o.sampling](samples, o.batch_size, generator(0))
        o.iterations = o.epochs * sampler.steps_per_epoch
    data, end = (x_train, t_train), _End()
    begin_or_go_on = _go_on if o.resume else _begin
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InterruptWarning)  # which is told below
        network, history = begin_or_go_on(
            o,
            data,
            x_test=x_test,
            t_test=t_test,
            callbacks=[end],
            progress=sys.stderr is not None and sys.stderr.isatty(),
            **_chosen(o, given),
        )
    if end.state.signal is not None:
        kept = f"; {o.checkpoint} has it, and --resume goes on" if o.checkpoint else ""
        raise SignalError(interrupted(end.state) + kept, end.state.signal)
    if o.save:
        network.save(o.save)
    result = _result(network, history, end.state, data, (x_test, t_test))
    layers = network.sizes
    write(json.dumps(result) if o.as_json else _summary(result, layers, end.state.batch_size))


def _given() -> set[str]:
    """The names of the options that are not left to their defaults."""
    context = click.get_current_context()
    default = click.core.ParameterSource.DEFAULT
    return {name for name in context.params if context.get_parameter_source(name) is not default}


def _check(o: SimpleNamespace, given: set[str]) -> None:
    if o.epochs is not None and "iterations" in given:
        raise click.UsageError("--iterations and --epochs both say how long to train; give one.")
    if o.warmup and o.schedule != "cosine":
        raise click.UsageError(f"--warmup is for --schedule cosine, and not for {o.schedule}.")
    if o.early_stopping is not None and o.validation is None:
        raise click.UsageError("--early-stopping goes by --validation; give a fraction of it, too.")
    if o.checkpoint is None and (needless := given & {"resume", "checkpoint_every"}):
        option = "--" + sorted(needless)[0].replace("_", "-")
        raise click.UsageError(f"{option} is for a --checkpoint; give its file, too.")
    if o.resume:
        for name in sorted(given & {"hidden", "dtype", "seed", "early_stopping"}):
            option = "--" + name.replace("_", "-")
            raise click.UsageError(f"{option} is for the beginning; leave it out with --resume.")
    elif o.checkpoint and os.path.lexists(o.checkpoint):
        raise click.UsageError(
            f"{o.checkpoint} is there already; go on from it with --resume, or remove it."
        )


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
        chosen["learning_rate"] = _rate(o.schedule, rate, o.iterations, o.warmup)
    if o.resume and "backend" in given:
        chosen["backend"] = get_backend(o.backend, threads=o.threads)
    return chosen


def _begin(o: SimpleNamespace, data: tuple[Any, Any], **arguments: Any) -> tuple[Any, History]:
    x, t = data
    classes = max(10, int(t.max()) + 1) if t.dtype.kind in "iu" else 10
    layers = (x.shape[1], o.hidden, classes)
    rng = generator(o.seed)
    backend = options.chosen_backend(o.backend, o.threads, layers=layers, samples=o.batch_size)
    network = TwoLayerNet(*layers, backend=backend, dtype=o.dtype, rng=rng)
    stopping = None if o.early_stopping is None else EarlyStopping(o.early_stopping)
    return network, train(
        network, x, t, early_stopping=stopping, checkpoint=o.checkpoint, rng=rng, **arguments
    )


def _go_on(o: SimpleNamespace, data: tuple[Any, Any], **arguments: Any) -> tuple[Any, History]:
    return resume(o.checkpoint, *data, **arguments)


def _result(
    network: Any, history: History, state: TrainingState, train_set: Any, test_set: Any
) -> dict[str, Any]:
    iterations = len(history.loss)
    result = {
        "backend": network.backend.name,
        "device": network.backend.device,
        "dtype": network.dtype.name,
        "gradient": state.gradient,
        "iterations": iterations,
        "seconds": round(history.seconds, 6),
        "loss": float(history.loss[-1]) if iterations else None,
        "train_accuracy": network.accuracy(*train_set),
        "test_accuracy": network.accuracy(*test_set),
    }
    if history.validation_loss:
        best = history.best_iteration
        at = -1 if best is None else history.iterations.index(best)
        result |= {
            "validation_loss": history.validation_loss[at],
            "validation_accuracy": history.validation_accuracy[at],
            "stopped": history.stopped,
            "best_iteration": best,
        }
    return result


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
