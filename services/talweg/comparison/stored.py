"""A study of the store, compared: what the API answers with and what the mirror tells MLflow."""

from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import version

import numpy as np

from talweg import comparison
from talweg.comparison.compare import Comparison, compare, shown
from talweg.comparison.reading import results_of
from talweg.comparison.results import Floats
from talweg.comparison.standings import Contender
from talweg.errors import CorruptRecord, ReplayDiverged
from talweg.records import problems_of, records, size_of
from talweg.spec import StudySpec
from talweg.store import RunRow, Store, StudyRow
from talweg_core.problems import Problem
from talweg_core.problems.network_problem import NetworkProblem
from talweg_core.problems.surface import SurfaceProblem

# Of a longer run the points of a path are more than a picture can show.
_LONGEST_PATH = 20_000
# On a plane, where the paths of networks are drawn; of more values a reader would wait too long.
_PLANE_POINTS = 60
_READ_AT_MOST = 20_000_000


def comparison_of(store: Store, study: StudyRow) -> Comparison:
    """Everything that can be said of the study as it stands."""
    return compare(StudySpec.model_validate(study.spec), results_of(store, study))


def protocol(study: StudyRow) -> dict[str, str]:
    """What the runs have in common, for the report's head."""
    spec = StudySpec.model_validate(study.spec)
    names, steps = spec.problem_names(), {own.steps for own in spec.each_problem()}
    facts = {
        "problem" if len(names) == 1 else "problems": names[0] if len(names) == 1 else len(names),
        "protocol": spec.protocol,
        "steps": " to ".join(f"{count:,}" for count in sorted({min(steps), max(steps)})),  # type: ignore[type-var]
        "batch size": spec.batch_size,
        "seeds": len(spec.seed_list()),
        "precision": spec.precision,
        "schedule": spec.schedule.name,
        "budget in": comparison.UNITS[spec.clock],
        "talweg": version("talweg"),
    }
    return {name: str(value) for name, value in facts.items() if value is not None}


def picture(study: StudyRow, found: Comparison, kind: str) -> bytes:
    """The cost curves as "png" or "svg"; of several problems a panel each."""
    # matplotlib takes a second to import: whoever asks for no picture does not wait for it.
    from talweg.comparison import charts, figures

    if found.several:
        drawn = charts.overview(found)
    else:
        (problem,) = found.problems
        runs = [run for contender in found.contenders for run in shown(found, problem, contender)]
        drawn = figures.cost_curves(runs, title=study.name)
    return figures.png(drawn) if kind == "png" else figures.svg(drawn)


def report(study: StudyRow, found: Comparison, more: Sequence[comparison.Picture] = ()) -> str:
    """The report: one HTML page that needs nothing else; `more` pictures, as of `paths_of`, follow the results."""
    from talweg.comparison.drawing import draw

    parts = comparison.sections(found, lambda kind: draw(found, kind, title=study.name), more)
    return comparison.page(study.name, protocol(study), parts)


def paths_of(store: Store, found: Comparison) -> list[comparison.Picture]:
    """The path of each optimizer's first run: over a test function's contours, or on a plane through networks' minima.

    None of several problems, nor of a record that would take long to read.
    """
    problem, *others = problems_of(found.spec)
    if others:
        return []
    from talweg.comparison import figures

    if isinstance(problem, SurfaceProblem):
        taken = _taken(store, found, 1) if problem.layout.size == 2 else {}
        if not taken:
            return []
        from talweg.comparison.contours import paths
        from talweg.comparison.moving import animation

        return [
            comparison.Picture("contours of the cost with each optimizer's path", figures.svg(paths(problem, taken))),
            comparison.Picture("the same paths, step by step", animation(problem, taken), kind="image/gif"),
        ]
    taken = _taken(store, found, _PLANE_POINTS) if "validation" in problem.splits and not _stateful(problem) else {}
    if len(taken) < 2:
        return []
    from talweg.comparison.planes import picture as plane

    return [comparison.Picture("the cost over a plane, with each optimizer's path", figures.svg(plane(problem, taken)))]


def _stateful(problem: Problem) -> bool:
    # Its cost is not one of its parameters alone: batch norm's running statistics belong to a run.
    return isinstance(problem, NetworkProblem) and problem.network.state.size > 0


def _taken(store: Store, found: Comparison, points: int) -> dict[Contender, Floats]:
    """Of each contender the path (n, P) of its first finished run: every step, or about so many `points` of it."""
    taken = {}
    for contender in found.contenders:
        runs = [run for run in shown(found, found.problems[0], contender) if run.complete or points == 1]
        runs = [run for run in runs if 0 < len(run.costs) <= _LONGEST_PATH]
        if runs:
            # A record that cannot be read, or not recomputed on this machine, is no reason to have no report.
            with suppress(CorruptRecord, ReplayDiverged):
                taken[contender] = _path(store, store.run(runs[0].run), points)
    return {contender: path for contender, path in taken.items() if path is not None}


def _path(store: Store, row: RunRow, points: int) -> Floats | None:
    if points == 1:
        return records(store, row, "parameters", 0, row.step).astype(np.float64)
    if size_of(row) * row.step > _READ_AT_MOST:
        return None
    path = records(store, row, "parameters", 0, row.step + 1)
    # Closer together at the start, where a path is quick.
    places = np.unique((np.linspace(0, 1, points) ** 2 * row.step).round().astype(np.int64))
    return path[places].astype(np.float64)


def markdown(study: StudyRow, found: Comparison) -> str:
    """The report as Markdown, without its pictures."""
    return comparison.markdown(study.name, protocol(study), comparison.sections(found))


def summary(found: Comparison) -> str:
    """The first table and the verdict, as Markdown."""
    parts = [part for section in comparison.sections(found) for part in section.parts]
    tables = [comparison.markdown_table(part) for part in parts if isinstance(part, comparison.Table)]
    return "\n\n".join([*tables[:1], comparison.escape(comparison.verdict(found, comparison.guards(found)))])
