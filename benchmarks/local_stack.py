"""Kill -9 of the local stack's processes, repeatedly, while a study trains.

    python benchmarks/local_stack.py [--times N] [--seed N] [--steps N] [--no-mlflow]

A study is submitted; N times in the course of it, all processes of the stack (or a random part: supervisor, watchdog,
broker, API, workers, reconciler, mirror, MLflow) are killed in random order, and `talweg up` starts it again. In the
end every run is compared with the same run without faults. MLflow is killed with the rest and is rarely up, so the
mirror has most of its work left at the end: it must catch up, and MLflow must have each of SQL's costs once. The exit
status is 1 where anything differs.
"""

import argparse
import contextlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import psutil  # type: ignore[import-untyped]  # its stubs are a package of their own
from chaos.services import QUICK, until
from chaos.verdict import judge

from talweg.client import Lab
from talweg.local import status
from talweg.local.folder import Folder
from talweg.local.processes import marked
from talweg.store import Store, open_store

STUDY = {"problem": "digits-mlp", "optimizers": ["sgd", "momentum", "adam", "rmsprop"], "seeds": 3, "batch_size": 500}
TIMEOUT_SECONDS = 600.0


class Stack:
    """A local stack in a temporary folder, controlled by `talweg` commands."""

    def __init__(self) -> None:
        """Starts nothing."""
        self.folder = Folder.of(Path(tempfile.mkdtemp(prefix="talweg-stack-")) / ".talweg")
        kept = {name: value for name, value in os.environ.items() if not name.startswith("TALWEG_")}
        self._environment = kept | {f"TALWEG_{name.upper()}": str(value) for name, value in QUICK.items()}
        self.starts: list[float] = []

    def up(self) -> None:
        """Run `talweg up` on free ports."""
        began = time.monotonic()
        self._talweg("up", "--port", "0", "--mlflow-port", "0", "--workers", "2")
        self.starts.append(time.monotonic() - began)

    def down(self) -> float:
        """Run `talweg down`; returns its seconds."""
        began = time.monotonic()
        self._talweg("down")
        return time.monotonic() - began

    def processes(self) -> list[psutil.Process]:
        """Every running process of the stack."""
        return marked(self.folder.marker)

    def _talweg(self, *command: str) -> None:
        talweg = Path(sys.executable).with_name("talweg")
        done = subprocess.run(
            [talweg, *command, "--home", self.folder.home],
            env=self._environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            sys.exit(f"talweg {' '.join(command)}: exit status {done.returncode}\n{done.stderr}")


def kill(stack: Stack, draw: random.Random) -> int:
    """Kill every process of the stack or, half of the time, some; returns how many."""
    processes = stack.processes()
    draw.shuffle(processes)
    if draw.random() < 0.5:
        processes = processes[: draw.randint(1, len(processes))]
    for process in processes:
        time.sleep(0.02 * draw.random())
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    return len(processes)


def mirrored(stack: Stack, store: Store, study: str) -> tuple[int, list[str]]:
    """Wait until the mirror has caught up; the number of points in MLflow, and the runs whose costs differ there."""
    from mlflow import MlflowClient

    until(lambda: not store.outbox(1), "the mirror to catch up", 2 * TIMEOUT_SECONDS)
    state = status(stack.folder.home)
    assert state is not None
    client = MlflowClient(tracking_uri=state.mlflow_url)
    wrong, points = [], 0
    for run in store.runs_of(study):
        found = client.get_metric_history(str(run.mlflow_run_id), "cost")
        points += len(found)
        costs = store.steps(run.id).cost.tolist()
        if sorted((point.step, point.value) for point in found) != list(enumerate(costs)):
            wrong.append(run.name)
    return points, wrong


def main() -> None:
    """Run the benchmark and print the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--mlflow", action=argparse.BooleanOptionalAction, default=True, help="compare MLflow too")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    draw, stack, killed = random.Random(options.seed), Stack(), 0
    began = time.monotonic()
    try:
        stack.up()
        with Lab(home=stack.folder.home) as lab:
            study = lab.compare(STUDY, steps=options.steps).id
        with open_store(f"sqlite:///{stack.folder.database}") as store:

            def reached(due: int) -> bool:
                return store.study(study).steps_done >= due

            total = store.study(study).steps_total
            for number in range(options.times):
                until(partial(reached, total * number // options.times), "steps to be made", TIMEOUT_SECONDS)
                time.sleep(draw.random())
                killed += kill(stack, draw)
                stack.up()
            until(lambda: store.study(study).state not in ("queued", "running"), "the study to end", TIMEOUT_SECONDS)
            took = time.monotonic() - began
            found = judge(store, store.runs_of(study))
            points, wrong = mirrored(stack, store, study) if options.mlflow else (0, [])
        left_after = stack.down()
    finally:
        left = stack.processes()
        for process in left:
            process.kill()
    print(f"{options.times} times killed, {killed} processes in all, in {took:.0f} s;")
    print(f"up again within {max(stack.starts):.0f} s each time")
    print(f"{found.runs} runs, {found.steps} steps: {len(found.lost)} lost, {found.missing} steps missing,")
    print(f"{found.repeated} repeated, {len(found.differing)} differing; {len(left)} processes left after talweg down,")
    print(f"which took {left_after:.0f} s; costs in MLflow: {points}, runs that differ from SQL there: {len(wrong)}")
    good = found.good and not left and not wrong
    if good:
        shutil.rmtree(stack.folder.home.parent)
    else:
        print(f"records and logs: {stack.folder.home}")
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
