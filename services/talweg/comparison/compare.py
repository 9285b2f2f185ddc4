"""Compare a study's optimizers: from runs to differences, intervals and scores. A pure function."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from talweg.comparison.contenders import (
    Contender,
    Standing,
    along_the_way,
    best_of_seeds,
    by_contender,
    contenders,
    setting_of,
    standing,
    within,
)
from talweg.comparison.divergence import mark_blown_up
from talweg.comparison.intervals import (
    Interval,
    generator,
    probability_of_improvement,
    quantiles,
    speed_up,
    stratified_interval,
)
from talweg.comparison.profiles import expected_best, profile_scores, sensitivity
from talweg.comparison.results import Floats, Result
from talweg.comparison.significance import Difference, differences
from talweg.comparison.times import Clock, judged, median_times, taken, target_of
from talweg.comparison.tuning import final_judged, tuned
from talweg.spec import StudyProblem, StudySpec
from talweg.study_settings import PAIRWISE

RESAMPLES = 1000
_IMPROVEMENTS = 500


@dataclass(frozen=True)
class Tuning:
    """The result of a contender's tuning on a problem: the median final cost of each learning rate tried."""

    contender: Contender
    rates: tuple[float, ...]
    costs: tuple[float, ...]
    best: float | None
    sensitivity: float

    @property
    def at_edge(self) -> bool:
        """Whether the best is the least or the greatest tried: a better one may lie outside the range."""
        return self.best is not None and len(self.rates) > 1 and self.best in (self.rates[0], self.rates[-1])


@dataclass(frozen=True)
class OnProblem:
    """One problem: the contenders' standings, best first, and every pair of them compared.

    Attributes:
        judged_by: "validation cost", or "cost" where the problem has no validation split.
        budget: the clock's value at the end, the same for all contenders.
        target: the cost at which a run has arrived; infinite where there is none. `target_rule` is its origin.
        along: by share of the budget, the median costs in the order of `standings`.
        trials: of a search, by contender, the expected best cost of k trials.
    """

    name: str
    steps: int
    judged_by: str
    budget: float
    target: float
    target_rule: str
    standings: tuple[Standing, ...]
    differences: tuple[Difference, ...]
    along: dict[float, list[float]]
    tunings: tuple[Tuning, ...]
    trials: dict[str, Floats]


@dataclass(frozen=True)
class Score:
    """A contender over all problems: the integral of its performance profile, with its interval over seeds.

    `speed_up` is over the study's first optimizer: how many times sooner the contender reached the target, as a
    geometric mean over the problems where both did; the second number counts these.
    """

    contender: Contender
    score: Interval
    arrived: int
    times: tuple[float, ...]
    speed_up: tuple[float, int]


@dataclass(frozen=True, eq=False)
class Comparison:
    """The content of a report.

    With several problems, `scores` cover all of them, `overall` compares the contenders in pairs, with each seed as a
    study of its own, and `improvements`, in the order of `overall`, are the probabilities that a run of the first ends
    at a lower cost than one of the second (empty for more than `PAIRWISE` contenders).
    """

    spec: StudySpec
    results: tuple[Result, ...]
    contenders: tuple[Contender, ...]
    problems: tuple[OnProblem, ...]
    scores: tuple[Score, ...] = ()
    overall: tuple[Difference, ...] = ()
    improvements: tuple[Interval, ...] = ()

    @cached_property
    def by_contender(self) -> list[list[Result]]:
        """Each contender's runs."""
        return by_contender(self.spec, self.results)

    @property
    def several(self) -> bool:
        """Whether there is more than one problem."""
        return len(self.problems) > 1


def compare(spec: StudySpec, results: Sequence[Result], *, seed: int = 0) -> Comparison:
    """Compare a study's optimizers; `spec` has every default filled in, `seed` is the resampling's."""
    compared, results = contenders(spec), mark_blown_up(results)
    problems = tuple(
        _on_problem(spec, own, [r for r in results if r.problem in (name, "")], compared, name, seed)
        for name, own in zip(spec.problem_names(), spec.each_problem(), strict=True)
    )
    scores = _scores(compared, problems, seed)
    overall = _overall(compared, problems, len(spec.looks()), seed) if len(problems) > 1 else ()
    few = len(compared) <= PAIRWISE
    improvements = tuple(_improvement(problems, d, seed) for d in overall) if few else ()
    return Comparison(spec, tuple(results), tuple(compared), problems, scores, overall, improvements)


