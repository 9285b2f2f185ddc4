"""A study under faults: every part of the laboratory is killed at random, and nothing may be lost.

    python benchmarks/reliability.py [--database sqlite|postgresql|both] [--cohorts N] [--faults N] [--seed N]

Three workers and two reconcilers train N cohorts of two runs, with leases of two seconds and a commit every 50 ms. An
API accepts more runs, and a mirror sends all of them to an MLflow server. Faults occur at random moments, from a seed
that is printed; they are spread over the whole study, so that a slow machine gets as many as a fast one. What a fault
ended is started again. Then every run is compared with the same run without faults: lost (not finished), repeated (step
rows), differing (any bit of any cost or of the last checkpoint); and with MLflow. No process, lease or lock may be
left. The exit status is 1 where a check fails. A short form runs with the tests.

Workers use Celery's pool "solo": a worker trains in its own process, so killing it kills the training.
"""

import argparse
import os
import random
import shutil
import signal
import sys
import time
from dataclasses import dataclass
from functools import partial

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

from chaos.faults import Faults
from chaos.mirrored import behind, compare_mlflow
from chaos.services import MIRROR_BUDGET, Laboratory, Postgresql, Sqlite, until
from chaos.verdict import Verdict, judge

from talweg.execution import submit_study
from talweg.spec import StudySpec

DATABASES: dict[str, type[Sqlite] | type[Postgresql]] = {"sqlite": Sqlite, "postgresql": Postgresql}
OPTIMIZERS = ("sgd", "momentum", "adam", "adamw", "rmsprop")
# Seconds for the next run to end: far more than needed on a busy machine.
TIMEOUT_SECONDS = 600.0
ENDED = ("finished", "failed", "cancelled")


def study(cohorts: int, steps: int) -> StudySpec:
    """About `cohorts` cohorts of two runs, the same number for each optimizer."""
    seeds = 2 * -(-cohorts // len(OPTIMIZERS))
    return StudySpec.model_validate(
        {
            "problem": "digits-mlp",
            "optimizers": [{"name": name} for name in OPTIMIZERS],
            "seeds": seeds,
            "steps": steps,
            "batch_size": 500,
            "evaluate_every": 50,
            "record": "replay",
        }
    )


@dataclass
class Outcome:
    """The result after the last run ended.

    Attributes:
        found: The runs compared with the same runs without faults.
        leased: How many cohorts are still leased.
        points: How many points MLflow has.
        wrong: The runs whose points in MLflow are not those of SQL.
        unanswered: Submissions that no API confirmed.
    """

    found: Verdict
    leased: int
    points: int
    wrong: list[str]
    unanswered: list[str]

    @property
    def good(self) -> bool:
        """Whether no check failed."""
        return self.found.good and not (self.leased or self.wrong or self.unanswered)


def run_study(database: str, options: argparse.Namespace) -> bool:
    """Run one study on one database and print the results; returns whether no check failed."""
    here = Laboratory(DATABASES[database], workers=3, reconcilers=2)
    try:
        outcome = _run(here, options)
        locked = here.end()
    finally:
        left = here.close()
    found = outcome.found
    print(f"  {found.repeated} repeated, {len(found.differing)} differing; {len(left)} processes left behind")
    print(f"  {outcome.points} points in MLflow, {len(outcome.wrong)} runs differ from SQL there")
    print(f"  {outcome.leased} leases and {int(locked)} locks left; {len(outcome.unanswered)} submissions unanswered")
    for name in [*found.lost, *found.differing, *outcome.wrong, *outcome.unanswered][:10]:
        print(f"    {name}")
    good = outcome.good and not left and not locked
    if good and not options.keep:
        shutil.rmtree(here.folder)
    else:
        print(f"  its logs and records: {here.folder}")
    return good


def _run(here: Laboratory, options: argparse.Namespace) -> Outcome:
    began = time.monotonic()
    spec = study(options.cohorts, options.steps)
    row = submit_study(here.store, spec, publish=here.publish, settings=here.settings)
    runs = here.store.runs_of(row.id)
    cohorts = {run.cohort_id for run in runs}
    faults = Faults(here, options.seed, runs[0].spec)

    def ended() -> int:
        here.restart_ended()
        counts = here.store.study(row.id).counts
        return sum(count for state, count in counts.items() if state in ENDED)

    def reached(due: int) -> bool:
        return ended() >= due

    for number in range(options.faults):
        # The k-th of n faults occurs when k / n of the runs have ended, or soon after.
        until(partial(reached, number * len(runs) // options.faults), "runs to end", TIMEOUT_SECONDS)
        faults.inject()
        if options.verbose:
            print(f"{time.monotonic() - began:6.0f} s  {ended():5} runs ended, {number + 1} faults", flush=True)
    until(partial(_settled, here, faults), "paused workers and pending submissions", TIMEOUT_SECONDS)
    until(partial(reached, len(runs)), "the last runs to end", TIMEOUT_SECONDS)
    submitted = [name for name in faults.submitted if name not in faults.unanswered]
    until(partial(_all_ended, here, submitted), "the runs submitted to the API to end", TIMEOUT_SECONDS)
    took = time.monotonic() - began
    ids = [run.id for run in runs] + [here.store.run(name).id for name in submitted]
    until(partial(_caught_up, here, ids), "the mirror to catch up", TIMEOUT_SECONDS + 2 * len(ids))
    all_runs = [here.store.run(identity) for identity in ids]
    found = judge(here.store, all_runs)
    points, wrong = compare_mlflow(here.store, all_runs, here.folder / "mlflow.db", MIRROR_BUDGET)
    fences = [here.store.cohort(cohort).fence for cohort in cohorts]

    print(f"\n{here.database.name}: {faults.done.total()} faults over {len(cohorts)} cohorts in {took:.0f} s")
    for kind, count in faults.done.most_common():
        print(f"  {count:5}  {kind}")
    print(f"  {sum(fences):5}  claims, at most {max(fences)} of one cohort")
    print(f"  {here.restarted:5}  processes that ended by themselves and were started again")
    if faults.exit_seconds:
        print(f"  {max(faults.exit_seconds):5.1f}  seconds to exit at SIGTERM, at most")
    print(f"  {found.runs} runs, {found.steps} steps: {len(found.lost)} lost, {found.missing} steps missing,")
    leased = here.store.cohort_counts().get("leased", 0)
    return Outcome(found, leased, points, wrong, faults.unanswered)


def _settled(here: Laboratory, faults: Faults) -> bool:
    here.restart_ended()
    return faults.settled()


def _all_ended(here: Laboratory, names: list[str]) -> bool:
    here.restart_ended()
    return all(here.store.run(name).ended for name in names)


def _caught_up(here: Laboratory, runs: list[str]) -> bool:
    here.restart_ended()
    return not behind(here.store, runs)


def main() -> None:
    """Run the study on each database."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", choices=[*DATABASES, "both"], default="both")
    parser.add_argument("--cohorts", type=int, default=500)
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--verbose", action="store_true", help="print a line for each fault")
    parser.add_argument("--keep", action="store_true", help="keep logs and records")
    options = parser.parse_args()
    # Raise on SIGTERM, so that `finally` ends the processes.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    print(f"seed {options.seed}", flush=True)
    chosen = list(DATABASES) if options.database == "both" else [options.database]
    good = [run_study(database, options) for database in chosen]
    sys.exit(0 if all(good) else 1)


if __name__ == "__main__":
    main()
