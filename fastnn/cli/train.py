"""``fastnn train``: train on MNIST, or on data in files of the same names."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import click

from ..console import write
from ..data import load_mnist
from ..errors import DtypeError
from ..networks import TwoLayerNet
from ..stepping import GRADIENTS
from ..training import train
from ..validation import generator
from . import options


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
    default=10_000,
    show_default=True,
    help="Steps of gradient descent.",
)
@options.batch_size
@click.option(
    "--learning-rate",
    type=options.FINITE,
    default=0.1,
    show_default=True,
    help="Factor of the gradient in a step.",
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
    batch_size: int,
    learning_rate: float,
    seed: int,
    data: str | None,
    as_json: bool,
) -> None:
    """Train on MNIST and report accuracy and time."""
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
    history = train(
        network,
        x_train,
        t_train,
        x_test=x_test,
        t_test=t_test,
        iterations=iterations,
        batch_size=batch_size,
        learning_rate=learning_rate,
        gradient=gradient,
        rng=rng,
        progress=sys.stderr is not None and sys.stderr.isatty(),
    )
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
    write(json.dumps(result) if as_json else _summary(result, layers, batch_size))


def _summary(result: dict[str, Any], layers: tuple[int, ...], batch_size: int) -> str:
    iterations, seconds = result["iterations"], result["seconds"]
    rate, loss = "", "not computed: no iterations"
    if iterations:
        rate = f" ({seconds / iterations * 1e6:.0f} µs an iteration, evaluations included)"
        loss = f"{result['loss']:.4f} on the last batch"
    lines = (
        f"backend        {result['backend']} on {result['device']}",
        f"network        {'-'.join(map(str, layers))}, {result['dtype']}",
        f"training       {iterations} iterations of {batch_size} samples by {result['gradient']}",
        f"time           {seconds:.2f} s{rate}",
        f"loss           {loss}",
        f"train accuracy {result['train_accuracy']:.4f}",
        f"test accuracy  {result['test_accuracy']:.4f}",
    )
    return "\n".join(lines)
