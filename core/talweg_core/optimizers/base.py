"""The base classes of optimizers: hyperparameters with their ranges, an update rule, and its state.

An optimizer computes updates from derivatives; it never computes a derivative.
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
    text,
    whole,
    within,
)

__all__ = [
    "BoundOptimizer",
    "Evaluations",
    "Flags",
    "Hyperparameters",
    "Interval",
    "Needs",
    "Numbers",
    "Optimizer",
    "Settings",
    "Situation",
    "Wrapper",
    "choice",
    "flag",
    "fraction",
    "not_negative",
    "positive",
    "size",
    "text",
    "whole",
    "within",
]  # fmt: skip

Needs = Literal["coordinates", "tensors", "scalars", "evaluations"]
Flags = NDArray[np.bool_]


class Evaluations(Protocol):
    """Costs and derivatives at trial points, on the batch of the current step; counted for each run.

    `rows` (R,) are the runs that need them: only theirs are counted, and only their results are valid.
    """

    def costs(self, points: Array, rows: Flags) -> Numbers:
        """C (R,) at points (R, P)."""

    def gradient(self, points: Array, rows: Flags) -> tuple[Numbers, Array]:
        """C (R,) and ∂C/∂θ (R, P) at points (R, P)."""

    def hessian_product(self, vectors: Array, rows: Flags) -> Array:
        """H v (R, P), with H the second derivatives of C at the parameters."""

    def probe(self, row: int) -> np.random.Generator:
        """The random stream of one run at this step, for rules that draw; a replay draws the same."""


@dataclass
class Situation:
    """The input of one update of R runs.

    `costs` (R,) and `gradient` (R, P) are those at `parameters` (R, P) on the step's batch; `updates` (R,) is the
    number of earlier updates of each run; only the parameters of `active` (R,) runs may be changed.
    """

    parameters: Array
    costs: Numbers
    gradient: Array
    updates: Numbers
    hyperparameters: Hyperparameters
    active: Flags
    evaluations: Evaluations


class BoundOptimizer(ABC):
    """A rule bound to R runs; its further updates depend on `state` and the parameters alone."""

    # Each (R, …): one row for each run.
    state: dict[str, NDArray[Any]]

    @abstractmethod
    def update(self, situation: Situation) -> None:
        """Update, in place, the parameters of the active runs."""

    def restored(self, row: int) -> None:  # noqa: B027  # most rules keep nothing but their state
        """Called after the state of run `row` was restored from a checkpoint: what was made from it before is void."""

    def evaluation_parameters(self, parameters: Array, updates: Numbers) -> Array:
        """The point (R, P) at which runs are evaluated: their parameters, unless the rule keeps an average of them."""
        return parameters


@dataclass(frozen=True)
class Wrapper(Settings, ABC):
    """A wrapper around a rule: it changes the rule's input, or adds to its update."""

    @abstractmethod
    def bind(
        self, inner: BoundOptimizer, hyperparameters: Hyperparameters, layout: Layout, dtype: np.dtype[Any]
    ) -> BoundOptimizer:
        """Wrap `inner` for R runs, with this wrapper's hyperparameters of each run."""


@dataclass(frozen=True)
class Optimizer(Settings, ABC):
    """An optimizer with its hyperparameters, for one run.

    around: the wrappers around the rule, from the outside in; the gradient passes through them in this order. Given
    as instances of Wrapper, or as in a spec, `{"name": "clip_norm", "limit": 1.0}`.
    """

    needs: ClassVar[Needs]
    # For the catalogue: the names of the state, its size where that is not P for each name, and the evaluations of
    # the problem in one step.
    state: ClassVar[tuple[str, ...]] = ()
    memory: ClassVar[str] = ""
    evaluations: ClassVar[str] = "1 gradient"
    # Whether the batch must be all training examples.
    full_batch: ClassVar[bool] = False

    learning_rate: float = positive(1e-3)
    around: tuple[Wrapper, ...] = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        """Check every hyperparameter and create the wrappers; raises InvalidHyperparameter."""
        super().__post_init__()
        if isinstance(self.around, str | Mapping) or not isinstance(self.around, Sequence):
            raise InvalidHyperparameter(f"{type(self).__name__}: around must be a list, got {self.around!r}")
        object.__setattr__(self, "around", tuple(_wrapper(type(self).__name__, one) for one in self.around))

    def settings(self) -> dict[str, Any]:
        """Every hyperparameter by name, and `around` if there are wrappers: the arguments of `create`."""
        around = [{"name": one.name} | one.settings() for one in self.around]
        return super().settings() | ({"around": around} if around else {})

    def shared(self) -> dict[str, Any]:
        """The settings that must be equal for all runs of a cohort: choices, and the wrappers' kinds and choices."""
        around = [{"name": one.name} | one.shared() for one in self.around]
        return super().shared() | ({"around": around} if around else {})

    def bind(self, stacked: "Sequence[Optimizer]", layout: Layout, dtype: np.dtype[Any]) -> BoundOptimizer:
        """Bind this rule and its wrappers to the R runs of these optimizers."""
        bound = self.bind_rule(Hyperparameters(stacked), layout, dtype)
        for position in reversed(range(len(self.around))):
            each = [optimizer.around[position] for optimizer in stacked]
            bound = each[0].bind(bound, Hyperparameters(each), layout, dtype)
        return bound

    @abstractmethod
    def bind_rule(self, hyperparameters: Hyperparameters, layout: Layout, dtype: np.dtype[Any]) -> BoundOptimizer:
        """Bind this rule without wrappers to R runs, each with its own hyperparameters."""


# Filled by talweg_core.optimizers.wrappers, which imports this module.
WRAPPERS: dict[str, type[Wrapper]] = {}


def _wrapper(what: str, given: Any) -> Wrapper:
    if isinstance(given, Wrapper):
        return given
    if not isinstance(given, Mapping) or not isinstance(given.get("name"), str):
        raise InvalidHyperparameter(f'{what}: around must hold settings such as {{"name": "clip_norm"}}, got {given!r}')
    settings = dict(given)
    name = settings.pop("name")
    if name not in WRAPPERS:
        raise InvalidHyperparameter(str(UnknownName(f"{what}: around", name, WRAPPERS)))
    WRAPPERS[name].check_names(settings)
    return WRAPPERS[name](**settings)
