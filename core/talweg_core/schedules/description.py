"""The catalogue of schedules as a person reads it."""

import dataclasses
import inspect
from collections.abc import Mapping
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
from talweg_core.schedules.base import Schedule


@dataclass(frozen=True)
class Description(Entry):
    """One schedule, from its class and docstrings."""

    name: str
    # The factor of the learning rate as a function of the step t.
    formula: str
    details: str
    settings: tuple[Setting, ...]

    COLUMNS: ClassVar[tuple[str, ...]] = ("name", "factor of the learning rate", "settings")

    def row(self) -> tuple[str, ...]:
        """What the catalogue's table shows of it, by COLUMNS."""
        return self.name, self.formula, self.assigned()

    def plain(self) -> dict[str, Any]:
        """Everything as plain data, for JSON: what the API answers. `read` makes it this again."""
        summary = self.details.partition("\n")[0]
        return dataclasses.asdict(self) | {"description": summary} | defaults_and_ranges(self.settings)

    @classmethod
    def read(cls, plain: Mapping[str, Any]) -> "Description":
        """From plain data."""
        return cls(plain["name"], plain["formula"], plain["details"], settings_of(plain))

    def said(self) -> tuple[str, list[str], str]:
        """The factor, and what it means."""
        return self.name, [f"η_t = η · factor(t), factor(t) = {self.formula}", self.details], ""


def describe(kind: type[Schedule]) -> Description:
    """What `talweg schedules <name>` prints."""
    formula = paragraphs(inspect.getdoc(kind.factor) or "").removesuffix(".")
    settings = settings_of_fields(dataclasses.fields(kind))
    return Description(kind.name, formula, paragraphs(inspect.getdoc(kind) or ""), settings)


class Catalogue(Table[type[Schedule], Description]):
    """Schedules by name, which shows itself as a table."""

    noun = "schedule"
    entry = Description

    def describe(self, kind: type[Schedule]) -> Description:
        """One of them."""
        return describe(kind)
