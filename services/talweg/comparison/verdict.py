"""Guards, which find what limits a comparison; and the verdict in words, no stronger than test and interval allow."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from talweg.comparison.compare import Comparison, OnProblem, Score, final_runs, runs_on
from talweg.comparison.contenders import best_of_seeds, one_and_the_same
from talweg.comparison.intervals import Difference, seeds_needed
from talweg.comparison.results import Result
from talweg.comparison.times import UNITS, median_time, ticks, time_to_target
from talweg.number_format import figures

Level = Literal["refused", "warning", "note"]
# The ratio from which unequal gradient evaluations are reported.
_ALIKE = 1.05
# A best value within this share of a (logarithmic) range from its end is at the edge.
_NEAR = 0.1


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
                (run.steps or len(run.costs) for run in final_runs(comparison, problem, contender)), default=0
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
        if s.complete and not s.diverged
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
    pairs = len(comparison.contenders) * (len(comparison.contenders) - 1) // 2
    needed = seeds_needed(pairs)
    random = [problem for problem in comparison.problems if not one_and_the_same(problem.standings)]
    seeds = min((d.pairs for problem in random for d in problem.differences), default=needed)
    if pairs and seeds < needed:
        yield Guard(
            "too few seeds",
            "warning",
            f"{seeds} seed{'s' * (seeds != 1)} cannot settle {'any of ' * (pairs > 1)}{pairs} "
            f"comparison{'s' * (pairs != 1)}, however large the difference: at least {needed} are needed.",
        )


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
        if comparison.spec.staged and lost:
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
            if run.complete and ticks(run, clock)[-1] > problem.budget * (1 + 1e-9)
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
    _diverged,
)


def verdict(comparison: Comparison, guards: Sequence[Guard]) -> str:
    """The verdict in a few sentences."""
    refused = [guard.text for guard in guards if guard.level == "refused"]
    if refused:
        return "No verdict: the comparison is not fair. " + " ".join(refused)
    if len(comparison.contenders) < 2:
        return "One optimizer alone: there is nothing to compare it with."
    if comparison.several:
        return " ".join([_over_problems(comparison), *_limits(comparison, guards)])
    if not comparison.problems[0].differences or not any(d.pairs for d in comparison.problems[0].differences):
        return "No verdict yet: no seed has been judged for two optimizers."
    return " ".join([on_problem(comparison.problems[0]), *_limits(comparison, guards)])


def on_problem(problem: OnProblem) -> str:
    """The verdict on one problem."""
    first, *rest = problem.standings
    name = first.contender.label
    found = {s.contender.label: _between(problem.differences, name, s.contender.label) for s in rest}
    if not any(math.isfinite(standing.median) for standing in problem.standings):
        return f"On {problem.name} every optimizer diverged on half of the seeds or more."
    if one_and_the_same(problem.standings):
        medians = {s.contender.label: s.median for s in problem.standings}
        costs = ", ".join(
            f"{label} {figures(median) if math.isfinite(median) else 'diverged'}" for label, median in medians.items()
        )
        return f"On {problem.name} the seed changes nothing; with these settings the {problem.judged_by}s are: {costs}."
    beaten = [label for label, (_, settled) in found.items() if settled < 0]
    level = [label for label, (_, settled) in found.items() if settled == 0]
    if not beaten:
        return (
            f"On {problem.name} {name} had the lowest median {problem.judged_by}, but {_are(level)} not shown to be "
            "worse: the differences are within what the seeds alone produce."
        )
    margins = "; ".join(f"than {label} {_by(found[label][0], name)}" for label in beaten)
    text = f"On {problem.name} {name} reached a lower {problem.judged_by} {margins}."
    return text + (f" It is not shown to be better than {_list(level)}." if level else "")


def _over_problems(comparison: Comparison) -> str:
    if not comparison.scores:
        return "No verdict over the problems: not every optimizer has been judged on each of them with one seed."
    first, *rest = comparison.scores
    name, count = first.contender.label, len(comparison.problems)
    scored = ", ".join(f"{score.contender.label} {_score(score)}" for score in comparison.scores)
    text = f"Over {count} problems the profile scores are: {scored}."
    settled = {s.contender.label: _between(comparison.overall, name, s.contender.label)[1] for s in rest}
    beaten = [label for label, sign in settled.items() if sign < 0]
    level = [label for label, sign in settled.items() if sign >= 0]
    if beaten:
        text += f" {name} reached the targets sooner than {_list(beaten)}, over these problems as a whole."
    if level:
        text += f" Between {name} and {_list(level)} nothing is settled."
    return text + " Other problems may give another order: the intervals are over seeds, not over problems."


def _limits(comparison: Comparison, guards: Sequence[Guard]) -> list[str]:
    """The sentences that limit the verdict."""
    texts = [guard.text for guard in guards if guard.kind in ("too few seeds", "unfinished")]
    edges = sorted({label for guard in guards if guard.kind == "edge of the range" for label in guard.contenders})
    if edges:
        texts.append(f"The range tried was too narrow for {_list(edges)}: the verdict may understate it.")
    return texts


def _between(found: Sequence[Difference], first: str, second: str) -> tuple[Difference | None, int]:
    """The difference of two contenders, and which is better (−1: `first`)."""
    for difference in found:
        if (difference.first, difference.second) == (first, second):
            return difference, difference.settled
        if (difference.second, difference.first) == (first, second):
            return difference, -difference.settled
    return None, 0


def _by(difference: Difference | None, first: str) -> str:
    """`by 12 % (95 %: 8 to 15 %)`."""
    if difference is None or difference.interval is None:
        return "on nearly every seed"
    i = difference.interval
    forward = difference.first == first
    if difference.relative:
        ratios = [i.estimate, i.low, i.high] if forward else [1 / i.estimate, 1 / i.high, 1 / i.low]
        if ratios[0] < 0.1:
            return f"by a factor of {1 / ratios[0]:,.3g} (95 %: {1 / ratios[2]:,.3g} to {1 / ratios[1]:,.3g})"
        less = [100 * (1 - ratio) for ratio in ratios]
        return f"by {less[0]:.2g} % (95 %: {less[2]:.2g} to {less[1]:.2g} %)"
    away = [-i.estimate, -i.high, -i.low] if forward else [i.estimate, i.low, i.high]
    return f"by {figures(away[0])} (95 %: {figures(away[1])} to {figures(away[2])})"


def _score(score: Score) -> str:
    return f"{score.score.estimate:.2f} (95 %: {score.score.low:.2f} to {score.score.high:.2f})"


def _are(names: Sequence[str]) -> str:
    return f"{_list(names)} {'is' if len(names) == 1 else 'are'}"


def _list(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
