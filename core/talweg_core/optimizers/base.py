"""What an optimizer is: hyperparameters with their ranges, a rule, and the state beside it.

An optimizer turns derivatives into updates; it never computes a derivative.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from talweg_core.errors import InvalidHyperparameter, UnknownName
from talweg_core.layout import Array, Layout
from talweg_core.optimizers.hyperparameters import (
    Hyperparameters,
    Interval,
    Numbers,
    Settings,
    choice,
    flag,
    fraction,
    not_negative,
    positive,
    size,
    whole,
    within,
)

__all__ = [
    "Around", "BoundOptimizer", "Evaluations", "Flags", "Hyperparameters", "Interval", "Needs", "Numbers", "Optimizer",
    "Settings", "Situation", "choice", "flag", "fraction", "not_negative", "positive", "size", "whole", "within",
]  # fmt: skip

Needs = Literal["coordinates", "tensors", "scalars", "evaluations"]
Flags = NDArray[np.bool_]


class Evaluations(Protocol):
    """Costs and derivatives at trial points, on the batch of the step under way; counted run by run.

    `rows` (R,) are the runs that ask: theirs are counted, and only theirs are meaningful in what is returned.
    """

    def costs(self, points: Array, rows: Flags) -> Numbers:
        """C (R,) at points (R, P)."""

    def gradient(self, points: Array, rows: Flags) -> tuple[Numbers, Array]:
        """C (R,) and ∂C/∂θ (R, P) at points (R, P)."""

    def hessian_product(self, vectors: Array, rows: Flags) -> Array:
        """H v (R, P), with H the second derivatives of C at the parameters."""

    def probe(self, row: int) -> np.random.Generator:
        """The random stream of one run at this step, for rules that draw: counted, so that a replay draws the same."""


@dataclass
class Situation:
    """What R runs stand before when a rule is to move them.

    `costs` (R,) and `gradient` (R, P) are those at `parameters` (R, P) on the step's batch; `updates` (R,) counts
    the updates that each run's rule has made before this one; only the runs that are `active` (R,) may be moved.
    """

    parameters: Array
    costs: Numbers
    gradient: Array
    updates: Numbers
    hyperparameters: Hyperparameters
    active: Flags
    evaluations: Evaluations


class BoundOptimizer(ABC):
    """A rule at work on R runs; `state` is everything that its future depends on beside the parameters."""

    # Each (R, …): a row a run.
    state: dict[str, NDArray[Any]]

    @abstractmethod
    def update(self, situation: Situation) -> None:
        """Move, in place, the parameters of the runs that are active."""

    def evaluation_parameters(self, parameters: Array, updates: Numbers) -> Array:
        """Where (R, P) the runs are judged: at their parameters, unless the rule keeps a better point beside them."""
        return parameters


@dataclass(frozen=True)
class Around(Settings, ABC):
    """Something around a rule: it changes what reaches the rule, or adds to what the rule does."""

    @abstractmethod
    def bind(
        self, inner: BoundOptimizer, hyperparameters: Hyperparameters, layout: Layout, dtype: np.dtype[Any]
    ) -> BoundOptimizer:
        """Around `inner` for R runs, with this wrapper's own numbers of each run."""


@dataclass(frozen=True)
class Optimizer(Settings, ABC):
    """An optimizer with its hyperparameters, for one run.

    around: what stands around the rule, from the outside in: the gradient passes through them in this order. Given
    as instances of Around, or as in a spec, `{"name": "clip_norm", "limit": 1.0}`.
    """

    needs: ClassVar[Needs]
    # For the catalogue: what a run keeps beside its P parameters, how many numbers where that is not a P for each
    # of these, and what one step asks of the problem.
    state: ClassVar[tuple[str, ...]] = ()
    memory: ClassVar[str] = ""
    evaluations: ClassVar[str] = "1 gradient"
    # Where a run's batch must be all its training examples.
    full_batch: ClassVar[bool] = False

    learning_rate: float = positive(1e-3)
    around: tuple[Around, ...] = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        """Check every hyperparameter and make what stands around; raises InvalidHyperparameter."""
        super().__post_init__()
        if isinstance(self.around, str | Mapping) or not isinstance(self.around, Sequence):
            raise InvalidHyperparameter(f"{type(self).__name__}: around must be a list, got {self.around!r}")
        object.__setattr__(self, "around", tuple(_around(type(self).__name__, one) for one in self.around))

    def settings(self) -> dict[str, Any]:
        """Every hyperparameter by name, and `around` where there is anything: what `create` takes."""
        around = [{"name": one.name} | one.settings() for one in self.around]
        return super().settings() | ({"around": around} if around else {})

    def shared(self) -> dict[str, Any]:
        """What all runs of a cohort must have in common: choices, and what kinds of things stand around."""
        around = [{"name": one.name} | one.shared() for one in self.around]
        return super().shared() | ({"around": around} if around else {})

    def bind(self, stacked: "Sequence[Optimizer]", layout: Layout, dtype: np.dtype[Any]) -> BoundOptimizer:
        """This rule, and what stands around it, for the R runs of these optimizers."""
        bound = self.bind_rule(Hyperparameters(stacked), layout, dtype)
        for position in reversed(range(len(self.around))):
            each = [optimizer.around[position] for optimizer in stacked]
            bound = each[0].bind(bound, Hyperparameters(each), layout, dtype)
        return bound

    @abstractmethod
    def bind_rule(self, hyperparameters: Hyperparameters, layout: Layout, dtype: np.dtype[Any]) -> BoundOptimizer:
        """This rule alone for R runs, each with its own numbers."""


# Filled by talweg_core.optimizers.wrappers, whose modules need Around from here.
AROUND: dict[str, type[Around]] = {}


def _around(what: str, given: Any) -> Around:
    if isinstance(given, Around):
        return given
    if not isinstance(given, Mapping) or not isinstance(given.get("name"), str):
        raise InvalidHyperparameter(f'{what}: around must hold settings such as {{"name": "clip_norm"}}, got {given!r}')
    settings = dict(given)
    name = settings.pop("name")
    if name not in AROUND:
        raise InvalidHyperparameter(str(UnknownName(f"{what}: around", name, AROUND)))
    AROUND[name].check_names(settings)
    return AROUND[name](**settings)
