"""The network: the costs of R runs, and their gradients by backpropagation.

Source: Rumelhart, Hinton & Williams 1986. This module computes derivatives and updates no parameter.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talweg_core import costs, layers
from talweg_core.costs import BoundCost, BoundPenalty, Cost
from talweg_core.data import Targets
from talweg_core.errors import InvalidNetwork
from talweg_core.initial import Initial
from talweg_core.layers.base import BoundLayer, Layer, Shape, Slot, Space
from talweg_core.layers.stack import Stack, fused
from talweg_core.layout import Array, Layout
from talweg_core.matrix_products import one_thread


@dataclass(frozen=True)
class Network:
    """Layers for inputs of one shape, and a cost. The shapes are checked on creation."""

    layers: tuple[Layer, ...]
    cost: Cost
    shape: Shape

    @classmethod
    def create(cls, description: Sequence[Mapping[str, Any]], cost: str | Mapping[str, Any], shape: Shape) -> "Network":
        """From `[{"layer": "dense", "units": 64}, …]`; raises InvalidNetwork, which names the wrong layer."""
        if not description:
            raise InvalidNetwork("network: must have at least one layer, got []")
        made = [layers.create(layer, f"layer {position}, ") for position, layer in enumerate(description, 1)]
        # As written, so that an error counts the layers as the user does.
        Stack(tuple(made), shape).shapes  # noqa: B018  # computed for its checks
        return cls(fused(made), costs.create(cost), shape)

    def __post_init__(self) -> None:
        """Check that every layer fits its input."""
        self.stack.shapes  # noqa: B018  # computed for its checks

    @cached_property
    def stack(self) -> Stack:
        """The layers for this shape."""
        return Stack(self.layers, self.shape)

    @property
    def output(self) -> Shape:
        """One prediction's shape."""
        return self.stack.shapes[-1]

    @property
    def tensors(self) -> dict[str, Initial]:
        """Every parameter tensor by its full name ("dense1.weight"), in the order of the flat vector."""
        return self.stack.tensors

    @cached_property
    def layout(self) -> Layout:
        """The layout of the parameters in the flat vector (P,)."""
        return Layout.of({name: initial.shape for name, initial in self.tensors.items()})

    @cached_property
    def state(self) -> Layout:
        """The layout of the layers' state (not parameters) in its flat vector (S,)."""
        return Layout.of({name: initial.shape for name, initial in self.stack.state.items()})

    def initial(self, generator: np.random.Generator) -> Array:
        """Draw the parameters (P,) in float64, tensor by tensor."""
        return _drawn(self.tensors, generator)

    def initial_state(self) -> Array:
        """The initial state (S,) in float64; it is not random."""
        return _drawn(self.stack.state, np.random.default_rng(0))

    def bind(
        self,
        inputs: Array,
        targets: Targets,
        parameters: Array,
        gradient: Array,
        *,
        training: bool,
        seeds: Sequence[int] = (),
        state: Array | None = None,
    ) -> "BoundNetwork":
        """Bind to inputs (R or 1, B, *shape), targets (R or 1, B, …), parameters and gradient (R, P), state (R, S)."""
        one_thread()
        # Kernels address tensors by their offset in a row.
        assert parameters.flags.c_contiguous
        assert gradient.flags.c_contiguous
        values, gradients = self.layout.views(parameters), self.layout.views(gradient)
        if state is None:
            state = np.repeat(self.initial_state()[None], len(parameters), axis=0).astype(parameters.dtype)
        slots = {name: Slot(self.layout.slice(name).start, values[name], gradients[name]) for name in self.layout.names}
        space = Space(
            runs=len(parameters),
            batch=inputs.shape[1],
            inputs=inputs,
            input_derivative=None,
            parameters=parameters,
            gradient=gradient,
            slots=slots,
            training=training,
            seeds=list(seeds),
            state=self.state.views(state),
        )
        return BoundNetwork(self, space, targets)


class BoundNetwork:
    """A network on its buffers; `forward` then `backward` allocate nothing."""

    def __init__(self, network: Network, space: Space, targets: Targets) -> None:
        """See Network.bind; without `training`, `backward` must not be called."""
        self._stack = network.stack.bind(space)
        self.predictions = self._stack.outputs
        derivative = self._stack.output_derivative
        if derivative is None:
            derivative = space.array(*self.predictions.shape)
        self._description, self._targets, self._derivative = network, targets, derivative
        self._cost: BoundCost = network.cost.bind(self.predictions, targets, derivative)
        self._penalty: BoundPenalty | None = None
        if space.training and (network.cost.l1 or network.cost.l2):
            matrices = [
                name for name, shape in zip(network.layout.names, network.layout.shapes, strict=True) if len(shape) > 1
            ]
            slices = [network.layout.slice(name) for name in matrices]
            self._penalty = BoundPenalty(space.parameters, space.gradient, slices, network.cost.l1, network.cost.l2)

    @property
    def layers(self) -> list[BoundLayer]:
        """The layers on their buffers, first layer first."""
        return self._stack.layers

    def forward(self, step: int) -> NDArray[np.float64]:
        """The costs (R,), in float64, of the current inputs and targets; a live buffer."""
        self._stack.forward(step)
        costs = self._cost.costs
        self._cost.forward()
        for added in self._stack.costs:
            costs += added
        if self._penalty is not None:
            self._penalty.add_to(costs)
        return costs

    def backward(self) -> None:
        """Write the gradient (R, P) of the costs of the last `forward`."""
        self._stack.backward()
        if self._penalty is not None:
            self._penalty.add_to_gradient()

    def examples(self, step: int) -> Iterator[float]:
        """For one run, each example's cost C_b, where C = mean C_b; at each, the gradient holds ∂C_b/∂θ.

        One backward pass for each example, from its prediction alone; values that examples share, such as batch norm's
        mean, are those of the whole batch. Each C_b includes the L1 and L2 terms. Raises InvalidNetwork where a layer
        adds to the cost, since the share of one example in that is not known.
        """
        if self._stack.costs:
            raise InvalidNetwork("examples: have no single costs where a layer adds to the cost (gaussian)")
        self._stack.forward(step)
        # The cost is bound with each example as one run.
        batch = self.predictions.shape[1]
        slopes = np.empty((batch, 1, *self.predictions.shape[2:]), self.predictions.dtype)
        cost = self._description.cost.bind(self.predictions.reshape(slopes.shape), self._targets[0][:, None], slopes)
        cost.forward()
        added = np.zeros(1)
        if self._penalty is not None:
            self._penalty.add_to(added)
        for b in range(batch):
            self._derivative[:] = 0
            self._derivative[0, b] = slopes[b, 0]
            self.backward()
            yield float(cost.costs[b] + added[0])

    def settle(self, active: NDArray[np.bool_]) -> None:
        """Update the state of the active runs from the last `forward`."""
        self._stack.settle(active)


def _drawn(tensors: Mapping[str, Initial], generator: np.random.Generator) -> Array:
    drawn = [initial.draw(generator).ravel() for initial in tensors.values()]
    return np.concatenate(drawn) if drawn else np.empty(0)
