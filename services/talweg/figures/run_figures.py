"""Figures of one run: its cost, its norms, its histograms over time, and its path over a test function."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from talweg.comparison.results import Floats, Steps
from talweg.figures.axes import INK, MUTED, dress, plain, scale
from talweg.figures.colours import BLACK, BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILLION, style
from talweg.figures.curves import DRAWN, extremes, median_curve
from talweg.figures.path_figures import bounds, costs_over, grid_axes, heights
from talweg.records import Snapshot
from talweg.store import RunRow
from talweg_core.problems import SurfaceProblem

LEFT, RIGHT, TOP, BOTTOM = 0.72, 0.16, 0.74, 0.52
# Inches between columns, for the numbers of the right one, and between rows, for a title.
ACROSS, DOWN = 0.78, 0.36
# Columns of a legend, and the height of its rows in inches.
COLUMNS, ROW = 4, 0.23
COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BLACK)
# The most tensors with a line, and with a histogram.
LINES, ROWS = 12, 6
# Runs with at most this many coordinates have a line for each instead of histograms.
FEW = 8
# Bins of a histogram, and its width in pixels.
BINS, PIXELS = 61, 480
# More points than a panel is wide in pixels.
POINTS_ACROSS = 1000


def framed(
    title: str, *, width: float, height: float, rows: int = 1, columns: int = 1, entries: int = 0, note: str = ""
) -> tuple[Figure, Any]:
    """A figure of rows × columns axes (an array of that shape), `height` inches each row, with room for `entries`."""
    legend = ROW * -(-entries // COLUMNS)
    whole = TOP + rows * height + (rows - 1) * DOWN + BOTTOM + legend
    figure = Figure(figsize=(width, whole), facecolor="white")
    each = (width - LEFT - RIGHT - (columns - 1) * ACROSS) / columns
    room = {
        "left": LEFT / width,
        "right": 1 - RIGHT / width,
        "bottom": (BOTTOM + legend) / whole,
        "top": 1 - TOP / whole,
        "wspace": ACROSS / each,
        "hspace": DOWN / height,
    }
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, gridspec_kw=room)
    # A long name is smaller rather than cut off; a bold letter is about 0.7 of its size wide.
    size = min(13.0, 72 * (width - 0.2) / (0.7 * max(len(title), 1)))
    figure.text(0.012, 1 - 0.1 / whole, plain(title), va="top", color=INK, fontsize=size, fontweight="bold")
    # Below the title, since a run's name contains its settings and may fill the line.
    figure.text(0.012, 1 - 0.33 / whole, note, va="top", color=MUTED, fontsize=8.5)
    return figure, panels


def name(axes: Axes, title: str) -> None:
    """Style axes in place, with a title at a fixed height: matplotlib would compute it anew at each drawing."""
    dress(axes, plain(title))
    axes.set_title(plain(title), loc="left", fontsize=10.5, y=1.0, color=INK)


def explain(figure: Figure, handles: Sequence[Any]) -> None:
    """The legend, in the lower left corner, where `framed` leaves room for it."""
    if handles:
        figure.legend(
            handles=handles,
            loc="lower left",
            bbox_to_anchor=(0.004, 0.0),
            borderaxespad=0.1,
            ncols=min(len(handles), COLUMNS),
            frameon=False,
            labelcolor=INK,
            fontsize=9,
        )


def slices(run: RunRow) -> list[tuple[str, tuple[int, ...], slice]]:
    """Name, shape and slice of the flat vector of each tensor."""
    found, start = [], 0
    for tensor in run.tensors:
        shape = tuple(tensor["shape"])
        stop = start + math.prod(shape)
        found.append((str(tensor["name"]), shape, slice(start, stop)))
        start = stop
    return found


def histogram(rows: Floats, bins: int) -> tuple[float, Floats]:
    """r, where −r … r holds all but a thousandth of rows (K, n), and counts (K, bins) over that range."""
    finite = np.abs(rows[np.isfinite(rows)])
    limit = float(np.quantile(finite, 0.999)) if finite.size else 0.0
    limit = limit or 1.0
    edges = np.linspace(-limit, limit, bins + 1)
    clipped = np.clip(np.nan_to_num(rows, nan=0.0), -limit, limit)
    return limit, np.stack([np.histogram(row, edges)[0] for row in clipped]).astype(np.float64)


def cost_curve(run: RunRow, costs: Floats, validation: tuple[Steps, Floats] | None, *, title: str) -> Figure:
    """The cost of every step, with a thick running median where it is noisy; the `validation` cost in a second panel.

    The line of a diverged run is dotted, with a cross at its end.
    """
    colour = style(run.optimizer).colour
    curve = None if run.stop_reason == "diverged" else median_curve([costs])
    notes = [
        "line: every step" if len(costs) <= DRAWN else f"{-(-2 * len(costs) // DRAWN)} steps a point, extremes kept"
    ]
    if curve is not None and curve.window:
        notes.append(f"thick: running median of {curve.window} steps")
    columns = 1 if validation is None else 2
    note = "; ".join(notes)
    figure, panels = framed(title, width=7.6 if columns == 1 else 11.0, height=3.3, columns=columns, note=note)
    axes = panels[0, 0]
    name(axes, "Cost" if validation is None else "Training cost (each step’s batch)")
    if curve is None:
        _diverged(axes, costs, colour)
    elif curve.smooth is None:
        # A line through a single point is invisible.
        axes.plot(curve.steps, curve.median, "o" if len(costs) == 1 else "-", color=colour, linewidth=1.6)
    else:
        axes.plot(curve.steps, curve.median, color=colour, linewidth=0.6, alpha=0.45)
        axes.plot(*curve.smooth, color=colour, linewidth=2.0)
    scale(axes, [costs[np.isfinite(costs)]])
    if validation is not None:
        name(panels[0, 1], "Validation cost")
        panels[0, 1].plot(*validation, color=colour, linewidth=1.6, marker="o", markersize=3.8)
        scale(panels[0, 1], [validation[1]])
    return figure


def norm_curves(run: RunRow, norms: Floats, *, title: str) -> Figure:
    """Gradient norm, and update norm over parameter norm, of each tensor; `norms` (n, 3, T) of steps 0 … n − 1."""
    names = [str(tensor["name"]) for tensor in run.tensors[:LINES]]
    left = len(run.tensors) - len(names)
    note = "one line a tensor" + (f"; {left} more tensors are not drawn" if left > 0 else "")
    figure, panels = framed(title, width=11.0, height=3.2, columns=2, entries=len(names), note=note)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = norms[:, 2] / norms[:, 1]
    both = ("Gradient norm", norms[:, 0]), ("Update norm / parameter norm", ratio)
    for axes, (title_of_panel, values) in zip(panels[0], both, strict=True):
        name(axes, title_of_panel)
        drawn = [_line(axes, values[:, t], t, tensor) for t, tensor in enumerate(names)]
        scale(axes, [line[np.isfinite(line)] for line in drawn])
    explain(figure, panels[0, 0].lines)
    return figure


def histograms(run: RunRow, snapshots: Sequence[Snapshot], *, title: str) -> Figure:
    """Histograms over steps of the derivatives and the parameters of each tensor; lines where there are few."""
    found = slices(run)[:ROWS]
    few = sum(math.prod(shape) for _, shape, _ in found) <= FEW
    steps = np.array([snapshot.step for snapshot in snapshots])
    left = len(run.tensors) - len(found)
    note = f"{len(steps)} step{'s' if len(steps) > 1 else ''}" + (
        f"; {left} more tensors are not drawn" if left > 0 else ""
    )
    figure, panels = framed(
        title,
        width=11.0,
        height=2.9 if few else 1.35,
        rows=1 if few else len(found),
        columns=2,
        entries=sum(math.prod(shape) for _, shape, _ in found) if few else 0,
        note=note,
    )
    for column, (word, quantity) in enumerate((("derivatives", "gradient"), ("parameters", "parameters"))):
        values = np.stack([np.asarray(getattr(each, quantity), dtype=np.float64) for each in snapshots])
        if few:
            _coordinates(panels[0, column], run, steps, values, word)
        else:
            for row, (tensor, _, where) in enumerate(found):
                _heat(panels[row, column], steps, values[:, where], f"{tensor}: {word}")
    for axes in panels[:-1].flat:
        # All rows share the steps of the last one.
        axes.xaxis.set_visible(False)
    if len(steps) == 1:
        panels[-1, 0].set_xticks(steps)
    if few:
        explain(figure, panels[0, 0].lines)
    return figure


def path(problem: SurfaceProblem, points: Floats, *, title: str) -> Figure:
    """The path (n, 2) over lines of equal cost, from a dot to a cross, with a star at the minimum."""
    note = "dot: start; cross: end; star: minimum; lines: equal cost, evenly spaced in log(cost − minimum)"
    figure, panels = framed(title, width=7.0, height=4.5, note=note)
    axes = panels[0, 0]
    name(axes, "Path over the cost")
    low, high = bounds(points, problem.minimiser)
    count = 160
    height = heights(costs_over(problem, low, high, count), problem.least)
    axes.contour(
        *grid_axes(low, high, count), height, levels=18, cmap="Greys_r", linewidths=0.8, linestyles="solid", alpha=0.8
    )
    finite = points[np.isfinite(points).all(axis=1)]
    axes.plot(*finite.T, color=VERMILLION, linewidth=1.6, marker="o" if len(finite) <= 200 else "", markersize=2.6)
    axes.plot(*finite[0], "o", color=VERMILLION, markersize=8)
    axes.plot(*finite[-1], "X", color=VERMILLION, markersize=9, markeredgecolor="white")
    axes.plot(*problem.minimiser, "*", color=BLUE, markersize=14, markeredgecolor="white")
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), xlabel="x[0]")
    axes.set_ylabel("x[1]", color=MUTED)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.grid(visible=False)
    return figure


def _diverged(axes: Axes, costs: Floats, colour: str) -> None:
    finite = costs[np.isfinite(costs)]
    if finite.size:
        axes.plot(finite, color=colour, linewidth=1.4, linestyle=":")
        axes.plot(finite.size - 1, finite[-1], "x", color=colour, markersize=8, markeredgewidth=2.2, clip_on=False)


def _line(axes: Axes, values: Floats, k: int, label: str, steps: Steps | None = None) -> Floats:
    width = -(-2 * len(values) // POINTS_ACROSS)
    kept = np.arange(len(values)) if width == 1 else extremes(values, width)
    at = kept if steps is None else steps[kept]
    line = Line2D(at, values[kept], color=COLOURS[k % len(COLOURS)], linewidth=1.2, label=plain(label))
    if k >= len(COLOURS):
        line.set_dashes((4, 2))
    axes.add_line(line)
    return values[kept]


def _coordinates(axes: Axes, run: RunRow, steps: Steps, values: Floats, word: str) -> None:
    name(axes, word.capitalize())
    names = [
        tensor if math.prod(shape) == 1 else f"{tensor}[{', '.join(map(str, index))}]"
        for tensor, shape, _ in slices(run)
        for index in np.ndindex(shape)
    ]
    for k, label in enumerate(names):
        _line(axes, values[:, k], k, label, steps)
    axes.autoscale_view()


def _heat(axes: Axes, steps: Steps, values: Floats, title: str) -> None:
    name(axes, title)
    limit, counts = histogram(values, BINS)
    if len(steps) > 1:
        # Each column reaches half of the way to its neighbours.
        middle = (steps[1:] + steps[:-1]) / 2
        edges = np.concatenate([[steps[0] - 0.5], middle, [steps[-1] + 0.5]])
    else:
        edges = np.array([steps[0] - 0.5, steps[0] + 0.5])
    # An image, with columns of equal width, is drawn ten times as fast as a mesh of rectangles.
    centres = np.linspace(edges[0], edges[-1], 2 * PIXELS + 1)[1::2]
    columns = counts[np.searchsorted(edges, centres) - 1]
    axes.imshow(
        np.ma.masked_equal(columns.T, 0),
        extent=(edges[0], edges[-1], -limit, limit),
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        cmap="Purples",
        norm=LogNorm(0.5, max(counts.max(), 1)),
    )
    axes.grid(visible=False)