def leaders(comparison: Comparison) -> Comparison:
    """The comparison with its `PAIRWISE` best contenders only: the content of tables and figures that show each."""
    if len(comparison.contenders) <= PAIRWISE:
        return comparison
    ranked: Sequence[Score | Standing] = comparison.scores or comparison.problems[0].standings
    chosen = sorted((each.contender for each in ranked[:PAIRWISE]), key=lambda contender: contender.position)
    labels = {contender.label for contender in chosen}
    return replace(
        comparison,
        contenders=tuple(chosen),
        problems=tuple(_only(problem, labels) for problem in comparison.problems),
        scores=tuple(score for score in comparison.scores if score.contender.label in labels),
        overall=tuple(d for d in comparison.overall if {d.first, d.second} <= labels),
    )


def _only(problem: OnProblem, labels: Collection[str]) -> OnProblem:
    kept = [i for i, standing in enumerate(problem.standings) if standing.contender.label in labels]
    return replace(
        problem,
        standings=tuple(problem.standings[i] for i in kept),
        differences=tuple(d for d in problem.differences if {d.first, d.second} <= set(labels)),
        along={share: [costs[i] for i in kept] for share, costs in problem.along.items()},
        tunings=tuple(tuning for tuning in problem.tunings if tuning.contender.label in labels),
        trials={label: curve for label, curve in problem.trials.items() if label in labels},
    )


def shown(comparison: Comparison, problem: OnProblem, contender: Contender) -> list[Result]:
    """The judged runs of a contender, one a seed (of a search the best trial), with the contender's setting."""
    setting = setting_of(comparison.spec.optimizers[contender.position])
    return [replace(run, optimizer=setting) for run in best_of_seeds(final_runs(comparison, problem, contender))]


def shown_runs(comparison: Comparison, problem: OnProblem) -> list[Result]:
    """The judged runs of every contender, one a seed, in the order of the contenders."""
    return [run for contender in comparison.contenders for run in shown(comparison, problem, contender)]


def final_runs(comparison: Comparison, problem: OnProblem, contender: Contender) -> list[Result]:
    """The runs of a contender on a problem that are judged: those of the final stage."""
    return [run for run in runs_on(comparison, problem, contender) if run.stage == "final"]


def runs_on(comparison: Comparison, problem: OnProblem, contender: Contender) -> list[Result]:
    """The runs of a contender on a problem, of every stage."""
    return [run for run in comparison.by_contender[contender.position] if run.problem in (problem.name, "")]


def _on_problem(
    spec: StudySpec, own: StudyProblem, results: Sequence[Result], compared: Sequence[Contender], name: str, seed: int
) -> OnProblem:
    steps = own.steps or spec.steps
    grouped = by_contender(spec, results)
    final = [[run for run in runs if run.stage == "final"] for runs in grouped]
    budget = budget_of(final, spec.clock)
    final = [[within(run, spec.clock, budget) for run in runs] for runs in final]
    target, rule = _target(spec, own, final, compared, steps)
    scored = [run for runs in final for run in runs if run.complete]
    positive = all(_positive(run) for run in scored)
    standings = [
        standing(contender, runs, target=target, clock=spec.clock, positive=positive, tuned=spec.protocol == "grid")
        for contender, runs in zip(compared, final, strict=True)
    ]
    order = sorted(range(len(compared)), key=lambda i: (standings[i].median, _rest(standings[i]), i))
    validated = any("validation" in run.evaluations for run in scored)
    return OnProblem(
        name,
        steps,
        "validation cost" if validated else "cost",
        budget,
        target,
        rule,
        tuple(standings[i] for i in order),
        tuple(
            differences(
                {standings[i].contender.label: standings[i].scores for i in order}, looks=len(spec.looks()), seed=seed
            )
        ),
        along_the_way([best_of_seeds(final[i]) for i in order], steps),
        tuple(_tunings(compared, grouped)),
        # The final cost of a pruned trial is unknown, and trials that TPE suggested are not independent draws.
        _trials(compared, final) if spec.protocol == "search" and not spec.adaptive else {},
    )


def _rest(standing: Standing) -> float:
    """The order of equal medians: the share of runs that did not train."""
    return (standing.diverged + standing.blown_up) / standing.runs if standing.runs else 1.0


def _positive(run: Result) -> bool:
    _, costs = judged(run)
    return not costs.size or float(costs[-1]) > 0


def budget_of(runs: Sequence[Sequence[Result]], clock: Clock) -> float:
    """The budget of all contenders: the least over contenders of the most that one of its runs took.

    In steps this is the spec's number. By another clock, runs that took more a step are cut off at fewer steps.
    """
    most = [max((taken(run, clock) for run in own if run.complete), default=math.inf) for own in runs]
    return min(most, default=math.inf)


