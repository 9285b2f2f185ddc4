"""Problems whose cost is a network's on a dataset."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talweg_core.compilation import kernel
from talweg_core.data import Batches, Dataset
from talweg_core.errors import InvalidNetwork, InvalidProblem
from talweg_core.layout import Array
from talweg_core.network import BoundNetwork, Network
from talweg_core.problems.base import Oracle, Problem
from talweg_core.randomness import stream


class NetworkProblem(Problem):
    """Minimise a network's cost over the training split of a dataset."""

    splits = ("validation", "test")

    def __init__(
        self,
        name: str,
        dataset: Dataset,
        network: Sequence[Mapping[str, Any]],
        cost: str | Mapping[str, Any],
        *,
        batch_size: int = 32,
        start: Sequence[float] | None = None,
        described: dict[str, Any] | None = None,
    ) -> None:
        """`start` (P,) replaces the random initial parameters; `described` is part of `settings`.

        Raises InvalidNetwork or InvalidProblem.
        """
        self.name = name
        self.dataset = dataset
        self.network = Network.create(network, cost, dataset.inputs.shape[1:])
        self.layout = self.network.layout
        self.examples = len(dataset.splits["train"])
        self.default_batch_size = min(batch_size, self.examples)
        self.metric = "accuracy" if self.network.cost.targets == "labels" else None
        self._described, self._start = described or {}, start_of(name, start, self.layout.size)
        self._check_data()
        self._bound: dict[tuple[str, str], tuple[BoundNetwork, Array, Array, Any]] = {}

    def _check_data(self) -> None:
        cost, output, data = self.network.cost, self.network.output, self.dataset
        if not self.layout.size:
            raise InvalidNetwork(f"{self.name}: must have parameters to train, got a network without any")
        self.network.layers[0].check(data.inputs)
        if cost.targets == "labels":
            if not data.classes:
                raise InvalidProblem(f"{cost.name}: needs integer labels, but {data.name} has real-valued targets")
            if output[:-1] != data.targets.shape[1:]:
                raise InvalidProblem(
                    f"{self.name}: the output must be {(*data.targets.shape[1:], data.classes)}, one number for each "
                    f"class of each target, got {output}"
                )
            if output[-1] < data.classes:
                raise InvalidProblem(
                    f"{self.name}: the last layer must have one unit for each of the {data.classes} classes, "
                    f"got {output[-1]}"
                )
        elif data.targets.shape[1:] != output:
            raise InvalidProblem(
                f"{self.name}: the output must have the targets' shape {data.targets.shape[1:]}, got {output}"
            )

    def settings(self) -> dict[str, Any]:
        """`start`, where it was given; dataset, network and cost of a problem without a name."""
        return self._described | ({} if self._start is None else {"start": self._start.tolist()})

    def initial(self, seed: int) -> Array:
        """`start`, or random parameters from the stream (seed, "parameters")."""
        return self.network.initial(stream(seed, "parameters")) if self._start is None else self._start.copy()

    def bind(self, parameters: Array, gradient: Array, seeds: Sequence[int], batch_size: int) -> Oracle:
        """Bind to buffers."""
        return _NetworkOracle(self, parameters, gradient, seeds, batch_size)

    def evaluate(self, parameters: Array, split: str, state: Array | None = None) -> tuple[float, float | None]:
        """Cost and accuracy on a whole split, without noise and without L1 and L2 terms."""
        key = (split, parameters.dtype.name)
        if key not in self._bound:
            inputs, targets = self.dataset.part(split)
            row = np.empty((1, self.layout.size), parameters.dtype)
            kept = np.empty((1, self.network.state.size), parameters.dtype)
            bound = self.network.bind(
                inputs[None].astype(parameters.dtype),
                as_targets(targets, parameters.dtype)[None],
                row,
                row,
                training=False,
                state=kept,
            )
            self._bound[key] = (bound, row, kept, targets)
        bound, row, kept, targets = self._bound[key]
        row[0] = parameters
        kept[0] = self.network.initial_state() if state is None else state
        with np.errstate(all="ignore"):
            cost = float(bound.forward(0)[0])
        if self.metric is None:
            return cost, None
        return cost, float(np.mean(bound.predictions[0].argmax(axis=-1) == targets))


class _NetworkOracle(Oracle):
    def __init__(
        self,
        problem: NetworkProblem,
        parameters: Array,
        gradient: Array,
        seeds: Sequence[int],
        batch_size: int,
    ) -> None:
        self._batches = Batches(problem.examples, batch_size, seeds)
        inputs, targets = problem.dataset.part("train")
        self._data = inputs.astype(parameters.dtype)
        self._labels = as_targets(targets, parameters.dtype)
        rows = len(self._batches.seeds)
        self._inputs = np.empty((rows, batch_size, *inputs.shape[1:]), parameters.dtype)
        self._targets = np.empty((rows, batch_size, *targets.shape[1:]), self._labels.dtype)
        whole = self._data.reshape(len(inputs), -1), self._labels.reshape(len(inputs), -1)
        self._flat = (*whole, self._inputs.reshape(rows, batch_size, -1), self._targets.reshape(rows, batch_size, -1))
        begun = problem.network.initial_state().astype(parameters.dtype)
        self.state = np.repeat(begun[None], len(parameters), axis=0)
        self._network = problem.network.bind(
            self._inputs, self._targets, parameters, gradient, training=True, seeds=seeds, state=self.state
        )

    def costs(self, step: int) -> NDArray[np.float64]:
        _gather(self._batches.at(step), *self._flat)
        return self._network.forward(step)

    def gradient(self, step: int) -> NDArray[np.float64]:
        costs = self.costs(step)
        self._network.backward()
        return costs

    def examples(self, step: int) -> Iterator[float]:
        """The cost of each example, in the order of the batch."""
        _gather(self._batches.at(step), *self._flat)
        return self._network.examples(step)

    def settle(self, active: NDArray[np.bool_]) -> None:
        self._network.settle(active)

    def batch(self, row: int, step: int) -> NDArray[np.int64]:
        """The examples' indices in the training split."""
        chosen = self._batches.at(step)
        return np.array(chosen[row if len(chosen) > 1 else 0])


@kernel
def _gather(chosen: Any, inputs: Any, targets: Any, batch: Any, batch_targets: Any) -> None:
    """Copy the rows `chosen` (R, B) of inputs and targets (n, …) to `batch` and `batch_targets` (R, B, …)."""
    for r in range(len(chosen)):
        for b in range(chosen.shape[1]):
            k = chosen[r, b]
            given, wanted, x, y = inputs[k], targets[k], batch[r, b], batch_targets[r, b]
            for i in range(x.size):
                x[i] = given[i]
            for i in range(y.size):
                y[i] = wanted[i]


def as_targets(targets: Any, dtype: Any) -> Any:
    """Labels as integers, values in the run's precision."""
    return targets if targets.dtype.kind == "i" else targets.astype(dtype)


def start_of(name: str, start: Sequence[float] | None, size: int) -> Array | None:
    """The starting point (P,) in float64, or None; raises InvalidProblem for another length or numbers not finite."""
    if start is None:
        return None
    try:
        point = np.asarray(start, dtype=np.float64)
    except (TypeError, ValueError):
        raise InvalidProblem(f"{name}: start must be a list of {size} numbers, got {start!r}") from None
    if point.shape != (size,):
        raise InvalidProblem(f"{name}: start must have {size} numbers, got {start!r}")
    if not np.isfinite(point).all():
        raise InvalidProblem(f"{name}: start must be finite, got {start!r}")
    return point
