"""Guards, which find what limits a comparison: each yields its findings, in words."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from talweg.comparison.compare import Comparison, OnProblem, budget_of, final_runs, runs_on
from talweg.comparison.contenders import best_of_seeds, one_and_the_same, within
from talweg.comparison.intervals import generator
from talweg.comparison.results import Result
from talweg.comparison.times import UNITS, median_time, taken, time_to_target
from talweg.comparison.tuning import final_judged
from talweg.study_settings import ALPHA, comparisons_of, seeds_needed

Level = Literal["refused", "warning", "note"]
# The ratio from which unequal gradient evaluations are reported.
_ALIKE = 1.05
# A best value within this share of a (logarithmic) range from its end is at the edge.
_NEAR = 0.1
# From here on a ratio is written with a power of ten.
_LARGE = 1e4
# From so many settings of one optimizer on, the choice among them biases; and how often the seeds are halved.
_MANY = 3
_HALVES = 100
_RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class Guard:
    """One guard's finding; `contenders` are the labels of those it concerns, empty where it concerns all."""

    kind: str
    level: Level
    text: str
    contenders: tuple[str, ...] = ()


def guards(comparison: Comparison) -> list[Guard]:
    """The findings of all guards, the most severe first."""
    found = [guard for check in _CHECKS for guard in check(comparison)]
    return sorted(found, key=lambda guard: ("refused", "warning", "note").index(guard.level))


def _unequal_budgets(comparison: Comparison) -> Iterator[Guard]:
    for problem in comparison.problems:
        steps = {
            contender.label: max(
                (run.steps or run.costs.count for run in final_runs(comparison, problem, contender)), default=0
            )
            for contender in comparison.contenders
        }
        given = {label: count for label, count in steps.items() if count}
        if len(set(given.values())) > 1:
            listed = ", ".join(f"{label} {count:,}" for label, count in given.items())
            yield Guard("unequal budgets", "refused", f"On {problem.name} the optimizers had unequal steps: {listed}.")
    trials = Counter(contender.optimizer for contender in comparison.contenders)
    if comparison.spec.protocol == "fixed" and len(trials) > 1 and len(set(trials.values())) > 1:
        listed = ", ".join(f"{name} {count}" for name, count in trials.items())
        yield Guard(
            "unequal tuning",
            "warning",
            f"The optimizers have unequal numbers of settings ({listed}): the best of many settings looks better than "
            "the best of few, even for equal optimizers.",
        )


def _unequal_evaluations(comparison: Comparison) -> Iterator[Guard]:
    if comparison.spec.clock != "steps":
        return
    taken = {
        s.contender.label: s.gradients / problem.steps
        for problem in comparison.problems
        for s in problem.standings
        if s.complete and not s.diverged + s.blown_up
    }
    if taken and max(taken.values()) > _ALIKE * min(taken.values()):
        least = min(taken.values())
        costly = {label: each for label, each in taken.items() if each > _ALIKE * least}
        listed = ", ".join(f"{label} {each:.2g}" for label, each in costly.items())
        yield Guard(
            "unequal evaluations",
            "warning",
            f"The optimizers take unequal numbers of gradient evaluations a step: {listed}, the others {least:.2g}. "
            "Equal steps are therefore unequal budgets; set clock: gradients to compare at equal evaluations.",
            tuple(costly),
        )


def _shared_seeds(comparison: Comparison) -> Iterator[Guard]:
    for problem in comparison.problems:
        for contender in comparison.contenders:
            own = runs_on(comparison, problem, contender)
            shared = {r.seed for r in own if r.stage == "tuning"} & {r.seed for r in own if r.stage == "final"}
            if shared:
                yield Guard(
                    "seeds shared with tuning",
                    "refused",
                    f"On {problem.name} {contender.label} is judged on seeds that its setting was chosen by: "
                    f"{', '.join(map(str, sorted(shared)))}.",
                    (contender.label,),
                )


def _edges(comparison: Comparison) -> Iterator[Guard]:
    for problem in comparison.problems:
        for tuning in problem.tunings:
            if tuning.at_edge:
                yield _edge(problem, tuning.contender.label, tuning.rates, tuning.best or 0.0)
        yield from _edges_of_settings(comparison, problem)
        yield from _edges_of_a_search(comparison, problem)


