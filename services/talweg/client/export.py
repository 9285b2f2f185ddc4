"""Runs as a Parquet file: a row for each step of each run, which DuckDB, pandas and Arrow read as it is."""

import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from talweg.errors import InvalidSpec, MissingExtra

if TYPE_CHECKING:
    import pyarrow as pa

    from talweg.client.run import Run

# Numbers that one row group may hold, in memory at a time.
_VALUES: Final = 4_000_000
_COLUMNS: Final = ("cost", "learning_rate", "gradient_norm", "parameter_norm", "update_norm")


def write_parquet(runs: Sequence["Run"], path: str | os.PathLike[str], *, vectors: bool) -> Path:
    """Write every recorded step of the runs, whole or not at all; returns the path.

    Columns: run, problem, optimizer, setting (JSON), seed, step, cost, learning_rate and the three norms; with
    `vectors` also gradient and parameters, a list of all coordinates each, whose order `tensors` in the file's
    metadata gives. Raises InvalidSpec where the path does not end in .parquet, MissingExtra without pyarrow.
    """
    path = Path(path)
    if path.suffix.lower() != ".parquet":
        raise InvalidSpec(f"path: must end in .parquet, got {str(path)!r}")
    try:
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingExtra("export needs pyarrow: pip install 'talweg[lab]'") from error
    schema = _schema(runs, vectors=vectors)
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    try:
        with pq.ParquetWriter(draft, schema, compression="zstd") as writer:
            for run in runs:
                for table in _tables(run, schema, vectors=vectors):
                    writer.write_table(table)
        Path(draft).replace(path)
    finally:
        Path(draft).unlink(missing_ok=True)
    return path


def _schema(runs: Sequence["Run"], *, vectors: bool) -> "pa.Schema":
    import pyarrow as pa

    word = pa.dictionary(pa.int32(), pa.string())
    fields = [pa.field(name, word) for name in ("run", "problem", "optimizer", "setting")]
    fields += [pa.field("seed", pa.int64()), pa.field("step", pa.int32())]
    fields += [pa.field(name, pa.float64()) for name in _COLUMNS]
    shapes = runs[0].shapes if runs else {}
    if vectors and runs:
        precisions = {run.view["precision"] for run in runs}
        number = pa.float32() if precisions == {"float32"} else pa.float64()
        fields += [pa.field(name, pa.list_(number)) for name in ("gradient", "parameters")]
    described = json.dumps([{"name": name, "shape": list(shape)} for name, shape in shapes.items()])
    return pa.schema(fields, metadata={"tensors": described, "written by": "talweg"})


def _tables(run: "Run", schema: "pa.Schema", *, vectors: bool) -> Iterator["pa.Table"]:
    """Some steps at a time."""
    import numpy as np
    import pyarrow as pa

    view = run.view
    columns = run.table().columns_by_name()
    steps = len(columns["step"])
    words = {
        "run": run.name,
        "problem": view["problem"],
        "optimizer": view["spec"]["optimizer"]["name"],
        "setting": json.dumps({k: v for k, v in view["spec"]["optimizer"].items() if k != "name"}),
    }
    size = run.gradients.size
    at_once = max(1, _VALUES // (2 * size)) if vectors else steps
    for start in range(0, steps, at_once or 1):
        stop = min(start + at_once, steps)
        count = stop - start
        found: dict[str, Any] = {
            name: pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int32)), pa.array([text]))
            for name, text in words.items()
        }
        found["seed"] = pa.array(np.full(count, view["seed"], np.int64))
        found |= {name: pa.array(columns[name][start:stop], schema.field(name).type) for name in ("step", *_COLUMNS)}
        if vectors:
            for name, source in (("gradient", run.gradients), ("parameters", run.trajectory)):
                flat = np.asarray(source.fetch(start, stop, size))
                offsets = pa.array(np.arange(count + 1, dtype=np.int32) * size)
                numbers = pa.array(flat.reshape(-1)).cast(schema.field(name).type.value_type)
                found[name] = pa.ListArray.from_arrays(offsets, numbers)
        yield pa.Table.from_arrays([found[name] for name in schema.names], schema=schema)
