"""Speed of the mirror to MLflow over HTTP, compared with MLflow's client sending the same points.

    python benchmarks/mirror.py [runs] [steps]
    python benchmarks/mirror.py study [runs] [steps]

First form: both send to one server (SQLite, one worker, as the local stack starts it) in batches of 1000, alternating
by run, so that a busy machine slows both. "points" is the mirror's time from reading SQL until every point is sent and
marked as sent; "files" is the time to draw and send each run's page, figures and record.

Second form: a whole study with the local stack's settings, until its report is in MLflow: several runs at a time, files
drawn in other processes, points thinned to the study's budget.
"""

import sys
import time
from statistics import median

from tracked import laboratory, mirror_to, repeat, trained

from talweg.records import problem_of
from talweg.settings import Settings
from talweg.spec import parse_run
from talweg.store import RunRow, Store
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
    if sys.argv[1:2] == ["study"]:
        study(*map(int, sys.argv[2:]))
    else:
        rates(*map(int, sys.argv[1:]))
