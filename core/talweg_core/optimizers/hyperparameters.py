"""Hyperparameters: their ranges, their checks, and the stacked numbers of R runs."""

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from talweg_core.errors import EngineError, InvalidCohort, InvalidHyperparameter, UnknownName

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """The numbers from low to high; an end is included where it is closed. `whole` means integers only."""

    low: float
    high: float
    closed: Literal["[]", "[)", "(]", "()"]
    whole: bool = False

    def __contains__(self, value: float) -> bool:
        """Whether `value` lies inside; NaN never does."""
        above = value >= self.low if self.closed[0] == "[" else value > self.low
        below = value <= self.high if self.closed[1] == "]" else value < self.high
        return above and below

    def __str__(self) -> str:
        """In mathematical notation: [0, 1)."""
        ends = [f"{end:g}".replace("inf", "∞").replace("-", "−") for end in (self.low, self.high)]
        return f"{self.closed[0]}{ends[0]}, {ends[1]}{self.closed[1]}"

    def check(self, what: str, value: Any, error: type[EngineError] = InvalidHyperparameter) -> float:
        """The value as a float (1 and 1.0 are one setting); raises `error`, naming `what`."""
        kind = "a whole number" if self.whole else "a number"
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise error(f"{what} must be {kind} in {self}, got {value!r}")
        if value not in self:
            raise error(f"{what} must lie in {self}, got {value}")
        if self.whole and value != int(value):
            raise error(f"{what} must be {kind} in {self}, got {value}")
        return float(value)


def within(default: float, low: float, high: float, closed: Literal["[]", "[)", "(]", "()"]) -> Any:
    """A hyperparameter in any interval."""
    return dataclasses.field(default=default, metadata={"range": Interval(low, high, closed)})


def positive(default: float) -> Any:
    """A hyperparameter in (0, ∞)."""
    return within(default, 0, math.inf, "()")


def not_negative(default: float) -> Any:
    """A hyperparameter in [0, ∞)."""
    return within(default, 0, math.inf, "[)")


def fraction(default: float) -> Any:
    """A hyperparameter in [0, 1)."""
    return within(default, 0, 1, "[)")


def whole(default: int, low: int = 1) -> Any:
    """A whole number, at least `low`; runs of a cohort may differ in it."""
    return dataclasses.field(default=float(default), metadata={"range": Interval(low, math.inf, "[)", whole=True)})


def size(default: int, low: int = 1, high: int = 1000) -> Any:
    """A whole number that determines the shape of the state, and so is the same for all runs of a cohort."""
    interval = Interval(low, high, "[]", whole=True)
    return dataclasses.field(default=float(default), metadata={"range": interval, "shared": True})


def flag(default: bool) -> Any:
    """True or false, the same for all runs of a cohort."""
    return dataclasses.field(default=default, metadata={"range": None, "shared": True})


def choice(default: str, *options: str) -> Any:
    """One of several words, the same for all runs of a cohort."""
    return dataclasses.field(default=default, metadata={"range": (default, *options), "shared": True})


class Words:
    """The range of a setting that is any text of 1 to 200 printable characters."""

    def __contains__(self, value: object) -> bool:
        """Whether it is such a text."""
        return isinstance(value, str) and 1 <= len(value) <= 200 and value.isprintable()

    def __iter__(self) -> Iterator[str]:
        """Its description, for messages that list choices."""
        return iter(("texts of 1 to 200 printable characters",))

    def __str__(self) -> str:
        """Its description, for catalogues."""
        return "text"


def text(default: str) -> Any:
    """A text, the same for all runs of a cohort."""
    return dataclasses.field(default=default, metadata={"range": Words(), "shared": True})


@dataclass(frozen=True)
class Settings:
    """Named settings, each checked against its range on creation: the base of optimizers and wrappers."""

    name: ClassVar[str]

    def __post_init__(self) -> None:
        """Check every setting against its range; raises InvalidHyperparameter."""
        for field in self.ranged():
            value, allowed = getattr(self, field.name), field.metadata["range"]
            what = f"{type(self).__name__}: {field.name}"
            if allowed is None:
                if not isinstance(value, bool):
                    raise InvalidHyperparameter(f"{what} must be true or false, got {value!r}")
            elif isinstance(allowed, Interval):
                object.__setattr__(self, field.name, allowed.check(what, value))
            elif value not in allowed:
                raise InvalidHyperparameter(f"{what} must be one of {', '.join(allowed)}, got {value!r}")

    @classmethod
    def ranged(cls) -> "list[dataclasses.Field[Any]]":
        """The fields that have a range, in order."""
        return [field for field in dataclasses.fields(cls) if "range" in field.metadata]

    @classmethod
    def check_names(cls, given: Iterable[str]) -> None:
        """Raise InvalidHyperparameter, with the nearest name, for an unknown setting."""
        known = [field.name for field in dataclasses.fields(cls)]
        for key in given:
            if key not in known:
                raise InvalidHyperparameter(str(UnknownName(f"{cls.__name__}: hyperparameter", key, known)))

    def settings(self) -> dict[str, Any]:
        """Every setting by name."""
        return {field.name: getattr(self, field.name) for field in self.ranged()}

    def shared(self) -> dict[str, Any]:
        """The settings that must be equal for all runs of a cohort."""
        return {field.name: getattr(self, field.name) for field in self.ranged() if field.metadata.get("shared")}


class Hyperparameters:
    """The numeric settings of R runs, each (R,) in float64, by attribute: `h.beta1`; choices in `shared`."""

    def __init__(self, stacked: Sequence[Settings]) -> None:
        """Stack the settings; raises InvalidCohort where rules or choices differ."""
        first = stacked[0]
        for other in stacked:
            if type(other) is not type(first) or other.shared() != first.shared():
                raise InvalidCohort(
                    f"optimizers: a cohort runs one rule with the same choices, got {first.name} and {other.name}"
                )
        self.shared = first.shared()
        self.runs = len(stacked)
        self.values: dict[str, Numbers] = {
            name: np.array([getattr(settings, name) for settings in stacked], dtype=np.float64)
            for name in first.settings()
            if name not in self.shared
        }

    def __getattr__(self, name: str) -> Numbers:
        """The hyperparameter (R,) of that name."""
        try:
            return self.__dict__["values"][name]  # type: ignore[no-any-return]  # __dict__ is untyped
        except KeyError:
            raise AttributeError(name) from None

    def __or__(self, changed: Mapping[str, Numbers]) -> "Hyperparameters":
        """A copy with these replaced, as a schedule replaces the learning rate."""
        copy = Hyperparameters.__new__(Hyperparameters)
        copy.__dict__.update(self.__dict__)
        copy.values = self.values | dict(changed)
        return copy

    def of_run(self, row: int) -> dict[str, float]:
        """The numbers of run `row` by name."""
        return {name: float(values[row]) for name, values in self.values.items()}

    def repeated(self, times: int) -> "Hyperparameters":
        """The same runs repeated `times` times, in sequence."""
        if times == 1:
            return self
        copy = self | {name: np.tile(numbers, times) for name, numbers in self.values.items()}
        copy.runs = self.runs * times
        return copy
