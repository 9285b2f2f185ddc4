"""Figures of a comparison, drawn with matplotlib's objects: no pyplot, no global state, no display."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from talweg.comparison.results import Group, Result, groups
from talweg.figures.axes import INK, MUTED, dress, scale
from talweg.figures.colours import Style, style
from talweg.figures.curves import DRAWN, Curve, median_curve

_FEWEST = 100


def cost_curves(results: Sequence[Result], *, title: str, points: int | None = None) -> Figure:
    """The cost of every step per optimizer setting: median over seeds as a line, full range as a band.

    Where steps are noisy, a thick line shows the running median of the thin one. Where runs were evaluated on
    the validation split, a second panel shows that cost. A run that diverged is not part of a median; it is
    drawn alone, dotted, up to a cross where it ended. All lines of a panel together have at most about `points` points.
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
    figure.suptitle(_plain(title), x=0.012, ha="left", color=INK, fontsize=13, fontweight="bold")
    _explain(figure, members, [curve for curve in curves if curve is not None])
    return figure


def png(figure: Figure, *, dots_per_inch: int = 144) -> bytes:
    """The figure as PNG, without a date, so that the same figure has the same bytes."""
    return _saved(figure, format="png", dpi=dots_per_inch, metadata={"Software": None})


def svg(figure: Figure) -> bytes:
    """The figure as SVG; letters are paths, so it looks the same everywhere and holds no text to escape.

    The same figure has the same bytes.
    """
    # Without a salt the names of its parts are drawn anew each time.
    with rc_context({"svg.hashsalt": "talweg"}):
        return _saved(figure, format="svg", metadata={"Date": None})


def _saved(figure: Figure, **options: Any) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, **options)
    return buffer.getvalue()


def _training(group: Group, points: int) -> Curve | None:
    return median_curve([result.costs for result in group.results if result.counts], points=points)


def _validation(group: Group) -> Curve | None:
    runs = [result for result in group.results if result.counts and "validation" in result.evaluations]
    evaluations = [result.evaluations["validation"] for result in runs]
    shortest = min((e.steps for e in evaluations), key=len, default=None)
    return median_curve([e.costs for e in evaluations], shortest)


def _panel(axes: Axes, name: str, members: Sequence[Group], curves: Sequence[Curve | None], marker: str = "") -> None:
    dress(axes, name)
    for group, curve in zip(members, curves, strict=True):
        if curve is not None:
            _draw(axes, curve, style(group.name, group.variant), marker)
    scale(axes, [part for curve in curves if curve is not None for part in (curve.low, curve.high)])


def _draw(axes: Axes, curve: Curve, look: Style, marker: str) -> None:
    axes.fill_between(curve.steps, curve.low, curve.high, color=look.colour, alpha=0.15, linewidth=0, zorder=1)
    x, y = curve.steps, curve.median
    if curve.smooth is not None:
        axes.plot(x, y, color=look.colour, linewidth=0.6, alpha=0.45, zorder=2)
        x, y = curve.smooth
    axes.add_line(_line(look, x, y, marker=marker, markersize=3.8, zorder=3))


def _line(look: Style, x: Any, y: Any, **options: Any) -> Line2D:
    line = Line2D(x, y, color=look.colour, linewidth=2.0, markeredgewidth=0, **options)
    if look.dashes:
        line.set_dashes(look.dashes)
    return line


def _diverged(axes: Axes, members: Sequence[Group]) -> None:
    """Each diverged run up to its end, along the upper edge from where it left the picture."""
    judged = any(result.counts for group in members for result in group.results)
    runs = [(group, result) for group in members for result in group.results if result.diverged]
    finite = [result.costs[np.isfinite(result.costs)] for _, result in runs]
    if not judged:
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
    """The legend below, and in the upper right corner what line and band stand for."""
    handles = [_line(style(group.name, group.variant), [], [], label=_plain(_entry(group))) for group in members]
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
    notes = [f"line: median of {seeds} seeds, band: full range" if seeds > 1 else "one seed"]
    if smoothed := max((curve.window for curve in curves), default=0):
        notes.append(f"thick: running median of {smoothed} steps")
    if (thinned := max((curve.thinned for curve in curves), default=1)) > 1:
        notes.append(f"{thinned} steps a point, extremes kept")
    figure.text(0.988, 0.985, "; ".join(notes), ha="right", va="top", color=MUTED, fontsize=8.5)


def _entry(group: Group) -> str:
    if not group.diverged:
        return group.label
    return f"{group.label} ({group.diverged} of {len(group.results)} diverged)"


def _plain(text: str) -> str:
    """Text as it stands: matplotlib would read what is between two dollar signs as a formula."""
    return text.replace("$", r"\$")
