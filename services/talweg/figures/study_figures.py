"""Figures of a study: cost curves, performance profiles, learning-rate sensitivity, curves of several problems."""

import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from talweg.comparison.compare import Comparison, OnProblem, leaders, shown, shown_runs
from talweg.comparison.contenders import Contender
from talweg.comparison.profiles import R_MAX, profile
from talweg.comparison.results import Group, Result, groups
from talweg.figures.axes import INK, MUTED, dress, plain, scale
from talweg.figures.colours import Style, style
from talweg.figures.curves import DRAWN, Curve, curve_notes, judged_curve, median_curve

_FEWEST = 100
_TAUS = 601
# Points of all lines of a panel: the SVG stays below 1 MB, and a report below 2 MB.
_POINTS = 8000


def cost_curves(results: Sequence[Result], *, title: str, points: int | None = None) -> Figure:
    """The cost of every step per optimizer setting: median over seeds as a line, full range as a band.

    Where costs are noisy, a thick line shows the running median of the thin one. Where runs were evaluated on the
    validation split, a second panel shows that cost. A diverged run enters no median; it is drawn alone, dotted, with a
    cross at its end. All lines of a panel together have at most about `points` points.
    """
    members = groups(results)
    validated = any("validation" in result.evaluations for result in results)
    figure = Figure(figsize=(11.0 if validated else 7.6, 4.6), layout="constrained", facecolor="white")
    panels = figure.subplots(1, 2 if validated else 1, squeeze=False, sharex=True)[0]
    each = DRAWN if points is None else min(DRAWN, max(points // max(len(members), 1), _FEWEST))
    curves = [_training(group, each) for group in members]
    _panel(panels[0], "Training cost (each step’s batch)" if validated else "Cost", members, curves)
    _diverged(panels[0], members)
    if validated:
        _panel(panels[1], "Validation cost", members, [_validation(group) for group in members], marker="o")
    figure.suptitle(plain(title), x=0.012, ha="left", color=INK, fontsize=13, fontweight="bold")
    _explain(figure, members, [curve for curve in curves if curve is not None])
    return figure


def curves(comparison: Comparison, *, title: str, points: int | None = None) -> Figure:
    """The cost curves of a comparison's one problem."""
    (problem,) = comparison.problems
    return cost_curves(shown_runs(comparison, problem), title=title, points=points)


def png(figure: Figure, *, dots_per_inch: int = 144) -> bytes:
    """The figure as PNG, without a date, so that the same figure has the same bytes."""
    return _saved(figure, format="png", dpi=dots_per_inch, metadata={"Software": None})


def svg(figure: Figure) -> bytes:
    """The figure as SVG. Letters are paths, so that it looks the same everywhere and holds no text to escape.

    The same figure has the same bytes.
    """
    # Without a fixed salt the ids of elements are random.
    with rc_context({"svg.hashsalt": "talweg"}):
        return _saved(figure, format="svg", metadata={"Date": None})


def _saved(figure: Figure, **options: Any) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, **options)
    return buffer.getvalue()


def _training(group: Group, points: int) -> Curve | None:
    return median_curve([result.costs.array for result in group.results if result.counts], points=points)


def _validation(group: Group) -> Curve | None:
    return judged_curve([run for run in group.results if run.counts and "validation" in run.evaluations])


def _panel(axes: Axes, name: str, members: Sequence[Group], curves: Sequence[Curve | None], marker: str = "") -> None:
    dress(axes, name)
    for group, curve in zip(members, curves, strict=True):
        if curve is not None:
            _draw(axes, curve, style(group.name, group.variant), marker)
    scale(axes, [part for curve in curves if curve is not None for part in (curve.low, curve.high)])


def _draw(axes: Axes, curve: Curve, pen: Style, marker: str) -> None:
    axes.fill_between(curve.steps, curve.low, curve.high, color=pen.colour, alpha=0.15, linewidth=0, zorder=1)
    x, y = curve.steps, curve.median
    if curve.smooth is not None:
        axes.plot(x, y, color=pen.colour, linewidth=0.6, alpha=0.45, zorder=2)
        x, y = curve.smooth
    axes.add_line(line(pen, x, y, marker=marker, markersize=3.8, zorder=3))


def _diverged(axes: Axes, members: Sequence[Group]) -> None:
    """Each untrained run up to its end; above the upper limit of the axes it follows that limit."""
    any_counts = any(result.counts for group in members for result in group.results)
    runs = [(group, result) for group in members for result in group.results if result.failed_to_train]
    whole = [result.costs.array for _, result in runs]
    finite = [costs[np.isfinite(costs)] for costs in whole]
    if not any_counts:
        scale(axes, finite)
    top = axes.get_ylim()[1]
    for (group, _), costs in zip(runs, finite, strict=True):
        if costs.size:
            colour, clipped = style(group.name, group.variant).colour, np.minimum(costs, top)
            axes.plot(clipped, color=colour, linewidth=1.1, linestyle=":", zorder=2)
            axes.plot(
                costs.size - 1,
                clipped[-1],
                "x",
                color=colour,
                markersize=8,
                markeredgewidth=2.2,
                clip_on=False,
            )


def _explain(figure: Figure, members: Sequence[Group], curves: Sequence[Curve]) -> None:
    """The legend below, and in the upper right corner the meaning of line and band."""
    handles = [line(style(group.name, group.variant), [], [], label=plain(_entry(group))) for group in members]
    columns = min(max(len(handles), 1), 5 if len(figure.axes) > 1 else 3)
    options = {
        "frameon": False,
        "labelcolor": INK,
        "fontsize": 9.5,
        "handlelength": 3.0,
        "columnspacing": 2.0,
    }
    figure.legend(handles=handles, loc="outside lower left", ncols=columns, **options)
    seeds = max((len(group.results) for group in members), default=0)
    notes = [f"line: median of {seeds} seeds, band: full range" if seeds > 1 else "one seed", *curve_notes(curves)]
    figure.text(0.988, 0.985, "; ".join(notes), ha="right", va="top", color=MUTED, fontsize=8.5)


def _entry(group: Group) -> str:
    lost = [f"{group.diverged} of {len(group.results)} diverged"] if group.diverged else []
    lost += [f"{group.blown_up} of {len(group.results)} blew up"] if group.blown_up else []
    return f"{group.label} ({', '.join(lost)})" if lost else group.label


def profiles(comparison: Comparison) -> Figure:
    """On the left each profile ρ(τ), on the right its integral, the score, with its interval."""
    scores = comparison.scores
    figure = figure_of(11.0, 4.3)
    left, right = figure.subplots(1, 2, width_ratios=(1.5, 1))
    taus = np.linspace(1, R_MAX, _TAUS)
    shares = profile([score.times for score in scores], taus)
    dress(left, "Share of problems within τ times the fastest")
    left.set_xlabel("τ: time to target over the fastest", color=MUTED)
    left.xaxis.set_major_locator(_every(0.5))
    left.xaxis.set_major_formatter("{x:g}")
    left.set_ylim(-0.03, 1.03)
    for i, (score, share) in enumerate(zip(scores, shares, strict=True)):
        # Shifted by 0.006 each, so that equal curves do not hide each other.
        left.add_line(line(style_of(score.contender), taus, share + 0.006 * (i - (len(scores) - 1) / 2)))
    left.set_xlim(1, R_MAX)
    dress(right, "Profile score, 95 % interval over seeds")
    right.set_xlabel("0: never within a factor 4   1: always the fastest", color=MUTED)
    right.xaxis.set_major_locator(_every(0.25))
    right.xaxis.set_major_formatter("{x:g}")
    right.set_xlim(-0.03, 1.03)
    for i, score in enumerate(scores):
        _dot(right, -i, score.score.estimate, score.score.low, score.score.high, style_of(score.contender))
    right.set_yticks([-i for i in range(len(scores))], [plain(score.contender.label) for score in scores])
    right.tick_params(axis="y", colors=INK)
    right.set_ylim(-len(scores) + 0.4, 0.6)
    legend(figure, comparison.contenders)
    return figure


def sensitivities(problems: Sequence[OnProblem], contenders: Sequence[Contender]) -> Figure:
    """By problem the median final cost by learning rate; a ring marks the best, a cross on top divergence."""
    columns = min(len(problems), 4)
    figure, grid = _panels(len(problems), columns)
    for axes, problem in zip(grid, problems, strict=False):
        dress(axes, plain(problem.name))
        axes.set_xlabel("learning rate", color=MUTED)
        axes.set_xscale("log")
        scale(axes, [np.array(tuning.costs) for tuning in problem.tunings])
        for i, tuning in enumerate(problem.tunings):
            drawn, rates, costs = style_of(tuning.contender), np.array(tuning.rates), np.array(tuning.costs)
            finite = np.isfinite(costs)
            axes.add_line(line(drawn, rates[finite], costs[finite], marker="o", markersize=3.5))
            if tuning.best is not None:
                best = tuning.rates.index(tuning.best)
                axes.plot(rates[best], costs[best], "o", markersize=10, fillstyle="none", color=drawn.colour)
            lost = rates[~finite]
            height = 1.03 + 0.04 * i
            axes.plot(
                lost,
                np.full(len(lost), height),
                "x",
                color=drawn.colour,
                markersize=5,
                clip_on=False,
                transform=axes.get_xaxis_transform(),
            )
        axes.set_title(plain(problem.name), loc="left", fontsize=10.5, color=INK, pad=8 + 8 * len(problem.tunings))
    grid[0].set_ylabel("median final cost", color=MUTED)
    legend(figure, contenders)
    return figure


def overview(comparison: Comparison) -> Figure:
    """By problem the judged cost by step: median over seeds with its range, and the target."""
    columns = min(len(comparison.problems), 4)
    figure, grid = _panels(len(comparison.problems), columns)
    for axes, problem in zip(grid, comparison.problems, strict=False):
        dress(axes, plain(problem.name))
        curves = []
        for contender in comparison.contenders:
            curve = judged_curve([run for run in shown(comparison, problem, contender) if run.counts])
            if curve is not None:
                curves += [curve.low, curve.high]
                drawn = style_of(contender)
                axes.fill_between(curve.steps, curve.low, curve.high, color=drawn.colour, alpha=0.15, linewidth=0)
                x, y = (curve.steps, curve.median) if curve.smooth is None else curve.smooth
                axes.add_line(line(drawn, x.astype(np.float64), y))
        scale(axes, curves)
        axes.autoscale(axis="x")
        if math.isfinite(problem.target):
            axes.axhline(problem.target, color=MUTED, linewidth=1.0, linestyle=(0, (2, 2)), zorder=1)
        axes.set_ylabel(plain(problem.judged_by), color=MUTED, fontsize=8.5)
    legend(figure, comparison.contenders, [Line2D([], [], color=MUTED, linestyle=(0, (2, 2)), label="target")])
    return figure


def _panels(count: int, columns: int) -> tuple[Figure, list[Axes]]:
    rows = -(-count // columns)
    # At least as wide as other figures, so that letters have the same size in a report.
    figure = figure_of(max(2.9 * columns, 10.0), 2.7 * rows + 0.9)
    grid = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in grid[count:]:
        axes.set_visible(False)
    return figure, grid


def figure_of(width: float, height: float) -> Figure:
    """An empty white figure, in inches, with a margin that keeps a frame on dark pages."""
    layout = ConstrainedLayoutEngine(h_pad=0.09, w_pad=0.09)
    return Figure(figsize=(width, height), layout=layout, facecolor="white")


def style_of(contender: Contender) -> Style:
    """The style of a contender, the same in all figures."""
    return style(contender.optimizer, contender.variant)


def line(pen: Style, x: Any, y: Any, **options: Any) -> Line2D:
    """A line in a style."""
    line = Line2D(x, y, color=pen.colour, linewidth=2.0, markeredgewidth=0, **options)
    if pen.dashes:
        line.set_dashes(pen.dashes)
    return line


def _dot(axes: Axes, height: float, value: float, low: float, high: float, pen: Style) -> None:
    axes.plot([low, high], [height, height], color=pen.colour, linewidth=2.0, solid_capstyle="butt")
    axes.plot(value, height, "o", color=pen.colour, markersize=7)


def legend(figure: Figure, contenders: Sequence[Contender], more: Sequence[Line2D] = ()) -> None:
    """The legend of the contenders, below the axes."""
    handles = [line(style_of(c), [], [], label=plain(c.label)) for c in contenders]
    figure.legend(
        handles=[*handles, *more],
        loc="outside lower left",
        ncols=min(len(handles) + len(more), 5),
        frameon=False,
        labelcolor=INK,
        fontsize=9.5,
        handlelength=3.0,
    )


def _every(width: float) -> object:
    from matplotlib.ticker import MultipleLocator

    return MultipleLocator(width)


def draw(comparison: Comparison, kind: str, *, title: str = "") -> bytes:
    """One figure as SVG: overview, profiles, sensitivities, or else the curves of the study's one problem.

    Of many contenders the best are drawn.
    """
    comparison = leaders(comparison)
    if kind == "profiles":
        return svg(profiles(comparison))
    if kind == "overview":
        return svg(overview(comparison))
    if kind == "sensitivities":
        return svg(sensitivities([p for p in comparison.problems if p.tunings], comparison.contenders))
    return svg(curves(comparison, title=title, points=_POINTS))
