"""The options that several commands have, each written once, and what they stand for."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import click

from ..backends import Backend, get_backend

#: Samples a step, unless somebody says otherwise: the book's.
BATCH_SIZE = 100

#: No memory holds more of anything than this.
_MOST = 2**48


class Count(click.IntRange):
    """A number of things, of which there must be so many at least."""

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        number = super().convert(value, param, ctx)
        if number > _MOST:
            self.fail(f"{number} is more than any memory holds.", param, ctx)
        return number


class _Finite(click.FloatRange):
    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{number} is not a finite number.", param, ctx)
        return number


#: A number of things of which there must be one, and a finite number of at least 0.
COUNT = Count(min=1)
FINITE = _Finite(min=0)

_Option = Callable[[Callable[..., Any]], Callable[..., Any]]

backend = click.option(
    "--backend",
    default="auto",
    show_default=True,
    help="A name that fastnn backends lists, with a device after a colon, or auto, which chooses.",
)
threads = click.option(
    "--threads",
    type=COUNT,
    metavar="N",
    help="Threads at most; by default as many as pay.",
)
dtype = click.option(
    "--dtype",
    type=click.Choice(["float64", "float32"]),
    default="float64",
    show_default=True,
    help="Of the parameters.",
)
hidden = click.option(
    "--hidden",
    type=COUNT,
    default=50,
    show_default=True,
    help="Units of the hidden layer.",
)
batch_size = click.option(
    "--batch-size",
    type=COUNT,
    default=BATCH_SIZE,
    show_default=True,
    help="Samples a step.",
)


def seed(of: str) -> _Option:
    """The option ``--seed`` of a command that draws this."""
    kind = click.IntRange(min=0)
    return click.option("--seed", type=kind, default=0, show_default=True, help=f"Of {of}.")


def as_json(instead: str) -> _Option:
    """The option ``--json`` of a command that prints this without it."""
    text = f"Print one JSON object instead of {instead}."
    return click.option("--json", "as_json", is_flag=True, help=text)


def chosen_backend(
    name: str,
    threads: int | None,
    *,
    layers: Sequence[int],
    samples: int = BATCH_SIZE,
) -> Backend:
    """The backend of these options; ``auto`` chooses for steps of so many samples.

    `layers` are the units of each layer of the network, its inputs first.
    """
    parameters = sum((units + 1) * following for units, following in pairwise(layers))
    return get_backend(name, multiplications=samples * parameters, threads=threads)
