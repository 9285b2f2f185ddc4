"""A study's ranking and pictures, from the store's rows to what the comparison says of them."""

from typing import Any

from pydantic import BaseModel

from talweg import comparison
from talweg.comparison.reading import protocol, results_of
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
    """The cost curves as "png" or "svg"."""
    # matplotlib takes a second to import: whoever asks for no picture does not wait for it.
    from talweg.comparison import figures

    drawn = figures.cost_curves(results_of(store, study), title=study.name)
    return figures.png(drawn) if kind == "png" else figures.svg(drawn)


def report(store: Store, study: StudyRow) -> str:
    """The report: one HTML page that needs nothing else."""
    from talweg.comparison import figures

    results = results_of(store, study)
    drawn = figures.svg(figures.cost_curves(results, title=study.name))
    return comparison.page(study.name, protocol(study), comparison.ranking(results), svg=drawn)
