"""The ranking of optimizer settings by median and range over seeds, and its table as text.

A diverged run is counted, and enters no median: it has no final cost. Only in the order of the ranking does it count
as infinite cost, so that an optimizer that diverges on most seeds does not lead by the one on which it did not.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from talweg.comparison.results import Group, Result, groups
from talweg.number_format import figures, percent, span

_COLUMNS = {
    "validation_cost": "validation cost",
    "validation_metric": "validation metric",
    "final_cost": "final cost",
    "best_cost": "best cost",
}


@dataclass(frozen=True)
class Spread:
    """Median, least and greatest of `count` values, one for each seed."""

    median: float
    low: float
    high: float
    count: int


@dataclass(frozen=True)
class Row:
    """One optimizer setting in a ranking; a spread is None where no run has such a number (yet).

    Attributes:
        rank: from 1; equal numbers share a rank.
        runs: complete + diverged + blown_up + queued, running, failed or cancelled.
        blown_up: runs that ended far above their start (see `divergence`).
        final_cost: the last recorded step's cost, on that step's batch.
        best_cost: the least cost of any step.
        validation_cost, validation_metric: at the last evaluation, on the validation split.
    """

    rank: int
    label: str
    optimizer: Mapping[str, Any]
    runs: int
    complete: int
    diverged: int
    blown_up: int
    final_cost: Spread | None
    best_cost: Spread | None
    validation_cost: Spread | None
    validation_metric: Spread | None


@dataclass(frozen=True)
class Ranking:
    """The rows, best first; `ranked_by` is the column that orders them, `metric` the metric's name."""

    rows: tuple[Row, ...]
    ranked_by: str
    metric: str | None


def spread(values: Iterable[float]) -> Spread | None:
    """Median and range of finite values; None where there are none."""
    array = np.asarray(list(values), dtype=np.float64)
    if array.size == 0:
        return None
    return Spread(float(np.median(array)), float(array.min()), float(array.max()), int(array.size))


def ranking(results: Sequence[Result]) -> Ranking:
    """The optimizer settings by median validation cost, or by final cost where none was evaluated."""
    members = groups(results)
    validated = any(math.isfinite(validation_cost(result)) for result in results)
    measure = validation_cost if validated else final_cost
    ordered = sorted(((_order(group, measure), group) for group in members), key=_by_order_and_label)
    rows: list[Row] = []
    for place, (order, group) in enumerate(ordered, start=1):
        tied = place > 1 and order == ordered[place - 2][0]
        rows.append(_row(group, rank=rows[-1].rank if tied else place))
    metric = next((result.metric for result in results if result.metric), None)
    return Ranking(tuple(rows), "validation_cost" if validated else "final_cost", metric)


def final_cost(result: Result) -> float:
    """The cost of the last recorded step; NaN before the first."""
    return result.costs.last


def best_cost(result: Result) -> float:
    """The least finite cost of any step; NaN where there is none."""
    return result.costs.least if math.isfinite(result.costs.least) else math.nan


def validation_cost(result: Result) -> float:
    """The cost at the last evaluation on the validation split; NaN without one."""
    evaluations = result.evaluations.get("validation")
    return float(evaluations.costs[-1]) if evaluations is not None and evaluations.costs.size else math.nan


def validation_metric(result: Result) -> float:
    """The metric at the last evaluation on the validation split; NaN without one."""
    evaluations = result.evaluations.get("validation")
    if evaluations is None or evaluations.metrics is None or not evaluations.metrics.size:
        return math.nan
    return float(evaluations.metrics[-1])


def _over_seeds(group: Group, measure: Callable[[Result], float]) -> Spread | None:
    values = [measure(result) for result in group.results if result.complete]
    return spread(value for value in values if math.isfinite(value))


def _order(group: Group, measure: Callable[[Result], float]) -> tuple[float, float]:
    """The median with untrained runs as infinite, then their share; infinite if no run has ended."""
    judged = [result for result in group.results if result.complete or result.failed_to_train]
    values = [math.inf if result.failed_to_train else measure(result) for result in judged]
    known = [math.inf if math.isnan(value) else value for value in values]
    return float(np.median(known)) if known else math.inf, (group.diverged + group.blown_up) / len(group.results)


def _by_order_and_label(entry: tuple[tuple[float, float], Group]) -> tuple[tuple[float, float], str]:
    order, group = entry
    return order, group.label


def _row(group: Group, *, rank: int) -> Row:
    return Row(
        rank=rank,
        label=group.label,
        optimizer=group.optimizer,
        runs=len(group.results),
        complete=sum(result.complete for result in group.results),
        diverged=group.diverged,
        blown_up=group.blown_up,
        final_cost=_over_seeds(group, final_cost),
        best_cost=_over_seeds(group, best_cost),
        validation_cost=_over_seeds(group, validation_cost),
        validation_metric=_over_seeds(group, validation_metric),
    )


@dataclass(frozen=True)
class Cell:
    """A cell's text, and its range where it has one."""

    text: str
    range: str = ""

    def __str__(self) -> str:
        """On one line, with the range in brackets."""
        return f"{self.text} ({self.range})" if self.range else self.text


@dataclass(frozen=True)
class Table:
    """Head and rows of equal length; `numeric` marks the columns that hold numbers."""

    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    numeric: tuple[bool, ...]


def table(ranking: Ranking) -> Table:
    """Rank, setting, each score that any row has as "median (least–greatest)", and the counts of runs."""
    scores = [name for name in _COLUMNS if any(getattr(row, name) is not None for row in ranking.rows)]
    scores.sort(key=lambda name: name != ranking.ranked_by)
    titles = [_title(name, ranking.metric) for name in scores]
    rows = []
    for row in ranking.rows:
        cells = [_cell(getattr(row, name), name, ranking.metric) for name in scores]
        counts = run_counts(row.runs, row.complete, row.diverged, row.blown_up)
        rows.append((Cell(str(row.rank)), Cell(row.label), *cells, Cell(counts)))
    head = ("#", "optimizer", *titles, "runs")
    return Table(head, tuple(rows), (True, False, *(True for _ in scores), False))


def run_counts(runs: int, complete: int, diverged: int, blown_up: int, pruned: int = 0) -> str:
    """`3` where all runs are complete, else the counts: `2 of 3, 1 diverged`."""
    if complete == runs:
        return str(runs)
    rest = runs - complete - diverged - blown_up - pruned
    others = ((pruned, "pruned"), (diverged, "diverged"), (blown_up, "blew up"), (rest, "not finished"))
    return ", ".join([f"{complete} of {runs}", *(f"{count} {what}" for count, what in others if count)])


def metric_title(metric: str | None) -> str:
    """The heading of a column of the metric on the validation split."""
    return "validation accuracy, %" if metric == "accuracy" else f"validation {metric or 'metric'}"


def metric_writer(metric: str | None) -> Callable[[float], str]:
    """The function that formats a value of the metric: an accuracy as percent."""
    return percent if metric == "accuracy" else figures


def _title(name: str, metric: str | None) -> str:
    return metric_title(metric) if name == "validation_metric" else _COLUMNS[name]


def _cell(spread: Spread | None, name: str, metric: str | None) -> Cell:
    if spread is None:
        return Cell("–")
    write = metric_writer(metric) if name == "validation_metric" else figures
    if spread.count == 1:
        return Cell(write(spread.median))
    return Cell(write(spread.median), span(spread.low, spread.high, write))