def _target(
    spec: StudySpec, own: StudyProblem, final: Sequence[Sequence[Result]], compared: Sequence[Contender], steps: int
) -> tuple[float, str]:
    """The target cost, and its origin in words."""
    target = own.target
    if target is not None and target.cost is not None:
        return target.cost, "given"
    if target is None and not spec.problems:
        return -math.inf, "none"
    share = 0.75 if target is None else target.share
    named = [] if target is None else target.references
    references = [
        [run for run in best_of_seeds(runs) if run.complete]
        for contender, runs in zip(compared, final, strict=True)
        if not named or contender.optimizer in named
    ]
    found = target_of([runs for runs in references if runs], share=share, steps=steps)
    names = " and ".join(named) if named else "all optimizers"
    return found, f"found: the best of {names}, median over seeds of the best cost within {share:.0%} of the steps"


def _tunings(compared: Sequence[Contender], runs: Sequence[Sequence[Result]]) -> list[Tuning]:
    found = []
    for contender, own in zip(compared, runs, strict=True):
        tried = [run for run in own if run.stage == "tuning"]
        costs = tuned(tried)
        if costs:
            best = min(costs, key=lambda rate: costs[rate])
            starts = [float(judged(run)[1][0]) for run in tried if judged(run)[1].size]
            start = float(np.median(starts)) if starts else math.inf
            found.append(
                Tuning(
                    contender,
                    tuple(costs),
                    tuple(costs.values()),
                    best if math.isfinite(costs[best]) else None,
                    sensitivity(list(costs.values()), start=start),
                )
            )
    return found


def _trials(compared: Sequence[Contender], final: Sequence[Sequence[Result]]) -> dict[str, Floats]:
    """By contender the expected best final cost of k trials, k = 1 … n: the median over seeds."""
    found = {}
    for contender, runs in zip(compared, final, strict=True):
        by_seed: dict[int, list[float]] = {}
        for run in runs:
            by_seed.setdefault(run.seed, []).append(final_judged(run))
        curves = [expected_best(values, replace=False) for values in by_seed.values()]
        if curves and len({len(curve) for curve in curves}) == 1:
            found[contender.label] = np.median(np.stack(curves), axis=0)
    return found


def _times(compared: Sequence[Contender], problems: Sequence[OnProblem]) -> Floats | None:
    """(S, P, N) times to target of the N seeds that all contenders have; None where there are none, or no targets."""
    table = [[_standing_of(problem, contender).times for problem in problems] for contender in compared]
    seeds = set.intersection(*(set(times) for row in table for times in row)) if table else set()
    if not seeds or any(math.isinf(problem.target) for problem in problems):
        return None
    return np.array([[[times[s] for s in sorted(seeds)] for times in row] for row in table])


def _standing_of(problem: OnProblem, contender: Contender) -> Standing:
    return next(s for s in problem.standings if s.contender.position == contender.position)


def _scores(compared: Sequence[Contender], problems: Sequence[OnProblem], seed: int) -> tuple[Score, ...]:
    """Profile scores of the median times, best first; intervals from resampling the seeds within each problem."""
    times = _times(compared, problems)
    if times is None:
        return ()
    medians = median_times(times)
    found = profile_scores(medians)
    random, (_, count, seeds) = generator(seed), times.shape
    draws = np.empty((RESAMPLES, len(compared)))
    for b in range(RESAMPLES):
        # The same seeds for all contenders, so that what a seed adds to all of them cancels.
        drawn = random.integers(0, seeds, (1, count, seeds))
        draws[b] = profile_scores(median_times(np.take_along_axis(times, drawn, axis=2)))
    scores = [
        Score(
            contender,
            Interval(float(found[i]), *quantiles(draws[:, i])),
            int(np.isfinite(medians[i]).sum()),
            tuple(medians[i].tolist()),
            speed_up(medians[i], medians[0]),
        )
        for i, contender in enumerate(compared)
    ]
    return tuple(sorted(scores, key=lambda score: (-score.score.estimate, score.contender.position)))


def _overall(
    compared: Sequence[Contender], problems: Sequence[OnProblem], looks: int, seed: int
) -> tuple[Difference, ...]:
    """The pairs of contenders, by their profile scores with each seed as a study of its own."""
    times = _times(compared, problems)
    if times is None:
        return ()
    each = np.array([profile_scores(times[:, :, s]) for s in range(times.shape[2])])
    return tuple(
        differences(
            # From −1 to 0: less is better. Never all positive, so that differences are taken, not ratios.
            {c.label: dict(enumerate((-each[:, i]).tolist())) for i, c in enumerate(compared)},
            looks=looks,
            seed=seed,
        )
    )


def _improvement(problems: Sequence[OnProblem], difference: Difference, seed: int) -> Interval:
    """The probability of improvement of a pair, mean over problems; runs are resampled within each problem."""
    strata = [
        list(next(s for s in problem.standings if s.contender.label == label).scores.values())
        for label in (difference.first, difference.second)
        for problem in problems
    ]
    half = len(problems)
    return stratified_interval(
        lambda drawn: probability_of_improvement(drawn[:half], drawn[half:]),
        strata,
        seed=seed,
        resamples=_IMPROVEMENTS,
    )
