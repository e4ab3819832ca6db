"""What a training is asked for, checked before anything is changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .backends.base import Dataset
from .base_network import Network
from .callbacks import Callbacks, ProgressBar, checked_callbacks
from .early_stopping import EarlyStopping
from .errors import DtypeError, InputError
from .evaluations import Evaluations, columns, split
from .history import History
from .optimizers.choosing import chosen
from .sampling import SAMPLERS
from .schedules import rates_of, schedule
from .stepping import GRADIENTS
from .training_state import TrainingState
from .validation import check_size, choice, generator, positive_int, real_number, shown

#: How long a training is where nobody says: the book's.
ITERATIONS = 10_000


def prepare(
    network: Network,
    x_train: Any,
    t_train: Any,
    *,
    x_test: Any,
    t_test: Any,
    iterations: int | None,
    epochs: int | None,
    batch_size: int,
    sampling: str,
    optimizer: Any,
    learning_rate: Any,
    gradient: str,
    sample_weight: Any,
    validation: Any,
    evaluate_every: int | None,
    early_stopping: EarlyStopping | int | None,
    callbacks: Any,
    history: History | None,
    rng: Any,
    progress: bool,
    dataset: Callable[..., Dataset] | None = None,
) -> TrainingState:
    """The state at the beginning of a training with these arguments of :func:`fastnn.train`.

    They are checked. Nothing is changed, but that `rng` has drawn which samples are for the
    validation. `dataset` is what makes datasets of samples that only it knows, with the signature
    of the network's own method.
    """
    if not isinstance(network, Network):
        raise DtypeError(f"network={shown(network)} is no network; pass one, as a TwoLayerNet")
    iterations, epochs = _length(iterations, epochs)
    batch_size = positive_int(batch_size, "batch_size")
    check_size(batch_size, np.int64, f"batch_size={shown(batch_size)}")
    optimizer, learning_rate = chosen(optimizer, learning_rate)
    rates = schedule(learning_rate, network.dtype)
    choice(gradient, "gradient", GRADIENTS)
    sampler_type = SAMPLERS[choice(sampling, "sampling", SAMPLERS)]
    if evaluate_every is not None:
        evaluate_every = positive_int(evaluate_every, "evaluate_every", 0)
    stopping = () if early_stopping is None else (checked_stopping(early_stopping),)
    watching = (*stopping, *checked_callbacks(callbacks))
    rng = generator(rng)
    before = rng.bit_generator.state
    past = _past(history, network.dtype)
    start = len(past.loss)
    check_size(start + iterations, network.dtype, f"iterations={shown(iterations)}")
    rates_of(rates, network.dtype, start, start + 1)
    fraction, pair = _validation(validation)
    if (x_test is None) != (t_test is None):
        raise InputError("x_test and t_test belong together; give both or neither")
    names = ["train"] + ["test"] * (x_test is not None) + ["validation"] * (validation is not None)
    evaluate_every = _check_evaluated(network, names, evaluate_every, watching)
    _check_continued(past, columns(network, names) if evaluate_every != 0 else past.columns)

    others: dict[str, Dataset] = {}
    enter = network.dataset if dataset is None else dataset
    if x_test is not None:
        others["test"] = enter(x_test, t_test, "test")
    if pair is not None:
        others["validation"] = enter(*pair, "validation")
    weights = {} if sample_weight is None else {"sample_weight": sample_weight}
    if fraction is None:
        data = enter(x_train, t_train, "train", **weights)
    else:
        data, others["validation"] = split(network, x_train, t_train, fraction, rng, **weights)
    sampler = sampler_type(len(data), batch_size, rng)
    sampler.start_at(start)
    if epochs is not None:
        iterations = epochs * sampler.steps_per_epoch
        check_size(start + iterations, network.dtype, f"epochs={shown(epochs)}")
    interval = sampler.steps_per_epoch if evaluate_every is None else evaluate_every
    by_epochs = evaluate_every is None and (epochs is not None or sampling == "shuffle")
    offset = (start + sampler.steps_left - 1) % interval if by_epochs else 0
    return TrainingState(
        network=network,
        data=data,
        sampler=sampler,
        schedule=rates,
        evaluations=Evaluations(network, {"train": data} | others, interval, offset),
        history=past,
        gradient=gradient,
        optimizer=optimizer,
        iterations=start + iterations,
        callbacks=Callbacks((*watching, *([ProgressBar()] if progress else []))),
        iteration=start,
        rng_at_start=before,
    )


def _length(iterations: Any, epochs: Any) -> tuple[int, int | None]:
    """Iterations, which are not known yet if there are epochs, and these."""
    if epochs is None:
        return positive_int(ITERATIONS if iterations is None else iterations, "iterations", 0), None
    if iterations is not None:
        raise InputError(
            f"iterations={shown(iterations)} and epochs={shown(epochs)} both say how long to "
            "train; give one of them"
        )
    return 0, positive_int(epochs, "epochs", 0)


def checked_stopping(value: EarlyStopping | int) -> EarlyStopping:
    """Early stopping by what :func:`fastnn.train` takes for it."""
    return value if isinstance(value, EarlyStopping) else EarlyStopping(_patience(value))


def _patience(value: Any) -> int:
    try:
        return positive_int(value, "early_stopping")
    except DtypeError as error:
        raise DtypeError(
            f"early_stopping={shown(value)} is none; give the patience, or an EarlyStopping"
        ) from error


def _past(history: Any, dtype: np.dtype) -> History:
    """The history to go on with, a new one or a copy."""
    if history is None:
        return History(loss=np.empty(0, dtype))
    if not isinstance(history, History):
        raise DtypeError(f"history={shown(history)} is none; give what train has returned")
    if len(history.loss) and history.loss.dtype != dtype:
        raise InputError(
            f"history has losses of {history.loss.dtype}, but the network computes in {dtype}; "
            "continue the history of this network"
        )
    past = history.copy()
    past.stopped = past.best_iteration = None
    return past


def _validation(value: Any) -> tuple[float | None, tuple[Any, Any] | None]:
    """A fraction, or samples and targets, or neither."""
    if value is None:
        return None, None
    if isinstance(value, tuple | list):
        if len(value) != 2:
            raise InputError(
                f"validation has {len(value)} entries; give a pair (x, t), or a fraction"
            )
        return None, (value[0], value[1])
    try:
        fraction = real_number(value, "validation", above=0)
    except DtypeError as error:
        raise DtypeError(
            f"validation={shown(value)} is neither; give a fraction, or a pair (x, t)"
        ) from error
    if fraction >= 1:
        raise InputError(f"validation={fraction:g} is too large; give a fraction less than 1")
    return fraction, None


def _check_evaluated(
    network: Network, names: list[str], evaluate_every: int | None, watching: Any
) -> int | None:
    """`evaluate_every`, or 0 where there is nothing to evaluate.

    Raises
    ------
    InputError
        If that was asked for nevertheless, or early stopping misses what it watches.
    """
    stopping = [one for one in watching if isinstance(one, EarlyStopping)]
    for one in stopping:
        if one.monitor.startswith("validation") and "validation" not in names:
            raise InputError(
                f"early stopping watches the {one.monitor}, and there are no validation samples; "
                "give validation=, a fraction or (x, t)"
            )
        if one.monitor.endswith("accuracy") and not network.has_accuracy:
            raise InputError(
                f"early stopping watches the {one.monitor}, and a network with a single output has "
                "none; watch a loss"
            )
        if evaluate_every == 0:
            raise InputError(
                "early stopping goes by the evaluations, and evaluate_every=0 makes none; "
                "leave it out"
            )
    losses_only = not network.has_accuracy
    nothing = losses_only and "validation" not in names and not stopping
    if losses_only and ("test" in names or (nothing and evaluate_every)):
        raise InputError(
            "a network with a single output has no accuracy to evaluate: that output is the "
            "largest for every sample; train without x_test, and with evaluate_every=0"
        )
    return 0 if nothing else evaluate_every


def _check_continued(past: History, names: set[str]) -> None:
    """Raise InputError unless what is evaluated now is what was evaluated before."""
    if past.iterations and past.columns != names:
        before, now = (", ".join(sorted(columns)) or "nothing" for columns in (past.columns, names))
        raise InputError(
            f"history has {before}, and now there would be {now}; "
            "continue it with the same x_test and validation, or begin a new one"
        )
