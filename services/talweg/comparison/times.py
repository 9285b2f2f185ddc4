"""Time to target: when a run first reaches the target cost, by a stated clock. A missed target counts as infinite."""

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

# The weights of a gradient, a cost alone and a Hessian-vector product, in gradients.
_WEIGHTS = np.array([1.0, 0.5, 2.0])


def ticks(result: Result, clock: Clock = "steps") -> Floats:
    """(n + 1,) the clock's reading before each step and after the last: 0 first, ascending.

    Evaluations count in gradients: a cost alone is one half (a forward pass takes at most half of forward and backward
    together), a Hessian-vector product two.
    """
    steps = result.costs.count
    if clock == "steps":
        return np.arange(steps + 1, dtype=np.float64)
    if clock == "seconds":
        each = np.zeros(steps) if result.seconds is None else result.seconds
    else:
        each = np.ones(steps) if result.evaluations_made is None else result.evaluations_made @ _WEIGHTS
        each = each * ((result.batch_size or 1) if clock == "examples" else 1)
    return np.concatenate([[0.0], np.cumsum(each)])


def taken(result: Result, clock: Clock) -> float:
    """The clock's reading after the last step."""
    if clock == "steps" or (clock == "gradients" and result.evaluations_made is None):
        return float(result.costs.count)
    return float(ticks(result, clock)[-1])


def judged(result: Result) -> tuple[Steps, Floats]:
    """The judged costs of a run: steps (n,) ascending, and costs (n,) of the parameters before them.

    These are the costs on the validation split; where the problem has none, the cost of each step.
    """
    evaluations = result.evaluations.get("validation")
    if evaluations is not None:
        return evaluations.steps, evaluations.costs
    return np.arange(result.costs.count), result.costs.array


def time_to_target(result: Result, target: float, clock: Clock = "steps", *, budget: float = math.inf) -> float:
    """The clock's reading at the first judged cost ≤ `target`; ∞ where there is none within `budget`.

    The least time is one step: a start at the target is no merit of the optimizer, and ratios need a time above 0.
    """
    steps, costs = judged(result)
    (reached,) = np.nonzero(costs <= target)
    if not reached.size:
        return math.inf
    step = max(int(steps[reached[0]]), 1)
    time = float(step if clock == "steps" else ticks(result, clock)[step])
    return time if time <= budget else math.inf


def median_time(times: Iterable[float]) -> float:
    """The median with misses as infinite; infinite without values.

    Of an even number, the mean of the middle two: it is infinite if one of these is.
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
    and the median of their best costs is the target; the optimizers measured by it get 4/3 of that budget. Deviation:
    the median of an even number is the higher of the middle two, so that the reference reaches the target in more than
    half of its own runs.

    Args:
        references: by reference optimizer, the runs at its best setting.
        share: of the budget, in steps.
        steps: the budget.
    """
    return min(
        (_higher_median([best_judged(run, share=share, steps=steps) for run in runs]) for runs in references),
        default=math.inf,
    )
