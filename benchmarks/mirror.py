"""Speed of the mirror to MLflow over HTTP, compared with MLflow's client sending the same points.

    python benchmarks/mirror.py [runs] [steps]
    python benchmarks/mirror.py study [runs] [steps]

First form: both send to one server (SQLite, one worker, as the local stack starts it) in batches of 1000, alternating
by run, so that a busy machine slows both. "points" is the mirror's time from reading SQL until every point is sent and
marked as sent; "files" is the time to draw and send each run's page, figures and record.

    python benchmarks/mirror.py compare [runs] [steps] [seconds] [problem]

Third form, the two mirrors of one laboratory in one run, each a process of its own that is up when the study arrives:
`rest` sends everything to a plain server, `rows` writes into the database of a server that reads the laboratory. "in
MLflow" is the time until every run is there with every metric (with `rest`, its files come later); after `seconds`
(120) of `rest` the time is extrapolated from the runs that are there. Then ten runs drawn at random are read back from
the `rows` server by MLflow's client and compared with SQL, step by step.

Second form: a whole study with the local stack's settings, until its report is in MLflow: several runs at a time, files
drawn in other processes, points thinned to the study's budget.
"""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import psutil  # type: ignore[import-untyped]  # its stubs are a package of their own
from tracked import laboratory, mirror_to, repeat, trained

from talweg import mlflow_server
from talweg.records import problem_of
from talweg.records.steps import norms
from talweg.settings import Settings
from talweg.spec import parse_run
from talweg.store import RunRow, Store, open_store
from talweg.tracking import connect
from talweg.tracking.metrics import Budget, Thinning

PROBLEM = "digits-mlp"
OPTIMIZERS = ["sgd", "momentum", "rmsprop", "adam"]


def rates(runs: int = 8, steps: int = 500) -> None:
    """Print the table of the first form."""
    with laboratory() as (store, _, url):
        _, rows = trained(store, PROBLEM, ["adam"], runs=runs, steps=steps)
        direct, mirrored = _rates(store, rows, url)
        files = _files(store, rows, url)
    print(f"{runs} runs of {PROBLEM}, {steps} steps")
    print(f"direct log_batch      {median(direct):8,.0f} points a second (median over runs)")
    print(f"mirror, points        {median(mirrored):8,.0f}")
    ratios = [ours / bare for ours, bare in zip(mirrored, direct, strict=True)]
    print(f"ratio                 {median(ratios):8.2f} (median over runs; at least 0.8 is required)")
    print(f"files of a run        {files:8.2f} s (page, figures, record: drawn and sent)")


def study(runs: int = 100, steps: int = 1000) -> None:
    """Print the seconds of the second form."""
    with laboratory() as (store, database, url):
        _, rows = trained(store, PROBLEM, OPTIMIZERS, runs=runs, steps=steps)
        from talweg.tracking.run_files_process import RunFilesProcesses

        chosen = Settings()
        budget = Budget(chosen.mirror_budget, chosen.mirror_study_budget)
        drawing = RunFilesProcesses(database, chosen.mirror_drawers) if chosen.mirror_drawers else None
        mirror = mirror_to(url, store, budget=budget, at_once=chosen.mirror_at_once, drawing=drawing)
        begun = time.perf_counter()
        repeat(mirror.drain)
        seconds = time.perf_counter() - begun
        mirror.close()
    print(f"{len(rows)} runs of {PROBLEM}, {steps} steps, with files and report: {seconds:.1f} s")


def compare(runs: int = 100, steps: int = 1000, seconds: float = 120.0, *, problem: str = PROBLEM) -> None:
    """Print the table of the third form."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        url = f"sqlite:///{folder / 'talweg.db'}"
        with open_store(url, create=True) as store:
            study, rows = trained(store, problem, OPTIMIZERS, runs=runs, steps=steps)
            print(f"{len(rows)} runs of {problem}, {steps} steps")
            print(
                f"{'':6}{'in MLflow':>12}{'runs a s':>10}{'report':>10}{'bytes':>16}{'server MB':>11}{'mirror MB':>11}"
            )
            found = {}
            for kind in ("rest", "rows"):
                own = folder / kind
                own.mkdir()
                found[kind] = _measured(store, study.id, own, url, limit=seconds if kind == "rest" else 3600.0)
                print(_line(kind, found[kind]), flush=True)
        ratio = found["rest"].seconds / found["rows"].seconds
        print(f"rest takes {ratio:,.0f} times as long as rows")


@dataclass(frozen=True)
class Measured:
    """Seconds until all runs are there, and with the study's report; bytes on disk; bytes of memory."""

    runs: int
    seconds: float
    extrapolated: bool
    report: float | None
    disk: int
    server: int
    mirror: int


def _line(kind: str, one: Measured) -> str:
    about = "~" if one.extrapolated else " "
    report = "" if one.report is None else f"{one.report:.1f} s"
    seconds, disk = f"{about}{one.seconds:,.1f} s", f"{about}{one.disk:,}"
    memory = f"{one.server / 1e6:11.0f}{one.mirror / 1e6:11.0f}"
    return f"{kind:6}{seconds:>12}{one.runs / one.seconds:10.1f}{report:>10}{disk:>16}{memory}"


