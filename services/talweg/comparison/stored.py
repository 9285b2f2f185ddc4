"""A study of the store, compared: what the API answers with and what the mirror tells MLflow."""

from collections.abc import Sequence
from importlib.metadata import version

import numpy as np

from talweg import comparison
from talweg.comparison.compare import Comparison, compare, shown
from talweg.comparison.reading import results_of
from talweg.records import problems_of, records
from talweg.spec import StudySpec
from talweg.store import Store, StudyRow
from talweg_core.problems.surface import SurfaceProblem

# Of a longer run the points of a path are more than a picture can show.
_LONGEST_PATH = 20_000


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
    """Of a test function of two coordinates, the path of each optimizer's first run over its contours."""
    problem, *others = problems_of(found.spec)
    if others or not isinstance(problem, SurfaceProblem) or problem.layout.size != 2:
        return []
    from talweg.comparison import figures
    from talweg.comparison.contours import paths

    taken = {}
    for contender in found.contenders:
        runs = [run for run in shown(found, found.problems[0], contender) if 0 < len(run.costs) <= _LONGEST_PATH]
        if runs:
            row = store.run(runs[0].run)
            taken[contender] = records(store, row, "parameters", 0, row.step).astype(np.float64)
    if not taken:
        return []
    return [comparison.Picture("contours of the cost with each optimizer's path", figures.svg(paths(problem, taken)))]


def markdown(study: StudyRow, found: Comparison) -> str:
    """The report as Markdown, without its pictures."""
    return comparison.markdown(study.name, protocol(study), comparison.sections(found))


def summary(found: Comparison) -> str:
    """The first table and the verdict, as Markdown."""
    parts = [part for section in comparison.sections(found) for part in section.parts]
    tables = [comparison.markdown_table(part) for part in parts if isinstance(part, comparison.Table)]
    return "\n\n".join([*tables[:1], comparison.escape(comparison.verdict(found, comparison.guards(found)))])
