"""What a study trains when its runs have ended: the next stage of its tuning, or more seeds."""

import math
from collections.abc import Sequence

from talweg.comparison.compare import Comparison, OnProblem, compare
from talweg.comparison.contenders import one_and_the_same
from talweg.comparison.results import Result
from talweg.comparison.tuning import Stage, next_of_tuning
from talweg.spec import StudySpec
from talweg.study_settings import fresh_seeds


def next_stage(spec: StudySpec, results: Sequence[Result]) -> Stage:
    """The runs that follow, and what becomes of those that wait; an empty stage where the study is at its end."""
    return next_of_tuning(spec, results) if spec.until_settled is None else _more_seeds(spec, results)


def _more_seeds(spec: StudySpec, results: Sequence[Result]) -> Stage:
    """The seeds up to the next look, of every optimizer on every problem, until the best is told from all others."""
    had = {result.seed for result in results}
    looks = spec.looks()
    following = next((look for look in looks if look > len(had)), None)
    if following is None or settled(compare(spec, results)):
        return Stage()
    fresh = fresh_seeds(had, following - len(had))
    new = [
        planned
        for problem in range(len(spec.each_problem()))
        for position, optimizer in enumerate(spec.optimizers)
        for planned in spec.final(problem, position, optimizer, fresh)
    ]
    return Stage(new, last=following == looks[-1])


def settled(comparison: Comparison) -> bool:
    """Whether on every problem the best is told from every other optimizer, or no seed could."""
    return all(_settled(problem) for problem in comparison.problems)


def _settled(problem: OnProblem) -> bool:
    first = problem.standings[0]
    if not math.isfinite(first.median) or one_and_the_same(problem.standings):
        return True
    best = first.contender.label
    return all(
        difference.settled == (-1 if difference.first == best else 1)
        for difference in problem.differences
        if best in (difference.first, difference.second)
    )