def _measured(store: Store, study: str, folder: Path, url: str, *, limit: float) -> Measured:
    """Mirror the study to a new server in `folder`, for `limit` seconds at most."""
    laboratory_url = url if folder.name == "rows" else None
    runs = store.runs_of(study)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with mlflow_server.running(folder, port=port, laboratory_url=laboratory_url) as address:
        # As if everything were there, until the mirror is up.
        store.mark_all_mirrored([(run, None) for run in runs])
        store.mark_study_reported(study)
        variables = {"TALWEG_DATABASE_URL": url, "TALWEG_MLFLOW_URL": address, "TALWEG_MIRROR": folder.name}
        variables["TALWEG_MLFLOW_DATABASE_URL"] = mlflow_server.database_of(folder)
        log = (folder / "mirror.log").open("w")
        process = subprocess.Popen(
            [sys.executable, "-m", "talweg.tracking"], env=os.environ | variables, stdout=log, stderr=log
        )
        try:
            _until(lambda: "mirroring" in (folder / "mirror.log").read_text(), 300)
            begun = time.perf_counter()
            store.mirror_again(study=study)
            _until(lambda: not store.meter().unmirrored_steps, limit)
            seconds = time.perf_counter() - begun
            # Files come after the metrics of all runs.
            left = sum(run.mirrored_step < run.step for run in store.runs_of(study))
            if not left:
                _until(lambda: not store.outbox(1), limit)
            # The results of 20,000 runs take minutes to compute.
            _until(lambda: store.study(study).mlflow_told, 60 if not left else 0)
            report = time.perf_counter() - begun if store.study(study).mlflow_told else None
            server = next(one for one in psutil.process_iter(["cmdline"]) if str(port) in (one.info["cmdline"] or []))
            memory = _memory(server), _memory(psutil.Process(process.pid))
            share = len(runs) / max(len(runs) - left, 1)
        finally:
            process.terminate()
            process.wait()
            log.close()
        if folder.name == "rows":
            _compare(store, runs, address)
        disk = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return Measured(len(runs), seconds * share, bool(left), report, round(disk * share), *memory)


def _until(met: Callable[[], bool], limit: float) -> None:
    """Wait until the condition is met, `limit` seconds at most."""
    deadline = time.perf_counter() + limit
    while not met() and time.perf_counter() < deadline:
        time.sleep(0.1)


def _memory(process: "psutil.Process") -> int:
    """Bytes of a process and those that it started."""
    return sum(int(one.memory_info().rss) for one in [process, *process.children(recursive=True)])


def _compare(store: Store, runs: list[RunRow], address: str) -> None:
    """Read ten runs, drawn at random, back and compare every step's cost and a norm with SQL."""
    from mlflow import MlflowClient

    client, begun = MlflowClient(address), time.perf_counter()
    for chosen in np.random.default_rng(1).choice(len(runs), size=min(10, len(runs)), replace=False):
        run = store.run(runs[chosen].id)
        costs = [point.value for point in client.get_metric_history(str(run.mlflow_run_id), "cost")]
        table = store.steps(run.id).cost
        assert costs == table[np.isfinite(table)].tolist(), run.name
        (tensor, *_) = run.tensors
        key = f"gradient_norm.{tensor['name']}"
        found = [point.value for point in client.get_metric_history(str(run.mlflow_run_id), key)]
        recorded = norms(store, run, 0, run.step)[:, 0, 0]
        assert found == recorded[np.isfinite(recorded)].tolist(), run.name
    print(f"ten runs read back, every step of two metrics as in SQL: {time.perf_counter() - begun:.1f} s")


def _rates(store: Store, runs: list[RunRow], url: str) -> tuple[list[float], list[float]]:
    """Points a second of MLflow's client and of the mirror, one pair for each run."""
    connect(url)
    from mlflow import MlflowClient

    from talweg.tracking.destination import batches
    from talweg.tracking.metrics import EvaluationCounts, Portion, read
    from talweg.tracking.mirror import CopyProgress

    client = MlflowClient(url)
    experiment = client.create_experiment("direct")
    direct, mirrored = [], []
    for run in runs:
        metric = problem_of(parse_run(run.spec)).metric
        portion = Portion(run, 0, run.step, ended=True, thinning=Thinning())
        portions = list(batches(read(store, portion, metric, EvaluationCounts(store))))
        points = sum(map(len, portions))
        target = client.create_run(experiment).info.run_id
        begun = time.perf_counter()
        for batch in portions:
            client.log_batch(target, metrics=batch)
        direct.append(points / (time.perf_counter() - begun))

        progress = CopyProgress([run])
        mirror = mirror_to(url, store, budget=10**9, progress=progress)
        begun = time.perf_counter()
        while progress.outbox()[0].mirrored_step < run.step:
            mirror.send_metrics()
        mirrored.append(points / (time.perf_counter() - begun))
    return direct, mirrored


def _files(store: Store, runs: list[RunRow], url: str) -> float:
    """Seconds a run for its files, after its points were sent."""
    from talweg.tracking.mirror import CopyProgress

    mirror = mirror_to(url, store, budget=10**9, progress=CopyProgress(runs))
    repeat(mirror.send_metrics)
    begun = time.perf_counter()
    repeat(mirror.drain)
    return (time.perf_counter() - begun) / len(runs)


if __name__ == "__main__":
    if sys.argv[1:2] == ["compare"]:
        compare(*map(int, sys.argv[2:5]), problem=sys.argv[5] if len(sys.argv) > 5 else PROBLEM)
    elif sys.argv[1:2] == ["study"]:
        study(*map(int, sys.argv[2:]))
    else:
        rates(*map(int, sys.argv[1:]))
