"""The base classes of problems: parameters, a cost, and its gradient."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talweg_core.layout import Array, Layout


class Oracle(ABC):
    """A problem bound to the buffers of R runs: computes the cost and its gradient at a step."""

    # The network's state (R, S), such as batch norm's running mean; a live buffer. None where there is none.
    state: Array | None = None

    @abstractmethod
    def costs(self, step: int) -> NDArray[np.float64]:
        """C(θ; B_step) of each run (R,) at the current `parameters`; a live buffer."""

    @abstractmethod
    def gradient(self, step: int) -> NDArray[np.float64]:
        """The same costs; writes ∂C/∂θ to the gradient buffer."""

    def settle(self, active: NDArray[np.bool_]) -> None:  # noqa: B027  # most problems have no state
        """Update the state of the active runs from the last evaluation; called once in each step."""

    def examples(self, step: int) -> Iterator[float]:
        """For one run, the cost of each example of its batch; at each, the gradient buffer holds its gradient.

        The mean of the costs is C. Empty where the problem has no examples. Raises EngineError where the cost is not a
        mean over examples.
        """
        return iter(())

    def batch(self, row: int, step: int) -> NDArray[np.int64]:
        """The indices (B,) of the training examples in the batch of run `row` at `step`; empty for a test function."""
        return np.empty(0, dtype=np.int64)


class Problem(ABC):
    """Data, network and cost, or a test function with a known minimum."""

    name: str
    layout: Layout
    # Training examples; 0 for a test function, which has no batches.
    examples: int = 0
    default_batch_size: int = 0
    splits: tuple[str, ...] = ()
    # The metric evaluated in addition to the cost: "accuracy" or None.
    metric: str | None = None

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """The settings that distinguish this problem from others of its name, as plain data."""

    @abstractmethod
    def initial(self, seed: int) -> Array:
        """The initial parameters (P,), in float64, of a run with this seed."""

    @abstractmethod
    def bind(self, parameters: Array, gradient: Array, seeds: Sequence[int], batch_size: int) -> Oracle:
        """Bind R runs to flat parameters and gradient (R, P), whose data type is the precision."""

    def evaluate(self, parameters: Array, split: str, state: Array | None = None) -> tuple[float, float | None]:
        """Cost and metric of one run's parameters (P,) and state (S,) on a whole split.

        By default `state` is the initial one. Raises InvalidProblem for an unknown split.
        """
        raise NotImplementedError
