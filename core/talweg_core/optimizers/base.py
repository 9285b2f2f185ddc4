"""What an optimizer is: hyperparameters with their ranges, a rule, and the state beside it.

An optimizer turns derivatives into updates; it never computes a derivative.
"""

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from talweg_core.errors import InvalidCohort, InvalidHyperparameter
from talweg_core.layout import Array, Layout

Needs = Literal["coordinates", "tensors", "evaluations"]
Flags = NDArray[np.bool_]
Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """The numbers from low to high; an end counts where it is closed."""

    low: float
    high: float
    closed: Literal["[]", "[)", "(]", "()"]

    def __contains__(self, value: float) -> bool:
        """Whether `value` lies inside; NaN never does."""
        above = value >= self.low if self.closed[0] == "[" else value > self.low
        below = value <= self.high if self.closed[1] == "]" else value < self.high
        return above and below

    def __str__(self) -> str:
        """As mathematics writes it: [0, 1)."""
        ends = [f"{end:g}".replace("inf", "∞") for end in (self.low, self.high)]
        return f"{self.closed[0]}{ends[0]}, {ends[1]}{self.closed[1]}"


def positive(default: float) -> Any:
    """A hyperparameter in (0, ∞)."""
    return dataclasses.field(default=default, metadata={"range": Interval(0, math.inf, "()")})


def not_negative(default: float) -> Any:
    """A hyperparameter in [0, ∞)."""
    return dataclasses.field(default=default, metadata={"range": Interval(0, math.inf, "[)")})


def fraction(default: float) -> Any:
    """A hyperparameter in [0, 1)."""
    return dataclasses.field(default=default, metadata={"range": Interval(0, 1, "[)")})


def flag(default: bool) -> Any:
    """A choice, the same for all runs of a cohort."""
    return dataclasses.field(default=default, metadata={"range": None})


@dataclass(frozen=True)
class Optimizer(ABC):
    """An optimizer with its hyperparameters, for one run."""

    name: ClassVar[str]
    needs: ClassVar[Needs]

    learning_rate: float = positive(1e-3)

    def __post_init__(self) -> None:
        """Check every hyperparameter against its range; raises InvalidHyperparameter."""
        for field in dataclasses.fields(self):
            value, interval = getattr(self, field.name), field.metadata["range"]
            what = f"{type(self).__name__}: {field.name}"
            if interval is None:
                if not isinstance(value, bool):
                    raise InvalidHyperparameter(f"{what} must be true or false, got {value!r}")
                continue
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise InvalidHyperparameter(f"{what} must be a number in {interval}, got {value!r}")
            if value not in interval:
                raise InvalidHyperparameter(f"{what} must lie in {interval}, got {value}")
            # 1 and 1.0 are the same setting.
            object.__setattr__(self, field.name, float(value))

    def settings(self) -> dict[str, float | bool]:
        """Every hyperparameter by name."""
        return dataclasses.asdict(self)

    def flags(self) -> dict[str, bool]:
        """Those that all runs of a cohort must share."""
        return {name: value for name, value in self.settings().items() if isinstance(value, bool)}

    @abstractmethod
    def bind(self, hyperparameters: "Hyperparameters", layout: Layout, dtype: np.dtype[Any]) -> "BoundOptimizer":
        """This rule for R runs, each with its own numbers."""


class Hyperparameters:
    """The numeric hyperparameters of R runs, each (R,) in float64, by attribute: `h.beta1`."""

    def __init__(self, optimizers: Sequence[Optimizer]) -> None:
        """Stack them; raises InvalidCohort where rules or choices differ."""
        first = optimizers[0]
        for other in optimizers:
            if type(other) is not type(first) or other.flags() != first.flags():
                raise InvalidCohort(f"optimizers: a cohort runs one rule, got {first.name} and {other.name}")
        names = [name for name in first.settings() if name not in first.flags()]
        self.values: dict[str, Numbers] = {
            name: np.array([getattr(optimizer, name) for optimizer in optimizers], dtype=np.float64) for name in names
        }
        self.flags = first.flags()
        self.runs = len(optimizers)

    def __getattr__(self, name: str) -> Numbers:
        """The hyperparameter (R,) of that name."""
        try:
            return self.__dict__["values"][name]  # type: ignore[no-any-return]  # __dict__ is untyped
        except KeyError:
            raise AttributeError(name) from None

    def __or__(self, changed: dict[str, Numbers]) -> "Hyperparameters":
        """A copy in which these are replaced, as a schedule does with the learning rate."""
        copy = Hyperparameters.__new__(Hyperparameters)
        copy.values, copy.flags, copy.runs = self.values | changed, self.flags, self.runs
        return copy


class BoundOptimizer(ABC):
    """A rule at work on R runs; `state` is everything that its future depends on beside the parameters."""

    state: dict[str, Array]

    @abstractmethod
    def update(
        self,
        parameters: Array,
        gradient: Array,
        updates: Numbers,
        hyperparameters: Hyperparameters,
        active: Flags,
    ) -> None:
        """Move, in place, the parameters (R, P) of the runs that are `active` (R,) by the gradient (R, P).

        `updates` (R,) counts the updates that each run's rule has made before this one.
        """
