"""Recording: what it costs to keep every step, how much room it takes, how fast a step comes back.

    python benchmarks/recording.py                       all of it, on SQLite and PostgreSQL
    python benchmarks/recording.py --part overhead       one part: overhead, full, reading, size, peers
    python benchmarks/recording.py --database sqlite     one database

PostgreSQL is a server of its own, with its settings as they come (so every commit is on disk). What the parts are:

* overhead: 64 runs of digits-mlp under Adam, recorded as `auto` does it, over the same cohort with nothing recorded.
  Both in turn, the minimum over repeats; the ratio is what to quote. The last two columns are ratios of CPU time, of
  the thread that trains and of everything with the writer process: a machine that is busy with other things stretches
  the wall's, since the writer process then waits for a core.
* full: gradients and parameters of a real trajectory (digits-mlp, Adam) through the writer into the database,
  encoded, digested and committed: million values a second, and bytes a value.
* reading: one step of a run, stored or replayed: the median over steps drawn at random, in milliseconds.
* size: the same run of digits-mlp under `full` and under `replay`: bytes of all that is stored for it.
* peers: values of that same trajectory as metrics of MLflow (batches of 1,000, straight into SQLite), as scalars of
  TensorBoard where it is installed, and as Parquet (zstd, a row group for 64 steps). Slow ones get fewer values.
"""

import argparse
import logging
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import psutil  # type: ignore[import-untyped]  # its stubs are a package of their own
import structlog
from postgres import running
from sqlalchemy import text
from tables import print_rows

from talweg.execution import submit_run, submit_study, train
from talweg.execution.segment import Segment
from talweg.execution.writer import DatabaseRetry, Writer
from talweg.execution.writer_process import WriterProcess
from talweg.records import cohort_of, normalise, parameters
from talweg.settings import Settings
from talweg.spec import RunSpec, StudySpec
from talweg.store import RunRow, Store, open_store
from talweg.store.batch import CHUNK_STEPS
from talweg_core import numerics

Row = dict[str, Any]
Clocks = tuple[float, float, float]
PROBLEM = {"problem": "digits-mlp", "evaluate_every": 0}
SETTINGS = Settings().model_copy(update={"workers": 1, "cohort_size": 64})


@contextmanager
def database(kind: str, folder: Path) -> Iterator[Store]:
    """An empty laboratory on SQLite, or on a PostgreSQL server that ends with it."""
    if kind == "sqlite":
        with open_store(f"sqlite:///{folder / 'talweg.db'}", create=True) as store:
            yield store
        return
    with running(folder) as url, open_store(url, create=True) as store:
        yield store


def trained(store: Store, **asked: Any) -> RunRow:
    """A run of digits-mlp under Adam, in the store."""
    spec = RunSpec.model_validate(PROBLEM | {"optimizer": "adam"} | asked)
    run = submit_run(store, spec, publish=lambda _: None, settings=SETTINGS)
    assert train(store, run.cohort_id, owner="benchmark", settings=SETTINGS) == "finished"
    return store.run(run.id)


def overhead(store: Store, options: argparse.Namespace) -> Iterator[Row]:
    """Recording `auto` over recording nothing."""
    study = StudySpec.model_validate(PROBLEM | {"optimizers": ["adam"], "seeds": 64, "steps": options.steps})
    bare: list[Clocks] = []
    recorded: list[Clocks] = []
    cohort_of(study.runs()[:1]).advance()
    with writer_process_of(store) as writer_process:
        for _ in range(options.repeats):
            cohort = cohort_of([normalise(spec) for spec in study.runs()])
            start = clocks()
            for _ in cohort.run(options.steps):
                pass
            bare.append(since(start))
            row = submit_study(store, study, publish=lambda _: None, settings=SETTINGS)
            (cohort_id,) = {run.cohort_id for run in store.runs_of(row.id)}
            start = clocks(writer_process)
            outcome = train(store, cohort_id, owner="benchmark", settings=SETTINGS, writer_process=writer_process)
            assert outcome == "finished"
            recorded.append(since(start, writer_process))
    yield {
        "what": f"auto, 64 runs, {options.steps} steps",
        "unrecorded s": round(min(bare)[0], 2),
        "recorded s": round(min(recorded)[0], 2),
        "ratio": round(min(recorded)[0] / min(bare)[0], 2),
        "training thread, CPU": round(min(r[1] for r in recorded) / min(b[1] for b in bare), 2),
        "all, CPU": round(min(r[2] for r in recorded) / min(b[2] for b in bare), 2),
    }


