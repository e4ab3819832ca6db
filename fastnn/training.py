"""Training a network: what is asked for, checked before anything is changed."""

from __future__ import annotations

import signal
import warnings
from typing import Any

import numpy as np

from .backends.base import Dataset
from .base_network import Network
from .callbacks import Callbacks, ProgressBar, checked_callbacks
from .early_stopping import EarlyStopping
from .errors import DtypeError, InputError
from .evaluations import Evaluations, columns, split
from .history import History
from .interrupts import InterruptWarning
from .loop import TrainingState, loop
from .sampling import SAMPLERS
from .schedules import rates_of, schedule
from .stepping import GRADIENTS
from .validation import check_size, choice, generator, positive_int, real_number, shown

#: The book's.
ITERATIONS = 10_000


def train(
    network: Network,
    x_train: Any,
    t_train: Any,
    *,
    x_test: Any = None,
    t_test: Any = None,
    iterations: int | None = None,
    epochs: int | None = None,
    batch_size: int = 100,
    sampling: str = "replacement",
    learning_rate: Any = 0.1,
    gradient: str = "backprop",
    sample_weight: Any = None,
    validation: Any = None,
    evaluate_every: int | None = None,
    early_stopping: EarlyStopping | int | None = None,
    callbacks: Any = (),
    history: History | None = None,
    rng: Any = None,
    progress: bool = False,
) -> History:
    """Train a network by stochastic gradient descent, as the book does.

    Each iteration draws `batch_size` row numbers with replacement and moves the parameters against
    the gradient of the loss on those rows. The row numbers come from one NumPy Generator on the
    host, so the same seed gives the same batches on every backend.

    The same call in the same process, from the same parameters and seed, gives the same bits, also
    while other threads train other networks: on NumPy and Numba the threads of the BLAS belong to
    the whole process, so trainings that want another number of them take turns, about a tenth of a
    second each. Who limits the BLAS from elsewhere meanwhile may change the last bits.

    A network and its data are for one thread at a time. An entry of `params` that another thread
    replaces meanwhile may never be trained, and what data that it changes do to the result is not
    defined.

    After Ctrl-C, or SIGTERM, the training ends within some tenths of a second, between two
    iterations, with a warning and ``stopped="interrupted"`` in the history, and can be continued; a
    second one ends at once. That holds in the main thread, and unless the program has handlers of
    its own for these signals.

    Parameters
    ----------
    network : Network
        Its parameters are updated in place.
    x_train : array_like, shape (samples, features)
        With Numba also a sparse matrix, which stays sparse.
    t_train : array_like, shape (samples,) or (samples, outputs)
        Labels, or one-hot or soft targets, of which each row sums to one for the cross-entropy;
        for the squared error of a single output its values.
    x_test, t_test : array_like, optional
        Samples and targets to evaluate the accuracy on, too; both or neither.
    iterations, epochs : int, optional
        How long to train: one of them, or neither for 10,000 iterations. An epoch is as many
        iterations as there are whole batches in the training samples, at least one; with
        ``sampling="shuffle"`` as many as it takes to see all.
    batch_size : int
    sampling : {"replacement", "shuffle"}
        "replacement" draws the row numbers of all batches independently, as the book does.
        "shuffle" takes each sample exactly once an epoch, in a new order each time; the last batch
        of an epoch has what is left.
    learning_rate : float, Schedule or callable
        At least 0: a number, a schedule of :mod:`fastnn.schedules`, or a function of the
        iteration, counted from 0.
    gradient : {"backprop", "numerical"}
        How the gradient is computed: by backpropagation, or by central differences alone.
    sample_weight : array_like, shape (samples,), optional
        How much each training sample counts in the loss.
    validation : float or (array_like, array_like), optional
        Samples and targets on which loss and accuracy are evaluated, too, for early stopping; or
        the fraction of the training samples to set aside for it. Then these are the first of
        ``rng.permutation(samples)``, drawn before anything else.
    evaluate_every : int, optional
        Every how many iterations, the first included, the network is evaluated (after the update).
        By default once an epoch: after its first iteration, as in the book, or after its last
        one where the training counts in epochs, with `epochs` or ``sampling="shuffle"``; 0 never
        evaluates, for timing, and neither does the default where there is nothing to evaluate: a
        single output has no accuracy.
    early_stopping : EarlyStopping or int, optional
        When to stop before the end, and restore the best parameters; an int is the patience of one
        that watches the loss on the validation samples.
    callbacks : iterable of Callback
        What else happens meanwhile.
    history : History, optional
        Of a training that this one continues: iterations, evaluations and seconds go on counting.
        It is not changed. The batches go on from where `rng` is; shuffled epochs begin anew.
    rng : None, int or numpy.random.Generator
        Where the batches come from: fresh entropy, a seed, or this generator.
    progress : bool
        Show a progress bar, in a terminal (on standard error) or a notebook.

    Returns
    -------
    History

    Raises
    ------
    InputError, DtypeError, HostMemoryError
        If the data do not fit the network, an argument is impossible, or there is no memory for
        such batches; nothing has been changed then. Only of a learning rate that a schedule or a
        function gives later, the iterations before it have been made.
    DivergenceError
        If the loss or a parameter ceases to be finite; noticed after some tenths of a second, or an
        evaluation, and at the end of the training.

    Examples
    --------
    >>> from fastnn import TwoLayerNet
    >>> x = np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]])
    >>> net = TwoLayerNet(2, 8, 2, weight_init_std=1.0, rng=1)
    >>> t = [0, 1, 1, 0]
    >>> history = train(net, x, t, iterations=3000, batch_size=4, learning_rate=1.0, rng=1)
    >>> net.accuracy(x, t)
    1.0
    >>> more = train(net, x, t, epochs=2, batch_size=3, sampling="shuffle", history=history, rng=2)
    >>> len(more.loss), more.stopped
    (3004, 'finished')
    """
    arguments = {name: value for name, value in locals().items() if name not in _POSITIONAL}
    state = prepare(network, x_train, t_train, **arguments)
    loop(state)
    if state.signal is not None:
        warnings.warn(
            f"training was {interrupted(state)}; parameters and history are valid",
            InterruptWarning,
            stacklevel=2,
        )
    return state.history


