"""The files that lie beside a run in MLflow."""

import numpy as np
from matplotlib.figure import Figure

from talweg.comparison.figures import cost_curves, png, svg
from talweg.comparison.results import Floats, Result
from talweg.records import norms
from talweg.store import RunRow, Store
from talweg.tracking import pictures
from talweg.tracking.page import content, document, first_own, shown
from talweg.tracking.parquet import parquet
from talweg_core.problems import SurfaceProblem

# The page that people open first; MLflow lists files by name.
PAGE = "run.html"


def files(store: Store, run: RunRow, title: str) -> dict[str, bytes]:
    """By path: the interactive page, the figures, and the record; none before the first step of its own."""
    if run.step <= first_own(run):
        return {}
    seen = shown(store, run)
    drawn = {
        "cost": _costs(run, seen.costs, title),
        "norms": pictures.norm_curves(run, np.asarray(norms(store, run, 0, run.step), dtype=np.float64), title=title),
    }
    if seen.looks:
        drawn["histograms"] = pictures.histograms(run, seen.looks, title=title)
        if isinstance(seen.problem, SurfaceProblem) and seen.problem.layout.size == 2:
            points = np.stack([look.parameters for look in seen.looks]).astype(np.float64)
            drawn["path"] = pictures.path(seen.problem, points, title=title)
    found = {PAGE: document(content(store, seen, title)).encode(), "record.parquet": parquet(store, run)}
    for name, figure in drawn.items():
        found[f"figures/{name}.png"] = png(figure, dots_per_inch=100)
        found[f"figures/{name}.svg"] = svg(figure)
    # Where it has always been.
    found["cost.png"] = found.pop("figures/cost.png")
    return found


def _costs(run: RunRow, costs: Floats, title: str) -> Figure:
    # A run that was cancelled or failed has no place in a comparison, but here it is the only curve.
    result = Result(run.id, run.spec["optimizer"], run.seed, "finished", run.stop_reason, costs)
    return cost_curves([result], title=title)
