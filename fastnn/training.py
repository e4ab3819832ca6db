"""The training loop: batches, epochs, evaluations."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from .backends.base import Dataset
from .base_network import Network
from .errors import DivergenceError, DtypeError, InputError
from .history import History
from .optimizers.choosing import chosen, rehearsing
from .stepping import GRADIENTS, runner
from .validation import (
    Array,
    check_size,
    choice,
    generator,
    positive_int,
    real_number,
    room_for,
    shown,
)

#: How many samples are classified at a time when the accuracy is evaluated: bounds the memory of
#: the hidden layer.
EVALUATION_CHUNK = 2000

#: How many steps a runner gets at a time at least, where an epoch is shorter: what it sets up for
#: each call is shared by them.
FEWEST_STEPS = 32

#: And how many row numbers at most, for that: an epoch of large batches is better short than large.
MOST_ROWS = 2_000_000


def train(
    network: Network,
    x_train: Any,
    t_train: Any,
    *,
    x_test: Any = None,
    t_test: Any = None,
    iterations: int = 10_000,
    batch_size: int = 100,
    learning_rate: float | None = None,
    optimizer: Any = None,
    gradient: str = "backprop",
    evaluate_every: int | None = None,
    rng: Any = None,
    progress: bool = False,
) -> History:
    """Train a network by stochastic gradient descent, as the book does.

    Each iteration draws `batch_size` row numbers with replacement and moves the parameters against
    the gradient of the loss on those rows. The row numbers come from one NumPy Generator on the
    host, so the same seed gives the same batches on every backend.

    The same call in the same process, from the same parameters and seed, gives the same bits, also
    while other threads train other networks: on NumPy and Numba the threads of the BLAS belong to
    the whole process, so trainings that want another number of them take turns, at least an epoch
    each. Who limits the BLAS from elsewhere meanwhile may change the last bits.

    A network and its data are for one thread at a time. An entry of `params` that another thread
    replaces meanwhile may never be trained, and what data that it changes do to the result is not
    defined.

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
    iterations, batch_size : int
    learning_rate : float, optional
        At least 0. By default the optimizer's own, which is 0.1 if that is None.
    optimizer : None, str or object, optional
        What moves the parameters: an object of :mod:`fastnn.optimizers`, or any other with
        ``update(params, grads)``; or a name, ``"sgd"``, ``"momentum"``, ``"nesterov"``,
        ``"adagrad"``, ``"rmsprop"`` or ``"adam"``, for a new one. None is SGD. An object goes on
        from what it remembers, and remembers this training.
    gradient : {"backprop", "numerical"}
        How the gradient is computed: by backpropagation, or by central differences alone.
    evaluate_every : int, optional
        Every how many iterations, the first included, the accuracies are evaluated (after the
        update). By default once an epoch, which is the number of whole batches in the training set,
        at least one; 0 never evaluates, for timing, and neither does the default where there is a
        single output, which has no accuracy.
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
        such batches; nothing has been changed then.
    DivergenceError
        If the loss or a parameter ceases to be finite; noticed at the end of an epoch or, if that
        is shorter, of 32 steps; of a parameter after an evaluation, and at the end of the training.

    Examples
    --------
    >>> from fastnn import TwoLayerNet
    >>> x = np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]])
    >>> net = TwoLayerNet(2, 8, 2, weight_init_std=1.0, rng=1)
    >>> t = [0, 1, 1, 0]
    >>> history = train(net, x, t, iterations=3000, batch_size=4, learning_rate=1.0, rng=1)
    >>> net.accuracy(x, t)
    1.0
    """
    from .progress import progress_bar

    if not isinstance(network, Network):
        raise DtypeError(f"network={shown(network)} is no network; pass one, as a TwoLayerNet")
    iterations = positive_int(iterations, "iterations", 0)
    batch_size = positive_int(batch_size, "batch_size")
    check_size(iterations, network.dtype, f"iterations={shown(iterations)}")
    check_size(batch_size, np.int64, f"batch_size={shown(batch_size)}")
    if learning_rate is not None:
        learning_rate = _learning_rate(learning_rate, network.dtype)
    optimizer, learning_rate = chosen(optimizer, learning_rate)
    learning_rate = _learning_rate(learning_rate, network.dtype)  # also an optimizer's own
    choice(gradient, "gradient", GRADIENTS)
    rng = generator(rng)
    data = network.dataset(x_train, t_train, "train")
    if (x_test is None) != (t_test is None):
        raise InputError("x_test and t_test belong together; give both or neither")
    test = None if x_test is None and t_test is None else network.dataset(x_test, t_test, "test")
    epoch = max(len(data) // batch_size, 1)
    interval = (
        epoch if evaluate_every is None else positive_int(evaluate_every, "evaluate_every", 0)
    )
    if not network.has_accuracy:
        if test is not None or (evaluate_every is not None and interval):
            raise InputError(
                "a network with a single output has no accuracy to evaluate: that output is the "
                "largest for every sample; train without x_test, and with evaluate_every=0"
            )
        interval = 0

    backend = network.backend
    options: dict[str, Any] = {
        "gradient": gradient,
        "batch_size": batch_size,
    }
    with room_for(f"iterations={iterations} of batch_size={batch_size}"):
        run = runner(network, data, optimizer=optimizer, **options)
        history = History(loss=np.empty(iterations, network.dtype))
    evaluations = [(data, history.train_accuracy)] + (
        [] if test is None else [(test, history.test_accuracy)]
    )
    # Divergence is told from the losses; a warning from the middle of an operation would only come
    # first.
    with (
        progress_bar(iterations, progress, unit="it") as bar,
        backend.current(),
        backend.limit_threads(batch_size * network.size) as turn,
        np.errstate(invalid="ignore"),
    ):
        # On a copy, so that for exactly these types everything is compiled and loaded before the
        # clock starts.
        with room_for(f"batch_size={batch_size}"):
            rehearsal = backend.asarray(np.zeros((1, batch_size), np.int64))
            options["optimizer"] = rehearsing(optimizer)
            rehearse = runner(network.to(backend), data, **options)
            rehearse(rehearsal, backend.empty(1, network.dtype), np.array([learning_rate]))
            backend.synchronize()
        started = time.perf_counter()
        stretch = max(epoch, min(FEWEST_STEPS, MOST_ROWS // batch_size))
        for first in range(0, iterations, stretch):
            if turn is not None:
                turn.give_way()
            last = min(first + stretch, iterations)
            # The row numbers of many steps at a time: they reach a GPU in one copy, and its losses
            # come back in one.
            rows = backend.asarray(rng.integers(len(data), size=(last - first, batch_size)))
            losses = backend.empty(last - first, network.dtype)
            rates = np.full(last - first, learning_rate)
            begin, found = 0, []
            for i in range(first + -first % interval, last, interval) if interval else ():
                end = i + 1 - first
                run(rows[begin:end, ...], losses[begin:end, ...], rates[begin:end])
                history.iterations.append(i)
                broken = count_broken(network)
                found += [
                    # Negative, in the one number that comes back, if the network has no accuracy.
                    (i, accuracies, count_correct(network, kept) - broken * (len(kept) + 1), kept)
                    for kept, accuracies in evaluations
                ]
                begin = end
            run(rows[begin:, ...], losses[begin:, ...], rates[begin:])
            # Up to here nothing of these steps has waited for a GPU.
            history.loss[first:last] = backend.to_numpy(losses)
            _check_finite(history.loss, first, last, learning_rate)
            for i, accuracies, correct, kept in found:
                accuracy = float(backend.to_numpy(correct)) / len(kept)
                _check_parameters(accuracy >= 0, i, learning_rate)
                accuracies.append(accuracy)
            if bar is not None:
                bar.update(last - first)
        backend.synchronize()
        history.seconds = time.perf_counter() - started
        if iterations:  # also what came out of the last step, of which there is no loss any more
            finite = not backend.to_numpy(count_broken(network))
            _check_parameters(finite, iterations - 1, learning_rate)
    return history


def count_correct(network: Network, data: Dataset) -> Array:
    """How many samples of a dataset are classified right: a scalar that stays with the backend."""
    return sum(network.count_correct(x, t) for x, t in data.chunks(EVALUATION_CHUNK))


def count_broken(network: Network) -> Array:
    """How many parameters are NaN or infinite: a scalar that stays with the backend."""
    xp = network.backend.xp
    return sum(xp.count_nonzero(~xp.isfinite(p)) for p in network.params.values())


def _learning_rate(value: Any, dtype: np.dtype) -> float:
    rate = real_number(value, "learning_rate", minimum=0)
    if rate > float(np.finfo(dtype).max):
        raise InputError(
            f"learning_rate={rate:g} is beyond the range of {dtype}, in which the network computes"
        )
    return rate


def _check_finite(loss: np.ndarray, first: int, last: int, learning_rate: float) -> None:
    finite = np.isfinite(loss[first:last])
    if not finite.all():
        i = first + int(finite.argmin())
        raise DivergenceError(
            f"the loss is {loss[i]} at iteration {i}: training diverged, "
            "and the parameters are of no use any more; "
            f"start again with a learning_rate smaller than {learning_rate:g}"
        )


def _check_parameters(finite: bool, i: int, learning_rate: float) -> None:
    if not finite:
        raise DivergenceError(
            f"the parameters are not finite after iteration {i}: training diverged, "
            "and they are of no use any more; "
            f"start again with a learning_rate smaller than {learning_rate:g}"
        )
