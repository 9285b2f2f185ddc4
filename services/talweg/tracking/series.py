"""The metrics of a portion of a run's steps, read from the store and thinned."""

import math
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from talweg.comparison.results import Floats, Steps
from talweg.records.steps import norms
from talweg.store import RunRow, Store
from talweg.tracking.destination import Series
from talweg.tracking.evaluating import Evaluated
from talweg.tracking.naming import metric_key
from talweg.tracking.thinning import Thinning, kept_steps, thinning

NORMS = ("gradient_norm", "parameter_norm", "update_norm")
# Runs with at most this many coordinates have each of them as metrics, as the store has a row for each.
COORDINATES = 32


def milliseconds(moment: datetime) -> int:
    """Since 1970; a moment without a zone is UTC."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return round(aware.timestamp() * 1000)


@dataclass(frozen=True, eq=False)
class Portion:
    """Steps first … stop − 1 of a run; `ended`: they are its last ones, and no more will come."""

    run: RunRow
    first: int
    stop: int
    ended: bool
    thinning: Thinning

    def series(self, key: str, values: Floats, kept: Steps) -> Series:
        """One metric at the kept steps (indices into `values`, which begins at `first`)."""
        return self.at(key, self.first + kept, values[kept])

    def at(self, key: str, steps: Steps, values: Floats) -> Series:
        """One metric at these steps.

        Its timestamps follow from when the run was submitted and from the step, so that sending it again changes
        nothing: MLflow keeps every (step, timestamp, value) once.
        """
        return Series(key, steps, values, milliseconds(self.run.created_at) + steps)


def plan(run: RunRow, *, splits: int, metric: bool, budget: int) -> Thinning:
    """How a run is thinned, from what it was submitted as."""
    every = int(run.spec["evaluate_every"])
    return thinning(
        run.total_steps,
        others=metrics_a_step(run) - 1,
        evaluations=2 + (run.total_steps // every if every else 0),
        per_evaluation=splits * (2 if metric else 1),
        budget=budget,
    )


def metrics_a_step(run: RunRow) -> int:
    """Cost, learning rate, evaluations, three norms a tensor, and each coordinate twice where there are few."""
    return 3 + len(NORMS) * len(run.tensors) + 2 * len(coordinates(run))


def read(store: Store, portion: Portion, metric: str | None, evaluated: Evaluated) -> list[Series]:
    """Every metric of the portion."""
    run, thinning = portion.run, portion.thinning
    table = store.steps(run.id, portion.first, portion.stop)
    kept = kept_steps(table.gradient_norm, thinning.others, ended=portion.ended)
    return [
        portion.series("cost", table.cost, kept_steps(table.cost, thinning.cost, ended=portion.ended)),
        portion.series("learning_rate", table.learning_rate, kept),
        portion.series("evaluations", evaluated.so_far(run, portion.first, portion.stop), kept),
        *_norms(store, portion, kept),
        *_derivatives(store, portion, kept),
        *_evaluations(store, portion, metric),
    ]


def _norms(store: Store, portion: Portion, kept: Steps) -> list[Series]:
    table = np.asarray(norms(store, portion.run, portion.first, portion.stop), dtype=np.float64)
    return [
        portion.series(metric_key(quantity, tensor["name"]), table[:, q, t], kept)
        for q, quantity in enumerate(NORMS)
        for t, tensor in enumerate(portion.run.tensors)
    ]


def coordinates(run: RunRow) -> list[tuple[str, str]]:
    """(tensor, position) of every coordinate, as the store's rows name them; none where there are too many."""
    shapes = {str(tensor["name"]): tuple(tensor["shape"]) for tensor in run.tensors}
    if sum(math.prod(shape) for shape in shapes.values()) > COORDINATES:
        return []
    return [(name, ",".join(map(str, index))) for name, shape in shapes.items() for index in np.ndindex(shape)]


def _derivatives(store: Store, portion: Portion, kept: Steps) -> list[Series]:
    columns = {coordinate: i for i, coordinate in enumerate(coordinates(portion.run))}
    if not columns:
        return []
    derivative, parameter = np.full((2, portion.stop - portion.first, len(columns)), np.nan)
    for row in store.derivatives(portion.run.id, portion.first, portion.stop):
        place = row.step - portion.first, columns[row.tensor, row.position]
        # None, where a number was none, becomes NaN.
        derivative[place], parameter[place] = row.derivative, row.parameter
    return [
        portion.series(metric_key(word, tensor, *position.split(",")), table[:, i], kept)
        for word, table in (("derivative", derivative), ("parameter", parameter))
        for (tensor, position), i in columns.items()
    ]


def _evaluations(store: Store, portion: Portion, metric: str | None) -> list[Series]:
    """Those of the steps first … stop: an evaluation at `stop` is of the parameters that this portion led to."""
    rows = [row for row in store.evaluations(portion.run.id) if portion.first <= row.step <= portion.stop]
    every = max(int(portion.run.spec["evaluate_every"]), 1) * portion.thinning.evaluations
    last = max((row.step for row in rows), default=0) if portion.ended else -1
    kept = [row for row in rows if row.step % every == 0 or row.step == last]
    found = []
    for split in dict.fromkeys(row.split for row in kept):
        own = sorted((row for row in kept if row.split == split), key=lambda row: row.step)
        steps = np.array([row.step for row in own], dtype=np.int64)
        found.append(
            portion.at(metric_key("cost", split), steps, np.array([row.cost for row in own], dtype=np.float64))
        )
        if metric is not None and all(row.metric is not None for row in own):
            measured = np.array([row.metric for row in own], dtype=np.float64)
            found.append(portion.at(metric_key(metric, split), steps, measured))
    return found