def _edges_of_settings(comparison: Comparison, problem: OnProblem) -> Iterator[Guard]:
    """For a fixed study that lists one optimizer at three learning rates or more."""
    by_name: dict[str, dict[float, float]] = {}
    if comparison.spec.protocol == "fixed":
        for standing in problem.standings:
            rate = comparison.spec.optimizers[standing.contender.position].settings.get("learning_rate")
            if isinstance(rate, float):
                by_name.setdefault(standing.contender.optimizer, {})[rate] = standing.median
    for name, medians in by_name.items():
        best = min(medians, key=lambda rate: medians[rate])
        if len(medians) > 2 and best in (min(medians), max(medians)) and math.isfinite(medians[best]):
            yield _edge(problem, name, tuple(sorted(medians)), best)


def _edges_of_a_search(comparison: Comparison, problem: OnProblem) -> Iterator[Guard]:
    """For a search: the median learning rate of the best trials is within a tenth of the range from one of its ends."""
    search = comparison.spec.search
    space = search.space.get("learning_rate") if search is not None else None
    if space is None or space.scale != "log":
        return
    for contender in comparison.contenders:
        best = best_of_seeds(final_runs(comparison, problem, contender))
        rates = [float(run.optimizer.get("learning_rate", math.nan)) for run in best]
        middle = sorted(rates)[len(rates) // 2] if rates else math.nan
        share = math.log(middle / space.low) / math.log(space.high / space.low) if middle > 0 else math.nan
        if share < _NEAR or share > 1 - _NEAR:
            yield _edge(problem, contender.label, (space.low, space.high), middle)


def _edge(problem: OnProblem, name: str, rates: tuple[float, ...], best: float) -> Guard:
    return Guard(
        "edge of the range",
        "warning",
        f"On {problem.name} the best learning rate of {name}, {best:g}, is at the edge of the range tried "
        f"({rates[0]:g} to {rates[-1]:g}): a better one may lie outside, and {name} may be better than shown here.",
        (name,),
    )


def _few_seeds(comparison: Comparison) -> Iterator[Guard]:
    pairs = comparisons_of(len(comparison.contenders))
    needed = seeds_needed(pairs, alpha=ALPHA / len(comparison.spec.looks()))
    random = [problem for problem in comparison.problems if not one_and_the_same(problem.standings)]
    seeds = min((d.pairs for problem in random for d in problem.differences), default=needed)
    if not pairs or seeds >= needed:
        return
    many = f"{pairs:,} comparison{'s' * (pairs != 1)}"
    if seeds < 2:
        text = f"One seed settles nothing: the differences may be that seed's. {needed} can settle {many}."
    else:
        text = (
            f"{seeds} seeds are too few for a rank test of {many}, which needs {needed}: the answers rest on a t test, "
            "which assumes roughly normal differences of the logarithms."
        )
    yield Guard("too few seeds", "warning", text)


def _nothing_random(comparison: Comparison) -> Iterator[Guard]:
    """Where every seed gives the same result there is only one measurement, however many runs."""
    for problem in comparison.problems:
        if one_and_the_same(problem.standings):
            yield Guard(
                "nothing random",
                "note",
                f"On {problem.name} the seed changes nothing: all runs of an optimizer are identical. The differences "
                "are exact for these settings and p has no meaning; other starting points may give another order.",
            )


def _changing_ranks(comparison: Comparison) -> Iterator[Guard]:
    texts: dict[str, tuple[str, str]] = {}
    for problem in comparison.problems:
        names = [standing.contender.label for standing in problem.standings]
        leaders = {share: _leader(names, costs) for share, costs in problem.along.items()}
        last = leaders.get(1.0)
        other = [(share, name) for share, name in leaders.items() if name is not None and name != last]
        if last is not None and other:
            share, name = other[-1]
            texts[f"{problem.name} {name} led at {share:.0%} of the budget, {last} at its end"] = (name, last)
    if texts:
        why = "another budget could give another order."
        yield Guard("changing ranks", "note", f"{_each(texts)}: {why}", _concerned(texts.values()))


def _each(texts: Iterable[str]) -> str:
    """`On A …; on B …`."""
    return "; ".join(f"{'o' if i else 'O'}n {text}" for i, text in enumerate(texts))


def _concerned(contenders: Iterable[Iterable[str]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for names in contenders for name in names))


def _leader(names: list[str], costs: list[float]) -> str | None:
    finite = [cost for cost in costs if math.isfinite(cost)]
    return names[costs.index(min(finite))] if finite else None


def _diverged(comparison: Comparison) -> Iterator[Guard]:
    texts: dict[str, list[str]] = {}
    for problem in comparison.problems:
        lost = {s.contender.label: f"{s.diverged} of {s.runs}" for s in problem.standings if s.diverged}
        if lost:
            counts = ", ".join(f"{label} {count}" for label, count in lost.items())
            texts[f"{problem.name} runs diverged: {counts}"] = list(lost)
    if texts:
        text = f"{_each(texts)}. They count as infinite cost and enter no mean."
        yield Guard("divergence", "note", text, _concerned(texts.values()))


def _blown_up(comparison: Comparison) -> Iterator[Guard]:
    """Finite costs far above the start: by contender the number of runs, and the greatest ratio."""
    texts: dict[str, list[str]] = {}
    for problem in comparison.problems:
        worst: dict[str, float] = {}
        for contender in comparison.contenders:
            for run in final_runs(comparison, problem, contender):
                worst[contender.label] = max(worst.get(contender.label, 0.0), run.blown_up)
        lost = {
            s.contender.label: f"{s.contender.label} {s.blown_up} of {s.runs}, up to {_times(worst[s.contender.label])}"
            for s in problem.standings
            if s.blown_up
        }
        if lost:
            texts[f"{problem.name} runs ended above their start: {'; '.join(lost.values())}"] = list(lost)
    if texts:
        text = (
            f"{_each(texts)}. They did not train: like diverged runs they count as infinite cost and enter no mean. A "
            "lower learning rate may train them."
        )
        yield Guard("blown up", "warning", text, _concerned(texts.values()))


def _times(growth: float) -> str:
    """`2 × 10⁵ times`, `40 times`."""
    if math.isinf(growth):
        return "any number of times"
    if growth < _LARGE:
        return f"{growth:,.0f} times"
    mantissa, _, exponent = f"{growth:.0e}".partition("e")
    return f"{mantissa} × 10{str(int(exponent)).translate(_RAISED)} times"


def _best_of_many(comparison: Comparison) -> Iterator[Guard]:
    """The best of many settings looks better than it is where the same seeds choose and judge it (optimizer's curse).

    Measured on the study itself: half of the seeds choose the best, the other half judge it. Half as many choose worse:
    of 50 settings by 10 seeds the true bias was 3, 46 and 0.1 % on three problems, and this said 7, 62 and 0.9 %
    (`benchmarks/best_of_many.py`).
    """
    if comparison.spec.protocol != "fixed":
        return
    for problem in comparison.problems:
        first = problem.standings[0].contender
        rivals = [s.scores for s in problem.standings if s.contender.optimizer == first.optimizer]
        bias = choice_bias(rivals)
        if len(rivals) >= _MANY and bias is not None:
            yield Guard(
                "best of many",
                "note",
                f"On {problem.name} {first.label} is the best of {len(rivals):,} settings, by the same seeds that "
                f"judge it. Chosen by half of the seeds, such a best costs {bias:+.2g} % on the other half. The "
                "protocol grid judges with fresh seeds.",
                (first.label,),
            )


def choice_bias(rivals: Sequence[Mapping[int, float]]) -> float | None:
    """By how many percent the best of the settings costs more on seeds that did not choose it; None if not known.

    The geometric mean over random halves of the ratio of the chosen setting's medians.
    """
    seeds = sorted(set.intersection(*(set(scores) for scores in rivals)))
    if len(seeds) < 4:
        return None
    costs = np.array([[scores[seed] for seed in seeds] for scores in rivals])
    random, half, ratios = generator(), len(seeds) // 2, []
    for _ in range(_HALVES):
        order = random.permutation(len(seeds))
        chosen, judged = np.median(costs[:, order[:half]], axis=1), costs[:, order[half:]]
        best = int(np.argmin(chosen))
        ratios.append((float(np.median(judged[best])), float(chosen[best])))
    if not all(0 < cost < math.inf for pair in ratios for cost in pair):
        return None
    return 100 * math.expm1(sum(math.log(after / before) for after, before in ratios) / len(ratios))


def _other_clock(comparison: Comparison) -> Iterator[Guard]:
    """The leader may depend on the unit of the budget: here by gradient evaluations, where the study counts steps."""
    if comparison.spec.clock != "steps" or comparison.spec.protocol == "search":
        return
    texts: dict[str, tuple[str, str]] = {}
    for problem in comparison.problems:
        if len({round(s.gradients, 6) for s in problem.standings if s.complete}) < 2:
            continue
        runs = {s.contender.label: final_runs(comparison, problem, s.contender) for s in problem.standings}
        budget = budget_of(list(runs.values()), "gradients")
        costs = {
            label: median_time(final_judged(within(run, "gradients", budget)) for run in own if run.state == "finished")
            for label, own in runs.items()
        }
        leader, first = min(costs, key=lambda label: costs[label]), problem.standings[0].contender.label
        if leader != first and costs[leader] < costs[first]:
            texts[f"{problem.name} {first} leads by steps, {leader} by gradient evaluations"] = (first, leader)
    if texts:
        text = f"{_each(texts)}. Set clock: gradients to compare by those."
        yield Guard("another clock", "warning", text, _concerned(texts.values()))


def _early_stopping(comparison: Comparison) -> Iterator[Guard]:
    """The least cost during a run favours noisy optimizers; reported where it would give another leader."""
    texts: dict[str, tuple[str, str]] = {}
    for problem in comparison.problems:
        by_best = {s.contender.label: median_time(s.bests.values()) for s in problem.standings if s.bests}
        leader = min(by_best, key=lambda label: by_best[label], default=None)
        last = problem.standings[0].contender.label
        if leader is not None and leader != last and by_best[leader] < by_best.get(last, math.inf):
            text = f"{problem.name} {leader} had the lowest {problem.judged_by} during the run, {last} at the end"
            texts[text] = leader, last
    if texts:
        why = (
            "The least of many noisy values is biased downwards, and stopping there would select by the data that "
            "judge. So the final cost counts."
        )
        yield Guard("early stopping", "note", f"{_each(texts)}. {why}", _concerned(texts.values()))


def _unfinished(comparison: Comparison) -> Iterator[Guard]:
    states = Counter(result.state for result in comparison.results if result.state != "finished")
    if states:
        listed = ", ".join(f"{count} {state}" for state, count in states.items())
        yield Guard("unfinished", "warning", f"Not all runs have finished ({listed}): the results are preliminary.")
    for problem in comparison.problems:
        lost = [s.contender.label for s in problem.standings if not s.runs]
        if comparison.spec.protocol != "fixed" and comparison.spec.staged and lost:
            text = f"On {problem.name} there are no judged runs (yet) of {', '.join(lost)}."
            yield Guard("no setting", "note", text, tuple(lost))


def _pruned(comparison: Comparison) -> Iterator[Guard]:
    """The number of pruned trials, and of those whose time to target is therefore unknown."""
    runs = [run for run in comparison.results if run.trial is not None]
    lost = [run for run in runs if run.pruned]
    if lost:
        missed = sum(time_to_target(run, problem.target) == math.inf for problem, run in _on_problems(comparison, lost))
        yield Guard(
            "pruned",
            "note",
            f"{len(lost):,} of {len(runs):,} trials were pruned by successive halving, by the same rule for every "
            "optimizer: they have no final cost, enter no median and count as neither failed nor diverged. Times to "
            f"target are therefore upper bounds: whether and when {missed:,} of these trials would have met the target "
            "is unknown. A setting that starts slowly and ends well can be lost this way.",
        )


def _on_problems(comparison: Comparison, runs: Sequence[Result]) -> Iterator[tuple[OnProblem, Result]]:
    by_name = {problem.name: problem for problem in comparison.problems}
    for run in runs:
        yield by_name.get(run.problem, comparison.problems[0]), run


def _cut_short(comparison: Comparison) -> Iterator[Guard]:
    clock = comparison.spec.clock
    if clock == "steps":
        return
    cut = sorted(
        {
            s.contender.label
            for problem in comparison.problems
            for s in problem.standings
            for run in final_runs(comparison, problem, s.contender)
            if run.complete and taken(run, clock) > problem.budget * (1 + 1e-9)
        }
    )
    if cut and comparison.spec.schedule.name != "constant":
        yield Guard(
            "cut schedules",
            "warning",
            f"{', '.join(cut)} ran out of {UNITS[clock]} before the learning-rate schedule ended.",
            tuple(cut),
        )
    if clock == "seconds":
        yield Guard(
            "wall time",
            "note",
            "Seconds are a run's share of its cohort's time, on this machine under its load; another machine gives "
            "other numbers.",
        )


_CHECKS = (
    _unequal_budgets,
    _shared_seeds,
    _edges,
    _few_seeds,
    _nothing_random,
    _unequal_evaluations,
    _cut_short,
    _pruned,
    _unfinished,
    _changing_ranks,
    _early_stopping,
    _best_of_many,
    _other_clock,
    _blown_up,
    _diverged,
)
