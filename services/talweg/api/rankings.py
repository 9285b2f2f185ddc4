"""A study's ranking and pictures, from the store's rows to what the comparison says of them."""

from importlib.metadata import version
from typing import Any

import numpy as np
from pydantic import BaseModel

from talweg import comparison
from talweg.api.views import Number
from talweg.comparison.compare import Comparison, shown
from talweg.comparison.reading import results_of
from talweg.records import problems_of, records
from talweg.spec import StudySpec
from talweg.store import Store, StudyRow
from talweg_core.problems.surface import SurfaceProblem

# Of a longer run the points of a path are more than a picture can show.
_LONGEST_PATH = 20_000


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


def picture(store: Store, study: StudyRow, kind: str) -> bytes:
    """The cost curves as "png" or "svg"; of several problems a panel each."""
    # matplotlib takes a second to import: whoever asks for no picture does not wait for it.
    from talweg.comparison import charts, figures

    found = comparison_of(store, study)
    if found.several:
        drawn = charts.overview(found)
    else:
        (problem,) = found.problems
        runs = [run for contender in found.contenders for run in shown(found, problem, contender)]
        drawn = figures.cost_curves(runs, title=study.name)
    return figures.png(drawn) if kind == "png" else figures.svg(drawn)


def report(store: Store, study: StudyRow) -> str:
    """The report: one HTML page that needs nothing else."""
    from talweg.comparison.drawing import draw

    found = comparison_of(store, study)
    parts = comparison.sections(found, lambda kind: draw(found, kind, title=study.name), _paths(store, found))
    return comparison.page(study.name, _protocol(study), parts)


def _paths(store: Store, found: Comparison) -> list[comparison.Picture]:
    """Of a test function of two coordinates, the path of each optimizer's first run over its contours."""
    (problem, *others) = problems_of(found.spec)
    if others or not isinstance(problem, SurfaceProblem) or problem.layout.size != 2:
        return []
    from talweg.comparison import figures
    from talweg.comparison.contours import paths

    taken = {}
    for contender in found.contenders:
        runs = [run for run in shown(found, found.problems[0], contender) if 0 < len(run.costs) <= _LONGEST_PATH]
        if runs:
            row = store.run(runs[0].run)
            taken[contender] = records(store, row, "parameters", 0, row.step).astype(np.float64)
    if not taken:
        return []
    return [comparison.Picture("contours of the cost with each optimizer's path", figures.svg(paths(problem, taken)))]


def markdown(store: Store, study: StudyRow) -> str:
    """The report as Markdown, without its pictures."""
    return comparison.markdown(study.name, _protocol(study), comparison.sections(comparison_of(store, study)))


def comparison_of(store: Store, study: StudyRow) -> Comparison:
    """Everything that can be said of the study as it stands."""
    return comparison.compare(StudySpec.model_validate(study.spec), results_of(store, study))


def _protocol(study: StudyRow) -> dict[str, str]:
    """What the runs have in common, for the report's head."""
    spec = StudySpec.model_validate(study.spec)
    names, steps = spec.problem_names(), {own.steps for own in spec.each_problem()}
    facts = {
        "problem" if len(names) == 1 else "problems": names[0] if len(names) == 1 else len(names),
        "protocol": spec.protocol,
        "steps": " to ".join(f"{count:,}" for count in sorted({min(steps), max(steps)})),  # type: ignore[type-var]
        "batch size": spec.batch_size,
        "seeds": len(spec.seed_list()),
        "precision": spec.precision,
        "schedule": spec.schedule.name,
        "budget in": comparison.UNITS[spec.clock],
        "talweg": version("talweg"),
    }
    return {name: str(value) for name, value in facts.items() if value is not None}
