"""The API's answers about a study: its ranking and the tables of its comparison."""

import math
from typing import Any, Literal
from weakref import WeakKeyDictionary

import numpy as np
from pydantic import BaseModel

from talweg import comparison
from talweg.api.models import Number, view
from talweg.comparison.baselines import baselines_of, not_beaten
from talweg.comparison.compare import Comparison, leaders, shown_runs
from talweg.comparison.from_store import comparison_of
from talweg.comparison.intervals import Interval
from talweg.comparison.normalised import aggregates
from talweg.comparison.profiles import R_MAX, profile
from talweg.comparison.seeds import plan
from talweg.store import Store, StudyRow

Name = Literal["differences", "profile", "scores", "sensitivity", "standings"]
# τ of a profile's columns.
_TAUS = np.linspace(1.0, R_MAX, 13)

Rows = list[list[Any]]


class SpreadView(BaseModel):
    """Median, minimum (`low`) and maximum (`high`) of `count` values, one a seed."""

    median: float
    low: float
    high: float
    count: int


class IntervalView(BaseModel):
    """An estimate with its 95 % interval; a bound is null if the data give none."""

    estimate: Number
    low: Number
    high: Number


class RankingRow(BaseModel):
    """One optimizer setting; a spread is null if no run has such a number (yet).

    `mean` is of the costs at which the runs were judged last, geometric if all costs are positive. A study of several
    problems has `profile_score` instead of spreads; `targets_met` counts the problems on which half of the seeds
    reached the target.
    """

    rank: int
    label: str
    optimizer: dict[str, Any]
    runs: int
    complete: int
    diverged: int
    blown_up: int = 0
    final_cost: SpreadView | None
    best_cost: SpreadView | None
    validation_cost: SpreadView | None
    validation_metric: SpreadView | None
    mean: IntervalView | None = None
    profile_score: IntervalView | None = None
    targets_met: int | None = None


class GuardView(BaseModel):
    """A reason against the comparison; its `level` is refused (there is no verdict), warning or note."""

    kind: str
    level: str
    text: str
    contenders: list[str]


class BaselineView(BaseModel):
    """What a model without training steps reaches on the validation part; accuracy is null for numbers."""

    problem: str
    name: str
    cost: float
    accuracy: float | None


class RankingView(BaseModel):
    """The rows, best first; `ranked_by` is the score that orders them, `metric` what validation_metric measures.

    `verdict` is the conclusion that the intervals allow. `baselines` are those of uploaded datasets.
    """

    rows: list[RankingRow]
    ranked_by: str
    metric: str | None
    verdict: str
    guards: list[GuardView]
    baselines: list[BaselineView] = []


# A kept comparison's view: the ranking, the verdict and the guards are often requested one after the other.
_VIEWS: WeakKeyDictionary[Comparison, RankingView] = WeakKeyDictionary()


def ranking_view(store: Store, study: StudyRow) -> RankingView:
    """The ranking of a study, from what is recorded now."""
    found = comparison_of(store, study)
    made = _VIEWS.get(found)
    if made is None:
        made = _VIEWS[found] = _ranking_view(store, found)
    return made


def _ranking_view(store: Store, found: Comparison) -> RankingView:
    guards = comparison.guards(found)
    verdict = comparison.verdict(found, guards)
    rows, ranked_by, metric = _over_problems(found) if found.several else _on_one(found)
    baselines = baselines_of(store, found.spec)
    if baselines and not found.several:
        guards = [*guards, *not_beaten(baselines, comparison.ranking(shown_runs(found, found.problems[0])).rows)]
    return RankingView(
        rows=rows,
        ranked_by=ranked_by,
        metric=metric,
        verdict=verdict,
        guards=[view(GuardView, guard) for guard in guards],
        baselines=[view(BaselineView, one) for one in baselines],
    )


def _on_one(found: Comparison) -> tuple[list[RankingRow], str, str | None]:
    (problem,) = found.problems
    ranking = comparison.ranking(shown_runs(found, problem))
    means = {standing.contender.label: standing.mean for standing in problem.standings}
    rows = [view(RankingRow, row, mean=means.get(row.label)) for row in ranking.rows]
    return rows, ranking.ranked_by, ranking.metric


