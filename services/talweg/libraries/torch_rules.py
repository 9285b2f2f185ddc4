"""Optimizers of PyTorch: `torch.optim`, pytorch_optimizer, and a user's own subclass of torch.optim.Optimizer.

Each run has a PyTorch optimizer of its own (`torch_run`). What that keeps between steps is found by steps on a copy
(`torch_plan`), and is laid out as arrays with one row for each run, so that checkpoints hold it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from talweg.libraries.arguments import LibraryOptimizer, make_class
from talweg.libraries.torch_plan import LEFT_OUT, planned
from talweg.libraries.torch_run import Live, make
from talweg_core.layout import Array, Layout
from talweg_core.optimizers import BoundOptimizer, Hyperparameters, Optimizer, Situation


def classes(module: ModuleType) -> dict[str, Any]:
    """The optimizers of a module by name."""
    return {
        name: kind
        for name, kind in vars(module).items()
        if isinstance(kind, type) and issubclass(kind, torch.optim.Optimizer) and kind is not torch.optim.Optimizer
    }


@cache
def adapt(kind: Any, name: str) -> type[Optimizer]:
    """The optimizer of ours that steps a class of PyTorch's; raises UnusableRule."""
    from importlib.metadata import version

    package = "pytorch_optimizer" if name.startswith("pytorch_optimizer:") else "torch"
    # A build such as 2.13.0+cpu computes what 2.13.0 computes on a CPU.
    return make_class(TorchOptimizer, kind, name, version(package).partition("+")[0], LEFT_OUT)


@dataclass(frozen=True)
class TorchOptimizer(LibraryOptimizer):
    """An optimizer of PyTorch."""

    @classmethod
    def try_arguments(cls, arguments: dict[str, Any]) -> None:
        """Make the optimizer for one matrix."""
        make(cls.factory, [torch.nn.Parameter(torch.zeros(2, 2))], arguments)

    def bind_rule(self, hyperparameters: Hyperparameters, layout: Layout, dtype: np.dtype[Any]) -> BoundOptimizer:
        """Bind to R runs, each with a PyTorch optimizer of its own."""
        # Bits must not depend on how many threads share a sum.
        torch.set_num_threads(1)
        return _BoundTorch(type(self), hyperparameters, layout, dtype)


class _BoundTorch(BoundOptimizer):
    def __init__(self, kind: type[LibraryOptimizer], h: Hyperparameters, layout: Layout, dtype: np.dtype[Any]) -> None:
        self._kind, self._layout, self._dtype = kind, layout, dtype
        self._arguments = [kind.of_run(h, row) for row in range(h.runs)]
        text = tuple(sorted(self._arguments[0].items()))
        self._plan = planned(kind, text, layout.names, layout.shapes, dtype.name)
        self.state: dict[str, NDArray[Any]] = {
            name: np.zeros((h.runs, *shape), found) for name, (shape, found) in self._plan.arrays.items()
        }
        self._live: list[Live | None] = [None] * h.runs
        ends = layout.offsets.tolist()
        self._places = list(zip(ends[:-1], ends[1:], layout.shapes, strict=True))

    def update(self, situation: Situation) -> None:
        for row in np.flatnonzero(situation.active):
            self._step(int(row), situation)

    def restored(self, row: int) -> None:
        self._live[row] = None

    def _step(self, row: int, situation: Situation) -> None:
        fresh, live = situation.updates[row] == 0, self._live[row]
        own = {name: array[row] for name, array in self.state.items()}
        if live is None or fresh:
            live = self._live[row] = Live(self._kind, self._layout.shapes, self._dtype, self._arguments[row])
            if fresh:
                for array in own.values():
                    array[...] = 0
            else:
                live.read(self._plan, own)
        rate = float(situation.hyperparameters.learning_rate[row])
        if self._plan.random:
            seed = int(situation.evaluations.probe(row).integers(2**32))
            torch.manual_seed(seed)
            np.random.seed(seed)  # noqa: NPY002  # the library draws from it
        parameters = self._views(situation.parameters[row])
        live.step(rate, parameters, self._views(situation.gradient[row]), self._closure(row, situation, live))
        live.write(self._plan, own)

    def _views(self, values: Array) -> list[torch.Tensor]:
        """Tensors on the memory of `values` (P,)."""
        flat = torch.from_numpy(values)
        return [flat[first:last].view(shape) for first, last, shape in self._places]

    def _closure(self, row: int, situation: Situation, live: "Live") -> Callable[[], torch.Tensor]:
        def closure() -> torch.Tensor:
            """The cost at the present parameters; its gradient is put into the parameters' grad."""
            points = situation.parameters.copy()
            for view, parameter in zip(self._views(points[row]), live.parameters, strict=True):
                view.copy_(parameter.detach())
            costs, gradient = situation.evaluations.gradient(points, np.arange(len(points)) == row)
            for parameter, found in zip(live.parameters, self._views(gradient[row]), strict=True):
                parameter.grad = found.clone()
            return torch.tensor(float(costs[row]))

        return closure
