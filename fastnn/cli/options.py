"""The options that several commands have, each written once, and what they stand for."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import click

from ..backends import Backend, get_backend
from ..functions import ACTIVATIONS, LOSSES
from .help import OTHERS, option

#: Samples a step, unless somebody says otherwise: the book's.
BATCH_SIZE = 100

#: No memory holds more of anything than this.
_MOST = 2**48

#: The groups of a help page.
NETWORK, TRAINING, MACHINE, OUTPUT = "Network", "Training", "Machine", "Output"


class Whole(click.IntRange):
    """A whole number of a range."""

    name = "whole number"


class Count(Whole):
    """A number of things, of which there must be so many at least."""

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        number = super().convert(value, param, ctx)
        if number > _MOST:
            self.fail(f"{number} is more than any memory holds.", param, ctx)
        return number


class _Finite(click.FloatRange):
    name = "number"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{number} is not a finite number.", param, ctx)
        return number


class AnyPath(click.Path):
    """A path; one that no file can have is refused as the others are."""

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        try:
            return super().convert(value, param, ctx)
        except ValueError as error:  # a null character in it
            self.fail(f"{value!r}: {error}.", param, ctx)


class Source(click.Path):
    """A path of a file or a folder that is there; what is wrong with another, the system says."""

    name = "path"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        path = Path(value)
        try:
            if not value:
                self.fail(f"{value!r}: it is empty.", param, ctx)
            path.stat()
        except OSError as error:
            # Unless it may be the name of a set in a folder.
            if len(path.parts) < 2 or not path.parent.is_dir():
                self.fail(f"{value!r}: {error.strerror}.", param, ctx)
        except ValueError as error:  # a null character in it
            self.fail(f"{value!r}: {error}.", param, ctx)
        return value


#: A number of things of which there must be one, and a finite number of at least 0.
COUNT = Count(min=1)
FINITE = _Finite(min=0)

#: Between 0 and 1.
FRACTION = _Finite(0, 1, min_open=True, max_open=True)

_Option = Callable[[Callable[..., Any]], Callable[..., Any]]

backend = option(
    "--backend",
    default="auto",
    show_default=True,
    group=MACHINE,
    help="A name that fastnn backends lists, with a device after a colon, or auto, which chooses.",
)
threads = option(
    "--threads",
    type=COUNT,
    metavar="N",
    group=MACHINE,
    help="Threads at most; by default as many as pay.",
)
dtype = option(
    "--dtype",
    type=click.Choice(["float64", "float32"]),
    default="float64",
    show_default=True,
    group=NETWORK,
    help="Of the parameters.",
)
hidden = option(
    "--hidden",
    type=COUNT,
    metavar="N",
    default=50,
    show_default=True,
    group=NETWORK,
    help="Units of the hidden layer.",
)
activation = option(
    "--activation",
    type=click.Choice(list(ACTIVATIONS)),
    default="sigmoid",
    show_default=True,
    group=NETWORK,
    help="Of the hidden layer.",
)
batch_size = option(
    "--batch-size",
    type=COUNT,
    metavar="N",
    default=BATCH_SIZE,
    show_default=True,
    group=TRAINING,
    help="Samples a step.",
)


def loss(purpose: str) -> _Option:
    """The option ``--loss`` of a command that does this with it."""
    return option(
        "--loss",
        type=click.Choice(list(LOSSES)),
        default="cross_entropy",
        show_default=True,
        group=NETWORK,
        help=purpose,
    )


def seed(of: str, group: str = OTHERS) -> _Option:
    """The option ``--seed`` of a command that draws this."""
    return option(
        "--seed",
        type=Whole(min=0),
        metavar="N",
        default=0,
        show_default=True,
        group=group,
        help=f"Of {of}.",
    )


def as_json(instead: str) -> _Option:
    """The option ``--json`` of a command that prints this without it."""
    text = f"Print one JSON object instead of {instead}."
    return option("--json", "as_json", is_flag=True, group=OUTPUT, help=text)


def picture(of: str) -> _Option:
    """The option ``--plot FILE`` of a command that can draw this."""
    text = f"Draw {of}, too: a PNG, SVG or PDF file."
    return option("--plot", "picture", metavar="FILE", group=OUTPUT, help=text)


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
