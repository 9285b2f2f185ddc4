"""Recording: its cost in time and storage, and the time to read a step.

    python benchmarks/recording.py                       every part, on SQLite and PostgreSQL
    python benchmarks/recording.py --part overhead       one part: overhead, full, reading, size, peers
    python benchmarks/recording.py --database sqlite     one database

PostgreSQL is a server started for this benchmark with default settings (every commit is on disk). The parts:

* overhead: 64 runs of digits-mlp under Adam, recorded as `auto`, over the same cohort without recording. The two
  alternate; the minimum over repeats; quote the ratio. The last two columns are ratios of CPU time: of the training
  thread, and of both processes. On a busy machine the ratio of wall times is too high, since the writer process waits
  for a core.
* full: gradients and parameters of a real trajectory (digits-mlp, Adam) through the writer into the database: encoded,
  digested and committed. Million values a second, and bytes a value.
* reading: one step of a run, stored or replayed: the median in milliseconds over randomly drawn steps.
* size: bytes stored for the same run of digits-mlp under `full` and under `replay`.
* peers: values of the same trajectory as metrics of MLflow (batches of 1,000, directly into SQLite), as scalars of
  TensorBoard where it is installed, and as Parquet (zstd, a row group for 64 steps). Slow peers get fewer values.
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
    """An empty store on SQLite, or on a PostgreSQL server that stops at the end of the block."""
    if kind == "sqlite":
        with open_store(f"sqlite:///{folder / 'talweg.db'}", create=True) as store:
            yield store
        return
    with running(folder) as url, open_store(url, create=True) as store:
        yield store


def trained(store: Store, **asked: Any) -> RunRow:
    """A finished run of digits-mlp under Adam."""
    spec = RunSpec.model_validate(PROBLEM | {"optimizer": "adam"} | asked)
    run = submit_run(store, spec, publish=lambda _: None, settings=SETTINGS)
    assert train(store, run.cohort_id, owner="benchmark", settings=SETTINGS) == "finished"
    return store.run(run.id)


def overhead(store: Store, options: argparse.Namespace) -> Iterator[Row]:
    """Time with record `auto` over time without recording."""
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
    """A run's segments, computed in advance; every fourth ends with a commit."""
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
    """Bytes stored for one run under either record policy."""
    found: dict[str, int] = {}
    for record in ("full", "replay"):
        run = trained(store, record=record, steps=options.long_steps)
        payloads = int(one(store, "SELECT SUM(LENGTH(payload)) FROM chunks WHERE run_id = :run", run))
        payloads += int(one(store, "SELECT SUM(LENGTH(payload)) FROM checkpoints WHERE run_id = :run", run))
        # 100 bytes: about the size of a row of `steps` in both databases.
        found[record] = payloads + options.long_steps * 100
        yield {"what": f"{record}, {options.long_steps} steps", "megabytes": round(found[record] / 1e6, 1)}
    yield {"what": "full over replay", "ratio": round(found["full"] / found["replay"], 1)}


def peers(folder: Path, options: argparse.Namespace) -> Iterator[Row]:
    """The same trajectory written by the peers."""
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

    path = folder / "tensorboard"

    def write() -> None:
        writer = SummaryWriter(str(path))
        for step, row in enumerate(values):
            for i, value in enumerate(row):
                writer.add_scalar(f"d{i}", value, step)
        writer.close()

    taken = elapsed(write)
    return _peer("TensorBoard scalars", values.size, taken, sum(file.stat().st_size for file in path.rglob("*.*")))


def _peer(what: str, values: int, seconds: float, stored: int) -> Row:
    return {
        "what": what,
        "million values/s": round(values / seconds / 1e6, 4),
        "bytes a value": round(stored / values, 1),
    }


@contextmanager
def writer_process_of(store: Store) -> Iterator[WriterProcess]:
    """A started writer process, as a worker has one."""
    with WriterProcess(store.engine.url.render_as_string(hide_password=False)) as writer_process:
        writer_process.start()
        yield writer_process


def clocks(writer_process: WriterProcess | None = None) -> Clocks:
    """Wall time, this thread's CPU time, and the CPU time of this process and the writer process."""
    writing = sum(psutil.Process(writer_process.pid).cpu_times()[:2]) if writer_process else 0.0
    return time.perf_counter(), time.thread_time(), time.process_time() + writing


def since(start: Clocks, writer_process: WriterProcess | None = None) -> Clocks:
    """Seconds since `start` on each clock."""
    now = clocks(writer_process)
    return now[0] - start[0], now[1] - start[1], now[2] - start[2]


def one(store: Store, query: str, run: RunRow) -> Any:
    """The result of a query for one number of a run."""
    with store.engine.connect() as connection:
        return connection.execute(text(query), {"run": run.id}).scalar_one()


def elapsed(work: Callable[[], object]) -> float:
    """Seconds that the work takes."""
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
    """One row for each measurement; each part has a new database."""
    for kind in options.database or ("sqlite", "postgresql"):
        for part in [part for part in PARTS if options.part in (None, part)]:
            with folder() as path, database(kind, path) as store:
                for row in PARTS[part](store, options):
                    yield {"part": part, "database": kind, **row}
    if options.part in (None, "peers"):
        with folder() as path:
            for row in peers(path, options):
                yield {"part": "peers", **row}


@contextmanager
def folder() -> Iterator[Path]:
    """A temporary folder, removed at the end of the block."""
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
    parser.add_argument("--long-steps", type=int, default=10_000, help="steps of the run whose size is measured")
    parser.add_argument("--repeats", type=int, default=3)
    # stdout is for rows only.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    print_rows(rows(parser.parse_args()))


if __name__ == "__main__":
    main()
