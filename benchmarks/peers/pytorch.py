"""PyTorch: autograd and its SGD, the same by hand, that compiled, and that as a CUDA graph."""

from __future__ import annotations

import numpy as np
import torch

from ..problems import LEARNING_RATE, Problem


class Eager:
    """Two linear layers, autograd, and PyTorch's SGD, as its tutorials write it."""

    def __init__(self, problem: Problem) -> None:
        self._x, self._t = torch.from_numpy(problem.x), torch.from_numpy(problem.t)
        size, params = problem.size, problem.params
        layers = (
            torch.nn.Linear(size.inputs, size.hidden),
            torch.nn.Linear(size.hidden, params["b2"].size),
        )
        self._layers = layers
        self._model = torch.nn.Sequential(layers[0], torch.nn.Sigmoid(), layers[1]).to(
            getattr(torch, problem.dtype)
        )
        with torch.no_grad():
            for number, layer in enumerate(layers, 1):
                layer.weight.copy_(torch.from_numpy(params[f"W{number}"].T))
                layer.bias.copy_(torch.from_numpy(params[f"b{number}"]))
        self._optimizer = torch.optim.SGD(self._model.parameters(), lr=LEARNING_RATE)

    def run(self, rows: np.ndarray) -> None:
        losses = []
        for batch in torch.from_numpy(rows):
            loss = torch.nn.functional.cross_entropy(self._model(self._x[batch]), self._t[batch])
            self._optimizer.zero_grad()
            loss.backward()
            self._optimizer.step()
            losses.append(loss.detach())

    def params(self) -> dict[str, np.ndarray]:
        return {
            f"{kind}{number}": values.detach().numpy().T
            for number, layer in enumerate(self._layers, 1)
            for kind, values in (("W", layer.weight), ("b", layer.bias))
        }


def _step(
    x: torch.Tensor,
    t: torch.Tensor,
    rows: torch.Tensor,
    W1: torch.Tensor,
    b1: torch.Tensor,
    W2: torch.Tensor,
    b2: torch.Tensor,
) -> torch.Tensor:
    x_batch, t_batch = x[rows], t[rows]
    z1 = torch.sigmoid(torch.addmm(b1, x_batch, W1))
    y = torch.softmax(torch.addmm(b2, z1, W2), dim=1)
    loss = -torch.log(y.gather(1, t_batch[:, None]) + 1e-7).mean()
    delta2 = (y - torch.nn.functional.one_hot(t_batch, y.shape[1])) / len(rows)
    delta1 = (delta2 @ W2.T) * z1 * (1 - z1)
    W1.addmm_(x_batch.T, delta1, alpha=-LEARNING_RATE)
    b1.sub_(delta1.sum(0), alpha=LEARNING_RATE)
    W2.addmm_(z1.T, delta2, alpha=-LEARNING_RATE)
    b2.sub_(delta2.sum(0), alpha=LEARNING_RATE)
    return loss


class ByHand:
    """The same formulas in tensor operations, without autograd, updating in place."""

    device = "cpu"

    def __init__(self, problem: Problem) -> None:
        self._x, self._t = (
            torch.from_numpy(problem.x).to(self.device),
            torch.from_numpy(problem.t).to(self.device),
        )
        self._params = {
            name: torch.from_numpy(value).to(self.device) for name, value in problem.params.items()
        }
        self._step = _step

    def run(self, rows: np.ndarray) -> None:
        losses: list[torch.Tensor] = []
        with torch.no_grad():
            losses.extend(
                self._step(self._x, self._t, batch, *self._params.values())
                for batch in torch.from_numpy(rows)
            )

    def params(self) -> dict[str, np.ndarray]:
        return {name: value.cpu().numpy() for name, value in self._params.items()}


class Compiled(ByHand):
    """The step by hand through `torch.compile`, which needs a C++ compiler on the machine."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        # It would give up after so many shapes and dtypes of the same function.
        torch.compiler.reset()
        self._step = torch.compile(_step, dynamic=False)
        try:
            with torch.no_grad():
                self._step(
                    self._x,
                    self._t,
                    torch.from_numpy(problem.rows(1)[0]),
                    *(p.clone() for p in self._params.values()),
                )
        except Exception as error:
            raise ImportError(
                f"torch.compile does not work here: {str(error).strip().splitlines()[0]}"
            ) from error


class CudaGraph(ByHand):
    """The step by hand, recorded once as a CUDA graph and replayed."""

    device = "cuda"

    def __init__(self, problem: Problem) -> None:
        if not torch.cuda.is_available():
            raise ImportError("PyTorch finds no GPU")
        super().__init__(problem)
        self._batch = torch.from_numpy(problem.rows(1)[0]).to(self.device)
        self._graph = torch.cuda.CUDAGraph()
        initial = [value.clone() for value in self._params.values()]
        with torch.no_grad():
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            # Libraries allocate their workspaces outside the recording.
            with torch.cuda.stream(stream):
                _step(self._x, self._t, self._batch, *self._params.values())
            torch.cuda.current_stream().wait_stream(stream)
            with torch.cuda.graph(self._graph):
                self._loss = _step(self._x, self._t, self._batch, *self._params.values())
            for value, start in zip(self._params.values(), initial, strict=True):
                value.copy_(start)

    def run(self, rows: np.ndarray) -> None:
        losses = torch.empty(len(rows), dtype=self._loss.dtype, device=self.device)
        for i, batch in enumerate(torch.from_numpy(rows).to(self.device)):
            self._batch.copy_(batch)
            self._graph.replay()
            losses[i] = self._loss
        torch.cuda.synchronize()


class CudaGraphOfManySteps(ByHand):
    """So many steps by hand in one graph, so that Python is hardly in their way."""

    device = "cuda"
    steps = 50

    def __init__(self, problem: Problem) -> None:
        if not torch.cuda.is_available():
            raise ImportError("PyTorch finds no GPU")
        super().__init__(problem)
        self._rest = CudaGraph(problem)  # of the steps that are left over
        self._params = self._rest._params
        batches = torch.from_numpy(problem.rows(self.steps)).to(self.device)
        self._rows = batches.clone()
        self._graph = torch.cuda.CUDAGraph()
        initial = [value.clone() for value in self._params.values()]
        params = tuple(self._params.values())
        with torch.no_grad():
            with torch.cuda.graph(self._graph):
                self._losses = torch.stack(
                    [_step(self._x, self._t, rows, *params) for rows in self._rows]
                )
            for value, start in zip(params, initial, strict=True):
                value.copy_(start)

    def run(self, rows: np.ndarray) -> None:
        there, losses = torch.from_numpy(rows).to(self.device), []
        whole = len(rows) // self.steps * self.steps
        for first in range(0, whole, self.steps):
            self._rows.copy_(there[first : first + self.steps])
            self._graph.replay()
            losses.append(self._losses.clone())
        if whole < len(rows):
            self._rest.run(rows[whole:])
        torch.cuda.synchronize()
