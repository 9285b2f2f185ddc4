"""The files beside a run in MLflow: its page, its figures, and its exact record as Parquet."""

import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import structlog

from talweg.comparison.results import Floats, Steps
from talweg.errors import TalwegError
from talweg.figures import run_figures
from talweg.figures.study_figures import png, svg
from talweg.records import norms, records, size_of
from talweg.records.steps import VectorQuantity
from talweg.store import RunRow, Store
from talweg.tracking.naming import NORMS
from talweg.web.run_page import content, first_own, shown
from talweg.web.run_page_html import document
from talweg_core.problems import SurfaceProblem

# Gradients and parameters are in the file where they are together at most this many numbers: 4 MB in float32.
VALUES = 1_000_000
# The page that people open first; MLflow lists files by name.
PAGE = "run.html"

log = structlog.get_logger(__name__)


def parquet(store: Store, run: RunRow) -> bytes:
    """Cost, learning rate and norms of every step; and its gradient and parameters, where they are stored and few.

    What the file holds, and where the rest is, stands in its metadata under "talweg". NULL is what was not a number.
    """
    table = store.steps(run.id, 0, run.step)
    columns: dict[str, pa.Array] = {"step": pa.array(table.step)}
    for name in ("cost", "learning_rate", *NORMS):
        columns[name] = pa.array(getattr(table, name), from_pandas=True)
    each = np.asarray(norms(store, run, 0, run.step), dtype=np.float64)
    for q, norm in enumerate(NORMS):
        for t, tensor in enumerate(run.tensors):
            columns[f"{norm}.{tensor['name']}"] = pa.array(np.ascontiguousarray(each[:, q, t]), from_pandas=True)
    whole = has_vectors(run)
    if whole:
        quantities: tuple[VectorQuantity, ...] = ("gradient", "parameters")
        for quantity in quantities:
            rows = records(store, run, quantity, 0, run.step)
            columns[quantity] = pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), rows.shape[1])
    about = {
        "run": run.id,
        "name": run.name,
        "spec": run.spec,
        "tensors": run.tensors,
        "record": run.record,
        "holds": "everything" if whole else "cost, learning rate and norms; the laboratory has the rest",
    }
    schema = pa.table(columns).replace_schema_metadata({"talweg": json.dumps(about)})
    buffer = io.BytesIO()
    pq.write_table(schema, buffer, compression="zstd")
    return buffer.getvalue()


def has_vectors(run: RunRow) -> bool:
    """The file holds gradients and parameters too."""
    return run.record == "full" and 2 * size_of(run) * run.step <= VALUES


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
        "cost": run_figures.cost_curve(run, seen.costs, _validation(store, run), title=title),
        "norms": run_figures.norm_curves(
            run, np.asarray(norms(store, run, 0, run.step), dtype=np.float64), title=title
        ),
    }
    if seen.looks:
        figures["histograms"] = run_figures.histograms(run, seen.looks, title=title)
        if isinstance(seen.problem, SurfaceProblem) and seen.problem.layout.size == 2:
            points = np.stack([look.parameters for look in seen.looks]).astype(np.float64)
            figures["path"] = run_figures.path(seen.problem, points, title=title)
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
