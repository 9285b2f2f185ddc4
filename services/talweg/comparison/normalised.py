"""All runs of a study on one scale, with rliable's aggregates: interquartile mean, optimality gap, improvement.

With C_0 the cost before the first step, and C* the least median final cost of the study's optimizers on the problem, a
run with final cost C has the score

    s = (f(C_0) − f(C)) / (f(C_0) − f(C*)),  f the logarithm where all of them are positive, else the cost itself,

so 0 is the start and 1 the study's best. A run that diverged, or ended above its start, has 0. Scores of two studies
are not comparable: another set of optimizers has another C*.

Source: Agarwal et al., "Deep Reinforcement Learning at the Edge of the Statistical Precipice", 2021. Deviation: there
scores are normalised by human scores.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from talweg.comparison.compare import Comparison, OnProblem, shown
from talweg.comparison.contenders import Contender
from talweg.comparison.intervals import (
    Interval,
    interquartile_mean,
    optimality_gap,
    probability_of_improvement,
    stratified_interval,
)
from talweg.comparison.results import Floats
from talweg.comparison.times import judged, median_time

_RESAMPLES = 1000
# Fewer, since each of these resamples compares all pairs of runs.
_IMPROVEMENTS = 300


@dataclass(frozen=True)
class Aggregate:
    """A contender's runs on all problems; `improvement` is its probability of improvement, mean over the others."""

    contender: Contender
    interquartile_mean: Interval
    optimality_gap: Interval
    improvement: Interval | None


def aggregates(comparison: Comparison, *, seed: int = 0) -> list[Aggregate]:
    """Best interquartile mean first; [] if a problem has no cost of the start, or a contender no judged run."""
    tables = [_scores(comparison, problem) for problem in comparison.problems]
    if any(table is None for table in tables):
        return []
    by_contender = [[table[i] for table in tables if table is not None] for i in range(len(comparison.contenders))]
    found = [
        Aggregate(
            contender,
            stratified_interval(_pooled_mean, own, seed=seed, resamples=_RESAMPLES),
            stratified_interval(_pooled_gap, own, seed=seed, resamples=_RESAMPLES),
            _improvement(own, [other for other in by_contender if other is not own], seed),
        )
        for contender, own in zip(comparison.contenders, by_contender, strict=True)
    ]
    return sorted(found, key=lambda a: (-a.interquartile_mean.estimate, a.contender.position))


def _pooled_mean(strata: Sequence[Floats]) -> float:
    return interquartile_mean(np.concatenate(strata))


def _pooled_gap(strata: Sequence[Floats]) -> float:
    # Each problem has the same weight, however many runs it has.
    return float(np.mean([optimality_gap(stratum) for stratum in strata]))


def _improvement(own: Sequence[Floats], others: Sequence[Sequence[Floats]], seed: int) -> Interval | None:
    if not others:
        return None
    count = len(own)

    def mean(drawn: Sequence[Floats]) -> float:
        # A higher score is better; probability_of_improvement takes lower as better.
        parts = [[-scores for scores in drawn[i : i + count]] for i in range(0, len(drawn), count)]
        return float(np.mean([probability_of_improvement(parts[0], part) for part in parts[1:]]))

    strata = [*own, *(stratum for other in others for stratum in other)]
    return stratified_interval(mean, strata, seed=seed, resamples=_IMPROVEMENTS)


def _scores(comparison: Comparison, problem: OnProblem) -> list[Floats] | None:
    """By contender, in the order of the spec, the scores (n,) of its seeds on one problem."""
    scores = {s.contender.position: np.array(list(s.scores.values())) for s in problem.standings}
    starts = [
        float(costs[0])
        for contender in comparison.contenders
        for at, costs in map(judged, shown(comparison, problem, contender))
        if at.size and at[0] == 0 and math.isfinite(costs[0])
    ]
    medians = [median_time(own) for own in scores.values()]
    if not starts or not all(own.size for own in scores.values()) or not math.isfinite(min(medians)):
        return None
    start, best = float(np.median(starts)), min(medians)
    finite = [float(cost) for own in scores.values() for cost in own if math.isfinite(cost)]
    if start <= best:
        return None
    if min([start, *finite]) > 0:
        return [_scaled(np.log(scores[c.position]), math.log(start), math.log(best)) for c in comparison.contenders]
    return [_scaled(scores[c.position], start, best) for c in comparison.contenders]


def _scaled(costs: Floats, start: float, best: float) -> Floats:
    return np.asarray(np.maximum((start - costs) / (start - best), 0.0))
