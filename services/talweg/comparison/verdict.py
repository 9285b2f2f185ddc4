"""Guards, what speaks against a comparison; and the verdict in words, no stronger than test and interval allow."""

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
# By how much the gradient evaluations of a run may differ before it is said.
_ALIKE = 1.05
# How near to the end of a range, as a share of it, a best point is at its edge.
_NEAR = 0.1


@dataclass(frozen=True)
class Guard:
    """What one guard found; `contenders` are whom it concerns, by their labels, all where there are none."""

    kind: str
    level: Level
    text: str
    contenders: tuple[str, ...] = ()


def guards(comparison: Comparison) -> list[Guard]:
    """Everything that speaks against it, the worst first."""
    found = [guard for look in _LOOKS for guard in look(comparison)]
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
            said = ", ".join(f"{label} {count:,}" for label, count in given.items())
            yield Guard("unequal budgets", "refused", f"On {problem.name} the optimizers had unequal steps: {said}.")
    trials = Counter(contender.optimizer for contender in comparison.contenders)
    if comparison.spec.protocol == "fixed" and len(trials) > 1 and len(set(trials.values())) > 1:
        said = ", ".join(f"{name} {count}" for name, count in trials.items())
        yield Guard(
            "unequal tuning",
            "warning",
            f"The optimizers come in unequal numbers of settings ({said}): the best of many looks better than the "
            "best of few, even where they are equal.",
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
        dear = {label: each for label, each in taken.items() if each > _ALIKE * least}
        said = ", ".join(f"{label} {each:.2g}" for label, each in dear.items())
        yield Guard(
            "unequal evaluations",
            "warning",
            f"Steps are not equally dear: gradient evaluations a step were {said}, for the others {least:.2g}. "
            "Counted in gradients the budgets are unequal; ask for clock: gradients to compare by those.",
            tuple(dear),
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
    """Of a fixed study that lists one optimizer at three learning rates or more."""
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
    """Whose best trials lie, in the middle, within a tenth of the range from one of its ends."""
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


def _edge(problem: OnProblem, who: str, rates: tuple[float, ...], best: float) -> Guard:
    return Guard(
        "edge of the range",
        "warning",
        f"On {problem.name} the best learning rate of {who}, {best:g}, is at the edge of what was tried "
        f"({rates[0]:g} to {rates[-1]:g}): a better one may lie beyond, so {who} may be better than it looks.",
        (who,),
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
            f"comparison{'s' * (pairs != 1)}, however clear: {needed} are the least.",
        )


def _nothing_random(comparison: Comparison) -> Iterator[Guard]:
    """Where every seed gives the same, there is one measurement, however many runs."""
    for problem in comparison.problems:
        if one_and_the_same(problem.standings):
            yield Guard(
                "nothing random",
                "note",
                f"On {problem.name} the seed changes nothing: each optimizer's runs are one and the same. What differs "
                "is certain for these settings, p means nothing, and other starting points may tell otherwise.",
            )


def _changing_ranks(comparison: Comparison) -> Iterator[Guard]:
    said: dict[str, tuple[str, str]] = {}
    for problem in comparison.problems:
        names = [standing.contender.label for standing in problem.standings]
        leaders = {share: _leader(names, costs) for share, costs in problem.along.items()}
        last = leaders.get(1.0)
        other = [(share, name) for share, name in leaders.items() if name is not None and name != last]
        if last is not None and other:
            share, name = other[-1]
            said[f"{problem.name} {name} led at {share:.0%} of the budget, {last} at its end"] = (name, last)
    if said:
        why = "the order is that of this budget, and another could give another."
        yield Guard("changing ranks", "note", f"{_each(said)}: {why}", _concerned(said.values()))


def _each(said: Iterable[str]) -> str:
    """`On A …; on B …`."""
    return "; ".join(f"{'o' if place else 'O'}n {text}" for place, text in enumerate(said))


def _concerned(contenders: Iterable[Iterable[str]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for names in contenders for name in names))


def _leader(names: list[str], costs: list[float]) -> str | None:
    finite = [cost for cost in costs if math.isfinite(cost)]
    return names[costs.index(min(finite))] if finite else None


def _diverged(comparison: Comparison) -> Iterator[Guard]:
    said: dict[str, list[str]] = {}
    for problem in comparison.problems:
        lost = {s.contender.label: f"{s.diverged} of {s.runs}" for s in problem.standings if s.diverged}
        if lost:
            counts = ", ".join(f"{label} {count}" for label, count in lost.items())
            said[f"{problem.name} runs diverged: {counts}"] = list(lost)
    if said:
        text = f"{_each(said)}. They count as infinitely costly, and are in no mean."
        yield Guard("divergence", "note", text, _concerned(said.values()))


def _early_stopping(comparison: Comparison) -> Iterator[Guard]:
    """The least cost on the way flatters whoever is noisy; where it would give another leader, that is said."""
    said: dict[str, tuple[str, str]] = {}
    for problem in comparison.problems:
        by_best = {s.contender.label: median_time(s.bests.values()) for s in problem.standings if s.bests}
        leader = min(by_best, key=lambda label: by_best[label], default=None)
        last = problem.standings[0].contender.label
        if leader is not None and leader != last and by_best[leader] < by_best.get(last, math.inf):
            said[f"{problem.name} {leader} had the least {problem.judged_by} on the way, {last} at the end"] = (
                leader,
                last,
            )
    if said:
        why = (
            "The least of many noisy values is too good, and whoever stops there has looked at the data that judge: so "
            "the end counts."
        )
        yield Guard("early stopping", "note", f"{_each(said)}. {why}", _concerned(said.values()))


def _unfinished(comparison: Comparison) -> Iterator[Guard]:
    states = Counter(result.state for result in comparison.results if result.state != "finished")
    if states:
        said = ", ".join(f"{count} {state}" for state, count in states.items())
        yield Guard("unfinished", "warning", f"Not every run came to its end ({said}): this is how it stands.")
    for problem in comparison.problems:
        lost = [s.contender.label for s in problem.standings if not s.runs]
        if comparison.spec.staged and lost:
            said = ", ".join(lost)
            yield Guard("no setting", "note", f"On {problem.name} no judged runs (yet) of {said}.", tuple(lost))


def _pruned(comparison: Comparison) -> Iterator[Guard]:
    """Counted as what it is, with what it costs: a trial that was pruned has shown no time to target."""
    runs = [run for run in comparison.results if run.trial is not None]
    lost = [run for run in runs if run.pruned]
    if lost:
        missed = sum(time_to_target(run, problem.target) == math.inf for problem, run in _on_problems(comparison, lost))
        yield Guard(
            "pruned",
            "note",
            f"{len(lost):,} of {len(runs):,} trials were pruned by successive halving, by one rule for all: they have "
            "no final cost, are in no median, and count as neither failed nor diverged. Of the times to target this "
            f"makes upper bounds: whether and when {missed:,} of them would have met it is not known. A setting that "
            "starts slowly and ends well is lost this way.",
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
            f"{', '.join(cut)} ran out of {UNITS[clock]} before the learning-rate schedule was at its end.",
            tuple(cut),
        )
    if clock == "seconds":
        yield Guard(
            "wall time",
            "note",
            "Seconds are those of this machine, under its load, and a run's share of its cohort's; another machine "
            "gives others.",
        )


_LOOKS = (
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
    """Who is better than whom on one problem."""
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
    said = "; ".join(f"than {label} {_by(found[label][0], name)}" for label in beaten)
    text = f"On {problem.name} {name} reached a lower {problem.judged_by} {said}."
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
        text += f" {name} was sooner at the targets than {_list(beaten)}, on these problems as a whole."
    if level:
        text += f" Between {name} and {_list(level)} nothing is settled."
    return text + " Other problems may order them otherwise: the intervals are over seeds, not over problems."


def _limits(comparison: Comparison, guards: Sequence[Guard]) -> list[str]:
    """What limits the verdict, in its own words."""
    said = [guard.text for guard in guards if guard.kind in ("too few seeds", "unfinished")]
    edges = sorted({label for guard in guards if guard.kind == "edge of the range" for label in guard.contenders})
    if edges:
        said.append(f"The range tried was too narrow for {_list(edges)}, of which the verdict says too little.")
    return said


def _between(found: Sequence[Difference], first: str, second: str) -> tuple[Difference | None, int]:
    """The difference of two, and who is better as `first` sees it (−1: first)."""
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
