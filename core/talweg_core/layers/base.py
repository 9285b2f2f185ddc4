"""What a layer is: a description that, bound to buffers, computes its outputs and, backwards, derivatives."""

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
    """One parameter tensor in the flat vectors: where it begins, and its views (R, *shape)."""

    offset: int
    value: Array
    gradient: Array


@dataclass(frozen=True)
class Space:
    """Where a bound layer works: buffers that live as long as the cohort, so that a step allocates nothing.

    `inputs` is (R, B, *shape); the first layer's may be (1, B, *shape), a batch that all runs share. Inputs, outputs
    and their derivatives are contiguous, so that a layer may view them in any shape.
    `input_derivative` is ∂C/∂inputs to be written, None where nobody asks (first layer, evaluation).
    `parameters` and `gradient` are the flat (R, P) arrays, for kernels; `slots` this layer's tensors in them;
    `state` views (R, *shape) of what the layer keeps beside its parameters. `path` is its name within the network.
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
        """A buffer of exactly this shape."""
        return np.empty(shape, dtype or self.dtype)

    def zeros(self, *shape: int) -> Array:
        """A buffer of zeros of exactly this shape."""
        return np.zeros(shape, self.dtype)

    def number(self, *values: float) -> tuple[Any, ...]:
        """Numbers in the run's precision: a Python float would make a kernel compute in float64."""
        return tuple(self.dtype.type(value) for value in values)


class BoundLayer(ABC):
    """A layer at work. `outputs` and `output_derivative` are (R, B, *output shape), contiguous."""

    outputs: Array
    # ∂C/∂outputs, written by what comes after; backward may overwrite it. None where nobody needs it.
    output_derivative: Array | None = None
    # What the layer itself adds to each run's cost (R,), float64, as `forward` leaves it; None for nothing.
    cost: NDArray[np.float64] | None = None

    @abstractmethod
    def forward(self, step: int) -> None:
        """Write outputs from inputs and parameters."""

    @abstractmethod
    def backward(self) -> None:
        """From output_derivative, write this layer's gradient and ∂C/∂inputs."""

    def settle(self, active: NDArray[np.bool_]) -> None:  # noqa: B027  # most layers have no state
        """Carry what the last forward saw into the state of the runs that are active."""


@dataclass(frozen=True)
class Layer(ABC):
    """A differentiable map between activations; frozen, so that it can be described and compared."""

    kind: ClassVar[str]
    # Whether the inputs are positions in a table, which only data can be.
    first: ClassVar[bool] = False

    @abstractmethod
    def output(self, shape: Shape) -> Shape:
        """One example's output shape for an input shape; raises InvalidNetwork where it does not fit."""

    def tensors(self, shape: Shape) -> dict[str, Initial]:
        """The parameter tensors for an input shape, by name, and how they begin."""
        return {}

    def state(self, shape: Shape) -> dict[str, Initial]:
        """What is kept from step to step beside parameters, by name, and how it begins; no optimizer moves it."""
        return {}

    @abstractmethod
    def bind(self, space: Space) -> BoundLayer:
        """This layer on its buffers."""

    def absorb(self, following: "Layer") -> Optional["Layer"]:
        """A layer that does this one's work and the following one's in fewer passes, or None."""
        return None

    def check(self, inputs: Array) -> None:  # noqa: B027  # most layers take any numbers
        """Check the data that the first layer is given; raises InvalidNetwork."""

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
