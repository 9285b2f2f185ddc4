"""Tables that read well in a terminal, in a notebook and as plain text, and become pandas when asked."""

import html
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from talweg.errors import MissingExtra
from talweg.readable import figures, span

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped]  # its stubs are a package of their own
    import pyarrow as pa
    from rich.console import Console, ConsoleOptions, RenderResult

_GAP: Final = "  "
# A column of words may be cut to this many characters where there is no room for more.
_LEAST: Final = 16
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
            return figures(self.median)
        return f"{figures(self.median)} ({span(self.low, self.high)})"


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % interval; a bound is None where the data give none."""

    estimate: float
    low: float | None
    high: float | None

    def __str__(self) -> str:
        if self.low is None and self.high is None:
            return figures(self.estimate)
        return f"{figures(self.estimate)} ({span(self.low, self.high)})"


@dataclass(frozen=True)
class Table:
    """Columns by name, and rows of cells in their order.

    Attributes:
        columns: the names.
        rows: a cell for each column; None where there is nothing.
        title: what stands above it.
        first: the columns that are shown first where there is no room for all; then the others, in their order.
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
        """Plain text that fits the terminal, or 80 columns; `to_text()` is all of it."""
        width = shutil.get_terminal_size().columns
        hidden = self.hidden(width)
        return self.to_text(width) + (f"\n(not shown: {', '.join(hidden)})" if hidden else "")

    __repr__ = __str__

    def to_text(self, width: int | None = None) -> str:
        """Aligned plain text, a line a row: numbers to the right, everything else to the left.

        With a `width` as many columns as have room in so many characters, the `first` of them first; long words are
        cut, those of the first column alone are not.
        """
        lines = self._lines(width)
        return "\n".join([self.title, *lines] if self.title else lines)

    def hidden(self, width: int) -> tuple[str, ...]:
        """The columns for which `to_text(width)` has no room."""
        shown = self._widths(width)
        return tuple(name for position, name in enumerate(self.columns) if position not in shown)

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "RenderResult":
        from rich.text import Text

        head, *rows = self._lines(options.max_width)
        # Text, not markup: a name may hold brackets.
        yield from (Text(line, style="italic") for line in [self.title] if line)
        yield Text(head, style="bold")
        yield from map(Text, rows)

    def _lines(self, width: int | None) -> list[str]:
        numeric, columns = self._numeric(), []
        for i, room in self._widths(width).items():
            cells = self._column(i)
            if numeric[i]:
                cells = cells if _longest(cells) <= room else self._column(i, brief=True)
                columns.append([cell.rjust(room) for cell in cells])
            else:
                columns.append([_cut(cell, room).ljust(room) for cell in cells])
        return [_GAP.join(row).rstrip() for row in zip(*columns, strict=True)]

    def _column(self, i: int, *, brief: bool = False) -> list[str]:
        """Its name and its cells, each on one line; where `brief`, estimates without their ranges."""
        cells = [text(_estimate(row[i]) if brief else row[i]) for row in self.rows]
        return [self.columns[i], *(" ".join(cell.splitlines()) for cell in cells)]

    def _widths(self, width: int | None) -> dict[int, int]:
        """The positions of the columns that are shown, in their order, and how wide each is."""
        numeric = self._numeric()
        full = [_longest(self._column(i)) for i in range(len(self.columns))]
        if width is None:
            return dict(enumerate(full))
        order = [self.columns.index(name) for name in self.first if name in self.columns]
        order += [i for i in range(len(full)) if i not in order]
        # The first column says what a row is.
        shown, left = {0: full[0]}, width - full[0]
        for i in order:
            brief = _longest(self._column(i, brief=True)) if numeric[i] else max(_LEAST, len(self.columns[i]))
            room = left - len(_GAP)
            if i not in shown and (fits := full[i] if numeric[i] and full[i] <= room else min(brief, full[i])) <= room:
                shown[i] = fits
                left = room - fits
        # Words have what is left.
        for i in order:
            if i != 0 and i in shown and not numeric[i]:
                left, shown[i] = max(0, left + shown[i] - full[i]), min(full[i], left + shown[i])
        return dict(sorted(shown.items()))

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


def _estimate(cell: object) -> object:
    if isinstance(cell, Spread):
        return figures(cell.median)
    return figures(cell.estimate) if isinstance(cell, Interval) else cell


def _cut(words: str, room: int) -> str:
    return words if len(words) <= room else words[: room - 1] + "…"


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
