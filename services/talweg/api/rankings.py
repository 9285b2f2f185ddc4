"""A study's ranking as the API shows it."""

from typing import Any

from pydantic import BaseModel

from talweg import comparison
from talweg.api.views import Number
from talweg.comparison.compare import Comparison, shown
from talweg.comparison.from_store import comparison_of
from talweg.store import Store, StudyRow


class SpreadView(BaseModel):
    """Median, least and greatest of `count` values, one a seed."""

    median: float
    low: float
    high: float
    count: int


class IntervalView(BaseModel):
    """An estimate with its 95 % interval; a bound is null where the data give none."""

    estimate: Number
    low: Number
    high: Number


class RankingRow(BaseModel):
    """One optimizer setting; a spread is null where no run has such a number (yet).

    `mean` is of what the rows are judged by, geometric where all of it is positive. Of several problems `profile_score`
    takes the spreads' place, and `targets_met` counts those where half of the seeds arrived.
    """

    rank: int
    label: str
    optimizer: dict[str, Any]
    runs: int
    complete: int
    diverged: int
    final_cost: SpreadView | None
    best_cost: SpreadView | None
    validation_cost: SpreadView | None
    validation_metric: SpreadView | None
    mean: IntervalView | None = None
    profile_score: IntervalView | None = None
    targets_met: int | None = None


class GuardView(BaseModel):
    """What speaks against the comparison: refused (there is no verdict), warning or note."""

    kind: str
    level: str
    text: str
    contenders: list[str]


class RankingView(BaseModel):
    """The rows, best first; `ranked_by` is the score that orders them, `metric` what validation_metric measures.

    `verdict` is what may be said of them, and no more.
    """

    rows: list[RankingRow]
    ranked_by: str
    metric: str | None
    verdict: str
    guards: list[GuardView]


def ranking_view(store: Store, study: StudyRow) -> RankingView:
    """The ranking of a study as it stands."""
    found = comparison_of(store, study)
    said = comparison.guards(found)
    rows, ranked_by, metric = _over_problems(found) if found.several else _on_one(found)
    return RankingView(
        rows=rows,
        ranked_by=ranked_by,
        metric=metric,
        verdict=comparison.verdict(found, said),
        guards=[GuardView.model_validate(guard, from_attributes=True) for guard in said],
    )


def _on_one(found: Comparison) -> tuple[list[RankingRow], str, str | None]:
    (problem,) = found.problems
    runs = [run for contender in found.contenders for run in shown(found, problem, contender)]
    ranking = comparison.ranking(runs)
    means = {standing.contender.label: standing.mean for standing in problem.standings}
    rows = [
        RankingRow.model_validate({**vars(row), "mean": means.get(row.label)}, from_attributes=True)
        for row in ranking.rows
    ]
    return rows, ranking.ranked_by, ranking.metric


def _over_problems(found: Comparison) -> tuple[list[RankingRow], str, str | None]:
    """By profile score; in the order of the spec while there is none."""
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
                    **dict.fromkeys(("final_cost", "best_cost", "validation_cost", "validation_metric")),
                    "profile_score": score and score.score,
                    "targets_met": score and score.arrived,
                },
                from_attributes=True,
            )
        )
    return rows, "profile_score", None
