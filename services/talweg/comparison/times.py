"""Time to target: when a run first was good enough, on a stated clock; a miss is infinite, never left out."""

import math
from collections.abc import Iterable, Sequence
from typing import Literal, get_args

import numpy as np

from talweg.comparison.results import Floats, Result, Steps

Clock = Literal["steps", "gradients", "examples", "seconds"]
CLOCKS: tuple[Clock, ...] = get_args(Clock)
UNITS: dict[Clock, str] = {
    "steps": "steps",
    "gradients": "gradient evaluations",
    "examples": "examples",
    "seconds": "seconds of gradient and update",
}

# What a gradient, a cost alone and a Hessian-vector product count as.
_WEIGHTS = np.array([1.0, 0.5, 2.0])


def ticks(result: Result, clock: Clock = "steps") -> Floats:
    """(n + 1,) what the clock says before each step and after the last: 0 first, never falling.

    Evaluations are counted as gradients: a cost alone as one half (a forward pass is at most that of what forward and
    backward take together), a Hessian-vector product as two.
    """
    steps = len(result.costs)
    if clock == "steps":
        return np.arange(steps + 1, dtype=np.float64)
    if clock == "seconds":
        each = np.zeros(steps) if result.seconds is None else result.seconds
    else:
        each = np.ones(steps) if result.evaluations_made is None else result.evaluations_made @ _WEIGHTS
        each = each * ((result.batch_size or 1) if clock == "examples" else 1)
    return np.concatenate([[0.0], np.cumsum(each)])


def judged(result: Result) -> tuple[Steps, Floats]:
    """Where a run is judged: steps (n,) ascending and costs (n,) of the parameters before them.

    On the validation split; where the problem has none, by the cost of each step, which is that of its parameters.
    """
    evaluations = result.evaluations.get("validation")
    if evaluations is not None:
        return evaluations.steps, evaluations.costs
    return np.arange(len(result.costs)), result.costs


def time_to_target(result: Result, target: float, clock: Clock = "steps", *, budget: float = math.inf) -> float:
    """What the clock said when the run was first judged at a cost ≤ `target`; ∞ where it was not within `budget`.

    The least time is one step: an optimizer that starts at the target has shown nothing, and a ratio needs more
    than 0.
    """
    steps, costs = judged(result)
    (places,) = np.nonzero(costs <= target)
    if not places.size:
        return math.inf
    at = ticks(result, clock)
    time = float(at[max(int(steps[places[0]]), 1)])
    return time if time <= budget else math.inf


def median_time(times: Iterable[float]) -> float:
    """The median with misses as infinite: half of the runs arrived by then, or it is infinite too.

    Of an even number the mean of the middle two, so one miss among them makes it infinite.
    """
    values = np.array(list(times), dtype=np.float64)
    return float(median_times(values)) if values.size else math.inf


def median_times(times: Floats) -> Floats:
    """The `median_time` over the last axis, which must not be empty."""
    ordered, n = np.sort(times, axis=-1), times.shape[-1]
    return np.asarray((ordered[..., (n - 1) // 2] + ordered[..., n // 2]) / 2)


def best_judged(result: Result, *, share: float = 1.0, steps: int | None = None) -> float:
    """The least finite cost of the first `share` of `steps`; ∞ where there is none."""
    at, costs = judged(result)
    if steps is not None:
        costs = costs[at <= share * steps]
    finite = costs[np.isfinite(costs)]
    return float(finite.min()) if finite.size else math.inf


def _higher_median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2] if values else math.inf


def target_of(references: Sequence[Sequence[Result]], *, share: float = 0.75, steps: int) -> float:
    """AlgoPerf's rule: the best reference's median over its re-runs of the best cost within `share` of the budget.

    Source: Dahl et al. 2023, section 4.2: the best of the tuned reference optimizers is run again with other seeds,
    and the median of what these reached is the target; whoever is measured by it gets 4/3 of their budget. Here the
    median of an even number is the higher of the middle two, so that the reference arrives in more than half of its own
    runs.

    Args:
        references: of each reference optimizer, the runs at its best setting.
        share: of the budget, in steps.
        steps: the budget.
    """
    return min(
        (_higher_median([best_judged(run, share=share, steps=steps) for run in runs]) for runs in references),
        default=math.inf,
    )
