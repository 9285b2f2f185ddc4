"""The catalogue of schedules: learning rates that depend on the step alone, η_t = η · factor(t)."""

from typing import Any

from talweg_core.schedules.base import Catalogue, Description, Schedule
from talweg_core.schedules.base import describe as _describe
from talweg_core.schedules.formulas import (
    Constant,
    Cosine,
    CosineRestarts,
    Exponential,
    InverseSquareRoot,
    Linear,
    OneCycle,
    Polynomial,
    Sequence,
    Step,
    WarmUp,
    WarmUpStableDecay,
)

__all__ = [
    "Catalogue", "Constant", "Cosine", "CosineRestarts", "Description", "Exponential", "InverseSquareRoot", "Linear",
    "OneCycle", "Polynomial", "Schedule", "Sequence", "Step", "WarmUp", "WarmUpStableDecay", "catalogue", "create",
    "describe", "names",
]  # fmt: skip

_KINDS: tuple[type[Schedule], ...] = (
    Constant, Linear, Cosine, Step, Exponential, Polynomial, InverseSquareRoot, WarmUp, OneCycle, WarmUpStableDecay,
    CosineRestarts, Sequence,
)  # fmt: skip


def catalogue() -> Catalogue:
    """Every schedule by name."""
    return Catalogue({kind.name: kind for kind in _KINDS})


def describe(name: str) -> Description:
    """The description of the schedule of that name: formula, ranges, defaults; raises UnknownName."""
    return _describe(catalogue().find(name))


def names() -> list[str]:
    """The name of every schedule that `create` accepts."""
    return sorted(catalogue())


def create(name: str, **settings: Any) -> Schedule:
    """The schedule of that name; raises UnknownName or InvalidProblem, which name setting, rule and value."""
    kind = catalogue().find(name)
    kind.check_names(settings)
    return kind(**settings)
