"""``fastnn train``: train on MNIST, or on data in files of the same names."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from ..data import load_mnist
from ..networks import TwoLayerNet
from ..training import GRADIENTS, train
from ..validation import generator
from . import options


@click.command("train")
@options.backend
@options.threads
@options.dtype
@click.option(
    "--gradient",
    default="backprop",
    show_default=True,
    help=f"How to compute it: {' or '.join(GRADIENTS)}.",
)
@options.hidden
@click.option(
    "--iterations",
    default=10_000,
    show_default=True,
    help="Steps of gradient descent.",
)
@options.batch_size
@click.option(
    "--learning-rate",
    default=0.1,
    show_default=True,
    help="Factor of the gradient in a step.",
)
@options.seed("the initial weights and the batches")
@click.option(
    "--data",
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
    (x_train, t_train), (x_test, t_test) = load_mnist(directory=data)
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
    click.echo(json.dumps(result) if as_json else _summary(result, layers, batch_size))


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
