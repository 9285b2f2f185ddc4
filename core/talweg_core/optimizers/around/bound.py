"""What everything that stands around a rule has in common."""

from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from talweg_core.layout import Array
from talweg_core.optimizers.base import BoundOptimizer, Numbers, Situation


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


def with_gradient(situation: Situation, gradient: Array) -> Situation:
    """The same, with another gradient for the rule; the recorded one stays."""
    return replace(situation, gradient=gradient)
