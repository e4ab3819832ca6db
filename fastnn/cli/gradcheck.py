"""``fastnn gradcheck``: backpropagation against the numerical gradient."""

from __future__ import annotations

import json
from typing import Any

import click

from ..console import write
from ..data import load_mnist
from ..differentiation.gradient_checking import METHODS, GradientReport, gradient_check
from ..networks import TwoLayerNet
from ..validation import generator
from . import options
from .help import command as described
from .help import option


@described("gradcheck", "fastnn gradcheck --activation tanh --method full --hidden 5")
@option(
    "--method",
    type=click.Choice(METHODS),
    default=METHODS[0],
    show_default=True,
    help="The other gradient.",
)
@option(
    "--samples",
    type=options.COUNT,
    metavar="N",
    default=3,
    show_default=True,
    help="Training samples of MNIST to compute the loss on.",
)
@option(
    "--tolerance",
    type=options.FINITE,
    metavar="ERROR",
    help="Largest relative error that passes.  [default: by dtype and method]",
)
@options.hidden
@options.activation
@options.loss("What is differentiated.")
@options.dtype
@options.backend
@options.threads
@options.seed("the weights, and the directions of the projection")
@options.as_json("a table")
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
    as_json: bool,
) -> int:
    """Check backpropagation against the numerical gradient.

    The exit code is 1 if they differ.
    """
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
    if as_json:
        write(json.dumps(_as_data(report)))
        return 0 if report.passed else 1
    size, name = "-".join(map(str, layers)), network.backend.name
    write(f"{size}, {network.dtype}, on {name}; {len(x)} samples of MNIST\n\n{report}")
    return 0 if report.passed else 1


def _as_data(report: GradientReport) -> dict[str, Any]:
    parameters = {
        name: check._asdict() | {"worst_index": list(check.worst_index)}
        for name, check in report.parameters.items()
    }
    return {"passed": report.passed} | report._asdict() | {"parameters": parameters}
