"""The files that lie beside a run in MLflow."""

import numpy as np
import structlog

from talweg.comparison.figures import png, svg
from talweg.comparison.results import Floats, Steps
from talweg.errors import TalwegError
from talweg.records import norms
from talweg.store import RunRow, Store
from talweg.tracking import pictures
from talweg.tracking.page import content, document, first_own, shown
from talweg.tracking.parquet import parquet
from talweg_core.problems import SurfaceProblem

# The page that people open first; MLflow lists files by name.
PAGE = "run.html"

log = structlog.get_logger(__name__)


def drawn(store: Store, run: RunRow, title: str) -> dict[str, bytes]:
    """The files that lie beside a run; none where they cannot be drawn, raises TalwegError where it cannot be read."""
    try:
        return files(store, run, title)
    except TalwegError:
        raise
    except Exception:  # what one run's numbers do to a drawing must not hold up all other runs
        log.exception("files not drawn", run=run.name)
        return {}


def files(store: Store, run: RunRow, title: str) -> dict[str, bytes]:
    """By path: the interactive page, the figures, and the record; none before the first step of its own."""
    if run.step <= first_own(run):
        return {}
    seen = shown(store, run)
    figures = {
        "cost": pictures.cost_curve(run, seen.costs, _validation(store, run), title=title),
        "norms": pictures.norm_curves(run, np.asarray(norms(store, run, 0, run.step), dtype=np.float64), title=title),
    }
    if seen.looks:
        figures["histograms"] = pictures.histograms(run, seen.looks, title=title)
        if isinstance(seen.problem, SurfaceProblem) and seen.problem.layout.size == 2:
            points = np.stack([look.parameters for look in seen.looks]).astype(np.float64)
            figures["path"] = pictures.path(seen.problem, points, title=title)
    found = {PAGE: document(content(store, seen, title)).encode(), "record.parquet": parquet(store, run)}
    for name, figure in figures.items():
        found[f"figures/{name}.png"] = png(figure, dots_per_inch=100)
        found[f"figures/{name}.svg"] = svg(figure)
    # Where it has always been.
    found["cost.png"] = found.pop("figures/cost.png")
    return found


def _validation(store: Store, run: RunRow) -> tuple[Steps, Floats] | None:
    """Steps and costs, in their order; None where there are none."""
    rows = [row for row in store.evaluations(run.id) if row.split == "validation" and row.cost is not None]
    rows.sort(key=lambda row: row.step)
    costs = np.array([row.cost for row in rows], dtype=np.float64)
    return (np.array([row.step for row in rows], dtype=np.int64), costs) if rows else None
