"""What a budget is counted in: steps, gradient evaluations, examples, or seconds of gradient and update.

Seconds are a run's share of its cohort's: what a step took, over the runs that made it. Recording and evaluation are
outside of them. They depend on the machine and on who shared it; the other three do not.
"""

from typing import Literal, get_args

import numpy as np

from talweg.comparison.results import Floats, Result

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
