"""Which steps of a run a page shows: all where they fit, else evenly spaced ones and the extremes of the cost."""

import numpy as np

from talweg.comparison.curves import extremes
from talweg.comparison.results import Floats, Steps


def chosen(costs: Floats, most: int) -> Steps:
    """At most `most` (at least 4) of the steps 0 … n − 1, ascending.

    The first, the last, the cheapest and the costliest are always among them, and of every stretch its cheapest and
    costliest, so that no spike is lost.
    """
    count = len(costs)
    if count <= most:
        return np.arange(count)
    finite = np.where(np.isfinite(costs), costs, -np.inf)
    kept = {0, count - 1, int(np.argmax(finite)), int(np.nanargmin(np.where(np.isfinite(costs), costs, np.inf)))}
    # Half of what is left for the extremes, two a stretch; the rest for an even spacing.
    stretches = (most - len(kept)) // 4
    if stretches:
        kept |= set(extremes(costs, -(-count // stretches)).tolist())
    kept |= set(np.linspace(0, count - 1, most - len(kept) + 2).astype(np.int64)[1:-1].tolist())
    return np.array(sorted(kept), dtype=np.int64)


def among(steps: Steps, most: int) -> Steps:
    """At most `most` of these, evenly spread, with the first and the last."""
    if len(steps) <= most:
        return steps
    return np.asarray(steps[np.unique(np.linspace(0, len(steps) - 1, most).astype(np.int64))])


def told(kept: int, count: int) -> str:
    """What was kept, in words."""
    if kept == count:
        return "every step"
    return f"{kept:,} of {count:,} steps: evenly spaced ones, and each stretch’s cheapest and costliest"
