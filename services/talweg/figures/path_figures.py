"""Paths of optimizers: over a test function's contours, on a plane through a network's parameters, and step by step.

The plane goes through the mean of the paths' last points, along the two directions in which the paths spread most about
it (their principal components). The figure states the share of the spread that the plane holds; the rest is
perpendicular to it, so the cost drawn under a point of a path is not the cost at that point.

Source: Li, Xu, Taylor, Studer, Goldstein, "Visualizing the Loss Landscape of Neural Nets", 2018, section 7. Deviation:
there the plane goes through the last point of one path.
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
from talweg.figures.study_figures import figure_of, legend, line, style_of
from talweg_core.problems import Problem, SurfaceProblem

_CELLS = 160
_LEVELS = 18
_DRAWN = 1000
# How far the figure extends beyond start and minimum, in units of their distance; a path may leave it.
_MARGIN = 1.5
_PLANE_CELLS = 25
_PLANE_LEVELS = 18
FRAMES = 40
_MILLISECONDS = 90
_LAST = 2500
_DOTS_PER_INCH = 68


def bounds(path: Floats, minimiser: Floats) -> tuple[Floats, Floats]:
    """Lower and upper corner (2,) of a figure of the path: path and minimum, with a margin."""
    points = np.concatenate([path[np.isfinite(path).all(axis=1)], minimiser[None]])
    # The path of a diverged run is cut off, so that start and minimum stay visible.
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
    """Heights for contours: log(cost − minimum + a small floor), so that valleys and slopes both have lines."""
    above = np.maximum(costs - least, 0)
    floor = max(float(np.quantile(above, 0.02)), 1e-9 * float(above.max(initial=1e-300)), 1e-300)
    found: Floats = np.log(above + floor)
    return found


def paths(problem: SurfaceProblem, taken: Mapping[Contender, Floats]) -> Figure:
    """Contours of the cost, evenly spaced in its logarithm, and the path (n, 2) of each contender.

    Dot: the start; star: a known minimum; ring: the end of a path. A path that leaves the figure is cut off.
    """
    return draw_paths(problem, taken)[0]


def draw_paths(
    problem: SurfaceProblem, taken: Mapping[Contender, Floats], *, window: Mapping[Contender, Floats] | None = None
) -> tuple[Figure, Axes]:
    """The figure and its axes, with limits that fit the paths of `window` (default: those drawn)."""
    figure = figure_of(10.0, 6.2)
    axes = figure.subplots()
    seen = list((taken if window is None else window).values())
    low, high = _window(problem, seen)
    x, y = grid_axes(low, high, _CELLS)
    heights = costs_over(problem, low, high, _CELLS) - problem.least
    dress(axes, f"{problem.name}: cost, darker is lower")
    least = max(float(np.quantile(heights, 0.001)), float(heights.max()) * 1e-8, 1e-300)
    levels = np.geomspace(least, float(heights.max()), _LEVELS)
    shades = axes.contourf(
        x, y, np.maximum(heights, least), levels=levels, cmap="Greys_r", alpha=0.55, locator=LogLocator()
    )
    axes.contour(x, y, np.maximum(heights, least), levels=levels, colors=MUTED, linewidths=0.4)
    # As an image inside the SVG: as shapes it would be most of a report's bytes.
    shades.set_rasterized(True)
    for contender, path in taken.items():
        inside = path[np.isfinite(path).all(axis=1)]
        if not len(inside):
            continue
        # A long path is thinned, since each point adds bytes to the SVG; its end stays.
        inside = np.concatenate([inside[: -1 : len(inside) // _DRAWN + 1], inside[-1:]])
        _path(axes, style_of(contender), inside, alpha=0.95)
    axes.plot(*_starts(problem, seen).T, "o", color=INK, markersize=7)
    axes.plot(*problem.minimiser, "*", color=INK, markersize=13)
    _frame(axes, low, high, "x₁", "x₂")
    legend(figure, list(taken))
    return figure, axes


def _starts(problem: SurfaceProblem, taken: list[Floats]) -> Floats:
    """The first points of the paths, (n, 2): the problem's start, or what each path's seed drew."""
    if problem.start is not None:
        return problem.start[None].astype(np.float64)
    return np.unique([path[0] for path in taken if len(path)], axis=0)


def _path(axes: Axes, pen: Style, path: Floats, **options: Any) -> None:
    """A line with a dot at each point, and a ring at its end."""
    axes.add_line(line(pen, path[:, 0], path[:, 1], marker=".", markersize=3.5, **options))
    axes.plot(*path[-1], "o", markersize=9, fillstyle="none", color=pen.colour, markeredgewidth=2)


def _frame(axes: Axes, low: Floats, high: Floats, first: str, second: str) -> None:
    axes.set_xlim(low[0], high[0])
    axes.set_ylim(low[1], high[1])
    axes.set_xlabel(first, color=MUTED)
    axes.set_ylabel(second, color=MUTED)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.grid(visible=False)


def _window(problem: SurfaceProblem, taken: list[Floats]) -> tuple[Floats, Floats]:
    """Corners (2,) that hold start, minimum and the paths, as far as they stay near."""
    starts = _starts(problem, taken)
    fixed = np.concatenate([starts, problem.minimiser[None]])
    away = float(np.abs(starts - problem.minimiser).max()) or 1.0
    bounds = fixed.min(axis=0) - _MARGIN * away, fixed.max(axis=0) + _MARGIN * away
    points = np.concatenate([fixed, *(path[np.isfinite(path).all(axis=1)] for path in taken)])
    points = np.clip(points, *bounds)
    room = 0.12 * np.maximum(np.ptp(points, axis=0), 0.5 * away)
    return points.min(axis=0) - room, points.max(axis=0) + room


@dataclass(frozen=True, eq=False)
class Plane:
    """`origin` (P,); `axes` (2, P), orthonormal; `shares` (2,) of the paths' spread along each axis."""

    origin: Floats
    axes: Floats
    shares: Floats

    def project(self, points: Floats) -> Floats:
        """Coordinates (n, 2) in the plane of points (n, P)."""
        return np.asarray((points - self.origin) @ self.axes.T)


