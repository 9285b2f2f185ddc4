"""The files of a run in MLflow: its page, its figures, and its exact record as Parquet."""

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
from talweg.tracking.naming import NORMS, OLD_PICTURE, PAGE, RECORD
from talweg.web.run_page import content, document, first_own, shown
from talweg_core.problems import SurfaceProblem

# Gradients and parameters are in the Parquet file if they are at most this many numbers together: 4 MB in float32.
VALUES = 1_000_000

log = structlog.get_logger(__name__)


def parquet(store: Store, run: RunRow) -> bytes:
    """Cost, learning rate and norms of every step; its gradient and parameters too if `has_vectors`.

    The metadata "talweg" describes the content and names what is left out. NaN is stored as NULL.
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
    """Whether the file holds gradients and parameters too."""
    return run.record == "full" and 2 * size_of(run) * run.step <= VALUES


def drawn(store: Store, run: RunRow, title: str) -> dict[str, bytes]:
    """The files of a run; {} where drawing them fails. Raises TalwegError where the run cannot be read."""
    try:
        return files(store, run, title)
    except TalwegError:
        raise
    except Exception:  # a failure to draw one run's numbers must not stop all other runs
        log.exception("files not drawn", run=run.name)
        return {}


def files(store: Store, run: RunRow, title: str) -> dict[str, bytes]:
    """By path: the interactive page, the figures, and the record; {} before the run's first own step."""
    if run.step <= first_own(run):
        return {}
    page = shown(store, run)
    figures = {
        "cost": run_figures.cost_curve(run, page.costs, _validation(store, run), title=title),
        "norms": run_figures.norm_curves(
            run, np.asarray(norms(store, run, 0, run.step), dtype=np.float64), title=title
        ),
    }
    if page.snapshots:
        figures["histograms"] = run_figures.histograms(run, page.snapshots, title=title)
        if isinstance(page.problem, SurfaceProblem) and page.problem.layout.size == 2:
            points = np.stack([each.parameters for each in page.snapshots]).astype(np.float64)
            figures["path"] = run_figures.path(page.problem, points, title=title)
    found = {PAGE: document(content(store, page, title)).encode(), RECORD: parquet(store, run)}
    for name, figure in figures.items():
        found[f"figures/{name}.png"] = png(figure, dots_per_inch=100)
        found[f"figures/{name}.svg"] = svg(figure)
    found[OLD_PICTURE] = found.pop("figures/cost.png")
    return found


def _validation(store: Store, run: RunRow) -> tuple[Steps, Floats] | None:
    """Steps and costs of the evaluations on the validation split, by step; None without any."""
    rows = [row for row in store.evaluations(run.id) if row.split == "validation" and row.cost is not None]
    rows.sort(key=lambda row: row.step)
    costs = np.array([row.cost for row in rows], dtype=np.float64)
    return (np.array([row.step for row in rows], dtype=np.int64), costs) if rows else None
