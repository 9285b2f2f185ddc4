"""Times that a user of the client sees, on a local stack for this benchmark.

    python benchmarks/laboratory.py [--runs 100] [--steps 1000] [--many 10000] [--script-python PATH]

Each row has a name, a time or ratio, and its target. The stack has a temporary folder and ends with the command.
`--script-python` is an interpreter with PyTorch and MLflow: it runs a script without Talweg (PyTorch eager,
`mlflow.log_metric` each step, into SQLite) for a few hundred steps of one run; the ratio uses its time a step times all
steps of the study.

Bottlenecks: the study is limited by recording (a worker's writer process needs a second core, so that two workers on
two cores are no faster than one), the mirror by MLflow's server, which accepts about 5,000 metrics a second, and by
the figures of each run, which take half a second of another core.
"""

import argparse
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # its stubs are a package of their own

from talweg import Lab
from talweg.local import status, stop

SCRIPT = """
import sys, time, torch, mlflow
torch.set_num_threads(1)
steps = int(sys.argv[1])
mlflow.set_tracking_uri("sqlite:///" + sys.argv[2])
x, y = torch.randn(1257, 64), torch.randint(0, 10, (1257,))
net = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
rule = torch.optim.Adam(net.parameters(), lr=1e-3)
with mlflow.start_run():
    mlflow.log_metric("cost", 0.0, step=0)
    start = time.perf_counter()
    for step in range(steps):
        chosen = torch.randint(0, 1257, (32,))
        cost = torch.nn.functional.cross_entropy(net(x[chosen]), y[chosen])
        rule.zero_grad(); cost.backward(); rule.step()
        mlflow.log_metric("cost", cost.item(), step=step)
    print((time.perf_counter() - start) / steps)
"""
OPTIMIZERS = ["sgd", "momentum", "rmsprop", "adam"]


def seconds(work: Callable[[], object]) -> float:
    """Seconds that the work takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def command(*arguments: str, repeats: int = 5) -> float:
    """Seconds of the fastest of several starts of a Python program."""
    line = [sys.executable, *arguments]
    return min(seconds(lambda: subprocess.run(line, check=True, capture_output=True)) for _ in range(repeats))


@contextmanager
def laboratory(home: Path, **settings: str) -> Iterator[tuple[Lab, float]]:
    """A local stack with these TALWEG_* settings, and the seconds that `Lab()` took."""
    kept = {key: value for key, value in os.environ.items() if key.startswith("TALWEG_")}
    changed = {f"TALWEG_{key.upper()}": value for key, value in settings.items()}
    os.environ.update(changed)
    try:
        start = time.perf_counter()
        with Lab(home=home) as lab:
            yield lab, time.perf_counter() - start
    finally:
        stop(home)
        for key in changed:
            os.environ.pop(key)
        os.environ.update(kept)


def study(lab: Lab, runs: int, steps: int) -> float:
    """Seconds from submitting a study of `runs` runs of digits-mlp until all of it is in SQL."""
    made = None

    def whole() -> None:
        nonlocal made
        made = lab.compare(problem="digits-mlp", optimizers=OPTIMIZERS, seeds=runs // len(OPTIMIZERS), steps=steps)
        while made.refresh().state != "finished":
            time.sleep(0.02)

    return seconds(whole)


def first_step(lab: Lab) -> float:
    """Seconds from submitting a run until its first step is recorded."""
    start = time.perf_counter()
    run = lab.submit(problem="digits-mlp", optimizer="adam", steps=2000)
    while run.refresh().step == 0:
        time.sleep(0.005)
    taken = time.perf_counter() - start
    run.wait(progress=False)
    return taken


def mirrored(database: Path, timeout: float = 900.0) -> float:
    """Seconds until every run is mirrored; infinite where `timeout` seconds are not enough."""
    start = time.perf_counter()
    with closing(sqlite3.connect(database)) as connection:
        while connection.execute("SELECT count(*) FROM runs WHERE unmirrored").fetchone()[0]:
            if time.perf_counter() - start > timeout:
                return float("inf")
            time.sleep(0.2)
    return time.perf_counter() - start


def worker_memory(home: Path) -> float:
    """The resident memory, in MB, of the largest process of the workers' process trees."""
    state = status(home)
    assert state is not None
    pids = [child.pid for child in state.children if child.name.startswith("worker") and child.pid]
    members = [member for pid in pids for member in (psutil.Process(pid), *psutil.Process(pid).children(True))]
    return float(max(member.memory_info().rss for member in members)) / 1e6


