"""Time until a training run obeys cancel, pause, unpause, and SIGTERM to its worker.

    python benchmarks/steering.py [--times N] [--load N]

One worker trains with default settings (a commit every half second), next to `--load` processes that only compute. Each
request is sent N times, at a random moment of a commit's interval; the table has the median and the longest wait in
seconds. After SIGTERM the lease must be released, and every committed step must be recorded.
"""

import argparse
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

from chaos.services import Laboratory, Sqlite, until

from talweg.execution import submit_run
from talweg.settings import Settings
from talweg.spec import RunSpec
from talweg.store import RunRow

TIMES = ("commit_seconds", "heartbeat_seconds", "lease_seconds", "reconcile_seconds")
SPEC = {"problem": "digits-mlp", "optimizer": "adam", "steps": 1_000_000, "batch_size": 500, "record": "replay"}


class Steered:
    """A laboratory with a training run, and the measured waits."""

    def __init__(self) -> None:
        """Start it with default settings."""
        defaults = Settings.model_construct()
        times = {name: float(getattr(defaults, name)) for name in TIMES}
        self.here = Laboratory(Sqlite, workers=1, reconcilers=1, times=times, whole=False)
        self.waits: dict[str, list[float]] = {}
        self._seed = 0

    def running(self) -> RunRow:
        """A new run, after its first commit."""
        self._seed += 1
        spec = RunSpec.model_validate({**SPEC, "seed": self._seed})
        run = submit_run(self.here.store, spec, publish=self.here.publish, settings=self.here.settings)
        self.wait_for_commit(run)
        return run

    def wait_for_commit(self, run: RunRow) -> None:
        """Wait for the run's next commit, and then up to a second, at random."""
        before = self.here.store.run(run.id).step
        until(lambda: self.here.store.run(run.id).step > before, "a commit", 300)
        time.sleep(random.random())

    def measure(self, what: str, request: Callable[[], object], obeyed: Callable[[], bool]) -> None:
        """Send the request and keep the seconds until it is obeyed."""
        began = time.perf_counter()
        request()
        until(obeyed, what, 300)
        self.waits.setdefault(what, []).append(time.perf_counter() - began)


def steer(lab: Steered) -> None:
    """Send each request once."""
    store, run = lab.here.store, lab.running()
    worker = lab.here.workers[0]
    lab.measure("pause", partial(store.request_pause, [run.id]), lambda: store.run(run.id).state == "queued")
    # The worker has released the cohort; continuing takes a message and a claim.
    lab.measure("unpause", partial(_unpause, lab, run), partial(_leased, lab, run))
    lab.wait_for_commit(run)
    lab.measure("cancel", partial(store.request_cancel, [run.id]), lambda: store.run(run.id).ended)
    run = lab.running()
    committed = store.run(run.id).step
    began = time.perf_counter()
    lab.measure("SIGTERM: lease released", worker.process.terminate, lambda: not _leased(lab, run))
    worker.process.wait(300)
    lab.waits.setdefault("SIGTERM: process ended", []).append(time.perf_counter() - began)
    left = store.run(run.id)
    if left.step < committed or store.steps(run.id).step.tolist() != list(range(left.step)):
        sys.exit(f"run {run.name}: must have at least the {committed} steps of before SIGTERM, got {left.step}")
    store.request_cancel([run.id])
    worker.start()


def _unpause(lab: Steered, run: RunRow) -> None:
    for cohort in lab.here.store.unpause([run.id]):
        lab.here.publish(cohort)


def _leased(lab: Steered, run: RunRow) -> bool:
    return lab.here.store.cohort(lab.here.store.run(run.id).cohort_id).state == "leased"


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--load", type=int, default=0, help="processes that compute at the same time")
    options = parser.parse_args()
    # Raise on SIGTERM, so that `finally` ends the processes.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    load = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(options.load)]
    lab = Steered()
    try:
        for _ in range(options.times):
            steer(lab)
    finally:
        for process in load:
            process.kill()
            process.wait()
        left = lab.here.close()
    shutil.rmtree(lab.here.folder)
    print(f"{options.times} times each, with {options.load} processes that compute; load {os.getloadavg()[0]:.0f}")
    for what, waits in lab.waits.items():
        print(f"  {what:26}  median {statistics.median(waits):6.2f} s   longest {max(waits):6.2f} s")
    sys.exit(1 if left else 0)


if __name__ == "__main__":
    main()
