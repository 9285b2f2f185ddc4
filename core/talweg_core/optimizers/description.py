"""The catalogue as a person reads it: what each optimizer is, keeps, asks for and takes."""

import dataclasses
import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any, ClassVar

from talweg_core.optimizers.base import Optimizer

_FAMILIES = {
    "coordinates": "per coordinate",
    "tensors": "per tensor or matrix",
    "scalars": "scalars over all",
    "evaluations": "more evaluations",
}


@dataclass(frozen=True)
class Setting:
    """One hyperparameter: its name, range as mathematics writes it, and default."""

    name: str
    range: str
    default: Any


@dataclass(frozen=True)
class Description:
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

    def __str__(self) -> str:
        """As plain text, for a terminal."""
        head = f"{self.title} ({self.name}), {self.family}\n\n{self.formula}\n"
        facts = f"state: {self.memory}\nevaluations a step: {self.evaluations}\n"
        settings = _aligned([("hyperparameter", "range", "default"), *map(_cells, self.settings)])
        return "\n".join([head, *([self.details, ""] if self.details else []), facts, settings, "", self.source])

    def _repr_html_(self) -> str:
        settings = _html(("hyperparameter", "range", "default"), [_cells(setting) for setting in self.settings])
        said = "".join(f"<p>{escape(text)}</p>" for text in (self.formula, self.details, self.source) if text)
        facts = f"<p>{escape(self.family)}; state: {escape(self.memory)}; a step: {escape(self.evaluations)}</p>"
        return f"<h4>{escape(self.title)}</h4>{said}{facts}{settings}"


class Catalogue(dict[str, type[Optimizer]]):
    """Optimizers by name, which shows itself as a table."""

    def descriptions(self) -> list[Description]:
        """Of each, by name."""
        return [describe(self[name]) for name in sorted(self)]

    def __str__(self) -> str:
        """The table as plain text."""
        return _aligned([Description.COLUMNS, *(described.row() for described in self.descriptions())])

    def _repr_html_(self) -> str:
        return _html(Description.COLUMNS, [described.row() for described in self.descriptions()])


def describe(kind: type[Optimizer]) -> Description:
    """What `talweg optimizers <name>` prints, of our own and of a user's."""
    text = inspect.cleandoc(kind.__doc__ or "")
    body, _, source = text.partition("Source:")
    formula, _, details = body.strip().partition("\n\n")
    settings = tuple(
        Setting(field.name, _range(field.metadata), _plain(field.default, field.metadata)) for field in kind.ranged()
    )
    return Description(
        name=kind.name,
        title=kind.__name__,
        family=_FAMILIES[kind.needs],
        state=kind.state,
        memory=kind.memory or f"{len(kind.state)} P",
        evaluations=kind.evaluations,
        formula=_joined(formula),
        details=_joined(details),
        source=_joined(source),
        settings=settings,
    )


def _range(metadata: Mapping[str, Any]) -> str:
    allowed = metadata["range"]
    if allowed is None:
        return "true or false"
    if isinstance(allowed, tuple):
        return " or ".join(allowed)
    return f"whole numbers in {allowed}" if allowed.whole else str(allowed)


def _plain(default: Any, metadata: Mapping[str, Any]) -> Any:
    if default is dataclasses.MISSING:
        return None
    return int(default) if getattr(metadata["range"], "whole", False) else default


def _cells(setting: Setting) -> tuple[str, ...]:
    number = isinstance(setting.default, float)
    return setting.name, setting.range, f"{setting.default:g}" if number else str(setting.default).lower()


def _joined(text: str) -> str:
    return "\n\n".join(" ".join(part.split()) for part in text.strip().split("\n\n"))


def _aligned(rows: list[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def _html(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"
