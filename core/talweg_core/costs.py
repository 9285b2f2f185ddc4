"""Costs: the scalar that is minimised, and its derivative by the prediction, in one pass.

A bound cost's `forward` writes C (R,) in float64, the mean over the batch, and ∂C/∂prediction (R, B, *shape). Targets
are (R, B, …), or (1, B, …) where all runs share a batch.

In training, a cost may add L1 and L2 terms of the weights (`BoundPenalty`). Evaluations on a split omit them, so that
settings can be compared.
"""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import exp, log, log1p
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from talweg_core.compilation import kernel, ready, specialise
from talweg_core.errors import InvalidNetwork, UnknownName
from talweg_core.layout import Array


class BoundPenalty:
    """C += l1 Σ |w| + l2 Σ w²; ∂C/∂w += l1 sign(w) + 2 l2 w, over tensors of two or more dimensions.

    Biases and scales are excluded, as Goodfellow, Bengio & Courville 2016, section 7.1, advise.
    Sources: Tibshirani 1996 (L1), Hoerl & Kennard 1970 (L2, without a factor ½).
    """

    def __init__(
        self, parameters: Array, gradient: Array, slices: "list[slice[int, int, None]]", l1: float, l2: float
    ) -> None:
        """Bind to the flat parameters and gradient (R, P); `slices` are the tensors included."""
        self._parameters, self._gradient = parameters, gradient
        self._bounds = np.array([(part.start, part.stop) for part in slices], dtype=np.int64).reshape(-1, 2)
        self._l1, self._l2 = parameters.dtype.type(l1), parameters.dtype.type(l2)
        self._twice = parameters.dtype.type(2 * l2)

    def add_to(self, costs: NDArray[np.float64]) -> None:
        """Add to each run's cost (R,), in place."""
        _add_costs(self._parameters, self._bounds, self._l1, self._l2, costs)

    def add_to_gradient(self) -> None:
        """Add to the gradient, in place."""
        _add_slopes(self._parameters, self._bounds, self._l1, self._twice, self._gradient)


@kernel
def _add_costs(parameters: Any, bounds: Any, l1: Any, l2: Any, costs: Any) -> None:
    for r in range(len(parameters)):
        row = parameters[r]
        absolute, square = 0.0, 0.0
        for k in range(len(bounds)):
            for i in range(bounds[k, 0], bounds[k, 1]):
                absolute += abs(row[i])
                square += row[i] * row[i]
        costs[r] += l1 * absolute + l2 * square


@kernel
def _add_slopes(parameters: Any, bounds: Any, l1: Any, twice_l2: Any, gradient: Any) -> None:
    for r in range(len(parameters)):
        row, out = parameters[r], gradient[r]
        for k in range(len(bounds)):
            for i in range(bounds[k, 0], bounds[k, 1]):
                out[i] += l1 * np.sign(row[i]) + twice_l2 * row[i]


class BoundCost(ABC):
    """A cost on its buffers."""

    def __init__(self, predictions: Array, targets: Any, derivative: Array) -> None:
        """Bind to predictions and derivative (R, B, *shape) and targets (R or 1, B, …)."""
        runs, batch = predictions.shape[:2]
        self.costs: NDArray[np.float64] = np.empty(runs)
        self._predictions = predictions.reshape(runs, batch, -1)
        self._derivative = derivative.reshape(runs, batch, -1)
        self._targets = targets

    @abstractmethod
    def forward(self) -> None:
        """Write costs and derivative."""


@dataclass(frozen=True, kw_only=True)
class Cost(ABC):
    """A cost's settings; `l1` and `l2`, in [0, ∞), are the factors of the L1 and L2 terms."""

    name: ClassVar[str]
    targets: ClassVar[Literal["labels", "values"]]

    l1: float = 0.0
    l2: float = 0.0

    def __post_init__(self) -> None:
        """Check the settings; raises InvalidNetwork."""
        self.require("l1", self.l1, "[0, ∞)", 0 <= _real(self.l1) < np.inf)
        self.require("l2", self.l2, "[0, ∞)", 0 <= _real(self.l2) < np.inf)

    @abstractmethod
    def bind(self, predictions: Array, targets: Any, derivative: Array) -> BoundCost:
        """Bind to buffers."""

    def require(self, setting: str, value: object, rule: str, holds: bool) -> None:
        """Raise InvalidNetwork where a setting breaks its rule."""
        if not holds:
            raise InvalidNetwork(f"{self.name}: {setting} must lie in {rule}, got {value!r}")


