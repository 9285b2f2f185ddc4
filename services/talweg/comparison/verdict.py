"""The verdict in words: what is known, what is not, what would settle it; no stronger than test and interval allow."""

import math
from collections.abc import Sequence

from talweg.comparison.compare import Comparison, OnProblem, Score
from talweg.comparison.contenders import Standing, one_and_the_same
from talweg.comparison.guards import Guard
from talweg.comparison.seeds import many, seeds_that_would_settle
from talweg.comparison.significance import Difference
from talweg.number_format import figures
from talweg.study_settings import PAIRWISE

# So many of a list are named, of the others how many there are.
_NAMED = 3
# An interval of ratios that is narrower is written with more digits.
_NARROW = 0.02


def verdict(comparison: Comparison, guards: Sequence[Guard]) -> str:
    """The verdict in a few sentences."""
    refused = [guard.text for guard in guards if guard.level == "refused"]
    if refused:
        return "No verdict: the comparison is not fair. " + " ".join(refused)
    if len(comparison.contenders) < 2:
        return "One optimizer alone: there is nothing to compare it with."
    if comparison.several:
        return " ".join([_over_problems(comparison), *_limits(guards)])
    if not any(d.pairs for d in comparison.problems[0].differences):
        return "No verdict yet: no seed has been judged for two optimizers."
    return " ".join([on_problem(comparison.problems[0]), *_limits(guards)])


def on_problem(problem: OnProblem) -> str:
    """Who is better than whom on one problem."""
    if not any(math.isfinite(standing.median) for standing in problem.standings):
        return (
            f"On {problem.name} no optimizer trained on more than half of its seeds: {_lost(problem.standings)}. Lower "
            "learning rates may train."
        )
    if one_and_the_same(problem.standings):
        costs = ", ".join(
            f"{s.contender.label} {figures(s.median) if math.isfinite(s.median) else _untrained(s)}"
            for s in problem.standings
        )
        return f"On {problem.name} the seed changes nothing; with these settings the {problem.judged_by}s are: {costs}."
    if len(problem.standings) > PAIRWISE:
        return _of_many(problem)
    return " ".join([*_known(problem), *_not_known(problem)])


def _known(problem: OnProblem) -> list[str]:
    """What is settled: by how much the leader is better than whom, then every other pair that is."""
    first, *rest = problem.standings
    beaten = [s for s in rest if _between(problem.differences, first, s)[1] < 0]
    said = []
    if beaten:
        how = "; ".join(f"than {_name(s)} {_by(_between(problem.differences, first, s)[0], first, s)}" for s in beaten)
        said.append(f"On {problem.name} {_name(first)} reached a lower {problem.judged_by} {how}.")
    others = [
        f"{_name(a)} than {_name(b)} {_by(_between(problem.differences, a, b)[0], a, b)}"
        for i, a in enumerate(rest)
        for b in rest[i + 1 :]
        if _between(problem.differences, a, b)[1] < 0
    ]
    if others:
        lead = "Also lower" if said else f"On {problem.name} a lower {problem.judged_by} is shown for"
        said.append(f"{lead}: {_some(others, '; ')}.")
    settled = [d for d in problem.differences if d.settled]
    if any(d.basis == "t" for d in settled):
        said.append("(By t test: there are too few seeds for a rank test.)")
    return said


def _not_known(problem: OnProblem) -> list[str]:
    """Whom the leader is not shown to be better than, what was seen of them, and what would settle it."""
    first, *rest = problem.standings
    found = {s.contender.label: (s, *_between(problem.differences, first, s)) for s in rest}
    level = [(s, difference) for s, difference, settled in found.values() if settled >= 0]
    if not level:
        return []
    names = _list([_name(s) for s, _ in level])
    if len(level) < len(rest):
        text = f"It is not shown to be better than {names}"
    else:
        text = (
            f"{'' if _known(problem) else f'On {problem.name} '}{_name(first)} had the lowest median "
            f"{problem.judged_by}, but is not shown to be better than {names}"
        )
    seen = [_seen(difference, first, s) for s, difference in level[:_NAMED]]
    needed = [n for _, d in level if d is not None and (n := seeds_that_would_settle(d, len(problem.differences)))]
    said = [f"{text}: {'; '.join(seen)}.", f"Such differences are within what the seeds alone produce{_least(level)}."]
    if needed:
        which = "the closest of these" if len(needed) > 1 else "this"
        said.append(f"If the differences are what they seem, {many(max(needed))} would settle {which}.")
    return said


def _least(level: Sequence[tuple[Standing, Difference | None]]) -> str:
    """The least corrected p of the pairs that are not settled."""
    p = min((difference.adjusted for _, difference in level if difference is not None), default=1.0)
    return f" (p = {p:.2g}{' or more' if len(level) > 1 else ''}, corrected for all comparisons)"


def _seen(difference: Difference | None, first: Standing, other: Standing) -> str:
    """What was measured of a pair that is not settled, as the rival's cost over the leader's."""
    lost = "" if other.complete == other.runs else f", {_untrained(other)}"
    if not math.isfinite(other.median):
        return f"{_name(other)} {_untrained(other)}"
    if difference is None or difference.interval is None or not difference.relative or difference.measured < 2:
        return f"medians {figures(first.median)} and, of {_name(other)}, {figures(other.median)}{lost}"
    i = difference.interval
    ratios = (i.estimate, i.low, i.high)
    if difference.first == first.contender.label:
        ratios = (_over(i.estimate), _over(i.high), _over(i.low))
    middle, low, high = _factors(ratios)
    # On average over seeds: the leader, which has the least median, may have the greater mean.
    return f"{_name(other)} costs {middle} times as much on average (95 %: {low} to {high}){lost}"


