"""Descriptions of optimizers and wrappers: formula, state, evaluations, settings, source."""

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
from talweg_core.optimizers.base import Optimizer, Wrapper

_FAMILIES = {
    "coordinates": "per coordinate",
    "tensors": "per tensor or matrix",
    "scalars": "scalars over all",
    "evaluations": "more evaluations",
}


@dataclass(frozen=True)
class Description(Entry):
    """One optimizer, read from its class and docstring."""

    name: str
    title: str
    family: str
    # What a run keeps in addition to its P parameters, and how many numbers that is.
    state: tuple[str, ...]
    memory: str
    # The evaluations of the problem in one step.
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
        """The cells of its row in the catalogue's table, by COLUMNS."""
        return self.name, self.family, self.memory, self.evaluations, self.paper

    def plain(self) -> dict[str, Any]:
        """Everything as plain data for JSON, as the API returns it; `read` is the inverse."""
        settings: dict[str, Any] = defaults_and_ranges(self.settings)
        # The one setting without a range: the list of wrappers.
        settings["settings"]["around"] = []
        fields = dataclasses.asdict(self) | {"state": list(self.state)}
        return fields | {"description": self.formula, "paper": self.paper} | settings

    @classmethod
    def read(cls, plain: Mapping[str, Any]) -> "Description":
        """The description in plain data that `plain` returned."""
        fields = {field.name: plain[field.name] for field in dataclasses.fields(cls)}
        return cls(**fields | {"state": tuple(plain["state"]), "settings": settings_of(plain)})

    def contents(self) -> tuple[str, list[str], str]:
        """Formula, conditions, state and evaluations."""
        facts = f"state: {self._kept()}; evaluations a step: {self.evaluations}"
        return f"{self.title} ({self.name}), {self.family}", [self.formula, self.details, facts], self.source

    def _kept(self) -> str:
        return f"{self.memory} ({', '.join(self.state)})" if self.state else self.memory


@dataclass(frozen=True)
class WrapperDescription(Entry):
    """One wrapper."""

    name: str
    formula: str
    details: str
    source: str
    settings: tuple[Setting, ...]

    COLUMNS: ClassVar[tuple[str, ...]] = ("name", "what it does", "settings")

    def row(self) -> tuple[str, ...]:
        """The cells of its row in a table, by COLUMNS."""
        return self.name, self.formula.partition("\n")[0], self.assigned()

    def plain(self) -> dict[str, Any]:
        """Everything as plain data, for JSON."""
        return dataclasses.asdict(self) | {"description": self.formula} | defaults_and_ranges(self.settings)

    def contents(self) -> tuple[str, list[str], str]:
        """Formula and conditions."""
        return f"{self.name}, a wrapper around any optimizer", [self.formula, self.details], self.source


def describe(kind: type[Optimizer]) -> Description:
    """What `talweg optimizers <name>` prints, for the engine's optimizers and a user's."""
    formula, details, source = _parts(kind)
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


def describe_wrapper(kind: type[Wrapper]) -> WrapperDescription:
    """What `talweg optimizers --around <name>` prints."""
    formula, details, source = _parts(kind)
    return WrapperDescription(kind.name, formula, details, source, settings_of_fields(kind.ranged()))


class Catalogue(Table[type[Optimizer], Description]):
    """Optimizers by name, printed as a table."""

    noun = "optimizer"
    entry = Description

    def describe(self, kind: type[Optimizer]) -> Description:
        """The description of one optimizer."""
        return describe(kind)


def _parts(kind: type[Optimizer] | type[Wrapper]) -> tuple[str, str, str]:
    """Formula, details and source, from the docstring."""
    text = inspect.cleandoc(kind.__doc__ or "")
    body, _, source = text.partition("Source:")
    formula, _, details = body.strip().partition("\n\n")
    return paragraphs(formula), paragraphs(details), paragraphs(source)