def _real(value: object) -> float:
    """`value` as a float; NaN where it is not a number, and NaN fails every rule."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else float("nan")


@dataclass(frozen=True, kw_only=True)
class _ElementwiseCost(Cost):
    """The mean of `element(prediction, target, scale, *settings)` over batch and outputs, scale = 1 / (B · outputs).

    `element` returns one number's cost, and `scale` times its derivative by the prediction.
    """

    targets: ClassVar[Literal["labels", "values"]] = "values"
    element: ClassVar[Callable[..., Any]]

    @property
    def constants(self) -> tuple[float, ...]:
        """The settings that `element` takes."""
        return ()

    def bind(self, predictions: Array, targets: Any, derivative: Array) -> BoundCost:
        """Bind to buffers."""
        return _BoundElementwise(self, predictions, targets, derivative)


class _BoundElementwise(BoundCost):
    def __init__(self, cost: _ElementwiseCost, predictions: Array, targets: Any, derivative: Array) -> None:
        super().__init__(predictions, targets, derivative)
        self._targets = targets.reshape(len(targets), predictions.shape[1], -1)
        buffers = self._predictions, self._targets, self._derivative, self.costs
        self._mean = ready(specialise(_mean_of_elements, element=type(cost).element), *buffers, cost.constants)

    def forward(self) -> None:
        self._mean()


def element(*_: Any) -> Any:
    """A name for the linter: `specialise` binds it to the cost's element."""


def _mean_of_elements(predictions: Any, targets: Any, derivative: Any, costs: Any, constants: Any) -> None:
    runs, batch, outputs = predictions.shape
    scale = 1 / (batch * outputs)
    for r in range(runs):
        y = targets[r if len(targets) > 1 else 0]
        total = 0.0
        for b in range(batch):
            for k in range(outputs):
                cost, derivative[r, b, k] = element(predictions[r, b, k], y[b, k], scale, *constants)
                total += cost
        costs[r] = total * scale


@dataclass(frozen=True, kw_only=True)
class SquaredError(_ElementwiseCost):
    """C = mean (ŷ − y)² over batch and outputs (PyTorch's MSELoss); ∂C/∂ŷ = 2 (ŷ − y) / (B · outputs)."""

    name: ClassVar[str] = "squared_error"

    @staticmethod
    def element(prediction: Any, target: Any, scale: Any) -> Any:
        """(ŷ − y)²."""
        error = prediction - target
        return float(error) * error, 2 * scale * error


@dataclass(frozen=True, kw_only=True)
class AbsoluteError(_ElementwiseCost):
    """C = mean |ŷ − y| over batch and outputs; ∂C/∂ŷ = sign(ŷ − y) / (B · outputs), 0 where ŷ = y."""

    name: ClassVar[str] = "absolute_error"

    @staticmethod
    def element(prediction: Any, target: Any, scale: Any) -> Any:
        """|ŷ − y|."""
        error = float(prediction) - target
        # np.sign returns NaN for NaN, so that divergence reaches the gradient.
        return abs(error), scale * np.sign(error)


@dataclass(frozen=True, kw_only=True)
class Huber(_ElementwiseCost):
    """C = mean of ½ e² where |e| ≤ δ, else δ (|e| − ½ δ), e = ŷ − y; ∂C/∂ŷ = e or δ sign e, over B · outputs.

    delta: δ in (0, ∞). Source: Huber 1964. PyTorch: HuberLoss(delta).
    """

    name: ClassVar[str] = "huber"

    delta: float = 1.0

    def __post_init__(self) -> None:
        """Check the settings; raises InvalidNetwork."""
        super().__post_init__()
        self.require("delta", self.delta, "(0, ∞)", 0 < _real(self.delta) < np.inf)

    @property
    def constants(self) -> tuple[float, ...]:
        """δ."""
        return (float(self.delta),)

    @staticmethod
    def element(prediction: Any, target: Any, scale: Any, delta: Any) -> Any:
        """½ e² or δ (|e| − ½ δ)."""
        error = float(prediction) - target
        if abs(error) > delta:
            return delta * (abs(error) - 0.5 * delta), scale * delta * np.sign(error)
        return 0.5 * error * error, scale * error


