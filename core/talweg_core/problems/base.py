"""What a problem is: something with parameters, a cost, and its gradient."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talweg_core.layout import Array, Layout


class Oracle(ABC):
    """R runs of a problem on their buffers: answers what the cost and its gradient are at a step."""

    # What the problem keeps of each run (R, S) beside its parameters, such as batch norm's running mean; live.
    state: Array | None = None

    @abstractmethod
    def costs(self, step: int) -> NDArray[np.float64]:
        """C(θ; B_step) of each run (R,) at what `parameters` holds now; a live buffer."""

    @abstractmethod
    def gradient(self, step: int) -> NDArray[np.float64]:
        """The same costs, and ∂C/∂θ written to the gradient buffer."""

    def settle(self, active: NDArray[np.bool_]) -> None:  # noqa: B027  # most problems have no state
        """Carry what the last evaluation saw into the state of the runs that are active; once a step."""

    def examples(self, step: int) -> Iterator[float]:
        """Of one run, the cost of each example of its batch, whose mean is C; its gradient is in the buffer by then.

        Nothing where the problem has no examples. Raises EngineError where the cost is no sum over examples.
        """
        return iter(())

    def batch(self, row: int, step: int) -> NDArray[np.int64]:
        """Which training examples (B,) run `row` sees at `step`; none for a test function."""
        return np.empty(0, dtype=np.int64)


class Problem(ABC):
    """Data, network and cost, or a test function with a known minimum."""

    name: str
    layout: Layout
    # Training examples; 0 for a test function, which has no batches.
    examples: int = 0
    default_batch_size: int = 0
    splits: tuple[str, ...] = ()
    # What is measured beside the cost: "accuracy", or nothing.
    metric: str | None = None

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """What distinguishes this problem from another of its name, as plain data."""

    @abstractmethod
    def initial(self, seed: int) -> Array:
        """The parameters (P,), in float64, that a run with this seed starts from."""

    @abstractmethod
    def bind(self, parameters: Array, gradient: Array, seeds: Sequence[int], batch_size: int) -> Oracle:
        """The oracle of R runs on flat parameters and gradient (R, P), whose data type is the precision."""

    def evaluate(self, parameters: Array, split: str, state: Array | None = None) -> tuple[float, float | None]:
        """Cost and metric of one run's parameters (P,) and state (S,) on a whole split.

        Without `state` it is the one that every run begins with. Raises InvalidProblem for an unknown split.
        """
        raise NotImplementedError
