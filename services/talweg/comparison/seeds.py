"""The number of seeds that a comparison needs: notes at submission, seeds that would settle a result, plans."""

import math
from dataclasses import dataclass

import numpy as np

from talweg.comparison.compare import Comparison, OnProblem
from talweg.comparison.significance import Difference
from talweg.errors import InvalidSpec
from talweg.spec import StudySpec
from talweg.study_settings import ALPHA, comparisons_of, seeds_needed

POWER = 0.8
# The signed-rank test needs at least π / 3 times the pairs of the t test where differences are normal.
_RANK = math.pi / 3
# More than this is said as "more than".
_MOST = 1000


def seeds_for(difference: float, spread: float, degrees: int, comparisons: int, *, power: float = POWER) -> int:
    """How many seeds find a difference with probability `power`, corrected for m = `comparisons`.

    n = (t_{1 − α/2m} + t_power)² (s / d)² π/3, with Student's quantiles at the degrees of freedom that s is known with,
    and no less than the rank test needs. The fewer seeds s is from, the more it may be too small: so more are named.

    Args:
        difference: d, the mean of the paired differences (of logarithms of the cost, where it is a ratio).
        spread: s, their standard deviation.
        degrees: of freedom of s, 1 or more.
        comparisons: m.
        power: the probability with which it is to be found.

    Source: Julious and Owen, "Sample Size Calculations for Clinical Studies Allowing for Uncertainty about the
    Variance", 2006; π/3, what ranks need more than a t test of normal differences: Noether, "Sample Size Determination
    for Some Common Nonparametric Tests", 1987.
    """
    # scipy takes a tenth of a second to import.
    from scipy.special import stdtrit

    least = seeds_needed(comparisons)
    if difference == 0:
        return _MOST + 1
    t = float(stdtrit(degrees, 1 - ALPHA / (2 * comparisons)) + stdtrit(degrees, power))
    return max(least, math.ceil(min((t * spread / abs(difference)) ** 2 * _RANK, 1e9)))


def seeds_that_would_settle(difference: Difference, comparisons: int) -> int | None:
    """How many seeds would settle a difference of the size that was seen; None where that is not known."""
    if difference.interval is None or not difference.spread > 0 or difference.measured < difference.pairs:
        return None
    estimate = difference.interval.estimate
    size = math.log(estimate) if difference.relative and 0 < estimate < math.inf else estimate
    return seeds_for(size, difference.spread, difference.measured - 1, comparisons)


@dataclass(frozen=True)
class Plan:
    """How many seeds find a stated difference, from the runs of a pilot study.

    Attributes:
        difference: as a share of the greater cost: 0.1 where one optimizer's cost is 10 % below another's.
        seeds: of every optimizer, on the problem that needs the most.
        power: the probability with which they find it.
        comparisons: how many are made on each problem, which the number is corrected for.
        spread: the standard deviation of a pair's log ratio on that problem.
        runs: seeds × optimizers × problems.
        seconds: of gradient and update, all runs one after another; None where that was not kept.
        left_out: contenders of the pilot that did not train, of which nothing is known.
    """

    difference: float
    seeds: int
    power: float
    comparisons: int
    spread: float
    runs: int
    seconds: float | None
    left_out: tuple[str, ...]

    @property
    def text(self) -> str:
        """The plan in words."""
        corrected = f", corrected for {self.comparisons:,} comparisons" if self.comparisons > 1 else ""
        wanted = f"a difference of {100 * self.difference:g} % in the final cost in {self.power:.0%} of studies"
        said = [f"To find {wanted}{corrected}, train each optimizer with {many(self.seeds)}: {self.runs:,} runs."]
        if self.seconds is not None:
            said.append(f"At the pilot's pace that is about {_duration(self.seconds)} of training, one run at a time.")
        if self.left_out:
            said.append(f"Nothing is known of {', '.join(self.left_out)}, which did not train.")
        return " ".join(said)


def plan(comparison: Comparison, difference: float) -> Plan:
    """From a study of a few seeds; raises InvalidSpec where the difference is none, or the runs say nothing of it."""
    if not 0 < difference < 1:
        raise InvalidSpec(f"difference: must be above 0 % and below 100 %, got {100 * difference:g} %")
    comparisons = comparisons_of(len(comparison.contenders))
    spreads = map(_spread, comparison.problems)
    seeds, spread = max(
        (seeds_for(math.log1p(-difference), spread, degrees, comparisons), spread) for spread, degrees in spreads
    )
    finished = [run for run in comparison.results if run.complete]
    timed = [float(run.seconds.sum()) for run in finished if run.seconds is not None]
    runs = seeds * len(comparison.contenders) * len(comparison.problems)
    standings = [standing for problem in comparison.problems for standing in problem.standings]
    untrained = [standing.contender.label for standing in standings if not math.isfinite(standing.median)]
    return Plan(
        difference,
        seeds,
        POWER,
        comparisons,
        spread,
        runs,
        sum(timed) / len(timed) * runs if timed else None,
        tuple(dict.fromkeys(untrained)),
    )


def _spread(problem: OnProblem) -> tuple[float, int]:
    """The standard deviation of the log ratio of two optimizers on one seed, with its degrees of freedom.

    The residual of log cost = optimizer + seed, pooled over all optimizers that trained: √2 σ.
    """
    trained = [
        s.scores for s in problem.standings if s.scores and all(0 < cost < math.inf for cost in s.scores.values())
    ]
    seeds = sorted(set.intersection(*(set(scores) for scores in trained))) if trained else []
    if len(trained) < 2 or len(seeds) < 2:
        raise InvalidSpec(
            f"plan: on {problem.name} two optimizers must end at costs above 0 on two seeds or more, "
            f"got {len(trained)} on {len(seeds)}"
        )
    logs = np.log([[scores[seed] for seed in seeds] for scores in trained])
    residual = logs - logs.mean(axis=0) - logs.mean(axis=1, keepdims=True) + logs.mean()
    degrees = (len(trained) - 1) * (len(seeds) - 1)
    return math.sqrt(2 * float((residual**2).sum()) / degrees), degrees


def _duration(seconds: float) -> str:
    for unit, size in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 1):.0f} s"


def many(seeds: int) -> str:
    """`40 seeds`, or `more than 1,000 seeds`."""
    return f"{seeds:,} seeds" if seeds <= _MOST else f"more than {_MOST:,} seeds"


def notes_at_submission(spec: StudySpec) -> list[str]:
    """What a study's number of seeds cannot settle, known before it trains; empty where it can settle everything."""
    seeds, optimizers = spec.looks()[-1], len(spec.optimizers)
    comparisons = comparisons_of(optimizers)
    needed = seeds_needed(comparisons, alpha=ALPHA / len(spec.looks()))
    if optimizers < 2 or seeds >= needed:
        return []
    how_many = f"{comparisons:,} comparison{'s' * (comparisons != 1)}"
    if seeds == 1:
        said = f"seeds: 1 seed settles nothing: the differences may be that seed's. {needed} can settle {how_many}"
    else:
        said = (
            f"seeds: {seeds} are too few for a rank test of {how_many}, which needs {needed}. The answers will rest on "
            "a t test of the log of the cost, which assumes roughly normal differences"
        )
    return [f'{said}; seeds="auto" takes enough.']
