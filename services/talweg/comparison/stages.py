"""What follows in a study when the runs it has have ended: a pure function of its spec and their results."""

import math
from collections.abc import Sequence

from talweg.comparison.results import Result
from talweg.comparison.times import judged, median_time
from talweg.spec import OptimizerSpec, Planned, StudySpec


def next_stage(spec: StudySpec, results: Sequence[Result]) -> list[Planned]:
    """The judged runs of a grid: of each problem and optimizer the best learning rate, with the study's seeds.

    An optimizer all of whose tuning runs diverged or failed on a problem has none there.
    """
    if not spec.staged:
        return []
    names, found = spec.problem_names(), []
    for problem in range(len(names)):
        for position, optimizer in enumerate(spec.optimizers):
            tried = [r for r in results if (r.stage, r.problem, r.contender) == ("tuning", names[problem], position)]
            rate = best_learning_rate(tried)
            if rate is not None:
                setting = OptimizerSpec(name=optimizer.name, **(optimizer.settings | {"learning_rate": rate}))
                found += spec.final(problem, position, setting)
    return found


def final_judged(result: Result) -> float:
    """The cost where a run was judged last; infinite where it diverged or did not come to its end."""
    _, costs = judged(result)
    last = float(costs[-1]) if costs.size else math.inf
    return last if result.complete and math.isfinite(last) else math.inf


def tuned(results: Sequence[Result]) -> dict[float, float]:
    """Of each learning rate, ascending, the median over seeds of the final judged cost, divergence as infinite."""
    by_rate: dict[float, list[float]] = {}
    for result in results:
        by_rate.setdefault(float(result.optimizer["learning_rate"]), []).append(final_judged(result))
    return {rate: median_time(costs) for rate, costs in sorted(by_rate.items())}


def best_learning_rate(results: Sequence[Result]) -> float | None:
    """The one with the least median final cost, of equal ones the least; None where all are infinite."""
    costs = tuned(results)
    best = min(costs, key=lambda rate: costs[rate], default=None)
    return best if best is not None and math.isfinite(costs[best]) else None
