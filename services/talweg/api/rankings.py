"""A study's ranking and pictures, from the store's rows to what the comparison says of them."""

from importlib.metadata import version
from typing import Any

from pydantic import BaseModel

from talweg import comparison
from talweg.comparison.compare import Comparison
from talweg.comparison.reading import results_of
from talweg.spec import StudySpec
from talweg.store import Store, StudyRow


class SpreadView(BaseModel):
    """Median, least and greatest of `count` values, one a seed."""

    median: float
    low: float
    high: float
    count: int


class RankingRow(BaseModel):
    """One optimizer setting; a spread is null where no run has such a number (yet)."""

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


class RankingView(BaseModel):
    """The rows, best first; `ranked_by` is the score that orders them, `metric` what validation_metric measures."""

    rows: list[RankingRow]
    ranked_by: str
    metric: str | None


def ranking_view(store: Store, study: StudyRow) -> RankingView:
    """The ranking of a study as it stands."""
    ranking = comparison.ranking(results_of(store, study))
    return RankingView.model_validate(ranking, from_attributes=True)


def picture(store: Store, study: StudyRow, kind: str) -> bytes:
    """The cost curves as "png" or "svg"; of several problems a panel each."""
    # matplotlib takes a second to import: whoever asks for no picture does not wait for it.
    from talweg.comparison import charts, figures

    found = comparison_of(store, study)
    if found.several:
        drawn = charts.overview(found)
    else:
        (problem,) = found.problems
        runs = [run for contender in found.contenders for run in charts.shown(found, problem, contender)]
        drawn = figures.cost_curves(runs, title=study.name)
    return figures.png(drawn) if kind == "png" else figures.svg(drawn)


def report(store: Store, study: StudyRow) -> str:
    """The report: one HTML page that needs nothing else."""
    from talweg.comparison.drawing import draw

    found = comparison_of(store, study)
    parts = comparison.sections(found, lambda kind: draw(found, kind, title=study.name))
    return comparison.page(study.name, _protocol(study), parts)


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
