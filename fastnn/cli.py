"""The command line: ``fastnn``, and the same as ``python -m fastnn``."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from . import __version__, bench
from .backends import available_backends, get_backend
from .datasets import load_mnist
from .errors import FastnnError
from .differentiation.gradient_checking import METHODS, gradient_check
from .networks import TwoLayerNet
from .training import GRADIENTS, train
from .validation import generator, positive_int


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="fastnn")
@click.pass_context
def cli(context: click.Context) -> None:
    """Train the two-layer network of "Deep Learning from Scratch" on the hardware at hand."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@cli.command("train")
@click.option("--backend", default="auto", show_default=True, help="numpy, numba, cupy, cupy:1, ...; auto chooses.")
@click.option("--dtype", default="float64", show_default=True, help="float64 or float32.")
@click.option("--gradient", default="backprop", show_default=True, help=f"How to compute it: {' or '.join(GRADIENTS)}.")
@click.option("--hidden", default=50, show_default=True, help="Units of the hidden layer.")
@click.option("--iterations", default=10_000, show_default=True, help="Steps of gradient descent.")
@click.option("--batch-size", default=100, show_default=True, help="Samples a step.")
@click.option("--learning-rate", default=0.1, show_default=True, help="Factor of the gradient in a step.")
@click.option("--seed", default=0, show_default=True, help="Of the initial weights and the batches.")
@click.option("--data", metavar="DIR", help="Directory with four IDX files named as MNIST's.  [default: MNIST]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a summary.")
def train_command(
    backend: str,
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
    parameters = (x_train.shape[1] + 1) * hidden + (hidden + 1) * classes
    chosen = get_backend(backend, multiplications=batch_size * parameters)
    network = TwoLayerNet(x_train.shape[1], hidden, classes, backend=chosen, dtype=dtype, rng=rng)
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
    if as_json:
        click.echo(json.dumps(result))
        return
    per_iteration = f" ({history.seconds / iterations * 1e6:.0f} µs an iteration, evaluations included)" if iterations else ""
    loss = f"{result['loss']:.4f} on the last batch" if iterations else "not computed: no iterations"
    click.echo(
        f"backend        {chosen.name} on {chosen.device}\n"
        f"network        {x_train.shape[1]}-{hidden}-{classes}, {network.dtype}\n"
        f"training       {iterations} iterations of {batch_size} samples by {gradient}\n"
        f"time           {history.seconds:.2f} s{per_iteration}\n"
        f"loss           {loss}\n"
        f"train accuracy {result['train_accuracy']:.4f}\n"
        f"test accuracy  {result['test_accuracy']:.4f}"
    )


@cli.command("backends")
def backends_command() -> None:
    """Show what can run here, and why the rest cannot."""
    rows = [("backend", "available", "device, or why not and what to do")]
    for name, found in available_backends().items():
        detail = found.device if found.available else f"{found.reason}; {found.remedy}"
        rows.append((name, "yes" if found.available else "no", detail))
    width = max(len(name) for name, _, _ in rows)
    for name, available, detail in rows:
        click.echo(f"{name:<{width}}  {available:<9}  {detail}")
    click.echo(f"\nauto chooses {get_backend('auto').name} here.")


@cli.command("bench")
@click.option("--dtype", default="float64", show_default=True, help="float64 or float32.")
@click.option("--hidden", default=50, show_default=True, help="Units of the hidden layer.")
@click.option("--batch-size", default=100, show_default=True, help="Samples a step.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
@click.option("--plot", "picture", metavar="FILE", help="Draw it, too: a PNG, SVG or PDF file.")
def bench_command(dtype: str, hidden: int, batch_size: int, as_json: bool, picture: str | None) -> None:
    """Time a training step and a numerical gradient here, on every backend and with the book's loop."""
    if picture is not None:
        bench.check_picture(picture)
    measured = bench.measure(dtype=dtype, hidden_size=hidden, batch_size=batch_size)
    if picture is not None:
        bench.plot(measured, picture)
    click.echo(json.dumps(measured) if as_json else bench.table(measured))


@cli.command("gradcheck")
@click.option("--backend", default="auto", show_default=True, help="numpy, numba, cupy, cupy:1, ...; auto chooses.")
@click.option("--dtype", default="float64", show_default=True, help="float64 or float32.")
@click.option("--method", default=METHODS[0], show_default=True, help=f"The other gradient: {', '.join(METHODS)}.")
@click.option("--activation", default="sigmoid", show_default=True, help="Of the hidden layer: sigmoid, tanh, relu, identity.")
@click.option("--loss", default="cross_entropy", show_default=True, help="cross_entropy or mean_squared_error.")
@click.option("--hidden", default=50, show_default=True, help="Units of the hidden layer.")
@click.option("--samples", default=3, show_default=True, help="Training samples of MNIST to compute the loss on.")
@click.option("--tolerance", type=float, help="Largest relative error that passes.  [default: by dtype and method]")
@click.option("--seed", default=0, show_default=True, help="Of the weights, and the directions of the projection.")
def gradcheck_command(
    backend: str,
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
    x, t = x[: positive_int(samples, "samples")], t[:samples]
    network = TwoLayerNet(x.shape[1], hidden, 10, activation=activation, loss=loss, backend=backend, dtype=dtype, rng=rng)
    report = gradient_check(network, x, t, method=method, tolerance=tolerance, rng=rng)
    click.echo(f"{x.shape[1]}-{hidden}-10, {network.dtype}, on {network.backend.name}; {len(x)} samples of MNIST\n\n{report}")
    return 0 if report.passed else 1


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; an error is one line on standard error and exit code 2."""
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    if sys.stderr is not None and sys.stderr.isatty():
        logging.getLogger("fastnn.compilation").setLevel(logging.INFO)
    try:
        code = cli.main(args=arguments, prog_name="fastnn", standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()  # so that a full disk or a closed pipe shows here
    except click.ClickException as error:
        _fail(error.format_message())
    except (click.Abort, KeyboardInterrupt):
        _fail("interrupted", 130)
    except MemoryError as error:
        _fail(f"not enough memory: {error}")
    except FastnnError as error:
        _fail(str(error))
    except OSError as error:
        # What could not be written must not be tried again when Python exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        _fail(f"the output cannot be written: {error.strerror or error}")
    sys.exit(code if isinstance(code, int) else 0)


def _fail(message: str, code: int = 2) -> NoReturn:
    click.echo(f"fastnn: error: {' '.join(message.split())}", err=True)
    sys.exit(code)
