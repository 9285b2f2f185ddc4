"""A line search for a step length that satisfies the strong Wolfe conditions.

A generator that yields a trial length and receives cost and slope there, so that the searches of many runs advance
together, each with its own lengths.

Source: Nocedal & Wright 2006, algorithms 3.5 and 3.6, with the safeguards of PyTorch's `_strong_wolfe`.
"""

from collections.abc import Generator
from dataclasses import dataclass
from math import sqrt

_DECREASE = 1e-4
_CURVATURE = 0.9
_TRIALS = 25


@dataclass(frozen=True)
class Trial:
    """Length t along the direction, the cost and the slope there, and which trial it was (0 is the start)."""

    length: float
    cost: float
    slope: float
    number: int


# Yields lengths, receives (cost, slope), returns the accepted trial.
Search = Generator[float, tuple[float, float], Trial]


def strong_wolfe(cost: float, slope: float, length: float, longest: float, tolerance: float) -> Search:
    """Search from `length`; `longest` is max |d|; ends where a bracket's width times `longest` is below `tolerance`."""
    start = before = Trial(0.0, cost, slope, 0)
    trial = Trial(length, *(yield length), 1)
    rounds = 0
    bracket = [start, trial]
    while rounds < _TRIALS:
        if trial.cost > cost + _DECREASE * trial.length * slope or (rounds > 1 and trial.cost >= before.cost):
            bracket = [before, trial]
            break
        if abs(trial.slope) <= -_CURVATURE * slope:
            return trial
        if trial.slope >= 0:
            bracket = [before, trial]
            break
        nearest = trial.length + 0.01 * (trial.length - before.length)
        length = _cubic(before, trial, nearest, trial.length * 10)
        before, trial = trial, Trial(length, *(yield length), trial.number + 1)
        rounds += 1
    else:
        # No bracket was found: use the better one of start and last trial.
        bracket = [start, trial]
    return (yield from _zoom(start, bracket, rounds, longest, tolerance))


def _zoom(start: Trial, bracket: list[Trial], rounds: int, longest: float, tolerance: float) -> Search:
    """Narrow a bracket that contains an acceptable length."""
    low, high = sorted(range(2), key=lambda i: bracket[i].cost)
    stalled = False
    number = max(trial.number for trial in bracket)
    while rounds < _TRIALS:
        least, most = sorted(trial.length for trial in bracket)
        if (most - least) * longest < tolerance:
            break
        length = _cubic(bracket[0], bracket[1], least, most)
        margin = 0.1 * (most - least)
        if min(most - length, length - least) < margin:
            # Too close to an end for the second time, or outside: a tenth of the bracket from that end instead.
            if stalled or length >= most or length <= least:
                length = most - margin if abs(length - most) < abs(length - least) else least + margin
                stalled = False
            else:
                stalled = True
        else:
            stalled = False
        number += 1
        trial = Trial(length, *(yield length), number)
        rounds += 1
        if trial.cost > start.cost + _DECREASE * length * start.slope or trial.cost >= bracket[low].cost:
            bracket[high] = trial
            low, high = (0, 1) if bracket[0].cost <= bracket[1].cost else (1, 0)
            continue
        if abs(trial.slope) <= -_CURVATURE * start.slope:
            return trial
        if trial.slope * (bracket[high].length - bracket[low].length) >= 0:
            bracket[high] = bracket[low]
        bracket[low] = trial
    return bracket[low]


def _cubic(a: Trial, b: Trial, least: float, most: float) -> float:
    """The minimum of the cubic through two trials, limited to [least, most]; the middle where it has no minimum."""
    d1 = a.slope + b.slope - 3 * (a.cost - b.cost) / (a.length - b.length)
    square = d1 * d1 - a.slope * b.slope
    if not square >= 0:
        return (least + most) / 2
    d2 = sqrt(square)
    if a.length <= b.length:
        below = b.slope - a.slope + 2 * d2
        found = b.length - (b.length - a.length) * ((b.slope + d2 - d1) / below) if below else least
    else:
        below = a.slope - b.slope + 2 * d2
        found = a.length - (a.length - b.length) * ((a.slope + d2 - d1) / below) if below else least
    return min(max(found, least), most)
