"""The options of ``fastnn train`` that are none of the data, and what does not go together."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import click

from ..optimizers.book import OPTIMIZERS
from ..preparation import ITERATIONS
from ..sampling import SAMPLERS
from ..schedules import CosineWithWarmup, InverseScaling, Schedule, StepDecay
from ..stepping import GRADIENTS
from . import options
from .help import option, together
from .options import OUTPUT, TRAINING

#: Of a learning rate, an iteration count and a warm-up: the learning rate as `train` takes it.
SCHEDULES: dict[str, Any] = {
    "constant": lambda rate, _iterations, _warmup: rate,
    "step": lambda rate, iterations, _: StepDecay(rate, every=max(-(-iterations // 3), 1)),
    "inverse": lambda rate, _iterations, _warmup: InverseScaling(rate),
    "cosine": lambda rate, iterations, warmup: CosineWithWarmup(rate, iterations, warmup),
}

#: What is decided at the beginning, and goes on as it is.
OF_THE_BEGINNING = ("activation", "loss", "hidden", "dtype", "seed", "early_stopping")

of_network = together(
    options.hidden,
    options.activation,
    options.loss("What is made small."),
    options.dtype,
)

of_training = together(
    option(
        "--iterations",
        type=options.Count(min=0),
        metavar="N",
        default=ITERATIONS,
        show_default=True,
        group=TRAINING,
        help="Steps of gradient descent.",
    ),
    option(
        "--epochs",
        type=options.Count(min=0),
        metavar="N",
        group=TRAINING,
        help="Epochs, in place of --iterations.",
    ),
    options.batch_size,
    option(
        "--sampling",
        type=click.Choice(list(SAMPLERS)),
        default="replacement",
        show_default=True,
        group=TRAINING,
        help="Batches drawn independently, as in the book, or each sample once an epoch.",
    ),
    option(
        "--optimizer",
        type=click.Choice(list(OPTIMIZERS)),
        default="sgd",
        show_default=True,
        group=TRAINING,
        help="What moves the parameters.",
    ),
    option(
        "--learning-rate",
        type=options.FINITE,
        metavar="RATE",
        group=TRAINING,
        help="Factor of the gradient in a step.  [default: 0.1 with sgd, else the optimizer's]",
    ),
    option(
        "--schedule",
        type=click.Choice(list(SCHEDULES)),
        default="constant",
        show_default=True,
        group=TRAINING,
        help="How it falls: to a tenth after each third, by the root of the iteration, or to 0.",
    ),
    option(
        "--warmup",
        type=options.Count(min=0),
        metavar="N",
        default=0,
        show_default=True,
        group=TRAINING,
        help="Steps in which the schedule cosine rises first.",
    ),
    option(
        "--gradient",
        type=click.Choice(list(GRADIENTS)),
        default="backprop",
        show_default=True,
        group=TRAINING,
        help="How to compute it.",
    ),
    option(
        "--validation",
        type=options.FRACTION,
        metavar="FRACTION",
        group=TRAINING,
        help="Of the training samples, to set aside and evaluate, too.",
    ),
    option(
        "--early-stopping",
        type=options.COUNT,
        metavar="N",
        group=TRAINING,
        help="Stop after N evaluations on these without an improvement, with the best parameters.",
    ),
    options.seed("the initial weights and the batches", TRAINING),
)

of_files = together(
    option(
        "--save",
        type=options.AnyPath(dir_okay=False),
        metavar="MODEL",
        group=OUTPUT,
        help="Write the network to a file, at the end, with the labels and the scaling.",
    ),
    option(
        "--checkpoint",
        type=options.AnyPath(dir_okay=False),
        metavar="FILE",
        group=OUTPUT,
        help="Keep there what --resume goes on from.",
    ),
    option(
        "--checkpoint-every",
        default="10s",
        show_default=True,
        metavar="N|TIME",
        group=OUTPUT,
        help="Iterations, or a time such as 30s or 5min.",
    ),
    option(
        "--resume",
        is_flag=True,
        group=OUTPUT,
        help="Go on from the checkpoint, with the same options.",
    ),
    options.picture("loss and accuracy"),
    options.as_json("a summary"),
)


def given() -> set[str]:
    """The names of the options that are not left to their defaults."""
    context = click.get_current_context()
    default = click.core.ParameterSource.DEFAULT
    return {name for name in context.params if context.get_parameter_source(name) is not default}


def check(o: SimpleNamespace, given: set[str]) -> None:
    """Raise click.UsageError for options that do not go together."""
    if o.epochs is not None and "iterations" in given:
        raise click.UsageError("--iterations and --epochs both say how long to train; give one.")
    if o.warmup and o.schedule != "cosine":
        raise click.UsageError(f"--warmup is for --schedule cosine, and not for {o.schedule}.")
    if o.early_stopping is not None and o.validation is None:
        raise click.UsageError("--early-stopping goes by --validation; give a fraction of it, too.")
    if o.test is not None and o.test_fraction is not None:
        raise click.UsageError("--test and --test-fraction both say what the test is; give one.")
    if o.test_fraction is None and "split_seed" in given:
        raise click.UsageError("--split-seed is for --test-fraction; give that, too.")
    if o.checkpoint is None and (needless := given & {"resume", "checkpoint_every"}):
        raise click.UsageError(f"{_flag(min(needless))} is for a --checkpoint; give its file, too.")
    if o.resume:
        for name in OF_THE_BEGINNING:
            if name in given:
                text = f"{_flag(name)} is for the beginning; leave it out with --resume."
                raise click.UsageError(text)
    elif o.checkpoint and os.path.lexists(o.checkpoint):
        raise click.UsageError(
            f"{o.checkpoint} is there already; go on from it with --resume, or remove it."
        )


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def rate_of(name: str, rate: float, iterations: int, warmup: int) -> float | Schedule:
    """The learning rate as `train` takes it, of a schedule of this name."""
    if name == "cosine" and warmup >= iterations:
        raise click.UsageError(f"--warmup {warmup} leaves none of {iterations} iterations.")
    return SCHEDULES[name](rate, iterations, warmup)
