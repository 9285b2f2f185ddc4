"""Tables that read well in a terminal, in a notebook and as plain text, and become pandas when asked."""

import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from talweg.errors import MissingExtra

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped]  # its stubs are a package of their own
    import pyarrow as pa
    from rich.table import Table as RichTable

_CELL = "padding:0.2em 0.8em;border-bottom:1px solid rgba(128,128,128,0.35);"


@dataclass(frozen=True)
class Spread:
    """Median, least and greatest of `count` values."""

    median: float
    low: float
    high: float
    count: int

    def __str__(self) -> str:
        if self.count == 1:
            return text(self.median)
        return f"{text(self.median)} ({text(self.low)} to {text(self.high)})"


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % interval; a bound is None where the data give none."""

    estimate: float
    low: float | None
    high: float | None

    def __str__(self) -> str:
        if self.low is None and self.high is None:
            return text(self.estimate)
        return f"{text(self.estimate)} ({text(self.low)} to {text(self.high)})"


@dataclass(frozen=True)
class Table:
    """Columns by name, and rows of cells in their order."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    title: str = ""

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Each row as a dict."""
        return (dict(zip(self.columns, row, strict=True)) for row in self.rows)

    def column(self, name: str) -> list[Any]:
        """The cells of one column; KeyError with the names there are."""
        if name not in self.columns:
            raise KeyError(f"no column {name!r}; there are {', '.join(self.columns)}")
        position = self.columns.index(name)
        return [row[position] for row in self.rows]

    def columns_by_name(self) -> dict[str, list[Any]]:
        """Every column's cells."""
        return {name: [row[i] for row in self.rows] for i, name in enumerate(self.columns)}

    def to_pandas(self) -> "pd.DataFrame":
        """A pandas table; a spread or an interval becomes three columns: NAME, NAME_low and NAME_high."""
        try:
            import pandas as pd
        except ImportError as error:
            raise MissingExtra("to_pandas needs pandas: pip install 'talweg[lab]'") from error
        return pd.DataFrame([_flat(row) for row in self])

    def to_arrow(self) -> "pa.Table":
        """An Arrow table, of the same columns as `to_pandas` makes."""
        try:
            import pyarrow as pa
        except ImportError as error:
            raise MissingExtra("to_arrow needs pyarrow: pip install 'talweg[lab]'") from error
        return pa.Table.from_pylist([_flat(row) for row in self])

    def __str__(self) -> str:
        """Aligned plain text: numbers to the right, everything else to the left."""
        cells = [list(self.columns), *([text(cell) for cell in row] for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        numeric = self._numeric()
        lines = [
            "  ".join(
                cell.rjust(width) if right else cell.ljust(width)
                for cell, width, right in zip(row, widths, numeric, strict=True)
            ).rstrip()
            for row in cells
        ]
        return "\n".join([self.title, *lines] if self.title else lines)

    __repr__ = __str__

    def __rich__(self) -> "RichTable":
        from rich.table import Table as RichTable
        from rich.text import Text

        table = RichTable(title=self.title or None, title_justify="left")
        for name, right in zip(self.columns, self._numeric(), strict=True):
            table.add_column(Text(name), justify="right" if right else "left")
        for row in self.rows:
            # Text, not markup: a name may hold brackets.
            table.add_row(*(Text(text(cell)) for cell in row))
        return table

    def _repr_html_(self) -> str:
        head = "".join(f'<th style="{_CELL}text-align:left">{html.escape(name)}</th>' for name in self.columns)
        body = "".join(
            "<tr>" + "".join(f'<td style="{_CELL}">{html.escape(text(cell))}</td>' for cell in row) + "</tr>"
            for row in self.rows
        )
        caption = f'<caption style="text-align:left">{html.escape(self.title)}</caption>' if self.title else ""
        return f'<table style="border-collapse:collapse">{caption}<tr>{head}</tr>{body}</table>'

    def _numeric(self) -> list[bool]:
        columns = zip(*self.rows, strict=True) if self.rows else ((),) * len(self.columns)
        return [any(isinstance(cell, (int, float, Spread, Interval)) for cell in column) for column in columns]


def text(value: object) -> str:
    """A cell as people read it: 0.1234, 1e-08, –, name=value."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{key}={text(inner)}" for key, inner in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(text(inner) for inner in value)
    return str(value)


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, cell in row.items():
        if isinstance(cell, Spread):
            flat |= {name: cell.median, f"{name}_low": cell.low, f"{name}_high": cell.high}
        elif isinstance(cell, Interval):
            flat |= {name: cell.estimate, f"{name}_low": cell.low, f"{name}_high": cell.high}
        else:
            flat[name] = cell
    return flat
