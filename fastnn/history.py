"""What happened during a training."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

import numpy as np

from .errors import DataFileError, InputError
from .validation import shown

#: The first line of every file, so to say: what it is, and how it is to be read.
FORMAT = "fastnn history 1"


@dataclass
class History:
    """What happened during training.

    Attributes
    ----------
    loss : numpy.ndarray, shape (iterations,)
        The loss of each iteration's batch, before the parameters were updated with it.
    iterations : list of int
        After the update of which iterations, counted from 0, the network was evaluated.
    train_accuracy, test_accuracy : list of float
        The accuracies on all the training and test samples then; `test_accuracy` is empty without a
        test set, and all of them are where there is a single output, which has no accuracy.
    seconds : float
        Wall-clock seconds of the loop, evaluations included, compilation not.
    validation_loss, validation_accuracy : list of float
        The loss, as ``network.loss`` has it, and the accuracy on the validation samples then; empty
        without any.
    stopped : str or None
        Why the training ended: "finished" after all iterations, "early stopping", "interrupted" by
        Ctrl-C or SIGTERM, or the name of the callback that stopped it; None before its end.
    best_iteration : int or None
        With early stopping, after the update of which iteration the network was best. The
        parameters are those of that time, unless the training was interrupted.

    Examples
    --------
    >>> history = History(np.array([2.5, 1.25]), [0, 1], [0.5, 0.75], stopped="finished")
    >>> history
    <History of 2 iterations: loss 1.25, train_accuracy 0.75; finished>
    >>> history.to_dict()["train_accuracy"]
    [0.5, 0.75]
    """

    loss: np.ndarray = field(default_factory=lambda: np.empty(0))
    iterations: list[int] = field(default_factory=list)
    train_accuracy: list[float] = field(default_factory=list)
    test_accuracy: list[float] = field(default_factory=list)
    seconds: float = 0.0
    validation_loss: list[float] = field(default_factory=list)
    validation_accuracy: list[float] = field(default_factory=list)
    stopped: str | None = None
    best_iteration: int | None = None

    #: What every evaluation adds one value to, or to none.
    EVALUATED: ClassVar[tuple[str, ...]] = (
        *("train_accuracy", "test_accuracy"),
        *("validation_loss", "validation_accuracy"),
    )

    def copy(self) -> History:
        """Another history of the same content, of which nothing is shared."""
        lists: dict[str, Any] = {name: list(self._of(name)) for name in self.EVALUATED}
        return replace(self, loss=self.loss.copy(), iterations=list(self.iterations), **lists)

    @property
    def columns(self) -> set[str]:
        """The names of what was evaluated."""
        return {name for name in self.EVALUATED if self._of(name)}

    # -- for people --------------------------------------------------------------------------------

    def last(self) -> dict[str, float]:
        """The last value of what there is, by name.

        The loss is that of the last iteration's batch. The others are those after the update of
        iteration ``iterations[-1]``, which may be long before; ``network.accuracy`` says what the
        network is now.
        """
        last = {"loss": float(self.loss[-1])} if len(self.loss) else {}
        return last | {name: values[-1] for name in self.EVALUATED if (values := self._of(name))}

    def _of(self, name: str) -> list[Any]:
        return getattr(self, name)

    def reached(self) -> str:
        """The same as text, with the iteration that they are from, where that is not the last one.

        Examples
        --------
        >>> History(np.array([2.5, 1.25, 1.0]), [0, 1], [0.5, 0.75]).reached()
        'loss 1, train_accuracy 0.75 after iteration 1'
        """
        values = ", ".join(f"{name} {value:.4g}" for name, value in self.last().items())
        late = self.iterations and self.columns and self.iterations[-1] < len(self.loss) - 1
        return f"{values} after iteration {self.iterations[-1]}" if late else values

    def __repr__(self) -> str:
        count, values = len(self.loss), self.reached()
        parts = (f"{count} iteration{'s' * (count != 1)}{': ' * bool(values)}{values}",)
        return f"<History of {'; '.join((*parts, *filter(None, [self.stopped])))}>"

    def _repr_html_(self) -> str:
        """A table of the last evaluations, for notebooks."""
        names = [name for name in self.EVALUATED if self._of(name)]
        head = "".join(f"<th>{name.replace('_', ' ')}</th>" for name in ["iteration", *names])
        some = range(max(len(self.iterations) - 10, 0), len(self.iterations))
        body = "".join(
            f"<tr><td>{self.iterations[i]}</td>"
            + "".join(f"<td>{self._of(name)[i]:.4g}</td>" for name in names)
            + "</tr>"
            for i in some
        )
        title = repr(self)[1:-1].replace("&", "&amp;").replace("<", "&lt;")
        return f"<p>{title}</p><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"

    def plot(self, *, axes: Any = None) -> Any:
        """Draw losses and accuracies: see :func:`fastnn.plotting.plot_history`.

        Raises
        ------
        ImportError
            If Matplotlib is not installed.
        """
        from .plotting import plot_history

        return plot_history(self, axes=axes)

    # -- for other programs ------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """All of it in lists, numbers and strings, which :meth:`from_dict` takes.

        The losses of float32 are given as floats of Python, which hold them exactly; `loss_dtype`
        tells what they are.
        """
        return {
            "format": FORMAT,
            "loss_dtype": self.loss.dtype.name,
            "loss": self.loss.tolist(),
            "iterations": list(self.iterations),
            **{name: list(self._of(name)) for name in self.EVALUATED},
            "seconds": self.seconds,
            "stopped": self.stopped,
            "best_iteration": self.best_iteration,
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Self:
        """A history from what :meth:`to_dict` gave.

        Raises
        ------
        InputError
            If it is something else, or of another version of fastnn; the message names what.
        """
        if not isinstance(state, Mapping) or state.get("format") != FORMAT:
            found = state.get("format") if isinstance(state, Mapping) else state
            raise InputError(f"{shown(found)} is not the format {FORMAT!r}; give a History's dict")
        if (dtype := state.get("loss_dtype")) not in ("float32", "float64"):
            raise InputError(f"loss_dtype={shown(dtype)} is none; it is 'float32' or 'float64'")
        history = cls(np.array(_numbers(state, "loss", float), dtype))
        history.iterations = _numbers(state, "iterations", int)
        for i in history.iterations:
            if not 0 <= i < len(history.loss):
                raise InputError(f"iterations holds {shown(i)}, of {len(history.loss)} losses")
        for name in cls.EVALUATED:
            values = _numbers(state, name, float)
            if values and len(values) != len(history.iterations):
                raise InputError(
                    f"{name} has {len(values)} values for {len(history.iterations)} evaluations"
                )
            setattr(history, name, values)
        [history.seconds] = _numbers({"seconds": [state.get("seconds")]}, "seconds", float)
        stopped, best = state.get("stopped"), state.get("best_iteration")
        if not isinstance(stopped, str | None) or not isinstance(best, int | None):
            raise InputError(f"stopped={shown(stopped)}, best_iteration={shown(best)} are not such")
        history.stopped, history.best_iteration = stopped, best
        return history

    def to_dataframe(self) -> Any:
        """The evaluations as a table of pandas: a row for each, by iteration.

        Its columns are `loss`, that of the iteration's batch, and what was evaluated.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise ImportError(f"to_dataframe needs pandas ({error}): pip install pandas") from error
        columns = {"loss": self.loss[self.iterations]} | {
            name: values for name in self.EVALUATED if (values := self._of(name))
        }
        return pd.DataFrame(columns, index=pd.Index(self.iterations, name="iteration"))

    def save(self, path: Any) -> None:
        """Write it to a JSON file, whole or not at all; what is not finite stands as a string.

        Raises
        ------
        DataFileError
            If it cannot be written; a file that was there before is unchanged.
        """
        from .data.paths import checked_path
        from .files import atomic

        text = json.dumps(_with_strings(self.to_dict()), allow_nan=False)
        atomic.replace(checked_path(path, "path"), [text.encode()], error=DataFileError)

    @classmethod
    def load(cls, path: Any) -> Self:
        """The history that :meth:`save` wrote.

        Raises
        ------
        DataFileError
            If there is no such file, or something else in it.
        """
        from .data.paths import checked_path
        from .data.paths import shown as shown_path

        path = checked_path(path, "path")
        try:
            with path.open("rb") as file:
                # Not all of something else, however long that is.
                if (begin := file.read(1)) != b"{":
                    raise ValueError("it does not begin as one")
                state = json.loads(begin + file.read())
            return cls.from_dict(state)
        except OSError as error:
            reason = error.strerror or error
            raise DataFileError(f"{shown_path(path)} cannot be read: {reason}") from error
        except (ValueError, RecursionError) as error:
            raise DataFileError(
                f"{shown_path(path)} is not a history that History.save wrote: {error}"
            ) from error


def _numbers(state: Mapping[str, Any], name: str, kind: type) -> list[Any]:
    """A list of numbers, in which "nan", "inf" and "-inf" may stand, too."""
    values = state.get(name)
    if not isinstance(values, list):
        raise InputError(f"{name}={shown(values)} is no list of numbers")
    for value in values:
        known = isinstance(value, int) or (kind is float and isinstance(value, float))
        if isinstance(value, bool) or not (known or (kind is float and value in _NOT_FINITE)):
            raise InputError(f"{name} holds {shown(value)}, which is no number of its kind")
    try:
        return [kind(value) for value in values]
    except OverflowError as error:
        raise InputError(f"{name} holds a number beyond the range of floats") from error


#: What JSON has no numbers for.
_NOT_FINITE = ("nan", "inf", "-inf")


def _with_strings(state: dict[str, Any]) -> dict[str, Any]:
    def value(a: Any) -> Any:
        return str(a) if isinstance(a, float) and str(a) in _NOT_FINITE else a

    return {
        name: [value(a) for a in entry] if isinstance(entry, list) else value(entry)
        for name, entry in state.items()
    }
