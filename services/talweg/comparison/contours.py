"""A test function of two coordinates from above, with the paths that the optimizers took over it."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from talweg.comparison.axes import INK, MUTED, dress
from talweg.comparison.charts import figure_of, legend, line, look
from talweg.comparison.results import Floats
from talweg.comparison.standings import Contender
from talweg_core.problems.surface import SurfaceProblem

_CELLS = 160
_LEVELS = 18
_DRAWN = 1000
# How far from start and minimum the picture reaches, in their distance: a path may leave it.
_REACH = 1.5


def paths(problem: SurfaceProblem, taken: Mapping[Contender, Floats]) -> Figure:
    """Contours of the cost, evenly apart in its logarithm, and the path (n, 2) of each contender.

    A dot is the start, a star a known minimum, a ring where a path ends. A path that leaves the picture is cut there.
    """
    return drawn(problem, taken)[0]


def drawn(
    problem: SurfaceProblem, taken: Mapping[Contender, Floats], *, window: Mapping[Contender, Floats] | None = None
) -> tuple[Figure, Axes]:
    """The figure and its axes, which hold the paths of `window` where these are to come."""
    figure = figure_of(10.0, 6.2)
    axes = figure.subplots()
    low, high = _window(problem, list((taken if window is None else window).values()))
    x, y = np.linspace(low[0], high[0], _CELLS), np.linspace(low[1], high[1], _CELLS)
    heights = _costs(problem, x, y) - problem.least
    dress(axes, f"{problem.name}: cost, darker is lower")
    least = max(float(np.quantile(heights, 0.001)), float(heights.max()) * 1e-8, 1e-300)
    levels = np.geomspace(least, float(heights.max()), _LEVELS)
    shades = axes.contourf(
        x, y, np.maximum(heights, least), levels=levels, cmap="Greys_r", alpha=0.55, locator=LogLocator()
    )
    axes.contour(x, y, np.maximum(heights, least), levels=levels, colors=MUTED, linewidths=0.4)
    # As an image inside the drawing: as shapes it would be most of the page.
    shades.set_rasterized(True)
    for contender, path in taken.items():
        inside = path[np.isfinite(path).all(axis=1)]
        if not len(inside):
            continue
        # Of a long path not every point can be seen, and each is a mark on the page; its end stays.
        inside = np.concatenate([inside[: -1 : len(inside) // _DRAWN + 1], inside[-1:]])
        axes.add_line(line(look(contender), inside[:, 0], inside[:, 1], marker=".", markersize=3.5, alpha=0.95))
        axes.plot(*inside[-1], "o", markersize=9, fillstyle="none", color=look(contender).colour, markeredgewidth=2)
    axes.plot(*problem.start, "o", color=INK, markersize=7)
    axes.plot(*problem.minimiser, "*", color=INK, markersize=13)
    axes.set_xlim(low[0], high[0])
    axes.set_ylim(low[1], high[1])
    axes.set_xlabel("x₁", color=MUTED)
    axes.set_ylabel("x₂", color=MUTED)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.grid(visible=False)
    legend(figure, list(taken))
    return figure, axes


def _window(problem: SurfaceProblem, taken: list[Floats]) -> tuple[Floats, Floats]:
    """Corners (2,) that hold start, minimum and the paths, as far as they stay near."""
    fixed = np.stack([problem.start, problem.minimiser])
    away = float(np.abs(problem.start - problem.minimiser).max()) or 1.0
    bounds = fixed.min(axis=0) - _REACH * away, fixed.max(axis=0) + _REACH * away
    points = np.concatenate([fixed, *(path[np.isfinite(path).all(axis=1)] for path in taken)])
    points = np.clip(points, *bounds)
    room = 0.12 * np.maximum(np.ptp(points, axis=0), 0.5 * away)
    return points.min(axis=0) - room, points.max(axis=0) + room


def _costs(problem: SurfaceProblem, x: Floats, y: Floats) -> Floats:
    """(len(y), len(x)) in float64."""
    grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    oracle = problem.bind(grid, np.empty_like(grid), [0] * len(grid), 0)
    return np.array(oracle.costs(0)).reshape(len(y), len(x))
