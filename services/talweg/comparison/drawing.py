"""The figures of a comparison by their names, as SVG: what a report asks for."""

from talweg.comparison.charts import overview, profiles, sensitivities
from talweg.comparison.compare import Comparison, shown
from talweg.comparison.figures import cost_curves, svg

# As many as an SVG of less than a megabyte has: a report is one page of at most two.
_POINTS = 8000


def draw(comparison: Comparison, kind: str, *, title: str = "") -> bytes:
    """One figure: overview, profiles, sensitivities, or the curves of the one problem that the study has."""
    if kind == "profiles":
        return svg(profiles(comparison))
    if kind == "overview":
        return svg(overview(comparison))
    if kind == "sensitivities":
        return svg(sensitivities([p for p in comparison.problems if p.tunings], comparison.contenders))
    (problem,) = comparison.problems
    runs = [run for contender in comparison.contenders for run in shown(comparison, problem, contender)]
    return svg(cost_curves(runs, title=title, points=_POINTS))
