"""Tables for notebooks and terminals, and cards for notebooks; inline style, no script, for light and dark pages."""

import html
import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from talweg.errors import MissingExtra
from talweg.number_format import figures, span

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped]  # its stubs are a package of their own
    import pyarrow as pa
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.text import Text

_GAP: Final = "  "
# A text column is cut to this width at least, where the table is too wide.
_LEAST: Final = 16
_CELL = "padding:0.2em 0.8em;border-bottom:1px solid rgba(128,128,128,0.35);"
_FRAME = "border:1px solid rgba(128,128,128,0.4);border-radius:6px;padding:0.6em 1em;max-width:60em"


@dataclass(frozen=True)
class Spread:
    """Median, minimum and maximum of `count` values."""

    median: float
    low: float
    high: float
    count: int

    def __str__(self) -> str:
        return self.brief if self.count == 1 else f"{self.brief} ({span(self.low, self.high)})"

    @property
    def brief(self) -> str:
        """Without its range."""
        return figures(self.median)


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % interval; a bound is None where the data give none."""

    estimate: float
    low: float | None
    high: float | None

    def __str__(self) -> str:
        known = self.low is not None or self.high is not None
        return f"{self.brief} ({span(self.low, self.high)})" if known else self.brief

    @property
    def brief(self) -> str:
        """Without its interval."""
        return figures(self.estimate)


@dataclass(frozen=True)
class Table:
    """A table: column names and rows of cells.

    Attributes:
        columns: the names.
        rows: a cell for each column; None for an empty cell.
        title: the line above the table.
        first: the columns to keep first in a narrow table; the others follow in their order.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    title: str = ""
    first: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Each row as a dict."""
        return (dict(zip(self.columns, row, strict=True)) for row in self.rows)

    def column(self, name: str) -> list[Any]:
        """The cells of one column; raises KeyError with the valid names."""
        if name not in self.columns:
            raise KeyError(f"no column {name!r}; there are {', '.join(self.columns)}")
        position = self.columns.index(name)
        return [row[position] for row in self.rows]

    def columns_by_name(self) -> dict[str, list[Any]]:
        """The cells of every column."""
        return {name: [row[i] for row in self.rows] for i, name in enumerate(self.columns)}

    def to_pandas(self) -> "pd.DataFrame":
        """A pandas table; a spread or an interval becomes three columns: NAME, NAME_low and NAME_high."""
        with MissingExtra.unless_installed("pandas", needed_by="to_pandas"):
            import pandas as pd
        return pd.DataFrame([_flat(row) for row in self])

    def to_arrow(self) -> "pa.Table":
        """An Arrow table with the columns of `to_pandas`."""
        with MissingExtra.unless_installed("pyarrow", needed_by="to_arrow"):
            import pyarrow as pa
        return pa.Table.from_pylist([_flat(row) for row in self])

    def __str__(self) -> str:
        """Plain text that fits the terminal, or 80 columns; `to_text()` has all columns."""
        shown = self._fitted(shutil.get_terminal_size().columns)
        hidden = self._missing(shown)
        return "\n".join([*self._lines(shown), *([f"(not shown: {', '.join(hidden)})"] if hidden else [])])

    __repr__ = __str__

    def to_text(self, width: int | None = None) -> str:
        """Aligned plain text, one line a row; numbers to the right, everything else to the left.

        With a `width`, only the columns that fit into so many characters, `first` before the others. Where needed,
        estimates lose their ranges and long text is cut, except in the first column.
        """
        return "\n".join(self._lines(self._fitted(width)))

    def to_rich(self, width: int | None = None) -> "Text":
        """`to_text` for a terminal, with a styled title and head."""
        from rich.text import Text

        lines = self._lines(self._fitted(width))
        styles = ["italic", "bold"] if self.title else ["bold"]
        # Text, not markup: a name may contain brackets.
        styled = [Text(line, style=style) for line, style in zip(lines, styles, strict=False)]
        return Text("\n").join([*styled, *map(Text, lines[len(styles) :])])

    def hidden(self, width: int) -> tuple[str, ...]:
        """The columns that `to_text(width)` omits."""
        return self._missing(self._fitted(width))

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "RenderResult":
        yield self.to_rich(options.max_width)

    def _lines(self, shown: dict[int, list[str]]) -> list[str]:
        lines = [_GAP.join(row).rstrip() for row in zip(*shown.values(), strict=True)]
        return [self.title, *lines] if self.title else lines

    def _missing(self, shown: dict[int, list[str]]) -> tuple[str, ...]:
        return tuple(name for i, name in enumerate(self.columns) if i not in shown)

    def _fitted(self, width: int | None) -> dict[int, list[str]]:
        """The columns that fit, by position: name and cells as text of equal length."""
        numeric = self._numeric()
        # The first column identifies the row.
        order = dict.fromkeys([0, *map(self.columns.index, self.first), *range(len(self.columns))])
        shown: dict[int, list[str]] = {}
        rooms: dict[int, int] = {}
        left = sys.maxsize if width is None else width
        for i in order:
            cells = self._column(i)
            if numeric[i] and _longest(cells) > left:
                cells = self._column(i, brief=True)
            least = _longest(cells)
            if i != 0 and not numeric[i]:
                least = min(least, max(_LEAST, len(self.columns[i])))
            if i == 0 or least <= left:
                shown[i], rooms[i] = cells, least
                left -= least + len(_GAP)
        left += len(_GAP)
        # Text columns share the remaining width.
        for i, cells in shown.items():
            more = 0 if numeric[i] else max(0, min(left, _longest(cells) - rooms[i]))
            rooms[i] += more
            left -= more
        return {i: [_padded(cell, rooms[i], right=numeric[i]) for cell in shown[i]] for i in sorted(shown)}

    def _column(self, i: int, *, brief: bool = False) -> list[str]:
        """Name and cells as text, each on one line; with `brief`, estimates without ranges."""
        cells = [row[i] for row in self.rows]
        if brief:
            cells = [cell.brief if isinstance(cell, (Spread, Interval)) else cell for cell in cells]
        return [self.columns[i], *(" ".join(text(cell).splitlines()) for cell in cells)]

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


def _longest(cells: Sequence[str]) -> int:
    return max(map(len, cells))


def _padded(cell: str, room: int, *, right: bool) -> str:
    if right:
        return cell.rjust(room)
    if len(cell) <= room:
        return cell.ljust(room)
    # What differs in pytorch_optimizer:Lion is at its end.
    from_library = ":" in cell and " " not in cell
    return "…" + cell[len(cell) - room + 1 :] if from_library else cell[: room - 1] + "…"


def text(value: object) -> str:
    """A cell's text: 0.1234, 1e-08, –, name=value."""
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
        if isinstance(cell, (Spread, Interval)):
            middle = cell.median if isinstance(cell, Spread) else cell.estimate
            flat |= {name: middle, f"{name}_low": cell.low, f"{name}_high": cell.high}
        else:
            flat[name] = cell
    return flat


def card(
    title: str, line: str, facts: dict[str, Any], spec: dict[str, Any] | None = None, link: str | None = None
) -> str:
    """A card: a title, a line, facts by name, and the spec in a collapsed block; everything is escaped."""
    rows = "".join(
        f'<tr><td style="padding-right:1.5em;opacity:0.7">{html.escape(name)}</td>'
        f"<td>{html.escape(text(value))}</td></tr>"
        for name, value in facts.items()
    )
    fold = ""
    if spec is not None:
        written = html.escape(json.dumps(spec, indent=2, ensure_ascii=False))
        fold = f"<details><summary>spec</summary><pre>{written}</pre></details>"
    # A link of another scheme could be a script.
    web = link is not None and link.startswith(("http://", "https://"))
    anchor = f'<div><a href="{html.escape(link or "")}">MLflow</a></div>' if web else ""
    return (
        f'<div style="{_FRAME}"><b>{html.escape(title)}</b> {html.escape(line)}'
        f"<table>{rows}</table>{fold}{anchor}</div>"
    )
