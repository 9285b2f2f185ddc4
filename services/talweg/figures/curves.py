"""Curves of runs: the median over seeds with its range, thinned where there are more steps than pixels."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from talweg.comparison.results import Floats, Result, Steps
from talweg.comparison.times import judged

# More points than a figure has pixels across; each bucket keeps its extremes, so no spike is lost.
DRAWN = 1600
# From this ratio of greatest to least value, the axis is logarithmic: on a linear one the least values coincide.
DECADES = 10.0
# A curve whose ups and downs add up to this many times its height is noisy.
NOISY = 8.0


@dataclass(frozen=True, eq=False)
class Curve:
    """A line with its band.

    Attributes:
        steps, median, low, high: (n,), over runs; each bucket of `thinned` steps has two points, its extremes.
        smooth: steps and values of the running median of `window` steps; None where the curve is not noisy.
    """

    steps: Steps
    median: Floats
    low: Floats
    high: Floats
    thinned: int = 1
    smooth: tuple[Steps, Floats] | None = None
    window: int = 0


def median_curve(costs: Sequence[Floats], steps: Steps | None = None, *, points: int = DRAWN) -> Curve | None:
    """Median and range by step, up to the end of the shortest run; None where there is no step.

    Args:
        costs: by run, (n_r,), finite.
        steps: the step of each cost, at least as long as the shortest run; 0, 1, 2, … where None.
        points: about the most points of the curve.
    """
    length = min((len(run) for run in costs), default=0)
    if length == 0:
        return None
    table = np.stack([run[:length] for run in costs])
    axis = np.arange(length) if steps is None else steps[:length]
    median, low, high = np.median(table, axis=0), table.min(axis=0), table.max(axis=0)
    smooth, window = None, 0
    if length >= 100 and _noisy(median):
        window = length // 25 | 1
        centres = np.unique(np.linspace(0, length - 1, 400).astype(np.int64))
        smooth = axis[centres], running_median(median, centres, window)
    width = -(-2 * length // points)
    if length <= points:
        return Curve(axis, median, low, high, 1, smooth, window)
    starts = np.arange(0, length, width)
    kept = extremes(median, width)
    low = np.repeat(np.minimum.reduceat(low, starts), 2)
    high = np.repeat(np.maximum.reduceat(high, starts), 2)
    return Curve(axis[kept], median[kept], low, high, width, smooth, window)


def judged_curve(runs: Sequence[Result], *, points: int = DRAWN) -> Curve | None:
    """The median curve of the judged cost of runs."""
    values = [judged(run) for run in runs]
    shortest = min((steps for steps, _ in values), key=len, default=None)
    return median_curve([costs for _, costs in values], shortest, points=points)


def curve_notes(curves: Sequence[Curve]) -> list[str]:
    """The notes of a figure on smoothing and thinning; none where there is neither."""
    notes = []
    if window := max((curve.window for curve in curves), default=0):
        notes.append(f"thick: running median of {window} steps")
    if (thinned := max((curve.thinned for curve in curves), default=1)) > 1:
        notes.append(f"{thinned} steps a point, extremes kept")
    return notes


def spans_decades(parts: Sequence[Floats]) -> bool:
    """Whether the finite values are ≥ 0 and span more than a decade."""
    values = np.concatenate([*parts, np.empty(0)])
    values = values[np.isfinite(values)]
    if not values.size or values.min() < 0:
        return False
    return bool(values.max() > DECADES * values.min(initial=np.inf, where=values > 0))


def _noisy(values: Floats) -> bool:
    # By logarithms where all are positive: on a logarithmic axis even the noise of a small, flat tail is visible.
    heights = np.log(values) if values.min() > 0 else values
    return bool(np.abs(np.diff(heights)).sum() > NOISY * np.ptp(heights))


def running_median(values: Floats, centres: Steps, window: int) -> Floats:
    """The median of the `window` values around each of the indices `centres`.

    Near the start, where costs fall fast, the window is smaller so that it stays centred. Near the end it is cut off.
    """
    half = np.minimum(window // 2, centres)
    return np.array([np.median(values[i - r : i + r + 1]) for i, r in zip(centres, half, strict=True)])


def extremes(values: Floats, width: int) -> Steps:
    """The indices of the least and the greatest of each `width` values: two ascending ones a bucket.

    NaN counts as greatest. The two are the same where all values of a bucket are equal.
    """
    buckets = -(-len(values) // width)
    padded = np.pad(values, (0, buckets * width - len(values)), mode="edge")
    table = np.where(np.isnan(padded), np.inf, padded).reshape(buckets, width)
    first = np.arange(buckets) * width
    pairs = np.stack([first + table.argmin(axis=1), first + table.argmax(axis=1)], axis=1)
    return np.asarray(np.minimum(np.sort(pairs, axis=1), len(values) - 1).reshape(-1), dtype=np.int64)
