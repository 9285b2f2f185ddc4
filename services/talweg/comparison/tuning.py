"""The next stage of a study whose runs have ended: a pure function of its spec and their results.

An adaptive search gets each suggestion from a new sampler of Optuna's TPE, with a seed of its own and the earlier
trials from the store in the order of their numbers. No state is kept between suggestions, so the same results give the
same suggestion in every process and after every interruption.

Source: Bergstra, Bardenet, Bengio, Kégl, "Algorithms for Hyper-Parameter Optimization", 2011, section 4.
"""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from talweg.comparison.results import Result
from talweg.comparison.times import judged, median_time
from talweg.spec import OptimizerSpec, Planned, StudySpec, with_values
from talweg.study_settings import Range, Search


def suggest(
    space: Mapping[str, Range], trials: Sequence[tuple[Mapping[str, float], float]], key: Sequence[int]
) -> dict[str, float]:
    """The hyperparameters that TPE suggests to try next.

    Args:
        space: each hyperparameter's range.
        trials: values and cost of each earlier trial, in order; the cost is infinite where it diverged or failed.
        key: unique for each suggestion of the study; the sampler's seed is derived from it.
    """
    # Optuna takes more than a second to import, and only adaptive searches need it.
    import optuna

    # Otherwise Optuna writes a line to stderr for each study that it creates.
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    distributions: dict[str, optuna.distributions.BaseDistribution] = {
        name: optuna.distributions.FloatDistribution(whole.low, whole.high, log=whole.scale == "log")
        for name, whole in space.items()
    }
    # The study's own initial trials are done by now: TPE chooses from here on, without random trials of its own.
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=_seed(key), n_startup_trials=1))
    for values, cost in trials:
        # Optuna refuses values outside the range, which an optimizer's own defaults may be.
        if all(space[name].low <= values[name] <= space[name].high for name in space):
            trial = optuna.trial.create_trial(params=dict(values), distributions=distributions, value=cost)
            study.add_trial(trial)
    found = study.ask(distributions).params
    return {name: _rounded(float(found[name]), whole) for name, whole in space.items()}


def _rounded(value: float, whole: Range) -> float:
    """Rounded to twelve digits, and within the range."""
    return min(max(float(f"{value:.12g}"), whole.low), whole.high)


def _seed(key: Sequence[int]) -> int:
    digest = hashlib.sha256(json.dumps(list(key)).encode()).digest()
    return int.from_bytes(digest[:4], "big")


@dataclass(frozen=True)
class Stage:
    """The next stage of a study.

    Attributes:
        new: runs to make.
        going: by id of a run that waits at a rung, its new total number of steps.
        pruned: ids of runs that make no further step.
        last: whether no stage follows.
    """

    new: list[Planned] = field(default_factory=list)
    going: dict[str, int] = field(default_factory=dict)
    pruned: list[str] = field(default_factory=list)
    last: bool = True

    @property
    def empty(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.new or self.going or self.pruned)


def next_of_tuning(spec: StudySpec, results: Sequence[Result]) -> Stage:
    """The judged runs of a grid, the next trials of an adaptive search, or its next rung of successive halving."""
    if spec.protocol == "grid":
        return Stage(_best_again(spec, results))
    if not spec.adaptive or spec.search is None:
        return Stage()
    if spec.search.pruning is not None:
        return _halved(spec, spec.search, results)
    new = list(_suggested(spec, spec.search, results))
    return Stage(new, last=all((each.trial or 0) + 1 >= spec.search.trials for each in new))


def _best_again(spec: StudySpec, results: Sequence[Result]) -> list[Planned]:
    """By problem and optimizer the runs at the best learning rate, with the study's seeds.

    An optimizer whose tuning runs on a problem all diverged or failed has none there.
    """
    names, found = spec.problem_names(), []
    for problem in range(len(names)):
        for position, optimizer in enumerate(spec.optimizers):
            tried = [r for r in results if (r.stage, r.problem, r.contender) == ("tuning", names[problem], position)]
            rate = best_learning_rate(tried)
            if rate is not None:
                setting = OptimizerSpec(name=optimizer.name, **(optimizer.settings | {"learning_rate": rate}))
                found += spec.final(problem, position, setting)
    return found