@dataclass(frozen=True, kw_only=True)
class BinaryCrossEntropy(_ElementwiseCost):
    """C = mean of log(1 + exp ŷ) − y ŷ over batch and outputs, ŷ the logit of p and y in [0, 1].

    ∂C/∂ŷ = (σ(ŷ) − y) / (B · outputs). Computed as max(ŷ, 0) − y ŷ + log(1 + exp −|ŷ|), which cannot overflow.
    PyTorch: BCEWithLogitsLoss.
    """

    name: ClassVar[str] = "binary_cross_entropy"

    @staticmethod
    def element(prediction: Any, target: Any, scale: Any) -> Any:
        """max(ŷ, 0) − y ŷ + log(1 + exp −|ŷ|)."""
        small = float(exp(-abs(prediction)))
        chance = (1 if prediction > 0 else small) / (1 + small)
        cost = (prediction if prediction > 0 else 0.0) - float(prediction) * target + log1p(small)
        return cost, scale * (chance - target)


@dataclass(frozen=True, kw_only=True)
class CrossEntropy(Cost):
    """C = mean over the batch of −log p_y, with p = softmax(ŷ) and integer labels y.

    ∂C/∂ŷ_k = (p_k − [k = y]) / B. The largest ŷ is subtracted first, so that exp cannot overflow.
    Predictions (…, classes) with labels (…), as in a language model, count as one example for each label.
    label_smoothing: s in [0, 1); the label's weight becomes 1 − s + s / K and that of the other K − 1 classes s / K
    (Szegedy et al. 2016, section 7).
    """

    name: ClassVar[str] = "cross_entropy"
    targets: ClassVar[Literal["labels", "values"]] = "labels"

    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        """Check the settings; raises InvalidNetwork."""
        super().__post_init__()
        self.require("label_smoothing", self.label_smoothing, "[0, 1)", 0 <= _real(self.label_smoothing) < 1)

    def bind(self, predictions: Array, targets: Any, derivative: Array) -> BoundCost:
        """Bind to buffers."""
        if predictions.ndim < 3:
            raise InvalidNetwork("cross_entropy: needs one output for each class, got one number for each example")
        return _BoundCrossEntropy(predictions, targets, derivative, self.label_smoothing)


class _BoundCrossEntropy(BoundCost):
    def __init__(self, predictions: Array, targets: Any, derivative: Array, smoothing: float) -> None:
        rows = predictions.reshape(len(predictions), -1, predictions.shape[-1])
        super().__init__(rows, targets.reshape(len(targets), -1), derivative.reshape(rows.shape))
        shifted = self._shifted = np.empty_like(rows)
        buffers = shifted, self._targets, self._derivative, self.costs
        self._shift = ready(_shift, self._predictions, shifted)
        self._normalise = ready(_normalise, *buffers)
        self._smooth = ready(_smooth, *buffers, float(smoothing)) if smoothing else None

    def forward(self) -> None:
        self._shift()
        # NumPy's exp is vectorised; Numba's is one call for each number.
        np.exp(self._shifted, out=self._derivative)
        self._normalise()
        if self._smooth is not None:
            self._smooth()


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


@kernel
def _smooth(shifted: Any, labels: Any, derivative: Any, costs: Any, smoothing: float) -> None:
    """Distribute the share `smoothing` of each label's weight equally over all classes, in cost and derivative."""
    runs, batch, classes = shifted.shape
    for r in range(runs):
        y = labels[r if len(labels) > 1 else 0]
        total = 0.0
        for b in range(batch):
            row, slope = shifted[r, b], derivative[r, b]
            mean = 0.0
            for k in range(classes):
                mean += row[k]
                slope[k] -= smoothing / (classes * batch)
            slope[y[b]] += smoothing / batch
            total += row[y[b]] - mean / classes
        costs[r] += smoothing * total / batch


COSTS: dict[str, type[Cost]] = {
    cost.name: cost for cost in (SquaredError, AbsoluteError, Huber, CrossEntropy, BinaryCrossEntropy)
}


def create(description: str | Mapping[str, Any]) -> Cost:
    """The cost of that name, or that `{"name": …, setting: value, …}` describes; raises UnknownName, InvalidNetwork."""
    settings = {"name": description} if isinstance(description, str) else dict(description)
    name = settings.pop("name", None)
    if not isinstance(name, str) or name not in COSTS:
        raise UnknownName("cost", name, COSTS)
    known = [field.name for field in dataclasses.fields(COSTS[name])]
    for key in settings:
        if key not in known:
            raise UnknownName(f"{name}: setting", key, known)
    return COSTS[name](**settings)