def plane_of(paths: list[Floats]) -> Plane:
    """The plane of paths (n_i, P); each path has the same weight, however many points it has."""
    origin = np.mean([path[-1] for path in paths], axis=0)
    away = np.concatenate([(path - origin) / np.sqrt(len(path)) for path in paths])
    # P may be 100,000: the Gram matrix of the points is small and has the same spectrum as the covariance.
    values, vectors = np.linalg.eigh(away @ away.T)
    values, vectors = np.maximum(values[::-1], 0), vectors[:, ::-1]
    axes = vectors[:, :2].T @ away
    lengths = np.linalg.norm(axes, axis=1, keepdims=True)
    axes = np.divide(axes, lengths, out=np.zeros_like(axes), where=lengths > 0)
    whole = values.sum()
    return Plane(origin, axes, values[:2] / whole if whole > 0 else np.zeros(2))


def plane_figure(problem: Problem, taken: Mapping[Contender, Floats], *, split: str = "validation") -> Figure:
    """Contours over the plane of the cost on a split, evenly spaced in its logarithm, with each contender's path.

    Args:
        problem: a network on data.
        taken: by contender, points (n, P) of one run, in order; with the same seed all begin at one point.
        split: the data's split for the cost.
    """
    plane = plane_of(list(taken.values()))
    projected = {contender: plane.project(path) for contender, path in taken.items()}
    low, high = _plane_window(list(projected.values()))
    x, y = grid_axes(low, high, _PLANE_CELLS)
    costs = np.array(
        [[problem.evaluate(plane.origin + a * plane.axes[0] + b * plane.axes[1], split)[0] for a in x] for b in y]
    )
    figure = figure_of(10.0, 6.2)
    axes = figure.subplots()
    first, second = 100 * plane.shares
    dress(axes, f"{problem.name}: {split} cost over a plane that holds {first + second:.0f} % of the paths’ spread")
    _plane_contours(axes, x, y, costs)
    for contender, path in projected.items():
        _path(axes, style_of(contender), path)
    axes.plot(*next(iter(projected.values()))[0], "o", color=INK, markersize=7)
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
    clipped, norm = np.maximum(heights, least), LogNorm() if least > 0 else None
    shades = axes.contourf(x, y, clipped, levels=levels, cmap="Greys_r", alpha=0.55, norm=norm)
    shades.set_rasterized(True)
    drawn = axes.contour(x, y, clipped, levels=levels[::3], colors=MUTED, linewidths=0.5)
    axes.clabel(drawn, fmt=lambda value: f"{value:.2g}", fontsize=7.5)


