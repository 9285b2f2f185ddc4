"""A study under faults: workers, brokers, databases and reconcilers die at random, and nothing is lost.

    python benchmarks/reliability.py [--database sqlite|postgresql|both] [--cohorts N] [--faults N] [--seed N]

Three workers and two reconcilers train N cohorts of two runs, with leases of two seconds and a commit every 50 ms.
As the study goes on, faults strike at random moments, from a seed that is printed: they are spread over its whole
length, so that a slow machine sees as many as a quick one. What a fault ended is started again. Then every run is
compared with one that nothing happened to: lost (not finished), repeated (step rows), differing (any bit of any cost
or of the last checkpoint). The exit status is 1 where any of these is not zero. A short form runs with the tests.
"""

import argparse
import os
import random
import shutil
import signal
import sys
import time
from functools import partial

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

from chaos.faults import Faults
from chaos.services import Laboratory, Postgresql, Sqlite, until
from chaos.verdict import Verdict, judge

from talweg.execution import submit_study
from talweg.spec import StudySpec

DATABASES: dict[str, type[Sqlite] | type[Postgresql]] = {"sqlite": Sqlite, "postgresql": Postgresql}
OPTIMIZERS = ("sgd", "momentum", "adam", "adamw", "rmsprop")
# Seconds for the next run to end: far more than any takes on a busy machine.
PATIENCE = 600.0
OVER = ("finished", "failed", "cancelled")


def study(cohorts: int, steps: int) -> StudySpec:
    """`cohorts` cohorts of two runs, in as equal parts by optimizer as they come."""
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


def suffer(database: str, options: argparse.Namespace) -> bool:
    """One study on one database; prints what happened, and returns whether all is well."""
    here = Laboratory(DATABASES[database], workers=3, reconcilers=2)
    try:
        found, good = _suffer(here, options)
    finally:
        left = here.close()
    print(f"  {found.repeated} repeated, {len(found.differing)} differing; {len(left)} processes left behind")
    for name in [*found.lost, *found.differing][:10]:
        print(f"    {name}")
    if good and not options.keep:
        shutil.rmtree(here.folder)
    else:
        print(f"  its logs and records: {here.folder}")
    return good and not left


def _suffer(here: Laboratory, options: argparse.Namespace) -> tuple[Verdict, bool]:
    began = time.monotonic()
    spec = study(options.cohorts, options.steps)
    row = submit_study(here.store, spec, publish=here.publish, settings=here.settings)
    runs = here.store.runs_of(row.id)
    cohorts = {run.cohort_id for run in runs}
    faults = Faults(here, options.seed)

    def over() -> int:
        here.mend()
        counts = here.store.study(row.id).counts
        return sum(count for state, count in counts.items() if state in OVER)

    def reached(due: int) -> bool:
        return over() >= due

    for number in range(options.faults):
        # The k-th of n strikes when a share k / n of the runs is over, or soon after.
        until(partial(reached, number * len(runs) // options.faults), "runs to end", PATIENCE)
        faults.strike()
        if options.verbose:
            print(f"{time.monotonic() - began:6.0f} s  {over():5} runs over, {number + 1} faults", flush=True)
    faults.settle()
    until(partial(reached, len(runs)), "the last runs to end", PATIENCE)
    took = time.monotonic() - began
    found = judge(here.store, here.store.runs_of(row.id))
    fences = [here.store.cohort(cohort).fence for cohort in cohorts]

    print(f"\n{here.database.name}: {faults.done.total()} faults over {len(cohorts)} cohorts in {took:.0f} s")
    for kind, count in faults.done.most_common():
        print(f"  {count:5}  {kind}")
    print(f"  {sum(fences):5}  claims, at most {max(fences)} of one cohort")
    print(f"  {here.mended:5}  processes that ended unasked and were started again, as a supervisor would")
    if faults.leaving:
        print(f"  {max(faults.leaving):5.1f}  seconds to leave at SIGTERM, at most")
    print(f"  {found.runs} runs, {found.steps} steps: {len(found.lost)} lost, {found.missing} steps missing,")
    return found, found.good


def main() -> None:
    """Print what happened on each database."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", choices=[*DATABASES, "both"], default="both")
    parser.add_argument("--cohorts", type=int, default=500)
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--verbose", action="store_true", help="a line a fault")
    parser.add_argument("--keep", action="store_true", help="keep logs and records")
    options = parser.parse_args()
    # Whoever ends this command ends what it started, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    print(f"seed {options.seed}", flush=True)
    chosen = list(DATABASES) if options.database == "both" else [options.database]
    good = [suffer(database, options) for database in chosen]
    sys.exit(0 if all(good) else 1)


if __name__ == "__main__":
    main()
