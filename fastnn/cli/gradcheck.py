"""``fastnn gradcheck``: backpropagation against the numerical gradient."""

from __future__ import annotations

import click

from ..console import write
from ..data import load_mnist
from ..differentiation.gradient_checking import METHODS, gradient_check
from ..functions import ACTIVATIONS, LOSSES
from ..networks import TwoLayerNet
from ..validation import generator
from . import options


@click.command("gradcheck")
@options.backend
@options.threads
@options.dtype
@click.option(
    "--method",
    type=click.Choice(METHODS),
    default=METHODS[0],
    show_default=True,
    help="The other gradient.",
)
@click.option(
    "--activation",
    type=click.Choice(list(ACTIVATIONS)),
    default="sigmoid",
    show_default=True,
    help="Of the hidden layer.",
)
@click.option(
    "--loss",
    type=click.Choice(list(LOSSES)),
    default="cross_entropy",
    show_default=True,
    help="What is differentiated.",
)
@options.hidden
@click.option(
    "--samples",
    type=options.COUNT,
    default=3,
    show_default=True,
    help="Training samples of MNIST to compute the loss on.",
)
@click.option(
    "--tolerance",
    type=options.FINITE,
    help="Largest relative error that passes.  [default: by dtype and method]",
)
@options.seed("the weights, and the directions of the projection")
def command(
    backend: str,
    threads: int | None,
    dtype: str,
    method: str,
    activation: str,
    loss: str,
    hidden: int,
    samples: int,
    tolerance: float | None,
    seed: int,
) -> int:
    """Check backpropagation against the numerical gradient; exit code 1 if they differ."""
    rng = generator(seed)
    (x, t), _ = load_mnist()
    x, t = x[:samples], t[:samples]
    layers = (x.shape[1], hidden, 10)
    network = TwoLayerNet(
        *layers,
        activation=activation,
        loss=loss,
        backend=options.chosen_backend(backend, threads, layers=layers),
        dtype=dtype,
        rng=rng,
    )
    report = gradient_check(network, x, t, method=method, tolerance=tolerance, rng=rng)
    size, name = "-".join(map(str, layers)), network.backend.name
    write(f"{size}, {network.dtype}, on {name}; {len(x)} samples of MNIST\n\n{report}")
    return 0 if report.passed else 1
