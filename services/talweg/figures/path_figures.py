"""Paths of optimizers: over a test function's contours, on a plane through a network's parameters, and step by step.

The plane goes through the middle of the points where the paths end, along the two directions in which the paths spread
most about it (their principal components), so that it holds as much of the paths as a plane can. How much that is
stands in the picture; the rest is perpendicular to the paper, and the cost under a path is not that of its point.

Source: Li, Xu, Taylor, Studer, Goldstein, "Visualizing the Loss Landscape of Neural Nets", 2018, section 7; there about
the last point of one path.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator
from PIL import Image

from talweg.comparison.contenders import Contender
from talweg.comparison.results import Floats
from talweg.figures.axes import INK, MUTED, dress
from talweg.figures.colours import Style
from talweg.figures.study_figures import figure_of, legend, line, look
from talweg_core.problems import Problem, SurfaceProblem

_CELLS = 160
_LEVELS = 18
_DRAWN = 1000
# How far from start and minimum the picture reaches, in their distance: a path may leave it.
_REACH = 1.5
_PLANE_CELLS = 25
_PLANE_LEVELS = 18
FRAMES = 40
_MILLISECONDS = 90
_LAST = 2500
_DOTS_PER_INCH = 68


def bounds(path: Floats, minimiser: Floats) -> tuple[Floats, Floats]:
    """Lower and upper corner (2,) of what a picture of the path shows: path and minimum, with room around them."""
    points = np.concatenate([path[np.isfinite(path).all(axis=1)], minimiser[None]])
    # A run that diverged leaves the ground; the minimum and where it began stay in sight.
    reach = 4 * np.abs(points[:1] - minimiser).max() + 1
    points = np.clip(points, minimiser - reach, minimiser + reach)
    low, high = points.min(axis=0), points.max(axis=0)
    room = np.maximum(0.15 * (high - low), 0.15 * (high - low).max())
    room = np.where(room > 0, room, 1.0)
    return low - room, high + room


def costs_over(problem: SurfaceProblem, low: Floats, high: Floats, points: int) -> Floats:
    """The cost (points, points) on an even grid, row by row of the second coordinate."""
    grid = np.stack(np.meshgrid(*grid_axes(low, high, points)), axis=-1).reshape(-1, 2)
    oracle = problem.bind(grid, np.empty_like(grid), [0] * len(grid), 0)
    return oracle.costs(0).reshape(points, points).copy()


def grid_axes(low: Floats, high: Floats, points: int) -> tuple[Floats, Floats]:
    """The coordinates (points,) of an even grid along either axis."""
    return np.linspace(low[0], high[0], points), np.linspace(low[1], high[1], points)


def heights(costs: Floats, least: float) -> Floats:
    """Costs as a map shows them: log(cost − minimum + a little), so that valley and slopes both have lines."""
    above = np.maximum(costs - least, 0)
    floor = max(float(np.quantile(above, 0.02)), 1e-9 * float(above.max(initial=1e-300)), 1e-300)
    found: Floats = np.log(above + floor)
    return found


def paths(problem: SurfaceProblem, taken: Mapping[Contender, Floats]) -> Figure:
    """Contours of the cost, evenly apart in its logarithm, and the path (n, 2) of each contender.

    A dot is the start, a star a known minimum, a ring where a path ends. A path that leaves the picture is cut there.
    """
    return draw_paths(problem, taken)[0]


def draw_paths(
    problem: SurfaceProblem, taken: Mapping[Contender, Floats], *, window: Mapping[Contender, Floats] | None = None
) -> tuple[Figure, Axes]:
    """The figure and its axes, which hold the paths of `window` where these are to come."""
    figure = figure_of(10.0, 6.2)
    axes = figure.subplots()
    low, high = _window(problem, list((taken if window is None else window).values()))
    x, y = grid_axes(low, high, _CELLS)
    heights = costs_over(problem, low, high, _CELLS) - problem.least
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
        _path(axes, look(contender), inside, alpha=0.95)
    axes.plot(*problem.start, "o", color=INK, markersize=7)
    axes.plot(*problem.minimiser, "*", color=INK, markersize=13)
    _frame(axes, low, high, "x₁", "x₂")
    legend(figure, list(taken))
    return figure, axes


def _path(axes: Axes, look: Style, path: Floats, **options: Any) -> None:
    """A line with a dot at each point, and a ring at its end."""
    axes.add_line(line(look, path[:, 0], path[:, 1], marker=".", markersize=3.5, **options))
    axes.plot(*path[-1], "o", markersize=9, fillstyle="none", color=look.colour, markeredgewidth=2)


def _frame(axes: Axes, low: Floats, high: Floats, first: str, second: str) -> None:
    axes.set_xlim(low[0], high[0])
    axes.set_ylim(low[1], high[1])
    axes.set_xlabel(first, color=MUTED)
    axes.set_ylabel(second, color=MUTED)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.grid(visible=False)


def _window(problem: SurfaceProblem, taken: list[Floats]) -> tuple[Floats, Floats]:
    """Corners (2,) that hold start, minimum and the paths, as far as they stay near."""
    fixed = np.stack([problem.start, problem.minimiser])
    away = float(np.abs(problem.start - problem.minimiser).max()) or 1.0
    bounds = fixed.min(axis=0) - _REACH * away, fixed.max(axis=0) + _REACH * away
    points = np.concatenate([fixed, *(path[np.isfinite(path).all(axis=1)] for path in taken)])
    points = np.clip(points, *bounds)
    room = 0.12 * np.maximum(np.ptp(points, axis=0), 0.5 * away)
    return points.min(axis=0) - room, points.max(axis=0) + room


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


def plane_figure(problem: Problem, taken: Mapping[Contender, Floats], *, split: str = "validation") -> Figure:
    """The cost on a split over the plane, contours evenly apart in its logarithm, with each contender's path.

    Args:
        problem: a network on data.
        taken: of each contender points (n, P) of one run, in order; with the same seed all begin at one point.
        split: of the data, on which the cost is.
    """
    plane = plane_of(list(taken.values()))
    seen = {contender: plane.seen(path) for contender, path in taken.items()}
    low, high = _plane_window(list(seen.values()))
    x, y = grid_axes(low, high, _PLANE_CELLS)
    costs = np.array(
        [[problem.evaluate(plane.origin + a * plane.axes[0] + b * plane.axes[1], split)[0] for a in x] for b in y]
    )
    figure = figure_of(10.0, 6.2)
    axes = figure.subplots()
    first, second = 100 * plane.shares
    dress(axes, f"{problem.name}: {split} cost over a plane that holds {first + second:.0f} % of the paths’ spread")
    _plane_contours(axes, x, y, costs)
    for contender, path in seen.items():
        _path(axes, look(contender), path)
    axes.plot(*next(iter(seen.values()))[0], "o", color=INK, markersize=7)
    _frame(axes, low, high, f"first principal direction, {first:.0f} %", f"second, {second:.0f} %")
    legend(figure, list(taken))
    return figure


def _plane_contours(axes: Axes, x: Floats, y: Floats, costs: Floats) -> None:
    heights = np.where(np.isfinite(costs), costs, np.nanmax(np.where(np.isfinite(costs), costs, np.nan)))
    low, high = float(heights.min()), float(heights.max())
    least = max(low, high * 1e-8) if low >= 0 else low
    levels = np.geomspace(least, high, _PLANE_LEVELS) if least > 0 else np.linspace(least, high, _PLANE_LEVELS)
    if not np.all(np.diff(levels) > 0):
        return
    held = np.maximum(heights, least)
    shades = axes.contourf(x, y, held, levels=levels, cmap="Greys_r", alpha=0.55, norm=LogNorm() if least > 0 else None)
    shades.set_rasterized(True)
    drawn = axes.contour(x, y, held, levels=levels[::3], colors=MUTED, linewidths=0.5)
    axes.clabel(drawn, fmt=lambda value: f"{value:.2g}", fontsize=7.5)


def _plane_window(paths: list[Floats]) -> tuple[Floats, Floats]:
    points = np.concatenate(paths)
    room = 0.15 * np.maximum(np.ptp(points, axis=0), 0.25 * np.ptp(points, axis=0).max() or 1.0)
    return points.min(axis=0) - room, points.max(axis=0) + room


def animation(problem: SurfaceProblem, taken: Mapping[Contender, Floats], *, frames: int = FRAMES) -> bytes:
    """A GIF, played once and again: each contender at the same step, with the path that it has behind it.

    Moments are spaced evenly in the square root of the step, since most happens early; the first is step 0, the last
    the end of the longest path.
    """
    figure, axes = draw_paths(problem, {contender: path[:0] for contender, path in taken.items()}, window=taken)
    canvas = FigureCanvasAgg(figure)
    figure.set_dpi(_DOTS_PER_INCH)
    lines, heads = {}, {}
    for contender in taken:
        style = look(contender)
        (lines[contender],) = axes.plot([], [], color=style.colour, linewidth=2, animated=True)
        if style.dashes:
            lines[contender].set_dashes(style.dashes)
        (heads[contender],) = axes.plot(
            [], [], "o", color=style.colour, markersize=8, markeredgecolor="white", animated=True
        )
    said = axes.text(0.99, 0.985, "", transform=axes.transAxes, ha="right", va="top", color=INK, fontsize=10)
    said.set_bbox({"facecolor": "white", "edgecolor": MUTED, "linewidth": 0.5, "alpha": 0.85})
    said.set_animated(True)
    # What stands still is drawn once: it is nearly all of the work.
    canvas.draw()  # type: ignore[no-untyped-call]  # matplotlib has no type for it
    still = canvas.copy_from_bbox(figure.bbox)  # type: ignore[no-untyped-call]  # nor for these
    longest = max(len(path) for path in taken.values()) - 1
    images = []
    for step in moments(longest, frames):
        canvas.restore_region(still)  # type: ignore[no-untyped-call]
        for contender, path in taken.items():
            behind = path[: step + 1]
            behind = behind[np.isfinite(behind).all(axis=1)]
            lines[contender].set_data(behind[:, 0], behind[:, 1])
            heads[contender].set_data(behind[-1:, 0], behind[-1:, 1])
            axes.draw_artist(lines[contender])
        for head in heads.values():
            axes.draw_artist(head)
        said.set_text(f"step {step:,}")
        axes.draw_artist(said)
        pixels = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
        images.append(Image.fromarray(pixels).convert("RGB"))
    palette = _palette([look(contender).colour for contender in taken])
    flat = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]
    buffer = io.BytesIO()
    times = [_MILLISECONDS] * (len(flat) - 1) + [_LAST]
    flat[0].save(buffer, "GIF", save_all=True, append_images=flat[1:], duration=times, loop=0, optimize=False)
    return buffer.getvalue()


def _palette(colours: Sequence[str]) -> Image.Image:
    """Greys, and each contender's colour with what lies between it and the greys.

    One for all pictures, or colours would flicker and each picture would be stored whole; and made, not found: greys
    are most of a picture, and would be all of what is found in it.
    """
    parts = [255 * i // 27 for i in range(28) for _ in range(3)]
    for colour in dict.fromkeys(colours):
        own = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        between = [(grey, share) for grey in (235, 160) for share in (0.4, 0.7)]
        for grey, share in [*between, (0, 1.0)]:
            parts += [round(grey + share * (part - grey)) for part in own]
    made = Image.new("P", (1, 1))
    made.putpalette(parts[: 3 * 256])
    return made


def moments(longest: int, frames: int) -> list[int]:
    """Steps from 0 to `longest`, each once, the early ones closer together."""
    return sorted({round(float(longest * share**2)) for share in np.linspace(0, 1, frames)})
