"""Layers in sequence: the cost of R runs, and their gradients by backpropagation.

Source: Rumelhart, Hinton & Williams 1986. Derivatives are computed here and nowhere applied.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talweg_core import costs, layers
from talweg_core.costs import BoundCost, Cost
from talweg_core.data import Targets
from talweg_core.errors import InvalidNetwork
from talweg_core.initial import Initial
from talweg_core.layers.base import BoundLayer, Layer, Shape, Slot, Space
from talweg_core.layout import Array, Layout


@dataclass(frozen=True)
class Network:
    """Layers for inputs of one shape, and the cost at their end. Shapes are checked when it is made."""

    layers: tuple[Layer, ...]
    cost: Cost
    shape: Shape

    @classmethod
    def create(cls, description: Sequence[Mapping[str, Any]], cost: str, shape: Shape) -> "Network":
        """From `[{"layer": "dense", "units": 64}, …]`; raises InvalidNetwork that names the layer at fault."""
        if not description:
            raise InvalidNetwork("network: must have at least one layer, got []")
        made: list[Layer] = []
        for layer in map(layers.create, description):
            fused = made[-1].absorb(layer) if made else None
            if fused is None:
                made.append(layer)
            else:
                made[-1] = fused
        return cls(tuple(made), costs.create(cost), shape)

    def __post_init__(self) -> None:
        """Check that every layer fits what comes before it."""
        self.shapes  # noqa: B018  # computed for its checks

    @cached_property
    def shapes(self) -> tuple[Shape, ...]:
        """One example's shape before each layer, and after the last."""
        shapes = [self.shape]
        for position, layer in enumerate(self.layers, 1):
            try:
                shapes.append(layer.output(shapes[-1]))
            except InvalidNetwork as error:
                raise InvalidNetwork(f"layer {position}, {error}") from None
        return tuple(shapes)

    @property
    def output(self) -> Shape:
        """One prediction's shape."""
        return self.shapes[-1]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """dense1, dense2, …: a kind and which of its kind, in order."""
        counts: dict[str, int] = {}
        names = []
        for layer in self.layers:
            counts[layer.kind] = counts.get(layer.kind, 0) + 1
            names.append(f"{layer.kind}{counts[layer.kind]}")
        return tuple(names)

    @cached_property
    def tensors(self) -> dict[str, Initial]:
        """Every parameter tensor by its full name ("dense1.weight"), in the order of the flat vector."""
        return {
            f"{name}.{tensor}": initial
            for name, layer, shape in zip(self.names, self.layers, self.shapes, strict=False)
            for tensor, initial in layer.tensors(shape).items()
        }

    @cached_property
    def layout(self) -> Layout:
        """Where each tensor lies in the flat vector."""
        return Layout.of({name: initial.shape for name, initial in self.tensors.items()})

    def initial(self, generator: np.random.Generator) -> Array:
        """(P,) in float64: every tensor drawn in order."""
        drawn = [initial.draw(generator).ravel() for initial in self.tensors.values()]
        return np.concatenate(drawn) if drawn else np.empty(0)

    def bind(
        self,
        inputs: Array,
        targets: Targets,
        parameters: Array,
        gradient: Array,
        *,
        training: bool,
        seeds: Sequence[int] = (),
    ) -> "BoundNetwork":
        """On inputs (R or 1, B, *shape), targets (R or 1, B, …) and flat parameters and gradient (R, P)."""
        return BoundNetwork(self, inputs, targets, parameters, gradient, training=training, seeds=seeds)


class BoundNetwork:
    """A network on its buffers; `forward` then `backward` allocate nothing."""

    def __init__(
        self,
        network: Network,
        inputs: Array,
        targets: Targets,
        parameters: Array,
        gradient: Array,
        *,
        training: bool,
        seeds: Sequence[int],
    ) -> None:
        """See Network.bind; without `training` there is no backward."""
        values, gradients = network.layout.views(parameters), network.layout.views(gradient)
        self._layers: list[BoundLayer] = []
        derivative: Array | None = None
        for name, layer, shape in zip(network.names, network.layers, network.shapes, strict=False):
            slots = {}
            for tensor in layer.tensors(shape):
                full = f"{name}.{tensor}"
                slots[tensor] = Slot(network.layout.slice(full).start, values[full], gradients[full])
            space = Space(
                runs=len(parameters),
                batch=inputs.shape[1],
                inputs=inputs,
                input_derivative=derivative,
                parameters=parameters,
                gradient=gradient,
                slots=slots,
                training=training,
                seeds=list(seeds),
            )
            bound = layer.bind(space)
            self._layers.append(bound)
            inputs, derivative = bound.outputs, bound.output_derivative if training else None
        self.predictions = inputs
        scratch = np.empty_like(inputs) if derivative is None else derivative
        self._cost: BoundCost = network.cost.bind(inputs, targets, scratch)

    def forward(self, step: int) -> NDArray[np.float64]:
        """The costs (R,), float64, of what inputs and targets hold now; a live buffer."""
        for layer in self._layers:
            layer.forward(step)
        self._cost.forward()
        return self._cost.costs

    def backward(self) -> None:
        """Write the gradient (R, P) of the costs that `forward` has just computed."""
        for layer in reversed(self._layers):
            layer.backward()
