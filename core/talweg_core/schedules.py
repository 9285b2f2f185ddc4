"""The learning rate as a function of the step alone: η_t = η · factor(t)."""

import dataclasses
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from talweg_core.errors import UnknownName


@dataclass(frozen=True)
class Schedule(ABC):
    """A schedule with its settings."""

    name: ClassVar[str]

    @abstractmethod
    def factor(self, step: int) -> float:
        """What the learning rate is multiplied by at `step`, from 0."""

    def settings(self) -> dict[str, Any]:
        """Every setting by name."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class Constant(Schedule):
    """η_t = η."""

    name: ClassVar[str] = "constant"

    def factor(self, step: int) -> float:
        """1."""
        return 1.0


_CATALOGUE: dict[str, type[Schedule]] = {kind.name: kind for kind in (Constant,)}


def names() -> list[str]:
    """Every schedule that `create` knows."""
    return sorted(_CATALOGUE)


def create(name: str, **settings: Any) -> Schedule:
    """The schedule of that name; raises UnknownName, which gives the nearest valid one."""
    if name not in _CATALOGUE:
        raise UnknownName("schedule", name, _CATALOGUE)
    kind = _CATALOGUE[name]
    known = [field.name for field in dataclasses.fields(kind)]
    for key in settings:
        if key not in known:
            raise UnknownName(f"{name}: setting", key, known)
    return kind(**settings)