def _over_problems(found: Comparison) -> tuple[list[RankingRow], str, str | None]:
    """Ordered by profile score, or as in the spec while there is none."""
    scores = {score.contender.label: score for score in found.scores}
    order = [score.contender for score in found.scores] or list(found.contenders)
    rows = []
    for place, contender in enumerate(order, start=1):
        mine = [s for problem in found.problems for s in problem.standings if s.contender == contender]
        score, optimizer = scores.get(contender.label), found.spec.optimizers[contender.position]
        rows.append(
            RankingRow.model_validate(
                {
                    "rank": place if score is not None else 1,
                    "label": contender.label,
                    "optimizer": {"name": optimizer.name, **optimizer.settings},
                    "runs": sum(s.runs for s in mine),
                    "complete": sum(s.complete for s in mine),
                    "diverged": sum(s.diverged for s in mine),
                    "blown_up": sum(s.blown_up for s in mine),
                    **dict.fromkeys(("final_cost", "best_cost", "validation_cost", "validation_metric")),
                    "profile_score": score and score.score,
                    "targets_met": score and score.arrived,
                },
                from_attributes=True,
            )
        )
    return rows, "profile_score", None


class PlanView(BaseModel):
    """How many seeds find a difference; `text` says it in words, `seconds` are of training, one run at a time."""

    difference: float
    seeds: int
    power: float
    comparisons: int
    spread: float
    runs: int
    seconds: float | None
    left_out: list[str]
    text: str


def plan_view(store: Store, study: StudyRow, difference: float) -> PlanView:
    """The plan for a difference, from a study that serves as the pilot."""
    found = plan(comparison_of(store, study, timed=True), difference)
    return view(PlanView, found, text=found.text)


class TableView(BaseModel):
    """Columns by name, and rows of cells in their order."""

    columns: list[str]
    rows: list[list[Any]]


def table_view(store: Store, study: StudyRow, name: Name) -> TableView:
    """One table of a study, from what is recorded now."""
    columns, rows = _TABLES[name](comparison_of(store, study))
    return TableView(columns=columns, rows=[[_plain(cell) for cell in row] for row in rows])


def _standings(found: Comparison) -> tuple[list[str], Rows]:
    """Every optimizer on every problem, best first."""
    columns = ["problem", "rank", "optimizer", "chosen", "median", "mean", "target", "time_to_target", "arrived"]
    rows = [
        [
            problem.name, place, s.contender.label, s.setting or None, s.median, s.mean, problem.target, s.time,
            s.arrived, s.runs, s.complete, s.diverged, s.blown_up,
        ]
        for problem in found.problems
        for place, s in enumerate(problem.standings, start=1)
    ]  # fmt: skip
    return [*columns, "runs", "complete", "diverged", "blown_up"], rows


def _differences(found: Comparison) -> tuple[list[str], Rows]:
    """Every two optimizers on every problem; of several problems also over all of them (problem `all`)."""
    parts = [(problem.name, problem.differences) for problem in found.problems]
    parts += [("all", found.overall)] if found.overall else []
    rows = [
        [
            name, d.first, d.second, "ratio" if d.relative else "difference", d.interval, d.pairs, d.p, d.adjusted,
            d.basis, (d.second, None, d.first)[1 - d.settled],
        ]
        for name, differences in parts
        for d in differences
    ]  # fmt: skip
    return ["problem", "first", "second", "of", "value", "seeds", "p", "p_corrected", "basis", "better"], rows


def _profile(found: Comparison) -> tuple[list[str], Rows]:
    """The share of problems within each factor τ of the fastest, and its integral."""
    shares = profile([score.times for score in found.scores], _TAUS) if found.scores else np.empty((0, len(_TAUS)))
    rows = [
        [score.contender.label, score.score, score.arrived, *share]
        for score, share in zip(found.scores, shares.tolist(), strict=True)
    ]
    return ["optimizer", "profile_score", "targets_met", *(f"within_{tau:.4g}" for tau in _TAUS)], rows


def _sensitivity(found: Comparison) -> tuple[list[str], Rows]:
    """The cost at each learning rate of each tuning, and the sensitivity to the learning rate."""
    rows = [
        [problem.name, t.contender.label, t.sensitivity, t.best, t.at_edge, rate, cost]
        for problem in found.problems
        for t in problem.tunings
        for rate, cost in zip(t.rates, t.costs, strict=True)
    ]
    return ["problem", "optimizer", "sensitivity", "best", "at_edge", "learning_rate", "median_cost"], rows


def _scores(found: Comparison) -> tuple[list[str], Rows]:
    """rliable's aggregates of each optimizer over all problems; scores lie between the start and the study's best.

    Of many contenders, of the best.
    """
    found = leaders(found)
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