def full(store: Store, options: argparse.Namespace) -> Iterator[Row]:
    """Values a second through the writer, and bytes a value."""
    for precision in ("float64", "float32"):
        times: list[Clocks] = []
        for _ in range(options.repeats):
            spec = {"precision": precision, "record": "full", "steps": options.steps, "optimizer": "adam"}
            asked = RunSpec.model_validate(PROBLEM | spec)
            run = submit_run(store, asked, publish=lambda _: None, settings=SETTINGS)
            segments = trajectory(run)
            claim = store.claim(run.cohort_id, "benchmark", 600)
            assert claim is not None
            with writer_process_of(store) as writer_process:
                target = writer_process.open(
                    claim, [run], every=16 * CHUNK_STEPS, numerics=numerics.fingerprint(), lease_seconds=600
                )
                start = clocks(writer_process)
                with Writer(target, DatabaseRetry(60.0, claim.cohort_id)) as writer:
                    for segment in segments:
                        writer.put(segment)
                times.append(since(start, writer_process))
        values = sum(s.gradients.size + s.parameters.size for s in segments)  # type: ignore[union-attr, misc]
        payloads = one(
            store, "SELECT SUM(LENGTH(payload)) FROM chunks WHERE run_id = :run AND quantity <> 'norms'", run
        )
        yield {
            "what": f"full, {precision}, {values / 1e6:.1f} million values",
            "million values/s": round(values / min(times)[0] / 1e6, 1),
            "million values/CPU s": round(values / min(taken[2] for taken in times) / 1e6, 1),
            "bytes a value": round(payloads / values, 2),
        }


def trajectory(run: RunRow) -> list[Segment]:
    """A run's segments, computed beforehand; every fourth ends with a commit."""
    cohort = cohort_of([RunSpec.model_validate(run.spec)])
    segments: list[Segment] = []
    before = cohort.parameters.copy()
    while cohort.step < run.total_steps:
        segment = Segment.of(cohort, "full", run.total_steps)
        assert segment.parameters is not None
        while not segment.full:
            segment.parameters[segment.count] = before
            record = cohort.advance()
            segment.add(record, cohort.norms(before, record), 0.0)
        segment.after = cohort.parameters.copy()
        segment.commit = len(segments) % 4 == 3 or cohort.step == run.total_steps
        segments.append(segment)
    return segments


def reading(store: Store, options: argparse.Namespace) -> Iterator[Row]:
    """Milliseconds to read one step."""
    for record in ("full", "replay"):
        run = trained(store, record=record, steps=options.steps)
        steps = np.random.default_rng(0).integers(0, options.steps, 200)
        times, busy = [], []
        for step in steps:
            start = clocks()
            parameters(store, run, int(step))
            taken = since(start)
            times.append(taken[0])
            busy.append(taken[1])
        yield {
            "what": f"one step, {record}",
            "median ms": round(statistics.median(times) * 1e3, 2),
            "worst ms": round(max(times) * 1e3, 1),
            "median CPU ms": round(statistics.median(busy) * 1e3, 2),
        }


def size(store: Store, options: argparse.Namespace) -> Iterator[Row]:
    """Bytes of all that is stored for one run under either policy."""
    found: dict[str, int] = {}
    for record in ("full", "replay"):
        run = trained(store, record=record, steps=options.long_steps)
        payloads = int(one(store, "SELECT SUM(LENGTH(payload)) FROM chunks WHERE run_id = :run", run))
        payloads += int(one(store, "SELECT SUM(LENGTH(payload)) FROM checkpoints WHERE run_id = :run", run))
        # Five numbers, a step and an id, as both databases come to about.
        found[record] = payloads + options.long_steps * 100
        yield {"what": f"{record}, {options.long_steps} steps", "megabytes": round(found[record] / 1e6, 1)}
    yield {"what": "full over replay", "ratio": round(found["full"] / found["replay"], 1)}


def peers(folder: Path, options: argparse.Namespace) -> Iterator[Row]:
    """The same trajectory elsewhere."""
    cohort = cohort_of([normalise(RunSpec.model_validate(PROBLEM | {"optimizer": "adam", "precision": "float64"}))])
    gradients = np.stack([record.gradient[0].copy() for record in cohort.run(options.steps)])
    yield _parquet(folder, gradients)
    for peer, write in (("MLflow", _mlflow), ("TensorBoard", _tensorboard)):
        try:
            yield write(folder, gradients[:4])
        except ImportError as error:
            yield {"what": f"{peer}: not installed ({error.name})"}


