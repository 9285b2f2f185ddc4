"""The content of a report as data: sections of paragraphs, tables, pictures and charts."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from itertools import repeat
from typing import Literal

from talweg.comparison.compare import Comparison, OnProblem, Score, leaders
from talweg.comparison.contenders import one_and_the_same
from talweg.comparison.guards import guards
from talweg.comparison.intervals import Interval
from talweg.comparison.normalised import aggregates
from talweg.comparison.scores import Cell, Table, metric_title, metric_writer, run_counts, spread, validation_metric
from talweg.comparison.significance import Difference
from talweg.comparison.times import UNITS, median_time
from talweg.comparison.verdict import on_problem, verdict
from talweg.number_format import figures, span
from talweg.study_settings import Halving, Search
from talweg.web.charts import Chart, along_charts, curve_charts


@dataclass(frozen=True)
class Words:
    """A paragraph; `tone` decides its style."""

    text: str
    tone: Literal["plain", "verdict", "refused", "warning", "note"] = "plain"


@dataclass(frozen=True)
class Picture:
    """A figure, as SVG or of another `kind`, with its text alternative."""

    alt: str
    svg: bytes
    kind: Literal["image/svg+xml", "image/gif"] = "image/svg+xml"


@dataclass(frozen=True)
class Charts:
    """Interactive charts, and the figure that replaces them in print and without scripts."""

    charts: tuple[Chart, ...]
    still: Picture


Part = Words | Table | Picture | Charts


@dataclass(frozen=True)
class Section:
    """A heading with its parts."""

    title: str
    parts: tuple[Part, ...]


# Draws one figure of a comparison: "overview", "profiles", "sensitivities" or "curves".
Draw = Callable[[str], bytes]


def sections(comparison: Comparison, draw: Draw | None = None, more: Sequence[Section] = ()) -> list[Section]:
    """The report of a comparison; without `draw`, it has no pictures but those of `more`, which follow the results."""
    found = guards(comparison)
    refused = any(guard.level == "refused" for guard in found)
    first = Words(verdict(comparison, found), "refused" if refused else "verdict")
    report = [Section("Verdict", (first, *(Words(g.text, g.level) for g in found if g.text not in first.text)))]
    count, comparison = len(comparison.contenders), leaders(comparison)
    if len(comparison.contenders) < count:
        of_many = f"Below are the best {len(comparison.contenders)} of {count:,} settings; the table standings has all."
        report[0] = replace(report[0], parts=(*report[0].parts, Words(of_many, "note")))
    if comparison.several:
        report.append(_over_problems(comparison, draw))
    report += [_on_problem(comparison, problem, draw) for problem in comparison.problems]
    report += _aggregates(comparison)
    report += more
    if any(problem.tunings for problem in comparison.problems):
        report.append(_tuning(comparison, draw))
    report.append(Section("How this was compared", tuple(Words(text) for text in method(comparison))))
    return report


def _over_problems(comparison: Comparison, draw: Draw | None) -> Section:
    parts: list[Part] = []
    if comparison.scores:
        reference = comparison.contenders[0].label
        head = (
            "#", "optimizer", "profile score", f"speed-up over {reference}", "targets met",
            *(problem.name for problem in comparison.problems),
        )  # fmt: skip
        rows = [
            (
                Cell(str(place)),
                Cell(score.contender.label),
                Cell(f"{score.score.estimate:.2f}", f"{score.score.low:.2f} – {score.score.high:.2f}"),
                _speed_up(score, reference),
                Cell(f"{score.arrived} of {len(comparison.problems)}"),
                *(Cell(_time(time)) for time in score.times),
            )
            for place, score in enumerate(comparison.scores, start=1)
        ]
        parts.append(Table(head, tuple(rows), (True, False, True, True, True, *(True for _ in comparison.problems))))
        parts.append(
            Words(
                f"Columns of problems: median {UNITS[comparison.spec.clock]} to the target, – where half of the seeds "
                "or more missed it. The profile score is 1 for an optimizer that is the fastest on every problem and 0 "
                "for one that is never within a factor 4 of the fastest. Speed-ups are geometric means over the "
                "problems where both optimizers met the target.",
                "note",
            )
        )
    # In this order tables and pictures leave the fewest gaps on printed pages.
    if comparison.scores and draw is not None:
        parts.append(Picture("performance profiles and their integrals with intervals", draw("profiles")))
    if comparison.overall:
        parts.append(overall_table(comparison))
    if draw is not None:
        still = Picture("cost by step on each problem, one line per optimizer", draw("overview"))
        parts.append(Charts(tuple(along_charts(comparison)), still))
    return Section("All problems", tuple(parts))


def _on_problem(comparison: Comparison, problem: OnProblem, draw: Draw | None) -> Section:
    parts: list[Part] = []
    if comparison.several:
        parts.append(Words(on_problem(problem) if problem.differences else "One optimizer alone."))
    parts.append(standing_table(comparison, problem))
    if problem.differences:
        parts.append(difference_table(problem))
    if problem.trials:
        parts.append(trial_table(problem))
    if draw is not None and not comparison.several:
        still = Picture("cost by step, one line per optimizer", draw("curves"))
        parts.append(Charts(tuple(curve_charts(comparison, problem)), still))
    if math.isfinite(problem.target):
        parts.append(Words(f"Target: {problem.judged_by} {figures(problem.target)} ({problem.target_rule}).", "note"))
    return Section(problem.name if comparison.several else "Results", tuple(parts))


def standing_table(comparison: Comparison, problem: OnProblem) -> Table:
    """The contenders on a problem, best first."""
    kind = "geometric mean" if any(d.relative for d in problem.differences) else "mean"
    tuned = any(standing.setting for standing in problem.standings)
    aimed = math.isfinite(problem.target)
    accuracy = _metrics(comparison, problem)
    head = ["#", "optimizer"]
    head += ["chosen"] if tuned else []
    head += [f"{problem.judged_by}, median", f"{kind} (95 % interval)"]
    head += [accuracy[0]] if accuracy else []
    head += ["target met", f"{comparison.spec.clock} to target"] if aimed else []
    head += ["lowest during the run", "runs"]
    rows = []
    for place, standing in enumerate(problem.standings, start=1):
        cells = [Cell(str(place)), Cell(standing.contender.label)]
        cells += [Cell(standing.setting or "–")] if tuned else []
        cells += [_number(standing.median), _interval(standing.mean)]
        cells += [accuracy[1][place - 1]] if accuracy else []
        if aimed:
            cells += [Cell(f"{standing.arrived} of {len(standing.times)}"), Cell(_time(standing.time))]
        counts = run_counts(standing.runs, standing.complete, standing.diverged, standing.blown_up, standing.pruned)
        cells += [_number(median_time(standing.bests.values())), Cell(counts)]
        rows.append(tuple(cells))
    return Table(tuple(head), tuple(rows), tuple(title not in ("optimizer", "chosen", "runs") for title in head))


def _metrics(comparison: Comparison, problem: OnProblem) -> tuple[str, list[Cell]] | None:
    """The heading of the metric on the validation split, and its median by contender in the order of standings."""
    runs = [run for run in comparison.results if run.problem in (problem.name, "") and run.complete]
    name = next((run.metric for run in runs if run.metric), None)
    if name is None or comparison.spec.protocol == "search":
        return None
    write, cells = metric_writer(name), []
    for standing in problem.standings:
        own = [
            validation_metric(run)
            for run in runs
            if run.stage == "final"
            and run.contender in (standing.contender.position, None)
            and run.optimizer["name"] == standing.contender.optimizer
        ]
        found = spread(value for value in own if math.isfinite(value))
        cells.append(
            Cell("–") if found is None else Cell(write(found.median), f"{write(found.low)} – {write(found.high)}")
        )
    return metric_title(name), cells


def difference_table(problem: OnProblem) -> Table:
    """Every pair of optimizers: difference, interval, p and which is better."""
    relative = any(difference.relative for difference in problem.differences)
    head = ("first", "second", "ratio first / second" if relative else "first − second", "seeds", "p", "verdict")
    rows = tuple(
        (
            Cell(difference.first),
            Cell(difference.second),
            _interval(difference.interval),
            Cell(_pairs(difference)),
            *_test(difference),
        )
        for difference in problem.differences
    )
    return Table(head, rows, (False, False, True, True, True, False))


def overall_table(comparison: Comparison) -> Table:
    """Every pair of optimizers over all problems, by profile scores with each seed as a study of its own."""
    head = ("first", "second", "score, first − second", "seeds", "p", "verdict", "P(first ends lower)")
    chances = [Cell(f"{p.estimate:.2f}", f"{p.low:.2f} – {p.high:.2f}") for p in comparison.improvements]
    rows = tuple(
        (
            Cell(difference.first),
            Cell(difference.second),
            # The comparison is of negative scores, so that less is better.
            _interval(_negative(difference.interval)),
            Cell(str(difference.pairs)),
            *_test(difference),
            chance,
        )
        for difference, chance in zip(comparison.overall, chances or repeat(Cell("–")), strict=False)
    )
    return Table(head, rows, (False, False, True, True, True, False, True))


def _negative(interval: Interval | None) -> Interval | None:
    return interval and Interval(-interval.estimate, -interval.high, -interval.low)


def _aggregates(comparison: Comparison) -> list[Section]:
    """One section, or none where the runs have no common scale."""
    found = aggregates(comparison)
    if len(found) < 2 or all(one_and_the_same(problem.standings) for problem in comparison.problems):
        return []
    head = ("#", "optimizer", "interquartile mean", "optimality gap", "P(better than another)")
    rows = tuple(
        (
            Cell(str(place)),
            Cell(each.contender.label),
            _interval(each.interquartile_mean),
            _interval(each.optimality_gap),
            _interval(each.improvement),
        )
        for place, each in enumerate(found, start=1)
    )
    words = (
        "A run's score is 0 at the cost before the first step and 1 at the best median final cost of this study, on a "
        "log scale where costs are positive; diverged runs have 0. The interquartile mean is the mean of the middle "
        "half of all runs. The optimality gap is the mean shortfall from 1 (less is better). The last column is the "
        "probability that a run ends lower than one of another optimizer, mean over the others. Intervals are of the "
        "stratified bootstrap (rliable). The scale is this study's: scores of two studies are not comparable."
    )
    return [Section("Aggregate scores", (Table(head, rows, (True, False, True, True, True)), Words(words, "note")))]


def _speed_up(score: Score, reference: str) -> Cell:
    if score.contender.label == reference:
        return Cell("1")
    factor, problems = score.speed_up
    return Cell(f"{factor:.2f}", f"on {problems}") if problems else Cell("–")


def trial_table(problem: OnProblem) -> Table:
    """The expected best cost of k trials."""
    longest = max(len(curve) for curve in problem.trials.values())
    head = ("optimizer", *(f"best of {k}" for k in range(1, longest + 1)))
    rows = tuple((Cell(label), *(_number(float(v)) for v in curve)) for label, curve in problem.trials.items())
    return Table(head, rows, (False, *(True for _ in range(longest))))


def sensitivity_table(problem: OnProblem) -> Table:
    """The best learning rate of each optimizer, and the sensitivity of its final cost to the learning rate."""
    head = ("problem", "optimizer", "best learning rate", "median cost there", "sensitivity", "tried")
    rows = tuple(
        (
            Cell(problem.name),
            Cell(tuning.contender.label),
            Cell("–" if tuning.best is None else f"{tuning.best:.3g}", "at the edge" if tuning.at_edge else ""),
            _number(min(tuning.costs)),
            _number(tuning.sensitivity),
            Cell(f"{tuning.rates[0]:g} – {tuning.rates[-1]:g}, {len(tuning.rates)} values"),
        )
        for tuning in problem.tunings
    )
    return Table(head, rows, (False, False, True, True, True, False))


def _tuning(comparison: Comparison, draw: Draw | None) -> Section:
    tables = [sensitivity_table(problem) for problem in comparison.problems if problem.tunings]
    whole = Table(tables[0].head, tuple(row for table in tables for row in table.rows), tables[0].numeric)
    parts: list[Part] = [whole]
    if draw is not None:
        parts.append(Picture("median final cost by learning rate, one line per optimizer", draw("sensitivities")))
    parts.append(
        Words(
            "Sensitivity is the mean excess of the final cost over its best, over the learning rates tried; a cost "
            "above that of the start counts as that of the start. It is 0 where the learning rate does not matter. "
            "Circles: the best; crosses above: half of the seeds or more diverged.",
            "note",
        )
    )
    return Section("Learning rates", tuple(parts))


def method(comparison: Comparison) -> list[str]:
    """Protocol, budget and statistics in words."""
    spec, seeds = comparison.spec, comparison.spec.seed_list()
    if spec.protocol == "grid" and spec.grid is not None:
        tuning = spec.tuning_seed_list()
        how = (
            f"Protocol grid: for each optimizer and problem {spec.grid.points} learning rates from {spec.grid.low:g} "
            f"to {spec.grid.high:g}, evenly spaced on a log scale, each with {_seeds(len(tuning))} used for tuning "
            f"only; the best by its median final cost was run again with {_seeds(len(seeds))} that were not used in "
            "choosing it, and only these runs are judged."
        )
    elif spec.protocol == "search" and spec.search is not None:
        how = (
            f"Protocol search: for each of {_seeds(len(seeds))} {spec.search.trials} trials, the first with the "
            f"settings as given, {_sampling(spec.search)}; the best trial of each seed counts."
        )
        how += "" if spec.search.pruning is None else f" {_halving(spec.search.pruning)}"
    else:
        how = f"Protocol fixed: every setting as given, with {_seeds(len(seeds))}."
    budget = (
        f"Each optimizer had the same budget, counted in {UNITS[spec.clock]}. The same seed gives every optimizer the "
        "same start and the same batches."
    )
    return [f"{how} {budget}", _STATISTICS]


def _sampling(search: Search) -> str:
    names = ", ".join(search.space)
    if search.sampler == "halton":
        return f"the others at quasi-random points of {names}, the same for every optimizer"
    first = f"those up to the {search.begins}th at quasi-random points of {names}, the same for every optimizer, and "
    return (first if search.begins > 1 else "") + (
        f"the others one by one at points of {names} that TPE (Optuna {version('optuna')}) suggested from the "
        "costs of the same optimizer's earlier trials on the same problem and seed"
    )


def _halving(pruning: Halving) -> str:
    return (
        f"Successive halving: {pruning.rungs} times, first after 1 / {pruning.factor**pruning.rungs} of the steps, the "
        f"best 1 / {pruning.factor} of a seed's trials went on and the others were pruned, by the same rule for every "
        "optimizer and among its own trials only."
    )


_STATISTICS = (
    "A run is judged by its final cost, on the validation split where there is one; a run that diverged counts as "
    "infinite cost. Two optimizers are compared by their differences seed by seed (of logarithms, where all costs are "
    "positive): intervals are of the studentised bootstrap, p is that of the exact signed-rank test, with Holm's "
    "correction for all pairs. One is called better where the corrected p is at most 0.05 and the interval excludes "
    "equality."
)


def _seeds(count: int) -> str:
    return f"{count} seed{'s' * (count != 1)}"


def _pairs(difference: Difference) -> str:
    if difference.measured == difference.pairs:
        return str(difference.pairs)
    return f"{difference.measured} of {difference.pairs}"


def _test(difference: Difference) -> tuple[Cell, Cell]:
    """The corrected p, and which is better."""
    p = "< 0.001" if difference.adjusted < 0.001 else f"{difference.adjusted:.3f}"
    return Cell(p), Cell(("second better", "not settled", "first better")[1 - difference.settled])


def _interval(interval: Interval | None) -> Cell:
    if interval is None:
        return Cell("–")
    if math.isinf(interval.low) and math.isinf(interval.high):
        return Cell(figures(interval.estimate), "one seed: no interval")
    return Cell(figures(interval.estimate), span(interval.low, interval.high, _bound))


def _bound(value: float) -> str:
    return figures(value) if math.isfinite(value) else "∞" if value > 0 else "−∞"


def _number(value: float) -> Cell:
    return Cell(figures(value) if math.isfinite(value) else "–")


def _time(value: float) -> str:
    return "–" if math.isinf(value) else f"{value:,.0f}" if value >= 100 else f"{value:,.3g}"
