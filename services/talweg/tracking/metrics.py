"""Metrics for MLflow: a run's, read from the store and thinned, and its worker's share of the machine.

What is kept depends on the run's planned length alone, never on when it was sent, so sending a run twice, or
in other portions, keeps the same steps.
"""

import math
import threading
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from talweg.comparison.results import Floats, Steps
from talweg.figures.curves import extremes
from talweg.records import evaluations_between
from talweg.records.steps import norms
from talweg.store import RunRow, Store
from talweg.tracking.destination import Series
from talweg.tracking.naming import NORMS, metric_key

# Points of a run, however many share a budget.
LEAST = 1000
# Steps that are read at a time, so that a long run takes no more memory than a short one.
AT_ONCE = 10_000
# Runs whose count is remembered.
RUNS = 2000
# Runs with at most this many coordinates have each of them as metrics, as the store has a row for each.
COORDINATES = 32
# MLflow's own names begin with this, too.
PROCESSOR, MEMORY = "system/worker_cpu_percent_of_a_core", "system/worker_memory_megabytes"
# Of a run that trains, the latest are sent each time; all of them, once it has ended.
LATEST = 3


@dataclass(frozen=True)
class Thinning:
    """How sparse each kind of metric is; all 1: everything is sent.

    Attributes:
        cost: of each so many steps the first, the cheapest and the costliest are kept.
        others: of each so many steps every other metric is kept at the first, and where the gradient's norm is least
            and greatest: they are the same steps in all, and a spike is in all of them. A multiple of `cost`.
        evaluations: of the evaluations each so many-th is kept.
    """

    cost: int = 1
    others: int = 1
    evaluations: int = 1

    @property
    def thins(self) -> bool:
        """Something is left out."""
        return self != Thinning()

    def __str__(self) -> str:
        """What is left out, as the run's tag says it."""
        parts = []
        if self.cost > 1:
            parts.append(f"cost: the first, least and greatest of every {self.cost} steps")
        if self.others > 1:
            words = f"the first of every {self.others} steps, and those with the least and the greatest gradient norm"
            parts.append(f"other metrics: {words}")
        if self.evaluations > 1:
            parts.append(f"evaluations: every {_ordinal(self.evaluations)}")
        return "; ".join([*parts, "and always the last"]) if parts else "none: every step is here"


@dataclass(frozen=True)
class Budget:
    """About how many points MLflow is to take.

    A study of many runs has fewer points a run: a server takes some 5,000 a second, and its charts ask for 320 a line.
    Which steps are kept follows from the study as it was submitted, with all its stages.

    Attributes:
        run: the most of one run.
        study: of all runs of a study together; but each has LEAST in any case.
    """

    run: int = 50_000
    study: int = 300_000

    def share(self, runs: int) -> int:
        """What one of so many runs may take."""
        return min(self.run, max(self.study // runs, LEAST))


def thinning(steps: int, *, others: int, evaluations: int, per_evaluation: int, budget: int) -> Thinning:
    """The thinning that keeps a run of `steps` steps within about `budget` points.

    Cost comes first: it keeps every step as long as that takes half of the budget at most. Evaluations may take
    an eighth. The rest is shared by the `others` metrics of a step.
    """
    if steps * (1 + others) + evaluations * per_evaluation <= budget:
        return Thinning()
    cost = 1 if steps <= budget // 2 else -(-3 * steps // (budget // 2))
    every = max(1, -(-evaluations * per_evaluation // max(budget // 8, 1)))
    left = budget - min(steps, budget // 2) - -(-evaluations // every) * per_evaluation
    # The last step is sent besides, and the last of the stretches may be a short one.
    width = 1 if steps * others <= left else -(-3 * steps * others // max(left - 4 * others, 1))
    return Thinning(cost, -(-min(width, steps) // cost) * cost, every)


def kept_steps(values: Floats, width: int, *, ended: bool) -> Steps:
    """Which of these steps are kept, ascending, by their values; the first must begin a bucket of `width` steps.

    A last bucket that is not full keeps its first step only, until it is full or the run has `ended`.
    """
    count = len(values)
    if width == 1:
        return np.arange(count)
    full = count if ended else count // width * width
    kept = [np.arange(0, count, width), extremes(values[:full], width) if full else np.empty(0, dtype=np.int64)]
    return np.unique(np.concatenate([*kept, [count - 1] if ended and count else []]).astype(np.int64))


def _ordinal(number: int) -> str:
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


class EvaluationCounts:
    """Counts runs' evaluations portion by portion; a run that goes on from where it was counted is not read again."""

    def __init__(self, store: Store) -> None:
        """Reads from `store`."""
        self._store = store
        self._lock = threading.Lock()
        # By run where its last portion began and ended, with the evaluations of all steps before: the next one begins
        # at its end or, where steps are thinned, somewhat before it.
        self._known: dict[str, list[tuple[int, int]]] = {}

    def so_far(self, run: RunRow, first: int, stop: int) -> Floats:
        """(n,) of each step first … stop − 1: its own evaluations and those of all steps before it."""
        with self._lock:
            known = self._known.pop(run.id, [])
        at, total = max((mark for mark in known if mark[0] <= first), default=(0, 0))
        while at < first:
            until = min(at + AT_ONCE, first)
            total += int(evaluations_between(self._store, run, at, until).sum())
            at = until
        found = total + np.cumsum(evaluations_between(self._store, run, first, stop).sum(axis=1))
        with self._lock:
            self._known[run.id] = [(first, total), (stop, int(found[-1]) if stop > first else total)]
            if len(self._known) > RUNS:
                # The one that was longest not asked for.
                del self._known[next(iter(self._known))]
        return found.astype(np.float64)


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


def read(store: Store, portion: Portion, metric: str | None, evaluated: EvaluationCounts) -> list[Series]:
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


def system(store: Store, run: RunRow, *, ended: bool) -> list[Series]:
    """The run's cohort's, which its runs share; the steps are seconds since the run was submitted."""
    samples = store.samples(run.cohort_id)
    samples = samples if ended else samples[-LATEST:]
    if not samples:
        return []
    times = np.array([milliseconds(sample.taken_at) for sample in samples], dtype=np.int64)
    steps: Steps = (times - milliseconds(run.created_at)) // 1000
    return [
        Series(PROCESSOR, steps, np.array([round(sample.processor, 1) for sample in samples]), times),
        Series(MEMORY, steps, np.array([round(sample.memory / 1e6, 1) for sample in samples]), times),
    ]
