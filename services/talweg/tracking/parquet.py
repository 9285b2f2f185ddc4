"""A run's exact record as one Parquet file: every step, nothing thinned."""

import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from talweg.records import norms, records, size_of
from talweg.records.steps import VectorQuantity
from talweg.store import RunRow, Store

# Gradients and parameters are in the file where they are together at most this many numbers: 4 MB in float32.
VALUES = 1_000_000


def parquet(store: Store, run: RunRow) -> bytes:
    """Cost, learning rate and norms of every step; and its gradient and parameters, where they are stored and few.

    What the file holds, and where the rest is, stands in its metadata under "talweg". NULL is what was not a number.
    """
    table = store.steps(run.id, 0, run.step)
    columns: dict[str, pa.Array] = {"step": pa.array(table.step)}
    for name in ("cost", "learning_rate", "gradient_norm", "parameter_norm", "update_norm"):
        columns[name] = pa.array(getattr(table, name), from_pandas=True)
    each = np.asarray(norms(store, run, 0, run.step), dtype=np.float64)
    for q, norm in enumerate(("gradient_norm", "parameter_norm", "update_norm")):
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
