"""How soon a running run heeds: cancel, pause, unpause, and SIGTERM to its worker.

    python benchmarks/steering.py [--times N] [--load N]

One worker trains with the settings that everybody has (a commit every half second), beside `--load` processes that do
nothing but compute. Each is asked N times, at a random moment of a commit's interval; the table has the median and the
longest wait, in seconds. After SIGTERM the lease must be given back, and every step that was committed must be there.
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
    """A laboratory with a run that trains, and the waits that were measured."""

    def __init__(self) -> None:
        """Start it; settings are the defaults."""
        defaults = Settings.model_construct()
        times = {name: float(getattr(defaults, name)) for name in TIMES}
        self.here = Laboratory(Sqlite, workers=1, reconcilers=1, times=times, whole=False)
        self.waits: dict[str, list[float]] = {}
        self._seed = 0

    def running(self) -> RunRow:
        """A new run, some commits after its start."""
        self._seed += 1
        spec = RunSpec.model_validate({**SPEC, "seed": self._seed})
        run = submit_run(self.here.store, spec, publish=self.here.publish, settings=self.here.settings)
        self.moves(run)
        return run

    def moves(self, run: RunRow) -> None:
        """Return when another of its commits was made, and some part of the next one's interval has passed."""
        before = self.here.store.run(run.id).step
        until(lambda: self.here.store.run(run.id).step > before, "a commit", 300)
        time.sleep(random.random())

    def measure(self, what: str, ask: Callable[[], object], heeded: Callable[[], bool]) -> None:
        """Keep how long it took."""
        began = time.perf_counter()
        ask()
        until(heeded, what, 300)
        self.waits.setdefault(what, []).append(time.perf_counter() - began)


def steer(lab: Steered) -> None:
    """Each question once."""
    store, run = lab.here.store, lab.running()
    worker = lab.here.workers[0]
    lab.measure("pause", partial(store.request_pause, [run.id]), lambda: store.run(run.id).state == "queued")
    # The worker has left it; going on takes a message and a claim.
    lab.measure("unpause", partial(_unpause, lab, run), partial(_held, lab, run))
    lab.moves(run)
    lab.measure("cancel", partial(store.request_cancel, [run.id]), lambda: store.run(run.id).ended)
    run = lab.running()
    committed = store.run(run.id).step
    began = time.perf_counter()
    lab.measure("SIGTERM: lease given back", worker.process.terminate, lambda: not _held(lab, run))
    worker.process.wait(300)
    lab.waits.setdefault("SIGTERM: process gone", []).append(time.perf_counter() - began)
    left = store.run(run.id)
    if left.step < committed or store.steps(run.id).step.tolist() != list(range(left.step)):
        sys.exit(f"run {run.name}: had {committed} steps at SIGTERM, and has {left.step} now")
    store.request_cancel([run.id])
    worker.start()


def _unpause(lab: Steered, run: RunRow) -> None:
    for cohort in lab.here.store.unpause([run.id]):
        lab.here.publish(cohort)


def _held(lab: Steered, run: RunRow) -> bool:
    return lab.here.store.cohort(lab.here.store.run(run.id).cohort_id).state == "leased"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--load", type=int, default=0, help="processes that compute beside it")
    options = parser.parse_args()
    # Whoever ends this command ends what it started, too.
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
    print(f"{options.times} times each, beside {options.load} processes that compute; load {os.getloadavg()[0]:.0f}")
    for what, waits in lab.waits.items():
        print(f"  {what:26}  median {statistics.median(waits):6.2f} s   longest {max(waits):6.2f} s")
    sys.exit(1 if left else 0)


if __name__ == "__main__":
    main()
