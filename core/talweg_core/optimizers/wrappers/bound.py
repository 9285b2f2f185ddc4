"""What everything that stands around a rule has in common."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from talweg_core.layout import Array
from talweg_core.optimizers.base import BoundOptimizer, Evaluations, Flags, Numbers


class Wrapped(BoundOptimizer):
    """Around `inner`, whose state it holds together with its own."""

    def __init__(self, inner: BoundOptimizer) -> None:
        """Without own state."""
        self.inner = inner
        self.state: dict[str, NDArray[Any]] = dict(inner.state)

    def keep(self, name: str, array: NDArray[Any]) -> None:
        """Make an array (R, …) part of the state; the same thing may stand around a rule twice."""
        while name in self.state:
            name += "′"
        self.state[name] = array

    def evaluation_parameters(self, parameters: Array, updates: Numbers) -> Array:
        """Those of the rule."""
        return self.inner.evaluation_parameters(parameters, updates)


class Seen:
    """Evaluations as the rule inside sees them: a trial's gradient must be that of the same function as the step's."""

    def __init__(self, outside: Evaluations) -> None:
        """Those of `outside`; what stands around changes some."""
        self.outside = outside

    def costs(self, points: Array, rows: Flags) -> Numbers:
        """C (R,) at points (R, P)."""
        return self.outside.costs(points, rows)

    def gradient(self, points: Array, rows: Flags) -> tuple[Numbers, Array]:
        """C (R,) and ∂C/∂θ (R, P) at points (R, P)."""
        return self.outside.gradient(points, rows)

    def hessian_product(self, vectors: Array, rows: Flags) -> Array:
        """H v (R, P)."""
        return self.outside.hessian_product(vectors, rows)

    def probe(self, row: int) -> np.random.Generator:
        """The random stream of one run at this step."""
        return self.outside.probe(row)
