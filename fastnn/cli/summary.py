"""What a training came to: as data, for a person, and for the file of the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..callbacks import Callback
from ..checkpointing import described_schedule, name_of
from ..data import Data
from ..errors import FastnnError
from ..history import History
from ..training_state import TrainingState

#: From where on a loss is so many times ten to the power of something, and how many times the
#: first one the last one is where a training has gone wrong.
LARGE, GROWN = 1e6, 10


class Ends(Callback):
    """Keeps the state that a training ended in, and the iteration that it began with."""

    state: TrainingState
    began: int

    def on_begin(self, state: TrainingState) -> None:
        self.began = state.iteration

    def on_end(self, state: TrainingState) -> None:
        self.state = state


def result(network: Any, history: History, state: TrainingState, data: Data) -> dict[str, Any]:
    """What ``fastnn train --json`` prints."""
    iterations = len(history.loss)
    found = {
        "backend": network.backend.name,
        "device": network.backend.device,
        "dtype": network.dtype.name,
        "gradient": state.gradient,
        "iterations": iterations,
        "seconds": round(history.seconds, 6),
        "loss": float(history.loss[-1]) if iterations else None,
        "train_accuracy": network.accuracy(data.x_train, data.t_train),
        "test_accuracy": None
        if data.x_test is None
        else network.accuracy(data.x_test, data.t_test),
    }
    if history.validation_loss:
        best = history.best_iteration
        at = -1 if best is None else history.iterations.index(best)
        found |= {
            "validation_loss": history.validation_loss[at],
            "validation_accuracy": history.validation_accuracy[at],
            "stopped": history.stopped,
            "best_iteration": best,
        }
    return found


def provenance(
    found: dict[str, Any], state: TrainingState, data: Data, seed: Any
) -> dict[str, Any]:
    """What goes with a model: what it was trained on, how, and what it came to."""
    try:
        optimizer: str | None = name_of(state.optimizer)
    except FastnnError:
        optimizer = None
    return {
        "data": Path(data.name).name,  # not where it lies, which is nobody else's business
        "training_samples": len(data.x_train),
        "test_samples": 0 if data.x_test is None else len(data.x_test),
        "iterations": found["iterations"],
        "batch_size": state.batch_size,
        "sampling": state.sampler.name,
        "optimizer": optimizer,
        "learning_rate": described_schedule(state.schedule),
        "gradient": found["gradient"],
        "seed": seed,
        "backend": found["backend"],
        "train_accuracy": found["train_accuracy"],
        "test_accuracy": found["test_accuracy"],
    }


def _short(loss: float) -> str:
    return f"{loss:{'.4f' if loss < LARGE else '.4g'}}"


def summary(found: dict[str, Any], network: Any, ends: Ends, data: Data) -> str:
    """The result for a person."""
    state, iterations, seconds = ends.state, found["iterations"], found["seconds"]
    before = ", all of them before this call" if 0 < iterations == ends.began else ""
    rate, loss = "", "not computed: no iterations"
    if iterations:
        rate = f" ({seconds / iterations * 1e6:.0f} µs an iteration, evaluations included)"
        last, first = found["loss"], float(state.history.loss[0])
        loss = f"{_short(last)} on the last batch"
        if last > GROWN * first:
            loss += f", {_short(first)} on the first: give a smaller --learning-rate"
    layers, batch_size = "-".join(map(str, network.sizes)), state.batch_size
    by = f"{found['gradient']}{before}"
    lines = [
        f"backend        {found['backend']} on {found['device']}",
        f"network        {layers}, {found['dtype']}",
        f"training       {iterations} iterations of {batch_size} samples by {by}",
        f"time           {seconds:.2f} s{rate}",
        f"loss           {loss}",
        f"train accuracy {found['train_accuracy']:.4f} of {len(data.x_train)} samples",
    ]
    if data.x_test is not None:
        lines.append(f"test accuracy  {found['test_accuracy']:.4f} of {len(data.x_test)} samples")
    if "stopped" in found:
        best = found["best_iteration"]
        when = (
            "" if best is None else f", best after iteration {best} (stopped: {found['stopped']})"
        )
        lines.append(f"validation     {found['validation_accuracy']:.4f}{when}")
    return "\n".join(lines)