_POSITIONAL = ("network", "x_train", "t_train")


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
) -> TrainingState:
    """The state at the beginning of a training with these arguments of :func:`train`, checked.

    Nothing is changed, but that `rng` has drawn which samples are for the validation.
    """
    if not isinstance(network, Network):
        raise DtypeError(f"network={shown(network)} is no network; pass one, as a TwoLayerNet")
    iterations, epochs = _length(iterations, epochs)
    batch_size = positive_int(batch_size, "batch_size")
    check_size(batch_size, np.int64, f"batch_size={shown(batch_size)}")
    rates = schedule(learning_rate, network.dtype)
    choice(gradient, "gradient", GRADIENTS)
    sampler_type = SAMPLERS[choice(sampling, "sampling", SAMPLERS)]
    if evaluate_every is not None:
        evaluate_every = positive_int(evaluate_every, "evaluate_every", 0)
    watching = (*_early_stopping(early_stopping), *checked_callbacks(callbacks))
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
    if x_test is not None:
        others["test"] = network.dataset(x_test, t_test, "test")
    if pair is not None:
        others["validation"] = network.dataset(*pair, "validation")
    weights = {} if sample_weight is None else {"sample_weight": sample_weight}
    if fraction is None:
        data = network.dataset(x_train, t_train, "train", **weights)
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
        iterations=start + iterations,
        callbacks=Callbacks((*watching, *([ProgressBar()] if progress else []))),
        iteration=start,
        rng_at_start=before,
    )


def interrupted(state: TrainingState) -> str:
    """What to tell of a training that a signal ended."""
    name = signal.Signals(state.signal).name if state.signal else "a signal"
    reached = ", ".join(f"{key} {value:.4g}" for key, value in state.history.last().items())
    return (
        f"interrupted by {name} after {state.iteration} of {state.iterations} iterations"
        f"{': ' * bool(reached)}{reached}"
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


def _early_stopping(value: Any) -> tuple[EarlyStopping, ...]:
    if value is None:
        return ()
    return (value if isinstance(value, EarlyStopping) else EarlyStopping(_patience(value)),)


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
