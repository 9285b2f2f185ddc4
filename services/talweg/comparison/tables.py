"""A ranking as cells of text, the same for Markdown, HTML and whoever prints a table."""

from dataclasses import dataclass

from talweg.comparison.scores import Ranking, Row, Spread
from talweg.readable import figures, percent, span

_COLUMNS = {
    "validation_cost": "validation cost",
    "validation_metric": "validation metric",
    "final_cost": "final cost",
    "best_cost": "best cost",
}


@dataclass(frozen=True)
class Cell:
    """What a cell says, and its range in brackets where it has one."""

    text: str
    range: str = ""

    def __str__(self) -> str:
        """On one line."""
        return f"{self.text} ({self.range})" if self.range else self.text


@dataclass(frozen=True)
class Table:
    """Head and rows of equal length; `numeric` says which columns hold numbers."""

    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    numeric: tuple[bool, ...]


def table(ranking: Ranking) -> Table:
    """Rank, setting, each score that any row has as "median (least–greatest)", and how the runs ended."""
    scores = [name for name in _COLUMNS if any(getattr(row, name) is not None for row in ranking.rows)]
    scores.sort(key=lambda name: name != ranking.ranked_by)
    titles = [_title(name, ranking.metric) for name in scores]
    rows = []
    for row in ranking.rows:
        cells = [_cell(getattr(row, name), name, ranking.metric) for name in scores]
        rows.append((Cell(str(row.rank)), Cell(row.label), *cells, Cell(ending(row))))
    head = ("#", "optimizer", *titles, "runs")
    return Table(head, tuple(rows), (True, False, *(True for _ in scores), False))


def ending(row: Row) -> str:
    """`3`, or how many of the runs count and what became of the others: `2 of 3, 1 diverged`."""
    if row.complete == row.runs:
        return str(row.runs)
    rest = row.runs - row.complete - row.diverged
    parts = [f"{row.complete} of {row.runs}"]
    parts += [f"{row.diverged} diverged"] if row.diverged else []
    parts += [f"{rest} not finished"] if rest else []
    return ", ".join(parts)


def _title(name: str, metric: str | None) -> str:
    if name != "validation_metric":
        return _COLUMNS[name]
    return "validation accuracy, %" if metric == "accuracy" else f"validation {metric or 'metric'}"


def _cell(spread: Spread | None, name: str, metric: str | None) -> Cell:
    if spread is None:
        return Cell("–")
    write = percent if name == "validation_metric" and metric == "accuracy" else figures
    if spread.count == 1:
        return Cell(write(spread.median))
    return Cell(write(spread.median), span(spread.low, spread.high, write))
