"""Training a network."""

from __future__ import annotations

import signal
import warnings
from typing import Any

from .base_network import Network
from .callbacks import checked_callbacks
from .early_stopping import EarlyStopping
from .history import History
from .interrupts import InterruptWarning
from .loop import loop
from .preparation import prepare
from .training_state import TrainingState


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
    optimizer: Any = None,
    learning_rate: Any = None,
    gradient: str = "backprop",
    sample_weight: Any = None,
    validation: Any = None,
    evaluate_every: int | None = None,
    early_stopping: EarlyStopping | int | None = None,
    callbacks: Any = (),
    history: History | None = None,
    rng: Any = None,
    checkpoint: Any = None,
    checkpoint_every: Any = "10s",
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

    After Ctrl-C, or SIGTERM, the training ends within some tenths of a second, or once its kernels
    are compiled, between two iterations, with a warning and ``stopped="interrupted"`` in the
    history, and can be continued; a second one ends at once. That holds in the main thread, and
    unless the program has handlers of its own for these signals.

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
    optimizer : None, str or object, optional
        What moves the parameters: an object of :mod:`fastnn.optimizers`, or any other with
        ``update(params, grads)``; or a name, ``"sgd"``, ``"momentum"``, ``"nesterov"``,
        ``"adagrad"``, ``"rmsprop"`` or ``"adam"``, for a new one. None is SGD. An object goes on
        from what it remembers, and remembers this training.
    learning_rate : float, Schedule or callable, optional
        At least 0: a number, a schedule of :mod:`fastnn.schedules`, or a function of the
        iteration, counted from 0. By default the optimizer's own, and 0.1 where there is none.
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
    checkpoint : path, optional
        Where to keep what :func:`fastnn.resume` goes on from: written at the beginning, as often as
        `checkpoint_every` says, and at the end; whole at any moment. What is there is replaced.
    checkpoint_every : int or str
        A number of iterations, or a time with its unit, as ``"30s"`` or ``"5min"``; of that, as
        many as take 2 % of the time at most.
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
        function gives later, or of a parameter that a callback assigns, the iterations before it
        have been made.
    CheckpointError
        If there cannot be one; before the first step, or when one cannot be written: the one before
        is there still.
    DivergenceError
        If the loss or a parameter ceases to be finite; noticed after some tenths of a second, or an
        evaluation, and at the end of the training.

    Examples
    --------
    >>> import numpy as np
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
    given = {name: value for name, value in locals().items() if name not in _NO_PART_OF_IT}
    arguments = {name: value for name, value in given.items() if name not in _POSITIONAL}
    if checkpoint is not None:
        from .checkpointing import Checkpointing

        keep = Checkpointing(checkpoint, checkpoint_every, given)
        arguments["callbacks"] = (*checked_callbacks(callbacks), keep)
    return go_on(prepare(network, x_train, t_train, **arguments))


def go_on(state: TrainingState) -> History:
    """Train from a state to its end."""
    loop(state)
    if state.signal is not None:
        warnings.warn(
            f"training was {interrupted(state)}; parameters and history are valid",
            InterruptWarning,
            stacklevel=3,
        )
    return state.history


_NO_PART_OF_IT = ("network", "checkpoint", "checkpoint_every")
_POSITIONAL = ("x_train", "t_train")


def interrupted(state: TrainingState) -> str:
    """What to tell of a training that a signal ended."""
    name = signal.Signals(state.signal).name if state.signal else "a signal"
    reached = state.history.reached()
    return (
        f"interrupted by {name} after {state.iteration} of {state.iterations} iterations"
        f"{': ' * bool(reached)}{reached}"
    )
