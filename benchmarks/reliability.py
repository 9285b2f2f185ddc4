"""A study under faults: everything that the laboratory is made of dies at random, and nothing is lost.

    python benchmarks/reliability.py [--database sqlite|postgresql|both] [--cohorts N] [--faults N] [--seed N]

Three workers and two reconcilers train N cohorts of two runs, with leases of two seconds and a commit every 50 ms;
an API takes more runs, and a mirror carries all of them to an MLflow server. As the study goes on, faults strike at
random moments, from a seed that is printed: they are spread over its whole length, so that a slow machine sees as
many as a quick one. What a fault ended is started again. Then every run is compared with one that nothing happened
to: lost (not finished), repeated (step rows), differing (any bit of any cost or of the last checkpoint), and with
what MLflow holds. No process, no lease and no lock may be left. The exit status is 1 where any of this is not so. A
short form runs with the tests.

A worker's pool is its own process (Celery's "solo"), so that ending a worker ends what a pool's child would be.
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


@dataclass
class Outcome:
    """What is left when all is over.

    Attributes:
        found: The runs, compared with undisturbed ones.
        leased: Cohorts that someone still holds.
        points: Points in MLflow, and `wrong`, the runs whose points there are not those of SQL.
        unanswered: Submissions that no API confirmed.
    """

    found: Verdict
    leased: int
    points: int
    wrong: list[str]
    unanswered: list[str]

    @property
    def good(self) -> bool:
        """Whether all is as it was without any fault."""
        return self.found.good and not (self.leased or self.wrong or self.unanswered)


def suffer(database: str, options: argparse.Namespace) -> bool:
    """One study on one database; prints what happened, and returns whether all is well."""
    here = Laboratory(DATABASES[database], workers=3, reconcilers=2)
    try:
        outcome = _suffer(here, options)
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


def _suffer(here: Laboratory, options: argparse.Namespace) -> Outcome:
    began = time.monotonic()
    spec = study(options.cohorts, options.steps)
    row = submit_study(here.store, spec, publish=here.publish, settings=here.settings)
    runs = here.store.runs_of(row.id)
    cohorts = {run.cohort_id for run in runs}
    faults = Faults(here, options.seed, runs[0].spec)

    def over() -> int:
        here.restart_ended()
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
    until(partial(_settled, here, faults), "what is under way to end", PATIENCE)
    until(partial(reached, len(runs)), "the last runs to end", PATIENCE)
    handed_in = [name for name in faults.submitted if name not in faults.unanswered]
    until(partial(_all_over, here, handed_in), "the runs that the API took to end", PATIENCE)
    took = time.monotonic() - began
    ids = [run.id for run in runs] + [here.store.run(name).id for name in handed_in]
    until(partial(_caught_up, here, ids), "the mirror to catch up", PATIENCE + 2 * len(ids))
    everyone = [here.store.run(identity) for identity in ids]
    found = judge(here.store, everyone)
    points, wrong = compare_mlflow(here.store, everyone, here.folder / "mlflow.db", MIRROR_BUDGET)
    fences = [here.store.cohort(cohort).fence for cohort in cohorts]

    print(f"\n{here.database.name}: {faults.done.total()} faults over {len(cohorts)} cohorts in {took:.0f} s")
    for kind, count in faults.done.most_common():
        print(f"  {count:5}  {kind}")
    print(f"  {sum(fences):5}  claims, at most {max(fences)} of one cohort")
    print(f"  {here.restarted:5}  processes that ended unasked and were started again, as a supervisor would")
    if faults.leaving:
        print(f"  {max(faults.leaving):5.1f}  seconds to leave at SIGTERM, at most")
    print(f"  {found.runs} runs, {found.steps} steps: {len(found.lost)} lost, {found.missing} steps missing,")
    leased = here.store.cohort_counts().get("leased", 0)
    return Outcome(found, leased, points, wrong, faults.unanswered)


def _settled(here: Laboratory, faults: Faults) -> bool:
    here.restart_ended()
    return faults.settled()


def _all_over(here: Laboratory, names: list[str]) -> bool:
    here.restart_ended()
    return all(here.store.run(name).ended for name in names)


def _caught_up(here: Laboratory, runs: list[str]) -> bool:
    here.restart_ended()
    return not behind(here.store, runs)


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