def _plane_window(paths: list[Floats]) -> tuple[Floats, Floats]:
    points = np.concatenate(paths)
    room = 0.15 * np.maximum(np.ptp(points, axis=0), 0.25 * np.ptp(points, axis=0).max() or 1.0)
    return points.min(axis=0) - room, points.max(axis=0) + room


def animation(problem: SurfaceProblem, taken: Mapping[Contender, Floats], *, frames: int = FRAMES) -> bytes:
    """A GIF that repeats: each frame shows all contenders at the same step, with their paths up to it.

    Frames are evenly spaced in the square root of the step, since paths change most early. The first is step 0, the
    last the end of the longest path.
    """
    figure, axes = draw_paths(problem, {contender: path[:0] for contender, path in taken.items()}, window=taken)
    canvas = FigureCanvasAgg(figure)
    figure.set_dpi(_DOTS_PER_INCH)
    lines, heads = {}, {}
    for contender in taken:
        style = style_of(contender)
        (lines[contender],) = axes.plot([], [], color=style.colour, linewidth=2, animated=True)
        if style.dashes:
            lines[contender].set_dashes(style.dashes)
        (heads[contender],) = axes.plot(
            [], [], "o", color=style.colour, markersize=8, markeredgecolor="white", animated=True
        )
    label = axes.text(0.99, 0.985, "", transform=axes.transAxes, ha="right", va="top", color=INK, fontsize=10)
    label.set_bbox({"facecolor": "white", "edgecolor": MUTED, "linewidth": 0.5, "alpha": 0.85})
    label.set_animated(True)
    # The background takes nearly all of the time, and is drawn once.
    canvas.draw()  # type: ignore[no-untyped-call]  # matplotlib has no type for it
    background = canvas.copy_from_bbox(figure.bbox)  # type: ignore[no-untyped-call]  # nor for these
    longest = max(len(path) for path in taken.values()) - 1
    images = []
    for step in frame_steps(longest, frames):
        canvas.restore_region(background)  # type: ignore[no-untyped-call]
        for contender, path in taken.items():
            so_far = path[: step + 1]
            so_far = so_far[np.isfinite(so_far).all(axis=1)]
            lines[contender].set_data(so_far[:, 0], so_far[:, 1])
            heads[contender].set_data(so_far[-1:, 0], so_far[-1:, 1])
            axes.draw_artist(lines[contender])
        for head in heads.values():
            axes.draw_artist(head)
        label.set_text(f"step {step:,}")
        axes.draw_artist(label)
        pixels = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
        images.append(Image.fromarray(pixels).convert("RGB"))
    palette = _palette([style_of(contender).colour for contender in taken])
    flat = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]
    buffer = io.BytesIO()
    times = [_MILLISECONDS] * (len(flat) - 1) + [_LAST]
    flat[0].save(buffer, "GIF", save_all=True, append_images=flat[1:], duration=times, loop=0, optimize=False)
    return buffer.getvalue()


def _palette(colours: Sequence[str]) -> Image.Image:
    """Greys, and each contender's colour with mixtures of it and greys.

    One palette for all frames: with one a frame, colours would flicker and each frame would be stored whole. It is
    built, not computed from the pixels: nearly all of them are grey, and so would be the palette.
    """
    parts = [255 * i // 27 for i in range(28) for _ in range(3)]
    for colour in dict.fromkeys(colours):
        own = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        mixtures = [(grey, share) for grey in (235, 160) for share in (0.4, 0.7)]
        for grey, share in [*mixtures, (0, 1.0)]:
            parts += [round(grey + share * (part - grey)) for part in own]
    made = Image.new("P", (1, 1))
    made.putpalette(parts[: 3 * 256])
    return made


def frame_steps(longest: int, frames: int) -> list[int]:
    """At most `frames` steps from 0 to `longest`, closer together at the start."""
    return sorted({round(float(longest * share**2)) for share in np.linspace(0, 1, frames)})