def script(python: str, steps: int) -> float:
    """Seconds a step of the script without Talweg."""
    with tempfile.TemporaryDirectory() as folder:
        line = [python, "-W", "ignore", "-c", SCRIPT, str(steps), f"{folder}/mlflow.db"]
        done = subprocess.run(line, check=True, capture_output=True, text=True, cwd=folder)
        return float(done.stdout.splitlines()[-1])


Figure = tuple[str, float, str, str]


def small_starts() -> Iterator[Figure]:
    """Start-up times of the command and the import."""
    yield "talweg --help", command("-m", "talweg", "--help"), "s", "0.4"
    yield "import talweg", command("-c", "import talweg") - command("-c", "pass"), "s", "0.3"


def warm_stack(folder: Path, runs: int, steps: int, python: str | None, script_steps: int) -> Iterator[Figure]:
    """One study on a warm stack, recorded and mirrored."""
    home = folder / "warm"
    with laboratory(home) as (lab, started):
        yield "Lab(), caches warm", started, "s", "6"
        # Warm up: a worker's first task loads the cached kernels.
        study(lab, 8, 100)
        yield "submit to the first recorded step", statistics.median(first_step(lab) for _ in range(5)), "s", "0.5"
        mirrored(home / "talweg.db")
        taken = study(lab, runs, steps)
        yield f"{runs} runs × {steps} steps into SQL", taken, "s", "15"
        yield "and then into MLflow", mirrored(home / "talweg.db"), "s", "120"
        yield "a training worker's memory", worker_memory(home), "MB", "350"
        if python is not None:
            whole = script(python, script_steps) * runs * steps
            yield "PyTorch and log_metric, the same runs one by one", whole, "s", ""
            yield "its time over ours", whole / taken, "×", "50"


def two_workers(folder: Path, runs: int, steps: int) -> Iterator[Figure]:
    """The same study with one worker and with two."""
    taken = {}
    for workers in (1, 2):
        with laboratory(folder / f"workers-{workers}", workers=str(workers)) as (lab, _):
            study(lab, 8, 100)
            taken[workers] = min(study(lab, runs, steps) for _ in range(2))
    yield "two workers, speed over that of one", taken[1] / taken[2], "×", "1.8"


def growth(folder: Path, many: int) -> Iterator[Figure]:
    """The effect of many stored runs on a new study."""
    home = folder / "many"
    with laboratory(home) as (lab, _):
        study(lab, 8, 100)
        before = min(study(lab, 64, 200) for _ in range(3))
        taken = study(lab, many, 1)
        yield f"{many} runs of one step each, a run", taken / many * 1e3, "ms", ""
        yield (
            "64 runs after them, over their time before",
            (min(study(lab, 64, 200) for _ in range(3)) / before),
            "×",
            "1.1",
        )
        yield "a page of 50 runs", min(seconds(lambda: lab.runs(limit=50)) for _ in range(9)) * 1e3, "ms", "50"


def main() -> None:
    """Print each figure as it is measured, as JSON; then the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--many", type=int, default=10_000)
    parser.add_argument("--script-python", help="an interpreter with PyTorch and MLflow")
    parser.add_argument("--script-steps", type=int, default=300)
    options = parser.parse_args()
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="talweg-") as name:
        folder = Path(name)
        for part in (
            small_starts(),
            warm_stack(folder, options.runs, options.steps, options.script_python, options.script_steps),
            # Long enough for start and end to be negligible.
            two_workers(folder, options.runs, 5 * options.steps),
            growth(folder, options.many),
        ):
            for what, value, unit, reach in part:
                print(json.dumps({"what": what, "value": round(value, 4), "unit": unit, "reach": reach}), flush=True)
                figures.append((what, value, unit, reach))
    print("\n| what | measured | to reach |\n| --- | --- | --- |")
    for what, value, unit, reach in figures:
        print(f"| {what} | {value:.3g} {unit} | {reach} |")


if __name__ == "__main__":
    main()
