"""The next stage of a study whose runs have ended: a pure function of its spec and their results.

A search that learns asks Optuna's TPE, anew each time and with everything from our store. Nothing is kept between two
questions. A sampler with a seed of its own gets the earlier trials in the order of their numbers, so the same results
give the same suggestion, whoever asks and however often the study was interrupted.

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
    space: Mapping[str, Range], told: Sequence[tuple[Mapping[str, float], float]], key: Sequence[int]
) -> dict[str, float]:
    """The point that TPE takes to be worth trying next.

    Args:
        space: each hyperparameter's range.
        told: of each earlier trial, in their order, its values and its cost; infinite where it diverged or failed.
        key: what makes this question another than all others of the study; the sampler's seed comes from it.
    """
    # Optuna takes more than a second to import, and only these searches need it.
    import optuna

    # It would say on stderr that a study was made, at each question.
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    axes: dict[str, optuna.distributions.BaseDistribution] = {
        name: optuna.distributions.FloatDistribution(whole.low, whole.high, log=whole.scale == "log")
        for name, whole in space.items()
    }
    # Whatever was tried first has been tried by now: from here on it is TPE that chooses.
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=_seed(key), n_startup_trials=1))
    for values, cost in told:
        # An optimizer's own defaults may lie outside the range, of which the model then knows nothing.
        if all(space[name].low <= values[name] <= space[name].high for name in space):
            trial = optuna.trial.create_trial(params=dict(values), distributions=axes, value=cost)
            study.add_trial(trial)
    found = study.ask(axes).params
    return {name: _plain(float(found[name]), whole) for name, whole in space.items()}


def _plain(value: float, whole: Range) -> float:
    """Rounded to twelve digits, and within the range."""
    return min(max(float(f"{value:.12g}"), whole.low), whole.high)


def _seed(key: Sequence[int]) -> int:
    digest = hashlib.sha256(json.dumps(list(key)).encode()).digest()
    return int.from_bytes(digest[:4], "big")


@dataclass(frozen=True)
class Stage:
    """What comes next.

    Attributes:
        new: runs to be made.
        going: of runs that wait at a rung, by their ids, how many steps each shall have in all.
        pruned: ids of runs that make no further step.
        last: whether nothing comes after it.
    """

    new: list[Planned] = field(default_factory=list)
    going: dict[str, int] = field(default_factory=dict)
    pruned: list[str] = field(default_factory=list)
    last: bool = True

    @property
    def empty(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.new or self.going or self.pruned)


def next_stage(spec: StudySpec, results: Sequence[Result]) -> Stage:
    """The judged runs of a grid, the next trials of a search that learns, or the next rung of one that prunes."""
    if spec.protocol == "grid":
        return Stage(_best_again(spec, results))
    if not spec.adaptive or spec.search is None:
        return Stage()
    if spec.search.pruning is not None:
        return _halved(spec, spec.search, results)
    new = list(_suggested(spec, spec.search, results))
    return Stage(new, last=all((each.trial or 0) + 1 >= spec.search.trials for each in new))


def _best_again(spec: StudySpec, results: Sequence[Result]) -> list[Planned]:
    """Of each problem and optimizer the best learning rate, with the study's seeds.

    An optimizer all of whose tuning runs diverged or failed on a problem has none there.
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
    """One trial more for each problem, optimizer and seed that has fewer than it shall have."""
    for (problem, position, seed), trials in _by_seed(spec, results).items():
        if trials and len(trials) < search.trials:
            optimizer = spec.optimizers[position]
            space = {name: whole for name, whole in search.space.items() if name in optimizer.settings}
            told = [({name: float(run.optimizer[name]) for name in space}, final_judged(run)) for run in trials]
            point = suggest(space, told, (search.seed, problem, position, seed, len(trials)))
            yield spec.trial(problem, position, seed, len(trials), with_values(optimizer, point))


def _halved(spec: StudySpec, search: Search, results: Sequence[Result]) -> Stage:
    """Of each seed's trials at the highest rung the best go on, by their judged cost there; the others are pruned.

    Counted are all that came to the rung, those that diverged on the way among them.
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
        # One that failed at a lower rung and was taken up again came too late.
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
    """The cost where a run was judged last; infinite where it diverged or did not come to its end."""
    return _cost_at_its_end(result) if result.complete else math.inf


def tuned(results: Sequence[Result]) -> dict[float, float]:
    """Of each learning rate, ascending, the median over seeds of the final judged cost, divergence as infinite."""
    by_rate: dict[float, list[float]] = {}
    for result in results:
        by_rate.setdefault(float(result.optimizer["learning_rate"]), []).append(final_judged(result))
    return {rate: median_time(costs) for rate, costs in sorted(by_rate.items())}


def best_learning_rate(results: Sequence[Result]) -> float | None:
    """The one with the least median final cost, of equal ones the least; None where all are infinite."""
    costs = tuned(results)
    best = min(costs, key=lambda rate: costs[rate], default=None)
    return best if best is not None and math.isfinite(costs[best]) else None
