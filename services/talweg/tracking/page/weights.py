"""Larger networks on a page: histograms of gradients and parameters, and every coordinate in colours."""

import math
from collections.abc import Iterable

import numpy as np

from talweg.comparison.results import Floats
from talweg.records import Snapshot
from talweg.store import RunRow
from talweg.tracking.page.packing import Json, coarse, numbers
from talweg_core.problems import NetworkProblem, Problem

# Steps with a histogram, tensors that have one, and bins of each.
HISTOGRAMS, TENSORS, BINS = 60, 12, 41
QUANTITIES = ("parameters", "gradient", "update")


def pictures(run: RunRow, problem: Problem, looks: Iterable[Snapshot], pictured: set[int]) -> Json:
    """`histograms` at every look, `snapshots` at the steps that are `pictured`."""
    steps: list[int] = []
    at: list[int] = []
    values: dict[str, list[Floats]] = {quantity: [] for quantity in QUANTITIES}
    kept: dict[str, list[Floats]] = {quantity: [] for quantity in QUANTITIES}
    for look in looks:
        steps.append(look.step)
        at += [look.step] if look.step in pictured else []
        for quantity in QUANTITIES:
            # In float64 nothing overflows where a range is taken.
            vector = np.asarray(getattr(look, quantity), dtype=np.float64)
            values[quantity].append(vector)
            if look.step in pictured:
                kept[quantity].append(vector)
    found: Json = {"histograms": {"steps": steps, "bins": BINS, "tensors": _histograms(run, values)}}
    if at:
        found["snapshots"] = {"steps": at, "tensors": _snapshots(run, problem, kept)}
    return found


def slices(run: RunRow) -> list[tuple[str, tuple[int, ...], slice]]:
    """Name, shape and place in the flat vector of each tensor."""
    found, start = [], 0
    for tensor in run.tensors:
        shape = tuple(tensor["shape"])
        stop = start + math.prod(shape)
        found.append((str(tensor["name"]), shape, slice(start, stop)))
        start = stop
    return found


def histogram(rows: Floats, bins: int) -> tuple[float, Floats]:
    """The range −r … r that holds all but a thousandth of rows (K, n), and counts (K, bins) over it."""
    finite = np.abs(rows[np.isfinite(rows)])
    reach = float(np.quantile(finite, 0.999)) if finite.size else 0.0
    reach = reach or 1.0
    edges = np.linspace(-reach, reach, bins + 1)
    clipped = np.clip(np.nan_to_num(rows, nan=0.0), -reach, reach)
    return reach, np.stack([np.histogram(row, edges)[0] for row in clipped]).astype(np.float64)


def _histograms(run: RunRow, values: dict[str, list[Floats]]) -> list[Json]:
    found = []
    for name, _, where in slices(run)[:TENSORS]:
        own: Json = {"name": name}
        for quantity in ("parameters", "gradient"):
            rows = np.stack([vector[where] for vector in values[quantity]])
            reach, counts = histogram(rows, BINS)
            own[quantity] = {"reach": numbers([reach])[0], "counts": coarse(counts)}
        found.append(own)
    return found


def _snapshots(run: RunRow, problem: Problem, kept: dict[str, list[Floats]]) -> list[Json]:
    found = []
    for name, shape, where in slices(run):
        tiles = _side(problem, name, shape)
        own: Json = {"name": name, "shape": list(shape), "tiles": tiles}
        for quantity, vectors in kept.items():
            own[quantity] = coarse([vector[where] for vector in vectors])
        found.append(own)
    return found


def _side(problem: Problem, name: str, shape: tuple[int, ...]) -> int:
    """The side of the picture that a unit's incoming weights make, 0 where the inputs are none."""
    if not isinstance(problem, NetworkProblem) or name != problem.layout.names[0] or len(shape) != 2:
        return 0
    side = math.isqrt(shape[0])
    return side if side * side == shape[0] and side >= 4 and problem.dataset.name == "digits" else 0