def _over(ratio: float) -> float:
    return math.inf if ratio == 0 else 1 / ratio


def _factors(ratios: Sequence[float]) -> list[str]:
    """Three digits each; more where an interval about 1 is so narrow that its ends would read the same."""
    finite = [ratio for ratio in ratios if math.isfinite(ratio)]
    widest = max(finite, default=0.0) - min(finite, default=0.0)
    digits = 3 if not 0 < widest < _NARROW else min(2 - math.floor(math.log10(widest)), 9)
    return ["any number" if math.isinf(ratio) else f"{ratio:.{digits}g}" for ratio in ratios]


def _of_many(problem: OnProblem) -> str:
    """Of a sweep: the best, how many are shown not to be the best, and which may be."""
    first, *rest = problem.standings
    # The best is compared with each of the others.
    beaten = {d.second if d.settled < 0 else d.first for d in problem.differences if d.settled} - {_name(first)}
    level = [_name(s) for s in rest if _name(s) not in beaten]
    text = (
        f"On {problem.name} {_name(first)} had the lowest median {problem.judged_by} of {len(problem.standings):,} "
        f"settings, {figures(first.median)}; {len(beaten):,} of the others are shown not to be the best."
    )
    if level:
        text += f" Not told from it: {_some(level, ', ')}."
    return text


def _over_problems(comparison: Comparison) -> str:
    if not comparison.scores:
        return "No verdict over the problems: not every optimizer has been judged on each of them with one seed."
    first, *rest = comparison.scores
    name, count = first.contender.label, len(comparison.problems)
    scored = _some([f"{score.contender.label} {_score(score)}" for score in comparison.scores], ", ", named=PAIRWISE)
    text = f"Over {count} problems the profile scores are: {scored}."
    settled = {s.contender.label: _pair(comparison.overall, name, s.contender.label)[1] for s in rest}
    beaten = [label for label, sign in settled.items() if sign < 0]
    level = [label for label, sign in settled.items() if sign >= 0]
    if beaten:
        text += f" {name} was sooner at the targets than {_list(beaten)}, on these problems as a whole."
    if level:
        text += f" Between {name} and {_list(level)} nothing is settled."
    return text + " Other problems may order them otherwise: the intervals are over seeds, not over problems."


def _limits(guards: Sequence[Guard]) -> list[str]:
    """What limits the verdict, in its own words."""
    said = [
        guard.text for guard in guards if guard.kind in ("too few seeds", "unfinished", "blown up", "another clock")
    ]
    edges = sorted({label for guard in guards if guard.kind == "edge of the range" for label in guard.contenders})
    if edges:
        said.append(f"The range tried was too narrow for {_list(edges)}, of which the verdict says too little.")
    return said


def _between(found: Sequence[Difference], first: Standing, second: Standing) -> tuple[Difference | None, int]:
    return _pair(found, first.contender.label, second.contender.label)


def _pair(found: Sequence[Difference], first: str, second: str) -> tuple[Difference | None, int]:
    """The difference of two, and who is better as `first` sees it (−1: first)."""
    for difference in found:
        if (difference.first, difference.second) == (first, second):
            return difference, difference.settled
        if (difference.second, difference.first) == (first, second):
            return difference, -difference.settled
    return None, 0


def _by(difference: Difference | None, first: Standing, second: Standing) -> str:
    """`by 12 % (95 %: 8 to 15 %)`; of one that lost runs, `which diverged on 3 of 10 seeds`."""
    if difference is None or difference.interval is None or difference.measured < difference.pairs:
        return f"({_untrained(second)})" if second.complete < second.runs else "on nearly every seed"
    i = difference.interval
    forward = difference.first == first.contender.label
    if difference.relative:
        ratios = [i.estimate, i.low, i.high] if forward else [1 / i.estimate, 1 / i.high, 1 / i.low]
        if ratios[0] < 0.1:
            return f"by a factor of {1 / ratios[0]:,.3g} (95 %: {1 / ratios[2]:,.3g} to {1 / ratios[1]:,.3g})"
        less = [100 * (1 - ratio) for ratio in ratios]
        return f"by {less[0]:.2g} % (95 %: {less[2]:.2g} to {less[1]:.2g} %)"
    away = [-i.estimate, -i.high, -i.low] if forward else [i.estimate, i.low, i.high]
    return f"by {figures(away[0])} (95 %: {figures(away[1])} to {figures(away[2])})"


def _lost(standings: Sequence[Standing]) -> str:
    return _some([f"{_name(s)} {_untrained(s)}" for s in standings], ", ", named=PAIRWISE)


def _untrained(standing: Standing) -> str:
    """`diverged on 8 of 10 seeds`, `ended far above its start on 2 of 10`."""
    parts = [f"diverged on {standing.diverged} of {standing.runs} seeds"] if standing.diverged else []
    parts += [f"ended far above its start on {standing.blown_up} of {standing.runs}"] if standing.blown_up else []
    rest = standing.runs - standing.complete - standing.diverged - standing.blown_up
    parts += [f"not finished on {rest} of {standing.runs}"] if rest and not parts else []
    return " and ".join(parts) or "trained on every seed"


def _name(standing: Standing) -> str:
    return standing.contender.label


def _score(score: Score) -> str:
    return f"{score.score.estimate:.2f} (95 %: {score.score.low:.2f} to {score.score.high:.2f})"


def _some(texts: Sequence[str], separator: str, *, named: int = _NAMED) -> str:
    """The first few, and how many more there are."""
    more = len(texts) - named
    return separator.join([*texts[:named], *([f"and {more:,} more"] if more > 0 else [])])


def _list(names: Sequence[str]) -> str:
    if len(names) > PAIRWISE:
        return _some(names, ", ")
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
