"""How quickly runs reach MLflow over HTTP: the mirror, against the bare client that sends the same points.

    python benchmarks/mirror.py [runs] [steps]

Both send to one server (SQLite, one worker, as the local stack starts it) in batches of 1000, in turn, run by run, so
that a busy machine slows both. "points" is the mirror until every point is there, from reading SQL to marking it;
"with files" also draws and sends each run's page, figures and record, and the study's report.
"""

import socket
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from talweg import mlflow_server
from talweg.execution import submit_study, train
from talweg.records import problem_of
from talweg.settings import Settings
from talweg.spec import parse_run, parse_study
from talweg.store import RunRow, Store, open_store
from talweg.tracking import connect

PROBLEM = "digits-mlp"


def main(runs: int = 8, steps: int = 500) -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        with (
            open_store(f"sqlite:///{folder / 'talweg.db'}", create=True) as store,
            mlflow_server.running(folder, port=port) as url,
        ):
            trained = _study(store, runs, steps)
            direct, mirrored = _rates(store, trained, url)
            files = _files(store, trained, url)
    print(f"{runs} runs of {PROBLEM}, {steps} steps")
    print(f"direct log_batch      {median(direct):8,.0f} points a second (median over runs)")
    print(f"mirror, points        {median(mirrored):8,.0f}")
    ratios = [ours / bare for ours, bare in zip(mirrored, direct, strict=True)]
    print(f"ratio                 {median(ratios):8.2f} (median of each run's; at least 0.8 is wanted)")
    print(f"files of a run        {files:8.2f} s (page, figures, record: drawn and sent)")


def _study(store: Store, runs: int, steps: int) -> list[RunRow]:
    settings, cohorts = Settings().model_copy(update={"workers": 1}), list[str]()
    spec = {"problem": PROBLEM, "optimizers": ["adam"], "seeds": runs, "steps": steps}
    study = submit_study(store, parse_study(spec), publish=cohorts.append, settings=settings)
    for cohort in cohorts:
        train(store, cohort, owner="benchmark", settings=settings)
    return store.runs_of(study.id)


def _rates(store: Store, runs: list[RunRow], url: str) -> tuple[list[float], list[float]]:
    """Points a second of the bare client and of the mirror, run by run."""
    destination = connect(url)
    from mlflow import MlflowClient

    from talweg.tracking.copying import Copied
    from talweg.tracking.destination import batches
    from talweg.tracking.mirror import Mirror
    from talweg.tracking.series import Portion, read
    from talweg.tracking.thinning import Thinning

    client = MlflowClient(url)
    experiment = client.create_experiment("direct")
    direct, mirrored = [], []
    for run in runs:
        metric = problem_of(parse_run(run.spec)).metric
        portions = list(batches(read(store, Portion(run, 0, run.step, ended=True, thinning=Thinning()), metric)))
        points = sum(map(len, portions))
        target = client.create_run(experiment).info.run_id
        begun = time.perf_counter()
        for batch in portions:
            client.log_batch(target, metrics=batch)
        direct.append(points / (time.perf_counter() - begun))

        marks = Copied([run])
        mirror = Mirror(store, destination, budget=10**9, marks=marks)
        begun = time.perf_counter()
        while marks.outbox()[0].mirrored_step < run.step:
            mirror.send_points()
        mirrored.append(points / (time.perf_counter() - begun))
    return direct, mirrored


def _files(store: Store, runs: list[RunRow], url: str) -> float:
    """Seconds a run for what is left once its points are there."""
    from talweg.tracking.copying import Copied
    from talweg.tracking.mirror import Mirror

    marks = Copied(runs)
    mirror = Mirror(store, connect(url), budget=10**9, marks=marks)
    while mirror.send_points():
        pass
    begun = time.perf_counter()
    while mirror.drain():
        pass
    return (time.perf_counter() - begun) / len(runs)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
