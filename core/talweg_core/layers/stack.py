"""Layers in sequence, as a network and a residual layer name, check and bind them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talweg_core.errors import InvalidNetwork
from talweg_core.initial import Initial
from talweg_core.layers.base import BoundLayer, Layer, Shape, Space
from talweg_core.layout import Array


def fused(layers: Sequence[Layer]) -> tuple[Layer, ...]:
    """The same function in fewer passes: each layer absorbs the next one where it can."""
    made: list[Layer] = []
    for layer in layers:
        both = made[-1].absorb(layer) if made else None
        if both is None:
            made.append(layer)
        else:
            made[-1] = both
    return tuple(made)


@dataclass(frozen=True)
class Stack:
    """Layers for inputs of one shape."""

    layers: tuple[Layer, ...]
    shape: Shape

    @cached_property
    def shapes(self) -> tuple[Shape, ...]:
        """One example's shape before each layer, and after the last; raises InvalidNetwork, which names the layer."""
        shapes = [self.shape]
        for position, layer in enumerate(self.layers, 1):
            try:
                if layer.first and position > 1:
                    raise InvalidNetwork(f"{layer.kind}: must be the first layer, got position {position}")
                shapes.append(layer.output(shapes[-1]))
            except InvalidNetwork as error:
                raise InvalidNetwork(f"layer {position}, {error}") from None
        return tuple(shapes)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """dense1, dense2, …: the kind, and a number within the kind."""
        counts: dict[str, int] = {}
        names = []
        for layer in self.layers:
            counts[layer.kind] = counts.get(layer.kind, 0) + 1
            names.append(f"{layer.kind}{counts[layer.kind]}")
        return tuple(names)

    @cached_property
    def tensors(self) -> dict[str, Initial]:
        """Every parameter tensor by its full name ("dense1.weight"), in order."""
        return self._prefixed([layer.tensors(shape) for layer, shape in zip(self.layers, self.shapes, strict=False)])

    @cached_property
    def state(self) -> dict[str, Initial]:
        """Every state tensor by its full name ("batch_norm1.mean"), in order."""
        return self._prefixed([layer.state(shape) for layer, shape in zip(self.layers, self.shapes, strict=False)])

    def _prefixed(self, parts: Sequence[Mapping[str, Initial]]) -> dict[str, Initial]:
        return {
            f"{name}.{tensor}": initial
            for name, part in zip(self.names, parts, strict=True)
            for tensor, initial in part.items()
        }

    def bind(self, space: Space) -> "BoundStack":
        """Bind to buffers; the space's slots and state have the full names."""
        return BoundStack(self, space)


class BoundStack:
    """Layers in sequence on their buffers."""

    def __init__(self, stack: Stack, space: Space) -> None:
        """Bind each layer to the outputs of the one before."""
        self.layers: list[BoundLayer] = []
        inputs, derivative = space.inputs, space.input_derivative
        for name, layer in zip(stack.names, stack.layers, strict=True):
            bound = layer.bind(
                replace(
                    space,
                    inputs=inputs,
                    input_derivative=derivative,
                    slots=_within(name, space.slots),
                    state=_within(name, space.state),
                    path=f"{space.path}{name}.",
                )
            )
            self.layers.append(bound)
            inputs, derivative = bound.outputs, bound.output_derivative
        self.outputs: Array = inputs
        self.output_derivative: Array | None = derivative
        self._backward = tuple(reversed(self.layers))
        self._costs = [layer for layer in self.layers if layer.cost is not None]
        self._settling = [layer for layer in self.layers if type(layer).settle is not BoundLayer.settle]

    def forward(self, step: int) -> None:
        """Write the outputs."""
        for layer in self.layers:
            layer.forward(step)

    def backward(self) -> None:
        """Write the gradient of every layer and ∂C/∂inputs."""
        for layer in self._backward:
            layer.backward()

    def settle(self, active: NDArray[np.bool_]) -> None:
        """Update the state of the active runs from the last `forward`."""
        for layer in self._settling:
            layer.settle(active)

    @property
    def costs(self) -> list[NDArray[np.float64]]:
        """The layers' own terms of each run's cost (R,); live buffers."""
        return [layer.cost for layer in self._costs if layer.cost is not None]


def _within(name: str, tensors: Mapping[str, Any]) -> dict[str, Any]:
    prefix = f"{name}."
    return {full.removeprefix(prefix): tensor for full, tensor in tensors.items() if full.startswith(prefix)}
