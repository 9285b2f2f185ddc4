"""Costs: the scalar that is minimised, and its derivative by the prediction, in one pass.

Bound to its buffers, a cost's `forward` writes C (R,) in float64, the mean over the batch, and ∂C/∂prediction
(R, B, *shape). Targets are (R, B, …), or (1, B, …) where all runs share a batch.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import log
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from talweg_core.compilation import kernel
from talweg_core.errors import InvalidNetwork, UnknownName
from talweg_core.layout import Array


class BoundCost(ABC):
    """A cost at work."""

    def __init__(self, predictions: Array, targets: Any, derivative: Array) -> None:
        """On predictions and derivative (R, B, *shape) and targets (R or 1, B, …)."""
        runs, batch = predictions.shape[:2]
        self.costs: NDArray[np.float64] = np.empty(runs)
        self._predictions = predictions.reshape(runs, batch, -1)
        self._derivative = derivative.reshape(runs, batch, -1)
        self._targets = targets

    @abstractmethod
    def forward(self) -> None:
        """Write costs and derivative."""


class Cost(ABC):
    """A cost's description."""

    name: ClassVar[str]
    targets: ClassVar[Literal["labels", "values"]]

    @abstractmethod
    def bind(self, predictions: Array, targets: Any, derivative: Array) -> BoundCost:
        """This cost on its buffers."""


@dataclass(frozen=True)
class SquaredError(Cost):
    """C = mean (ŷ − y)² over batch and outputs (PyTorch's MSELoss); ∂C/∂ŷ = 2 (ŷ − y) / (B · outputs)."""

    name: ClassVar[str] = "squared_error"
    targets: ClassVar[Literal["labels", "values"]] = "values"

    def bind(self, predictions: Array, targets: Any, derivative: Array) -> BoundCost:
        """On buffers."""
        return _BoundSquaredError(predictions, targets, derivative)


class _BoundSquaredError(BoundCost):
    def forward(self) -> None:
        _squared_error(self._predictions, self._targets, self._derivative, self.costs)


@kernel
def _squared_error(predictions: Any, targets: Any, derivative: Any, costs: Any) -> None:
    runs, batch, outputs = predictions.shape
    scale = 1 / (batch * outputs)
    for r in range(runs):
        y = targets[r if len(targets) > 1 else 0]
        total = 0.0
        for b in range(batch):
            for k in range(outputs):
                error = predictions[r, b, k] - y[b, k]
                total += float(error) * error
                derivative[r, b, k] = 2 * scale * error
        costs[r] = total * scale


@dataclass(frozen=True)
class AbsoluteError(Cost):
    """C = mean |ŷ − y| over batch and outputs; ∂C/∂ŷ = sign(ŷ − y) / (B · outputs), 0 where ŷ = y."""

    name: ClassVar[str] = "absolute_error"
    targets: ClassVar[Literal["labels", "values"]] = "values"

    def bind(self, predictions: Array, targets: Any, derivative: Array) -> BoundCost:
        """On buffers."""
        return _BoundAbsoluteError(predictions, targets, derivative)


class _BoundAbsoluteError(BoundCost):
    def forward(self) -> None:
        _absolute_error(self._predictions, self._targets, self._derivative, self.costs)


@kernel
def _absolute_error(predictions: Any, targets: Any, derivative: Any, costs: Any) -> None:
    runs, batch, outputs = predictions.shape
    scale = 1 / (batch * outputs)
    for r in range(runs):
        y = targets[r if len(targets) > 1 else 0]
        total = 0.0
        for b in range(batch):
            for k in range(outputs):
                error = float(predictions[r, b, k]) - y[b, k]
                total += abs(error)
                # np.sign keeps NaN, so that divergence reaches the gradient.
                derivative[r, b, k] = scale * np.sign(error)
        costs[r] = total * scale


@dataclass(frozen=True)
class CrossEntropy(Cost):
    """C = mean over the batch of −log p_y, with p = softmax(ŷ) and integer labels y.

    ∂C/∂ŷ_k = (p_k − [k = y]) / B. The greatest ŷ is subtracted first, so that exp cannot overflow.
    """

    name: ClassVar[str] = "cross_entropy"
    targets: ClassVar[Literal["labels", "values"]] = "labels"

    def bind(self, predictions: Array, targets: Any, derivative: Array) -> BoundCost:
        """On buffers."""
        if predictions.ndim < 3:
            raise InvalidNetwork("cross_entropy: needs one output a class, got a single number")
        return _BoundCrossEntropy(predictions, targets, derivative)


class _BoundCrossEntropy(BoundCost):
    def __init__(self, predictions: Array, targets: Any, derivative: Array) -> None:
        super().__init__(predictions, targets, derivative)
        self._shifted = np.empty_like(self._predictions)

    def forward(self) -> None:
        _shift(self._predictions, self._shifted)
        # NumPy's exp is vectorised, Numba's is a call a number.
        np.exp(self._shifted, out=self._derivative)
        _normalise(self._shifted, self._targets, self._derivative, self.costs)


@kernel
def _shift(predictions: Any, shifted: Any) -> None:
    runs, batch, classes = predictions.shape
    for r in range(runs):
        for b in range(batch):
            row, out = predictions[r, b], shifted[r, b]
            greatest = row[0]
            for k in range(1, classes):
                greatest = max(greatest, row[k])
            for k in range(classes):
                out[k] = row[k] - greatest


@kernel
def _normalise(shifted: Any, labels: Any, derivative: Any, costs: Any) -> None:
    """`derivative` holds exp(shifted) and becomes (softmax − one-hot) / B."""
    runs, batch, classes = shifted.shape
    for r in range(runs):
        y = labels[r if len(labels) > 1 else 0]
        total = 0.0
        for b in range(batch):
            row = derivative[r, b]
            norm = 0.0
            for k in range(classes):
                norm += row[k]
            total += log(norm) - shifted[r, b, y[b]]
            scale = 1 / (norm * batch)
            for k in range(classes):
                row[k] = row[k] * scale
            row[y[b]] -= 1 / batch
        costs[r] = total / batch


COSTS: dict[str, type[Cost]] = {cost.name: cost for cost in (SquaredError, AbsoluteError, CrossEntropy)}


def create(name: str) -> Cost:
    """The cost of that name; raises UnknownName."""
    if name not in COSTS:
        raise UnknownName("cost", name, COSTS)
    return COSTS[name]()
