"""A schedule (a factor of the learning rate that depends on the step alone), its settings and its description."""

import dataclasses
import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from talweg_core.description import (
    Entry,
    Setting,
    Table,
    defaults_and_ranges,
    paragraphs,
    settings_of,
    settings_of_fields,
)
from talweg_core.errors import InvalidProblem, UnknownName
from talweg_core.optimizers.hyperparameters import Interval


@dataclass(frozen=True)
class Schedule(ABC):
    """η_t = η · factor(t), at step t from 0."""

    name: ClassVar[str]

    @abstractmethod
    def factor(self, step: int) -> float:
        """The factor of the learning rate at `step`, from 0."""

    def __post_init__(self) -> None:
        """Check every setting against its range; raises InvalidProblem."""
        for field in dataclasses.fields(self):
            allowed = field.metadata.get("range")
            if isinstance(allowed, Interval):
                value = allowed.check(f"{self.name}: {field.name}", getattr(self, field.name), InvalidProblem)
                object.__setattr__(self, field.name, int(value) if allowed.whole else value)

    def settings(self) -> dict[str, Any]:
        """Every setting by name; one that was added later is left out at its default."""
        return {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if not (field.metadata.get("later") and getattr(self, field.name) == field.default)
        }

    @classmethod
    def check_names(cls, given: Iterable[str]) -> None:
        """Raise UnknownName, with the nearest name, for an unknown setting, InvalidProblem for a missing one."""
        known = [field.name for field in dataclasses.fields(cls)]
        for key in given:
            if key not in known:
                raise UnknownName(f"{cls.name}: setting", key, known)
        for field in dataclasses.fields(cls):
            if field.default is dataclasses.MISSING and field.name not in given:
                raise InvalidProblem(f"{cls.name}: {field.name} must be given")


def setting(low: float, high: float, closed: Any, default: Any = dataclasses.MISSING) -> Any:
    """A number in an interval; required where it has no default."""
    return dataclasses.field(default=default, metadata={"range": Interval(low, high, closed)})


def count(low: int = 1, default: Any = dataclasses.MISSING) -> Any:
    """A whole number of steps, at least `low`; required where it has no default."""
    return dataclasses.field(default=default, metadata={"range": Interval(low, float("inf"), "[)", whole=True)})


def later(field: Any) -> Any:
    """A setting that was added after the first specs were stored: it is not written at its default, as in those."""
    return dataclasses.field(default=field.default, metadata={**field.metadata, "later": True})


def nested(given: Any, make: Any, what: str = "warmup: then") -> Schedule:
    """The schedule inside another one, given as an instance, a name, or settings with a name."""
    if isinstance(given, Schedule):
        return given
    if isinstance(given, str):
        given = {"name": given}
    if not isinstance(given, Mapping) or not isinstance(given.get("name"), str):
        raise InvalidProblem(f'{what} must hold settings such as {{"name": "cosine"}}, got {given!r}')
    made: Schedule = make(**given)
    return made


@dataclass(frozen=True)
class Description(Entry):
    """One schedule, read from its class and docstrings."""

    name: str
    # The factor of the learning rate as a function of the step t.
    formula: str
    details: str
    settings: tuple[Setting, ...]

    COLUMNS: ClassVar[tuple[str, ...]] = ("name", "factor of the learning rate", "settings")

    def row(self) -> tuple[str, ...]:
        """The cells of its row in the catalogue's table, by COLUMNS."""
        return self.name, self.formula, self.assigned()

    def plain(self) -> dict[str, Any]:
        """Everything as plain data for JSON, as the API returns it; `read` is the inverse."""
        summary = self.details.partition("\n")[0]
        return dataclasses.asdict(self) | {"description": summary} | defaults_and_ranges(self.settings)

    @classmethod
    def read(cls, plain: Mapping[str, Any]) -> "Description":
        """The description in plain data that `plain` returned."""
        return cls(plain["name"], plain["formula"], plain["details"], settings_of(plain))

    def contents(self) -> tuple[str, list[str], str]:
        """The factor, and its explanation."""
        return self.name, [f"η_t = η · factor(t), factor(t) = {self.formula}", self.details], ""


def describe(kind: type[Schedule]) -> Description:
    """What `talweg schedules <name>` prints."""
    formula = paragraphs(inspect.getdoc(kind.factor) or "").removesuffix(".")
    settings = settings_of_fields(dataclasses.fields(kind))
    return Description(kind.name, formula, paragraphs(inspect.getdoc(kind) or ""), settings)


class Catalogue(Table[type[Schedule], Description]):
    """Schedules by name, printed as a table."""

    noun = "schedule"
    entry = Description

    def describe(self, kind: type[Schedule]) -> Description:
        """The description of one schedule."""
        return describe(kind)