def _suggested(spec: StudySpec, search: Search, results: Sequence[Result]) -> Iterator[Planned]:
    """One more trial for each problem, optimizer and seed that has fewer than the search asks for."""
    for (problem, position, seed), trials in _by_seed(spec, results).items():
        if trials and len(trials) < search.trials:
            optimizer = spec.optimizers[position]
            space = {name: whole for name, whole in search.space.items() if name in optimizer.settings}
            earlier = [({name: float(run.optimizer[name]) for name in space}, final_judged(run)) for run in trials]
            values = suggest(space, earlier, (search.seed, problem, position, seed, len(trials)))
            yield spec.trial(problem, position, seed, len(trials), with_values(optimizer, values))


def _halved(spec: StudySpec, search: Search, results: Sequence[Result]) -> Stage:
    """At the highest rung, the best of each seed's trials by judged cost continue; the others are pruned.

    The share that continues is of all trials that entered the rung, including those that diverged in it.
    """
    assert search.pruning is not None
    steps = [own.steps or spec.steps for own in spec.each_problem()]
    going: dict[str, int] = {}
    pruned: list[str] = []
    last = True
    for (problem, _, _), trials in _by_seed(spec, results).items():
        stops = search.pruning.stops(steps[problem])
        rung = max((run.steps or 0 for run in trials), default=0)
        if rung not in stops[:-1]:
            continue
        entered = [run for run in trials if run.steps == rung]
        waiting = [run for run in trials if run.stop_reason == "finished"]
        best = sorted((run for run in waiting if run.steps == rung), key=_cost_at_its_end)
        chosen = best[: -(-len(entered) // search.pruning.factor)]
        following = stops[stops.index(rung) + 1]
        going |= {run.run: following for run in chosen}
        last = last and (following == stops[-1] or not chosen)
        # Includes a run that failed at a lower rung and was retried: its rung has been decided.
        pruned += [run.run for run in waiting if run not in chosen]
    return Stage(going=going, pruned=pruned, last=last)


def _cost_at_its_end(run: Result) -> float:
    _, costs = judged(run)
    return float(costs[-1]) if costs.size and math.isfinite(costs[-1]) else math.inf


def _by_seed(spec: StudySpec, results: Sequence[Result]) -> Mapping[tuple[int, int, int], list[Result]]:
    """The trials of each problem, optimizer and seed, in the order of their numbers."""
    names = spec.problem_names()
    found: dict[tuple[int, int, int], list[Result]] = {}
    for run in sorted(results, key=lambda run: run.trial or 0):
        if run.contender is not None:
            found.setdefault((names.index(run.problem), run.contender, run.seed), []).append(run)
    return dict(sorted(found.items()))


def final_judged(result: Result) -> float:
    """The last judged cost of a run; infinite where it diverged or did not finish."""
    return _cost_at_its_end(result) if result.complete else math.inf


def tuned(results: Sequence[Result]) -> dict[float, float]:
    """By learning rate, ascending, the median over seeds of the final judged cost, with divergence as infinite."""
    by_rate: dict[float, list[float]] = {}
    for result in results:
        by_rate.setdefault(float(result.optimizer["learning_rate"]), []).append(final_judged(result))
    return {rate: median_time(costs) for rate, costs in sorted(by_rate.items())}


def best_learning_rate(results: Sequence[Result]) -> float | None:
    """The learning rate with the least median final cost, of equal ones the least; None where all are infinite."""
    costs = tuned(results)
    best = min(costs, key=lambda rate: costs[rate], default=None)
    return best if best is not None and math.isfinite(costs[best]) else None
