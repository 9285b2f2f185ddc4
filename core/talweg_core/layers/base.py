"""The base classes of layers: settings, which bound to buffers compute outputs and derivatives."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar, Optional

import numpy as np
from numpy.typing import DTypeLike, NDArray

from talweg_core.errors import InvalidNetwork
from talweg_core.initial import Initial
from talweg_core.layout import Array

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Slot:
    """One parameter tensor in the flat vectors: its offset, and its views (R, *shape)."""

    offset: int
    value: Array
    gradient: Array


@dataclass(frozen=True)
class Space:
    """The buffers of a bound layer. They exist as long as the cohort, so that a step allocates nothing.

    `inputs` is (R, B, *shape); the first layer's may be (1, B, *shape), a batch that all runs share. Inputs, outputs
    and their derivatives are contiguous, so that a layer may view them in any shape.
    `input_derivative` is the buffer for ∂C/∂inputs; None where it is not needed (first layer, evaluation).
    `parameters` and `gradient` are the flat (R, P) arrays, for kernels; `slots` holds this layer's tensors in them,
    `state` the views (R, *shape) of the layer's state. `path` is its name in the network.
    """

    runs: int
    batch: int
    inputs: Array
    input_derivative: Array | None
    parameters: Array
    gradient: Array
    slots: dict[str, Slot]
    training: bool
    seeds: list[int] = field(default_factory=list)
    state: dict[str, Array] = field(default_factory=dict)
    path: str = ""

    @property
    def shape(self) -> Shape:
        """One example's shape."""
        return self.inputs.shape[2:]

    @property
    def dtype(self) -> np.dtype[Any]:
        """The run's precision."""
        return self.parameters.dtype

    def empty(self, shape: Shape) -> Array:
        """A buffer (R, B, *shape) in the run's precision."""
        return self.array(self.runs, self.batch, *shape)

    def array(self, *shape: int, dtype: DTypeLike | None = None) -> NDArray[Any]:
        """A buffer of this shape."""
        return np.empty(shape, dtype or self.dtype)

    def zeros(self, *shape: int) -> Array:
        """A buffer of zeros of this shape."""
        return np.zeros(shape, self.dtype)

    def number(self, *values: float) -> tuple[Any, ...]:
        """Numbers in the run's precision: a Python float would make a kernel compute in float64."""
        return tuple(self.dtype.type(value) for value in values)


class BoundLayer(ABC):
    """A layer on its buffers. `outputs` and `output_derivative` are (R, B, *output shape), contiguous."""

    outputs: Array
    # ∂C/∂outputs, written by the next layer; `backward` may overwrite it. None where it is not needed.
    output_derivative: Array | None = None
    # The layer's own term of each run's cost (R,), float64, written by `forward`; None where it has none.
    cost: NDArray[np.float64] | None = None

    @abstractmethod
    def forward(self, step: int) -> None:
        """Write outputs from inputs and parameters."""

    @abstractmethod
    def backward(self) -> None:
        """From output_derivative, write this layer's gradient and ∂C/∂inputs."""

    def settle(self, active: NDArray[np.bool_]) -> None:  # noqa: B027  # most layers have no state
        """Update the state of the active runs from the last `forward`."""


@dataclass(frozen=True)
class Layer(ABC):
    """The settings of a layer; frozen, so that layers can be compared."""

    kind: ClassVar[str]
    # Whether the layer must be the first: its inputs are indices of a table, which only data can be.
    first: ClassVar[bool] = False

    @abstractmethod
    def output(self, shape: Shape) -> Shape:
        """One example's output shape for an input shape; raises InvalidNetwork where it does not fit."""

    def tensors(self, shape: Shape) -> dict[str, Initial]:
        """The parameter tensors for an input shape by name, with their initial distribution."""
        return {}

    def state(self, shape: Shape) -> dict[str, Initial]:
        """The state tensors for an input shape by name, with their initial values; no optimizer changes them."""
        return {}

    @abstractmethod
    def bind(self, space: Space) -> BoundLayer:
        """Bind to buffers."""

    def absorb(self, following: "Layer") -> Optional["Layer"]:
        """One layer that replaces this one and the following one, in fewer passes; or None."""
        return None

    def check(self, inputs: Array) -> None:  # noqa: B027  # most layers take any numbers
        """Check the inputs of the first layer; raises InvalidNetwork."""

    def needs(self, rule: str, shape: Shape) -> InvalidNetwork:
        """The error for an input shape that breaks `rule`."""
        return InvalidNetwork(f"{self.kind}: the input must be {rule}, got the shape {shape}")

    def require(self, setting: str, value: object, low: int, high: float = math.inf) -> None:
        """Check an integer setting; raises InvalidNetwork."""
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            rule = f"of at least {low}" if high == math.inf else f"from {low} to {high:g}"
            raise InvalidNetwork(f"{self.kind}: {setting} must be an integer {rule}, got {value!r}")

    def require_number(self, setting: str, value: object, low: float, high: float) -> None:
        """Check a setting that must lie in [low, high); raises InvalidNetwork."""
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value < high:
            raise InvalidNetwork(f"{self.kind}: {setting} must lie in [{low:g}, {high:g}), got {value!r}")
