"""What may be said, in words: no stronger than test and interval allow, and only of what was measured."""

import math
from collections.abc import Sequence

from talweg.comparison.compare import Comparison, OnProblem, Score
from talweg.comparison.contenders import one_and_the_same
from talweg.comparison.guards import Guard
from talweg.comparison.paired import Difference
from talweg.readable import figures


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
            "worse: what differs may be the seeds' doing."
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
