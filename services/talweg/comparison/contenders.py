"""Each optimizer's results on one problem, seed by seed: the input of every verdict."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from talweg.comparison.intervals import Interval, exponential, mean_interval
from talweg.comparison.results import Evaluations, Result, label, varying
from talweg.comparison.times import Clock, best_judged, judged, median_time, taken, ticks, time_to_target
from talweg.comparison.tuning import final_judged
from talweg.spec import Json, OptimizerSpec, StudySpec

# A rounding error in the sum of a run's steps must not drop the last of them.
_ROUNDED = 1 + 1e-12


@dataclass(frozen=True)
class Contender:
    """An optimizer setting of the study, by its position in it.

    `label` is unique in the study; `optimizer` and `variant` give its colour.
    """

    position: int
    label: str
    optimizer: str
    variant: int


@dataclass(frozen=True)
class Standing:
    """One contender on one problem.

    Attributes:
        setting: the tuned setting ("learning_rate 0.01"); "" where nothing was tuned.
        scores: by seed the last judged cost, infinite where the run diverged; of a search the best trial's.
        bests: by seed the least judged cost during the run.
        mean: of the finite scores, with its interval: geometric where all costs of the problem are positive.
        times: by seed the time to target; infinite where it was missed.
        gradients: mean gradient evaluations of a run, without pruned runs.
        pruned: trials that successive halving ended early; they have no score and count as neither complete nor
            diverged.
        blown_up: runs that ended far above their start (`divergence`); their score is infinite.
    """

    contender: Contender
    setting: str
    runs: int
    complete: int
    diverged: int
    scores: Mapping[int, float]
    bests: Mapping[int, float]
    mean: Interval | None
    times: Mapping[int, float]
    gradients: float
    pruned: int = 0
    blown_up: int = 0

    @property
    def median(self) -> float:
        """The median score, with divergence as infinite; infinite without any score."""
        return median_time(self.scores.values())

    @property
    def time(self) -> float:
        """The median time to target, with misses as infinite."""
        return median_time(self.times.values())

    @property
    def arrived(self) -> int:
        """The number of seeds on which the target was met."""
        return sum(math.isfinite(time) for time in self.times.values())


def contenders(spec: StudySpec) -> list[Contender]:
    """The optimizers of a study; the labels of two settings of one optimizer show where they differ."""
    settings = [setting_of(optimizer) for optimizer in spec.optimizers]
    keys, counts, seen = varying(settings), Counter(optimizer.name for optimizer in spec.optimizers), Counter[str]()
    found = []
    for position, setting in enumerate(settings):
        name = spec.optimizers[position].name
        found.append(Contender(position, label(setting, keys if counts[name] > 1 else ()), name, seen[name]))
        seen[name] += 1
    return found


def setting_of(optimizer: OptimizerSpec) -> Json:
    """Its name under "name", then its hyperparameters, as a Result has them."""
    return {"name": optimizer.name, **optimizer.settings}


def by_contender(spec: StudySpec, results: Sequence[Result]) -> list[list[Result]]:
    """Each contender's runs: by their position in the study, or by their setting where they have none."""
    found: list[list[Result]] = [[] for _ in spec.optimizers]
    settings = [setting_of(optimizer) for optimizer in spec.optimizers]
    for result in results:
        if result.contender is not None:
            found[result.contender].append(result)
        else:
            for own, setting in zip(found, settings, strict=True):
                if dict(result.optimizer) == setting:
                    own.append(result)
    return found


def within(result: Result, clock: Clock, budget: float) -> Result:
    """The run cut off where the clock reads `budget`."""
    if taken(result, clock) <= budget * _ROUNDED:
        return result
    at = ticks(result, clock)
    # Steps that end within the budget.
    steps = int(np.searchsorted(at, budget * _ROUNDED, side="right")) - 1
    kept = {
        split: Evaluations(
            e.steps[e.steps <= steps],
            e.costs[e.steps <= steps],
            None if e.metrics is None else e.metrics[e.steps <= steps],
        )
        for split, e in result.evaluations.items()
    }
    made, seconds = result.evaluations_made, result.seconds
    return replace(
        result,
        costs=result.costs.until(steps),
        evaluations=kept,
        evaluations_made=None if made is None else made[:steps],
        seconds=None if seconds is None else seconds[:steps],
    )


def standing(
    contender: Contender, runs: Sequence[Result], *, target: float, clock: Clock, positive: bool, tuned: bool
) -> Standing:
    """The standing of a contender on a problem, from its judged runs."""
    by_seed: dict[int, list[Result]] = {}
    for run in runs:
        by_seed.setdefault(run.seed, []).append(run)
    # A seed has a score once all of its runs have ended.
    ended = {seed: own for seed, own in by_seed.items() if all(_ended(run) for run in own)}
    scores = {seed: min(map(final_judged, own)) for seed, own in ended.items()}
    finite = [score for score in scores.values() if math.isfinite(score)]
    gradients = [taken(run, "gradients") for run in runs if not run.pruned]
    return Standing(
        contender,
        _setting(runs) if tuned else "",
        len(runs),
        sum(run.complete for run in runs),
        sum(run.diverged for run in runs),
        scores,
        {seed: min(best_judged(run) for run in own) for seed, own in ended.items()},
        _mean(finite, positive),
        {seed: min(time_to_target(run, target, clock) for run in own) for seed, own in ended.items()},
        float(np.mean(gradients)) if gradients else math.nan,
        sum(run.pruned for run in runs),
        sum(run.blown_up > 0 for run in runs),
    )


def _ended(run: Result) -> bool:
    return run.complete or run.failed_to_train or run.pruned


def _mean(finite: Sequence[float], positive: bool) -> Interval | None:
    if not finite:
        return None
    found = mean_interval(np.log(finite) if positive else finite)
    return exponential(found) if positive else found


def _setting(runs: Sequence[Result]) -> str:
    rates = {run.optimizer.get("learning_rate") for run in runs}
    return f"learning_rate {rates.pop():.4g}" if len(rates) == 1 else ""


def one_and_the_same(standings: Sequence[Standing]) -> bool:
    """Whether the seed changes nothing: each contender's scores are equal, and one has several."""
    scores = [list(standing.scores.values()) for standing in standings]
    return any(len(own) > 1 for own in scores) and all(len(set(own)) <= 1 for own in scores)


def best_of_seeds(runs: Sequence[Result]) -> list[Result]:
    """By seed the run with the least final cost, in the order of the runs: of a search the best trial."""
    best: dict[int, Result] = {}
    for run in runs:
        if run.seed not in best or final_judged(run) < final_judged(best[run.seed]):
            best[run.seed] = run
    return list(best.values())


def along_the_way(runs: Sequence[Sequence[Result]], steps: int) -> dict[float, list[float]]:
    """By share of the budget, the median judged cost of each contender there; infinite where it diverged."""
    return {share: [median_time(_cost_at(run, share * steps) for run in own) for own in runs] for share in SHARES}


# Before half of the budget the order of the contenders carries no information.
SHARES = (0.5, 0.75, 1.0)


def _cost_at(run: Result, step: float) -> float:
    at, costs = judged(run)
    known = costs[at <= step]
    last = float(known[-1]) if known.size else math.inf
    return last if math.isfinite(last) and not (run.failed_to_train and step >= run.costs.count) else math.inf
