"""Runs that blew up: they ended with finite costs, but far above their start.

The height of a cost is counted from 0, or from the lowest cost of the problem's runs where that is negative. A run has
blown up if its last height is more than `FACTOR` times its first. Only these two count: a cost that rises and falls
again, as on a test function, has trained. A single batch may have a small cost by chance, so the first height is at
least the median of the first heights of all runs on the problem.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from talweg.comparison.results import Result
from talweg.comparison.times import judged

FACTOR = 10.0


def mark_blown_up(results: Sequence[Result]) -> list[Result]:
    """The results, `blown_up` set to end over beginning in those that ended more than `FACTOR` times above it."""
    grouped: dict[str, list[int]] = {}
    for index, result in enumerate(results):
        grouped.setdefault(result.problem, []).append(index)
    marked = list(results)
    for indices in grouped.values():
        for index, growth in zip(indices, _growth([results[i] for i in indices]), strict=True):
            if growth > FACTOR:
                marked[index] = replace(results[index], blown_up=growth)
    return marked


def _growth(results: Sequence[Result]) -> list[float]:
    """Height at the end over height at the beginning, of each run; 0 where the run did not come to its end."""
    ends = [_ends(result) for result in results]
    lowest = min((min(pair) for pair in ends if pair is not None), default=0.0)
    ground = min(lowest, 0.0)
    begins = [pair[0] - ground for pair in ends if pair is not None]
    usual = float(np.median(begins)) if begins else 0.0
    return [_ratio(pair[1] - ground, max(pair[0] - ground, usual)) if pair is not None else 0.0 for pair in ends]


def _ends(result: Result) -> tuple[float, float] | None:
    """The judged cost at the beginning and at the end; None where one is not finite, or the run is not complete."""
    at, costs = judged(result)
    if not result.complete or not costs.size or not result.costs.count:
        return None
    # Evaluated at its end only, it began where its first batch says.
    first, last = float(costs[0] if at[0] == 0 else result.costs.first), float(costs[-1])
    return (first, last) if math.isfinite(first) and math.isfinite(last) else None


def _ratio(end: float, begin: float) -> float:
    if begin > 0:
        return end / begin
    return math.inf if end > 0 else 0.0
