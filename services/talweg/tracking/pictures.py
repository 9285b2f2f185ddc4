"""Figures of one run: its norms, its histograms over time, and its path over a test function."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from talweg.comparison.axes import INK, MUTED, dress, scale
from talweg.comparison.colours import BLACK, BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILLION
from talweg.comparison.curves import DRAWN, extremes
from talweg.comparison.results import Floats, Steps
from talweg.records import Look
from talweg.store import RunRow
from talweg.tracking.page import surfaces
from talweg.tracking.page.weights import histogram, slices
from talweg_core.problems import SurfaceProblem

COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BLACK)
# Tensors that have a line or a histogram of their own.
LINES, ROWS = 12, 6
# Runs with at most this many coordinates have too few for a histogram: each is a line.
FEW = 8


def norm_curves(run: RunRow, norms: Floats, *, title: str) -> Figure:
    """Gradient norm, and update norm over parameter norm, of each tensor; `norms` (n, 3, T) of steps 0 … n − 1."""
    figure = _figure(title, 11.0, 4.4)
    names = [str(tensor["name"]) for tensor in run.tensors[:LINES]]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = norms[:, 2] / norms[:, 1]
    panels = figure.subplots(1, 2, squeeze=False, sharex=True)[0]
    for axes, name, values in zip(
        panels, ("Gradient norm", "Update norm / parameter norm"), (norms[:, 0], ratio), strict=True
    ):
        dress(axes, name)
        drawn = [_line(axes, values[:, t], k, tensor) for k, (t, tensor) in enumerate(enumerate(names))]
        scale(axes, [line[np.isfinite(line)] for line in drawn])
    left = len(run.tensors) - len(names)
    more = f"; {left} more tensors are not drawn" if left > 0 else ""
    _legend(figure, len(names), f"one line a tensor{more}")
    return figure


def histograms(run: RunRow, looks: Sequence[Look], *, title: str) -> Figure:
    """How the derivatives and the parameters of each tensor are spread, from step to step; lines where few."""
    found = slices(run)[:ROWS]
    few = sum(math.prod(shape) for _, shape, _ in found) <= FEW
    rows = 1 if few else len(found)
    figure = _figure(title, 11.0, 1.0 + 1.9 * rows if rows > 1 else 4.0)
    panels = figure.subplots(rows, 2, squeeze=False, sharex=True)
    steps = np.array([look.step for look in looks])
    for column, (word, quantity) in enumerate((("derivatives", "gradient"), ("parameters", "parameters"))):
        values = np.stack([np.asarray(getattr(look, quantity), dtype=np.float64) for look in looks])
        if few:
            _coordinates(panels[0, column], run, steps, values, word)
        else:
            for row, (name, _, where) in enumerate(found):
                _heat(panels[row, column], steps, values[:, where], f"{name}: {word}")
    for axes in panels[:-1].flat:
        axes.set_xlabel("")
    left = len(run.tensors) - len(found)
    text = f"{len(steps)} steps" + (f"; {left} more tensors are not drawn" if left > 0 else "")
    _legend(figure, 0 if not few else sum(math.prod(shape) for _, shape, _ in found), text)
    return figure


def path(problem: SurfaceProblem, points: Floats, *, title: str) -> Figure:
    """The way (n, 2) over lines of equal cost, from a dot to a cross, and where the minimum is."""
    figure = _figure(title, 7.0, 5.6)
    axes = figure.subplots()
    dress(axes, "Path over the cost")
    low, high = surfaces.bounds(points, problem.minimiser)
    count = 160
    heights = surfaces.heights(surfaces.costs_over(problem, low, high, count), problem.least)
    grid = [np.linspace(low[k], high[k], count) for k in (0, 1)]
    axes.contour(*grid, heights, levels=18, cmap="Greys_r", linewidths=0.8, linestyles="solid", alpha=0.8)
    finite = points[np.isfinite(points).all(axis=1)]
    axes.plot(*finite.T, color=VERMILLION, linewidth=1.6, marker="o" if len(finite) <= 200 else "", markersize=2.6)
    axes.plot(*finite[0], "o", color=VERMILLION, markersize=8)
    axes.plot(*finite[-1], "X", color=VERMILLION, markersize=9, markeredgecolor="white")
    axes.plot(*problem.minimiser, "*", color=BLUE, markersize=14, markeredgecolor="white")
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), xlabel="x[0]")
    axes.set_ylabel("x[1]", color=MUTED)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.grid(visible=False)
    words = "dot: start; cross: end; star: minimum; lines: equal cost, even in log(cost − minimum)"
    axes.set_title(words, loc="left", fontsize=8.5, color=MUTED)
    return figure


def _figure(title: str, width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    # matplotlib would read what is between two dollar signs as a formula.
    plain = title.replace("$", r"\$")
    figure.suptitle(plain, x=0.012, ha="left", color=INK, fontsize=13, fontweight="bold")
    return figure


def _line(axes: Axes, values: Floats, k: int, name: str, steps: Steps | None = None) -> Floats:
    width = -(-2 * len(values) // DRAWN)
    kept = np.arange(len(values)) if width == 1 else extremes(values, width)
    dashes = "-" if k < len(COLOURS) else "--"
    at = kept if steps is None else steps[kept]
    axes.plot(at, values[kept], dashes, color=COLOURS[k % len(COLOURS)], linewidth=1.2, label=name.replace("$", r"\$"))
    return values[kept]


def _coordinates(axes: Axes, run: RunRow, steps: Steps, values: Floats, word: str) -> None:
    dress(axes, word.capitalize())
    names = [
        name if math.prod(shape) == 1 else f"{name}[{', '.join(map(str, index))}]"
        for name, shape, _ in slices(run)
        for index in np.ndindex(shape)
    ]
    for k, name in enumerate(names):
        _line(axes, values[:, k], k, name, steps)


def _heat(axes: Axes, steps: Steps, values: Floats, name: str) -> None:
    dress(axes, name.replace("$", r"\$"))
    reach, counts = histogram(values, 61)
    if len(steps) > 1:
        # Each column as wide as the steps that it stands for.
        middle = (steps[1:] + steps[:-1]) / 2
        edges = np.concatenate([[steps[0] - 0.5], middle, [steps[-1] + 0.5]])
    else:
        edges = np.array([steps[0] - 0.5, steps[0] + 0.5])
    bins = np.linspace(-reach, reach, 62)
    shown = np.ma.masked_equal(counts.T, 0)
    axes.pcolormesh(edges, bins, shown, cmap="Purples", norm=LogNorm(0.5, max(counts.max(), 1)), rasterized=True)
    axes.grid(visible=False)


def _legend(figure: Figure, entries: int, text: str) -> None:
    if entries:
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(
            handles, labels, loc="outside lower left", ncols=min(entries, 4), frameon=False, labelcolor=INK, fontsize=9
        )
    figure.text(0.988, 0.985, text, ha="right", va="top", color=MUTED, fontsize=8.5)
