"""What is reached without a network: the majority class or the mean, and a linear model, fitted on the training part.

Costs are those of the engine, cross-entropy and squared error, so that they stand beside an optimizer's.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from talweg.datasets.options import Json
from talweg.datasets.preparing import Prepared

# Rows of a part that are used, evenly spaced, and numbers in them: baselines take a few seconds at most.
_ROWS: Final = 10_000
_NUMBERS: Final = 2_000_000
_WEIGHTS: Final = 200_000
_ITERATIONS: Final = 100
# Of L-BFGS: steps that it remembers, and a gradient that is small enough to stop.
_MEMORY: Final = 10
_FLAT: Final = 1e-6
_JUDGED: Final = ("validation", "test")

Floats = NDArray[np.float64]


def baselines(data: Prepared) -> list[Json]:
    """Each baseline's name, and its cost and accuracy (None for numbers) on the validation and the test part."""
    inputs = int(np.prod(data.input_shape))
    at_most = max(min(_ROWS, _NUMBERS // inputs), 1)
    parts = {part: data.examples(data.rows(part, at_most)) for part in ("train", *_JUDGED)}
    # Of targets alone, all rows are used.
    if data.classes is None:
        return _of_numbers(data, parts, inputs)
    return _of_classes(data, parts, inputs)


def _of_classes(data: Prepared, parts: dict[str, Any], inputs: int) -> list[Json]:
    count = len(data.classes or ())
    seen = np.bincount(data.targets[data.parts == 0].astype(np.int64), minlength=count)
    # One more row of each class: a class that training lacks has a finite cost.
    chances = np.log((seen + 1) / (seen.sum() + count))
    judged = {}
    for part, position in zip(_JUDGED, (1, 2), strict=True):
        codes = data.targets[data.parts == position].astype(np.int64)
        judged[part] = _score(-chances[codes].mean(), (codes == seen.argmax()).mean())
    found: list[Json] = [{"name": "majority class", **judged}]
    if (inputs + 1) * count > _WEIGHTS:
        return found
    scale = _Standard(parts["train"][0])
    weights = _logistic(scale.apply(parts["train"][0]), parts["train"][1].astype(np.int64), count)
    for part in _JUDGED:
        given, codes = parts[part]
        logs = _log_softmax(scale.apply(given) @ weights)
        cost = -logs[np.arange(len(codes)), codes.astype(np.int64)].mean()
        judged[part] = _score(cost, (logs.argmax(axis=1) == codes).mean())
    return [*found, {"name": "linear model", **judged}]


def _of_numbers(data: Prepared, parts: dict[str, Any], inputs: int) -> list[Json]:
    every = data.targets if data.scale is None else data.scale.apply(data.targets)
    mean = every[data.parts == 0].mean(axis=0)
    spread = {part: _score(((every[data.parts == i] - mean) ** 2).mean()) for i, part in enumerate(_JUDGED, start=1)}
    scale = _Standard(parts["train"][0])
    weights = _least_squares(scale.apply(parts["train"][0]), parts["train"][1])
    line = {part: _score(((scale.apply(parts[part][0]) @ weights - parts[part][1]) ** 2).mean()) for part in _JUDGED}
    return [{"name": "mean", **spread}, {"name": "linear model", **line}]


def _score(cost: float, accuracy: float | None = None) -> Json:
    return {"cost": float(cost), "accuracy": None if accuracy is None else float(accuracy)}


class _Standard:
    """Inputs as the linear model gets them: standardised on the training rows, with a column of ones."""

    def __init__(self, rows: Floats) -> None:
        self._mean, deviation = rows.mean(axis=0), rows.std(axis=0)
        self._deviation = np.where(deviation > 0, deviation, 1.0)

    def apply(self, rows: Floats) -> Floats:
        return np.column_stack([(rows - self._mean) / self._deviation, np.ones(len(rows))])


def _least_squares(rows: Floats, targets: Floats) -> Floats:
    """(inputs + 1, outputs) that minimise |rows W − targets|² + |W|², solved in the smaller of both dimensions.

    Source: Hoerl & Kennard 1970.
    """
    n, k = rows.shape
    if n >= k:
        return np.asarray(np.linalg.solve(rows.T @ rows + np.eye(k), rows.T @ targets))
    return np.asarray(rows.T @ np.linalg.solve(rows @ rows.T + np.eye(n), targets))


def _logistic(rows: Floats, codes: NDArray[np.int64], count: int) -> Floats:
    """(inputs + 1, classes) that minimise cross-entropy + |W|² / 2n, the weight of ones not included."""
    n, k = rows.shape
    wanted = np.zeros((n, count))
    wanted[np.arange(n), codes] = 1
    free = np.ones((k, 1))
    free[-1] = 0

    def cost(flat: Floats) -> tuple[float, Floats]:
        weights = flat.reshape(k, count)
        logs = _log_softmax(rows @ weights)
        slope = (rows.T @ (np.exp(logs) - wanted) + free * weights) / n
        return float(-(logs * wanted).sum() / n + ((free * weights) ** 2).sum() / (2 * n)), slope.ravel()

    return _minimum(cost, np.zeros(k * count)).reshape(k, count)


def _minimum(cost: Callable[[Floats], tuple[float, Floats]], point: Floats) -> Floats:
    """Near the minimum of a convex cost, whose value and gradient `cost` gives, by L-BFGS with step halving.

    Written here: loading SciPy's takes longer than all else that an upload does.
    Source: Nocedal & Wright 2006, algorithms 7.4 and 3.1.
    """
    pairs: deque[tuple[Floats, Floats]] = deque(maxlen=_MEMORY)
    value, slope = cost(point)
    for _ in range(_ITERATIONS):
        if np.abs(slope).max() < _FLAT:
            break
        direction = -_with_curvature(slope, pairs)
        length, descent = 1.0, float(slope @ direction)
        while True:
            there = point + length * direction
            found, further = cost(there)
            if found <= value + 1e-4 * length * descent:
                break
            length /= 2
            if length < 1e-10:
                return point
        if (there - point) @ (further - slope) > 0:
            pairs.append((there - point, further - slope))
        point, value, slope = there, found, further
    return point


def _with_curvature(slope: Floats, pairs: Sequence[tuple[Floats, Floats]]) -> Floats:
    """The gradient times an estimate of the inverse Hessian, from pairs of steps and changes of the gradient."""
    result, shares = slope.copy(), []
    for step, change in reversed(pairs):
        shares.append((step @ result) / (step @ change))
        result -= shares[-1] * change
    if pairs:
        step, change = pairs[-1]
        result *= (step @ change) / (change @ change)
    for (step, change), share in zip(pairs, reversed(shares), strict=True):
        result += (share - (change @ result) / (step @ change)) * step
    return result


def _log_softmax(scores: Floats) -> Floats:
    shifted = scores - scores.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))
