"""A test function of two coordinates on a page: its cost over the ground that the path crosses."""

import inspect

import numpy as np

from talweg.comparison.results import Floats
from talweg.tracking.page.packing import Json, coarse, numbers
from talweg_core.problems import Problem, SurfaceProblem

POINTS = 96


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
    first, second = (np.linspace(low[k], high[k], points) for k in (0, 1))
    places = np.stack(np.meshgrid(first, second), axis=-1).reshape(-1, 2)
    oracle = problem.bind(places, np.empty_like(places), [0] * len(places), 0)
    return oracle.costs(0).reshape(points, points).copy()


def heights(costs: Floats, least: float) -> Floats:
    """Costs as a map shows them: log(cost − minimum + a little), so that valley and slopes both have lines."""
    above = np.maximum(costs - least, 0)
    floor = max(float(np.quantile(above, 0.02)), 1e-9 * float(above.max(initial=1e-300)), 1e-300)
    found: Floats = np.log(above + floor)
    return found


def grid(problem: Problem, path: Floats | None) -> Json | None:
    """None for every other problem."""
    if not isinstance(problem, SurfaceProblem) or problem.layout.size != 2 or path is None:
        return None
    low, high = bounds(np.asarray(path, dtype=np.float64), problem.minimiser)
    height = heights(costs_over(problem, low, high, POINTS), problem.least)
    middle = (height.max() + height.min()) / 2
    return {
        "low": numbers(low),
        "high": numbers(high),
        "points": POINTS,
        "heights": coarse((height - middle).reshape(1, -1)),
        "minimiser": numbers(problem.minimiser),
        "formula": inspect.getdoc(problem.surface) or "",
    }
