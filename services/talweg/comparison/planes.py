"""A plane through a network's parameters: the cost over it, and the paths of all optimizers as they are seen from it.

The plane goes through the middle of the points where the paths end, along the two directions in which the paths spread
most about it (their principal components), so that it holds as much of the paths as a plane can. How much that is
stands in the picture; the rest is perpendicular to the paper, and the cost under a path is not that of its point.

Source: Li, Xu, Taylor, Studer, Goldstein, "Visualizing the Loss Landscape of Neural Nets", 2018, section 7; there about
the last point of one path.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from talweg.comparison.axes import INK, MUTED, dress
from talweg.comparison.charts import figure_of, legend, line, look
from talweg.comparison.results import Floats
from talweg.comparison.standings import Contender
from talweg_core.problems import Problem

_CELLS = 25
_LEVELS = 18


@dataclass(frozen=True, eq=False)
class Plane:
    """`origin` (P,), `axes` (2, P) of length 1 and perpendicular; `shares` (2,) of the paths' spread along each."""

    origin: Floats
    axes: Floats
    shares: Floats

    def seen(self, points: Floats) -> Floats:
        """Coordinates (n, 2) of points (n, P) in the plane."""
        return np.asarray((points - self.origin) @ self.axes.T)


def plane_of(paths: list[Floats]) -> Plane:
    """The plane of paths (n_i, P); each path counts alike, however many points it has."""
    origin = np.mean([path[-1] for path in paths], axis=0)
    away = np.concatenate([(path - origin) / np.sqrt(len(path)) for path in paths])
    # P may be a hundred thousand: the small Gram matrix of the points has the same spectrum.
    values, vectors = np.linalg.eigh(away @ away.T)
    values, vectors = np.maximum(values[::-1], 0), vectors[:, ::-1]
    axes = vectors[:, :2].T @ away
    lengths = np.linalg.norm(axes, axis=1, keepdims=True)
    axes = np.divide(axes, lengths, out=np.zeros_like(axes), where=lengths > 0)
    whole = values.sum()
    return Plane(origin, axes, values[:2] / whole if whole > 0 else np.zeros(2))


def picture(problem: Problem, taken: Mapping[Contender, Floats], *, split: str = "validation") -> Figure:
    """The cost on a split over the plane, contours evenly apart in its logarithm, with each contender's path.

    Args:
        problem: a network on data.
        taken: of each contender points (n, P) of one run, in order; with the same seed all begin at one point.
        split: of the data, on which the cost is.
    """
    plane = plane_of(list(taken.values()))
    seen = {contender: plane.seen(path) for contender, path in taken.items()}
    low, high = _window(list(seen.values()))
    x, y = np.linspace(low[0], high[0], _CELLS), np.linspace(low[1], high[1], _CELLS)
    costs = np.array(
        [[problem.evaluate(plane.origin + a * plane.axes[0] + b * plane.axes[1], split)[0] for a in x] for b in y]
    )
    figure = figure_of(10.0, 6.2)
    axes = figure.subplots()
    first, second = 100 * plane.shares
    dress(axes, f"{problem.name}: {split} cost over a plane that holds {first + second:.0f} % of the paths’ spread")
    _contours(axes, x, y, costs)
    for contender, path in seen.items():
        axes.add_line(line(look(contender), path[:, 0], path[:, 1], marker=".", markersize=3.5))
        axes.plot(*path[-1], "o", markersize=9, fillstyle="none", color=look(contender).colour, markeredgewidth=2)
    axes.plot(*next(iter(seen.values()))[0], "o", color=INK, markersize=7)
    axes.set_xlim(low[0], high[0])
    axes.set_ylim(low[1], high[1])
    axes.set_xlabel(f"first principal direction, {first:.0f} %", color=MUTED)
    axes.set_ylabel(f"second, {second:.0f} %", color=MUTED)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.grid(visible=False)
    legend(figure, list(taken))
    return figure


def _contours(axes: Axes, x: Floats, y: Floats, costs: Floats) -> None:
    heights = np.where(np.isfinite(costs), costs, np.nanmax(np.where(np.isfinite(costs), costs, np.nan)))
    low, high = float(heights.min()), float(heights.max())
    least = max(low, high * 1e-8) if low >= 0 else low
    levels = np.geomspace(least, high, _LEVELS) if least > 0 else np.linspace(least, high, _LEVELS)
    if not np.all(np.diff(levels) > 0):
        return
    held = np.maximum(heights, least)
    shades = axes.contourf(x, y, held, levels=levels, cmap="Greys_r", alpha=0.55, norm=LogNorm() if least > 0 else None)
    shades.set_rasterized(True)
    drawn = axes.contour(x, y, held, levels=levels[::3], colors=MUTED, linewidths=0.5)
    axes.clabel(drawn, fmt=lambda value: f"{value:.2g}", fontsize=7.5)


def _window(paths: list[Floats]) -> tuple[Floats, Floats]:
    points = np.concatenate(paths)
    room = 0.15 * np.maximum(np.ptp(points, axis=0), 0.25 * np.ptp(points, axis=0).max() or 1.0)
    return points.min(axis=0) - room, points.max(axis=0) + room
