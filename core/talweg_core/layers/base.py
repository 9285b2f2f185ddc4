"""What a layer is: a description that, bound to buffers, computes its outputs and, backwards, derivatives."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar, Optional

import numpy as np

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

    `inputs` is (R, B, *shape); the first layer's may be (1, B, *shape), a batch that all runs share.
    `input_derivative` is ∂C/∂inputs to be written, None where nobody asks (first layer, evaluation).
    `parameters` and `gradient` are the flat (R, P) arrays, for kernels; `slots` this layer's tensors in them.
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

    @property
    def shape(self) -> Shape:
        """One example's shape."""
        return self.inputs.shape[2:]

    def empty(self, shape: Shape) -> Array:
        """A buffer (R, B, *shape) in the run's precision."""
        return np.empty((self.runs, self.batch, *shape), self.parameters.dtype)


class BoundLayer(ABC):
    """A layer at work. `outputs` and `output_derivative` are (R, B, *output shape)."""

    outputs: Array
    # ∂C/∂outputs, written by what comes after; backward may overwrite it.
    output_derivative: Array

    @abstractmethod
    def forward(self, step: int) -> None:
        """Write outputs from inputs and parameters."""

    @abstractmethod
    def backward(self) -> None:
        """From output_derivative, write this layer's gradient and ∂C/∂inputs."""


@dataclass(frozen=True)
class Layer(ABC):
    """A differentiable map between activations; frozen, so that it can be described and compared."""

    kind: ClassVar[str]

    @abstractmethod
    def output(self, shape: Shape) -> Shape:
        """One example's output shape for an input shape; raises InvalidNetwork where it does not fit."""

    def tensors(self, shape: Shape) -> dict[str, Initial]:
        """The parameter tensors for an input shape, by name, and how they begin."""
        return {}

    @abstractmethod
    def bind(self, space: Space) -> BoundLayer:
        """This layer on its buffers."""

    def absorb(self, following: "Layer") -> Optional["Layer"]:
        """A layer that does this one's work and the following one's in fewer passes, or None."""
        return None

    def needs(self, rule: str, shape: Shape) -> InvalidNetwork:
        """The error for an input shape that breaks `rule`."""
        return InvalidNetwork(f"{self.kind}: the input must be {rule}, got the shape {shape}")