def _parquet(folder: Path, values: np.ndarray[Any, Any]) -> Row:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = folder / "peer.parquet"
    schema = pa.schema([(f"c{i}", pa.float64()) for i in range(values.shape[1])])

    def write() -> None:
        with pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=False) as writer:
            for first in range(0, len(values), CHUNK_STEPS):
                columns = [pa.array(column) for column in values[first : first + CHUNK_STEPS].T]
                writer.write_table(pa.Table.from_arrays(columns, schema=schema))

    return _peer("Parquet, zstd", values.size, elapsed(write), path.stat().st_size)


def _mlflow(folder: Path, values: np.ndarray[Any, Any]) -> Row:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

    path = folder / "mlflow.db"
    client = MlflowClient(f"sqlite:///{path}")
    run = client.create_run(client.create_experiment("peer")).info.run_id
    before = path.stat().st_size

    def write() -> None:
        for step, row in enumerate(values):
            metrics = [Metric(f"d{i}", float(value), 0, step) for i, value in enumerate(row)]
            for first in range(0, len(metrics), 1000):
                client.log_batch(run, metrics[first : first + 1000])

    return _peer("MLflow, batches of 1,000 into SQLite", values.size, elapsed(write), path.stat().st_size - before)


def _tensorboard(folder: Path, values: np.ndarray[Any, Any]) -> Row:
    from tensorboard.summary import Writer as SummaryWriter  # type: ignore[import-not-found]  # optional

    place = folder / "tensorboard"

    def write() -> None:
        writer = SummaryWriter(str(place))
        for step, row in enumerate(values):
            for i, value in enumerate(row):
                writer.add_scalar(f"d{i}", value, step)
        writer.close()

    taken = elapsed(write)
    return _peer("TensorBoard scalars", values.size, taken, sum(path.stat().st_size for path in place.rglob("*.*")))


def _peer(what: str, values: int, seconds: float, stored: int) -> Row:
    return {
        "what": what,
        "million values/s": round(values / seconds / 1e6, 4),
        "bytes a value": round(stored / values, 1),
    }


@contextmanager
def writer_process_of(store: Store) -> Iterator[WriterProcess]:
    """A writer process as a worker has one."""
    with WriterProcess(store.engine.url.render_as_string(hide_password=False)) as writer_process:
        writer_process.start()
        yield writer_process


def clocks(writer_process: WriterProcess | None = None) -> Clocks:
    """Wall time, this thread's CPU time, the process's and its writer process's."""
    beside = sum(psutil.Process(writer_process.pid).cpu_times()[:2]) if writer_process else 0.0
    return time.perf_counter(), time.thread_time(), time.process_time() + beside


def since(start: Clocks, writer_process: WriterProcess | None = None) -> Clocks:
    """Seconds on each clock."""
    now = clocks(writer_process)
    return now[0] - start[0], now[1] - start[1], now[2] - start[2]


def one(store: Store, query: str, run: RunRow) -> Any:
    """The one number that the query gives of a run."""
    with store.engine.connect() as connection:
        return connection.execute(text(query), {"run": run.id}).scalar_one()


def elapsed(work: Callable[[], object]) -> float:
    """Seconds."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


PARTS: dict[str, Callable[[Store, argparse.Namespace], Iterator[Row]]] = {
    "overhead": overhead,
    "full": full,
    "reading": reading,
    "size": size,
}


def rows(options: argparse.Namespace) -> Iterator[Row]:
    """One row a measurement; each part has a database of its own."""
    for kind in options.database or ("sqlite", "postgresql"):
        for part in [part for part in PARTS if options.part in (None, part)]:
            with folder() as place, database(kind, place) as store:
                for row in PARTS[part](store, options):
                    yield {"part": part, "database": kind, **row}
    if options.part in (None, "peers"):
        with folder() as place:
            for row in peers(place, options):
                yield {"part": "peers", **row}


@contextmanager
def folder() -> Iterator[Path]:
    """A folder that goes again."""
    path = Path(tempfile.mkdtemp(prefix="talweg-recording-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def main() -> None:
    """Print a row as it is measured, as JSON; then the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--part", choices=[*PARTS, "peers"])
    parser.add_argument("--database", choices=["sqlite", "postgresql"], action="append")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--long-steps", type=int, default=10_000, help="of the run whose size is taken")
    parser.add_argument("--repeats", type=int, default=3)
    # stdout is for rows.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    print_rows(rows(parser.parse_args()))


if __name__ == "__main__":
    main()
