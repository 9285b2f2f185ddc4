"""Catalogue entries as text, tables and HTML: the base of the descriptions of optimizers, schedules and problems."""

import dataclasses
import textwrap
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, ClassVar, Generic, TypeVar

from talweg_core.errors import UnknownName

# Inline style, which saved notebooks keep; half transparent, readable on light and dark backgrounds.
_CELL = "padding:0.2em 0.8em;border-bottom:1px solid rgba(128,128,128,0.35);text-align:left;vertical-align:top"
_WIDTH = 110
SETTINGS = ("setting", "range", "default")


@dataclass(frozen=True)
class Setting:
    """One setting: its name, its range in mathematical notation, and its default (None: required)."""

    name: str
    range: str
    default: Any

    def cells(self) -> tuple[str, ...]:
        """The cells of a table's row."""
        if self.default is None:
            return self.name, self.range, "must be given" if self.range else "–"
        number = isinstance(self.default, float)
        text = f"{self.default:g}" if number else str(self.default)
        return self.name, self.range, text.lower() if isinstance(self.default, bool) else text


class Entry(ABC):
    """One entry of a catalogue; subclasses are frozen dataclasses, read from a class and its docstring."""

    # The column names of the catalogue's table.
    COLUMNS: ClassVar[tuple[str, ...]] = ()

    settings: tuple[Setting, ...]

    @abstractmethod
    def contents(self) -> tuple[str, list[str], str]:
        """The title, the paragraphs before the settings, and the source."""

    def row(self) -> tuple[str, ...]:
        """The cells of its row in the catalogue's table, by COLUMNS."""
        raise NotImplementedError

    def assigned(self) -> str:
        """The settings in a table's cell: "steps, end=0"."""
        return ", ".join(
            setting.name if setting.default is None else f"{setting.name}={setting.cells()[2]}"
            for setting in self.settings
        )

    def __str__(self) -> str:
        """Plain text, for a terminal."""
        title, texts, source = self.contents()
        return page(title, texts, self.settings, source=source)

    def _repr_html_(self) -> str:
        title, texts, source = self.contents()
        return page_html(title, texts, self.settings, source=source)


Kind = TypeVar("Kind")
Described = TypeVar("Described", bound=Entry)


class Table(dict[str, Kind], Generic[Kind, Described]):
    """A catalogue: classes by name, printed as a table."""

    # The word for one entry in an error message: "optimizer".
    noun: ClassVar[str]
    entry: ClassVar[type[Entry]]

    def find(self, name: str) -> Kind:
        """The entry of that name; raises UnknownName."""
        if name not in self:
            raise UnknownName(self.noun, name, self)
        return self[name]

    def describe(self, kind: Kind) -> Described:
        """The description of one entry."""
        raise NotImplementedError

    def descriptions(self) -> list[Described]:
        """All descriptions, sorted by name."""
        return [self.describe(self[name]) for name in sorted(self)]

    def __str__(self) -> str:
        """The table as plain text."""
        return aligned([self.entry.COLUMNS, *(entry.row() for entry in self.descriptions())])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return as_html(self.entry.COLUMNS, [entry.row() for entry in self.descriptions()])


def settings_of_fields(fields: "Iterable[dataclasses.Field[Any]]") -> tuple[Setting, ...]:
    """A dataclass's fields as settings, with the range in each one's metadata."""
    return tuple(Setting(field.name, range_of(field.metadata), _default(field)) for field in fields)


def _default(field: "dataclasses.Field[Any]") -> Any:
    if field.default is dataclasses.MISSING:
        return None
    return int(field.default) if getattr(field.metadata.get("range"), "whole", False) else field.default


def settings_of(plain: Mapping[str, Any]) -> tuple[Setting, ...]:
    """The inverse of `defaults_and_ranges`."""
    return tuple(Setting(key, allowed, plain["settings"][key]) for key, allowed in plain["ranges"].items())


def defaults_and_ranges(settings: Sequence[Setting]) -> dict[str, dict[str, Any]]:
    """Settings as plain data: `settings` holds each default, `ranges` each range in words."""
    return {
        "settings": {setting.name: setting.default for setting in settings},
        "ranges": {setting.name: setting.range for setting in settings},
    }


def range_of(metadata: Mapping[str, Any]) -> str:
    """The range in a field's metadata in words: an interval, true or false, a choice of words, or an empty string."""
    allowed = metadata.get("range", "")
    if allowed is None:
        return "true or false"
    if isinstance(allowed, tuple):
        return " or ".join(allowed)
    return f"whole numbers in {allowed}" if getattr(allowed, "whole", False) else str(allowed)


def paragraphs(text: str) -> str:
    """A docstring's text with each paragraph on one line."""
    return "\n\n".join(" ".join(part.split()) for part in text.strip().split("\n\n"))


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Rows as plain text, each column as wide as its widest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def as_html(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table for a notebook: inline style, no script, everything escaped."""
    top = "".join(f'<th style="{_CELL}">{escape(cell)}</th>' for cell in head)
    body = "".join(
        "<tr>" + "".join(f'<td style="{_CELL}">{escape(cell)}</td>' for cell in row) + "</tr>" for row in rows
    )
    return f'<table style="border-collapse:collapse"><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>'


def page(title: str, texts: Sequence[str], settings: Sequence[Setting], *, source: str = "") -> str:
    """One entry as plain text: title, paragraphs, table of settings, and source."""
    table = aligned([SETTINGS, *(setting.cells() for setting in settings)]) if settings else ""
    return "\n\n".join(part for part in (title, *map(_filled, texts), table, _filled(source)) if part)


def page_html(title: str, texts: Sequence[str], settings: Sequence[Setting], *, source: str = "") -> str:
    """The same as HTML, for a notebook."""
    parts = [f'<p style="max-width:60em">{escape(text)}</p>' for text in texts if text]
    table = as_html(SETTINGS, [setting.cells() for setting in settings]) if settings else ""
    origin = f'<p style="max-width:60em;opacity:0.7">{escape(source)}</p>' if source else ""
    return f"<h4>{escape(title)}</h4>{''.join(parts)}{table}{origin}"


def _filled(text: str) -> str:
    """The text with each line wrapped between words."""
    lines = (textwrap.fill(line, _WIDTH, break_long_words=False, break_on_hyphens=False) for line in text.split("\n"))
    return "\n".join(lines)
