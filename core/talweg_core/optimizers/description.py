"""The catalogue as a person reads it: what each optimizer is, keeps, asks for and takes."""

import dataclasses
import inspect
import re
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
from talweg_core.optimizers.base import Around, Optimizer

_FAMILIES = {
    "coordinates": "per coordinate",
    "tensors": "per tensor or matrix",
    "scalars": "scalars over all",
    "evaluations": "more evaluations",
}


@dataclass(frozen=True)
class Description(Entry):
    """One optimizer, from its class and docstring."""

    name: str
    title: str
    family: str
    # What a run keeps beside its P parameters, and how many numbers that is.
    state: tuple[str, ...]
    memory: str
    # What one step asks of the problem.
    evaluations: str
    formula: str
    # The docstring between formula and source: conditions, and each hyperparameter's meaning.
    details: str
    source: str
    settings: tuple[Setting, ...]

    COLUMNS: ClassVar[tuple[str, ...]] = ("name", "family", "state", "evaluations", "paper")

    @property
    def paper(self) -> str:
        """Authors and year."""
        found = re.match(r".*?\b(1[89]|20)\d\d\b", self.source)
        return found[0] if found else self.source

    def row(self) -> tuple[str, ...]:
        """What the catalogue's table shows of it, by COLUMNS."""
        return self.name, self.family, self.memory, self.evaluations, self.paper

    def plain(self) -> dict[str, Any]:
        """Everything as plain data, for JSON: what the API answers. `read` makes it this again."""
        said: dict[str, Any] = defaults_and_ranges(self.settings)
        # The one setting without a range: a list of what stands around the rule.
        said["settings"]["around"] = []
        fields = dataclasses.asdict(self) | {"state": list(self.state)}
        return fields | {"description": self.formula, "paper": self.paper} | said

    @classmethod
    def read(cls, plain: Mapping[str, Any]) -> "Description":
        """From plain data."""
        fields = {field.name: plain[field.name] for field in dataclasses.fields(cls)}
        return cls(**fields | {"state": tuple(plain["state"]), "settings": settings_of(plain)})

    def said(self) -> tuple[str, list[str], str]:
        """Formula, conditions, what it keeps and asks for."""
        facts = f"state: {self._kept()}; evaluations a step: {self.evaluations}"
        return f"{self.title} ({self.name}), {self.family}", [self.formula, self.details, facts], self.source

    def _kept(self) -> str:
        return f"{self.memory} ({', '.join(self.state)})" if self.state else self.memory


@dataclass(frozen=True)
class AroundDescription(Entry):
    """One thing that can stand around a rule."""

    name: str
    formula: str
    details: str
    source: str
    settings: tuple[Setting, ...]

    COLUMNS: ClassVar[tuple[str, ...]] = ("name", "what it does", "settings")

    def row(self) -> tuple[str, ...]:
        """What a table shows of it, by COLUMNS."""
        return self.name, self.formula.partition("\n")[0], self.assigned()

    def plain(self) -> dict[str, Any]:
        """Everything as plain data, for JSON."""
        return dataclasses.asdict(self) | {"description": self.formula} | defaults_and_ranges(self.settings)

    def said(self) -> tuple[str, list[str], str]:
        """Formula and conditions."""
        return f"{self.name}, around any rule", [self.formula, self.details], self.source


def describe(kind: type[Optimizer]) -> Description:
    """What `talweg optimizers <name>` prints, of our own and of a user's."""
    formula, details, source = _said(kind)
    return Description(
        name=kind.name,
        title=kind.__name__,
        family=_FAMILIES[kind.needs],
        state=kind.state,
        memory=kind.memory or (f"{len(kind.state)} P" if kind.state else "none"),
        evaluations=kind.evaluations,
        formula=formula,
        details=details,
        source=source,
        settings=settings_of_fields(kind.ranged()),
    )


def describe_around(kind: type[Around]) -> AroundDescription:
    """What `talweg optimizers --around <name>` prints."""
    formula, details, source = _said(kind)
    return AroundDescription(kind.name, formula, details, source, settings_of_fields(kind.ranged()))


class Catalogue(Table[type[Optimizer], Description]):
    """Optimizers by name, which shows itself as a table."""

    noun = "optimizer"
    entry = Description

    def describe(self, kind: type[Optimizer]) -> Description:
        """One of them."""
        return describe(kind)


def _said(kind: type[Optimizer] | type[Around]) -> tuple[str, str, str]:
    """Formula, details and source, from the docstring."""
    text = inspect.cleandoc(kind.__doc__ or "")
    body, _, source = text.partition("Source:")
    formula, _, details = body.strip().partition("\n\n")
    return paragraphs(formula), paragraphs(details), paragraphs(source)
