"""What a schedule is: a factor of the learning rate, as a function of the step alone."""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from talweg_core.errors import InvalidProblem, UnknownName
from talweg_core.optimizers.hyperparameters import Interval


@dataclass(frozen=True)
class Schedule(ABC):
    """η_t = η · factor(t), at step t from 0."""

    name: ClassVar[str]

    @abstractmethod
    def factor(self, step: int) -> float:
        """What the learning rate is multiplied by at `step`, from 0."""

    def __post_init__(self) -> None:
        """Check every setting against its range; raises InvalidProblem."""
        for field in dataclasses.fields(self):
            allowed = field.metadata.get("range")
            if isinstance(allowed, Interval):
                value = allowed.check(f"{self.name}: {field.name}", getattr(self, field.name), InvalidProblem)
                object.__setattr__(self, field.name, int(value) if allowed.whole else value)

    def settings(self) -> dict[str, Any]:
        """Every setting by name."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    @classmethod
    def check_names(cls, given: Iterable[str]) -> None:
        """Raise UnknownName, with the nearest name, for a setting that is none; InvalidProblem for a missing one."""
        known = [field.name for field in dataclasses.fields(cls)]
        for key in given:
            if key not in known:
                raise UnknownName(f"{cls.name}: setting", key, known)
        for field in dataclasses.fields(cls):
            if field.default is dataclasses.MISSING and field.name not in given:
                raise InvalidProblem(f"{cls.name}: {field.name} must be given")


def setting(low: float, high: float, closed: Any, default: Any = dataclasses.MISSING) -> Any:
    """A number in an interval; must be given where it has no default."""
    return dataclasses.field(default=default, metadata={"range": Interval(low, high, closed)})


def count(low: int = 1, default: Any = dataclasses.MISSING) -> Any:
    """A whole number of steps from `low` on; must be given where it has no default."""
    return dataclasses.field(default=default, metadata={"range": Interval(low, float("inf"), "[)", whole=True)})


def nested(given: Any, make: Any) -> Schedule:
    """A schedule within another: an instance, a name, or settings with a name."""
    if isinstance(given, Schedule):
        return given
    if isinstance(given, str):
        given = {"name": given}
    if not isinstance(given, Mapping) or not isinstance(given.get("name"), str):
        raise InvalidProblem(f'warmup: then must hold settings such as {{"name": "cosine"}}, got {given!r}')
    made: Schedule = make(**given)
    return made
