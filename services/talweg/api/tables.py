"""A comparison's tables as plain data: columns and rows, intervals as objects, what is infinite as null."""

import math
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel

from talweg.comparison import Comparison
from talweg.comparison.from_store import comparison_of
from talweg.comparison.intervals import Interval
from talweg.comparison.normalised import aggregates
from talweg.comparison.profiles import R_MAX, profile
from talweg.store import Store, StudyRow

Name = Literal["differences", "profile", "scores", "sensitivity", "standings"]
# τ of a profile's columns.
_TAUS = np.linspace(1.0, R_MAX, 13)

Rows = list[list[Any]]


class TableView(BaseModel):
    """Columns by name, and rows of cells in their order."""

    columns: list[str]
    rows: list[list[Any]]


def table_view(store: Store, study: StudyRow, name: Name) -> TableView:
    """One table of a study as it stands."""
    columns, rows = _TABLES[name](comparison_of(store, study))
    return TableView(columns=columns, rows=[[_plain(cell) for cell in row] for row in rows])


def _standings(found: Comparison) -> tuple[list[str], Rows]:
    """Every optimizer on every problem, best first."""
    columns = ["problem", "rank", "optimizer", "chosen", "median", "mean", "target", "time_to_target", "arrived"]
    rows = [
        [
            problem.name, place, s.contender.label, s.setting or None, s.median, s.mean, problem.target, s.time,
            s.arrived, s.runs, s.complete, s.diverged,
        ]
        for problem in found.problems
        for place, s in enumerate(problem.standings, start=1)
    ]  # fmt: skip
    return [*columns, "runs", "complete", "diverged"], rows


def _differences(found: Comparison) -> tuple[list[str], Rows]:
    """Every two optimizers on every problem, and over all of several (problem null)."""
    parts = [(problem.name, problem.differences) for problem in found.problems]
    parts += [("all", found.overall)] if found.overall else []
    rows = [
        [
            name, d.first, d.second, "ratio" if d.relative else "difference", d.interval, d.pairs, d.p, d.adjusted,
            (d.second, None, d.first)[1 - d.settled],
        ]
        for name, differences in parts
        for d in differences
    ]  # fmt: skip
    return ["problem", "first", "second", "of", "value", "seeds", "p", "p_corrected", "better"], rows


def _profile(found: Comparison) -> tuple[list[str], Rows]:
    """The share of problems within each factor τ of the fastest, and its integral."""
    shares = profile([score.times for score in found.scores], _TAUS) if found.scores else np.empty((0, len(_TAUS)))
    rows = [
        [score.contender.label, score.score, score.arrived, *share]
        for score, share in zip(found.scores, shares.tolist(), strict=True)
    ]
    return ["optimizer", "profile_score", "targets_met", *(f"within_{tau:.4g}" for tau in _TAUS)], rows


def _sensitivity(found: Comparison) -> tuple[list[str], Rows]:
    """Of each tuning the cost of each learning rate, and how much the learning rate matters."""
    rows = [
        [problem.name, t.contender.label, t.sensitivity, t.best, t.at_edge, rate, cost]
        for problem in found.problems
        for t in problem.tunings
        for rate, cost in zip(t.rates, t.costs, strict=True)
    ]
    return ["problem", "optimizer", "sensitivity", "best", "at_edge", "learning_rate", "median_cost"], rows


def _scores(found: Comparison) -> tuple[list[str], Rows]:
    """Of each optimizer what rliable reports: over all problems, of scores between the start and the study's best."""
    rows = [[a.contender.label, a.interquartile_mean, a.optimality_gap, a.improvement] for a in aggregates(found)]
    return ["optimizer", "interquartile_mean", "optimality_gap", "probability_of_improvement"], rows


_TABLES = {
    "differences": _differences,
    "profile": _profile,
    "scores": _scores,
    "sensitivity": _sensitivity,
    "standings": _standings,
}


def _plain(cell: Any) -> Any:
    if isinstance(cell, Interval):
        return {name: _plain(value) for name, value in vars(cell).items()}
    return None if isinstance(cell, float) and not math.isfinite(cell) else cell
