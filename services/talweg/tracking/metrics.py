"""Metrics for MLflow: a run's, read from the store and thinned, and its worker's use of processor and memory.

Which steps are kept depends on the run's planned length only. So sending a run twice, or in other portions, keeps the
same steps.
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
from talweg.tracking.naming import NORMS, diverged_at, metric_key

# The least budget of a run in points, however many runs share the study's.
LEAST = 1000
# Steps read at a time, to limit memory.
AT_ONCE = 10_000
# Runs whose counts are cached.
RUNS = 2000
# Runs with at most this many coordinates have metrics for each of them, since the store has a row for each.
COORDINATES = 32
# "system/" is also the prefix of MLflow's own system metrics.
PROCESSOR, MEMORY = "system/worker_cpu_percent_of_a_core", "system/worker_memory_megabytes"
# The name of the metric and tag with the step at which a run stopped being finite.
DIVERGED = "diverged_at_step"
# Samples sent each time while a run trains; when it has ended, all are sent.
LATEST = 3


@dataclass(frozen=True)
class Thinning:
    """How much each kind of metric is thinned; all 1: everything is sent.

    Attributes:
        cost: a bucket of steps, of which the first and those with the least and greatest cost are kept.
        others: the same for all other metrics, which are kept at the first step of a bucket and at those with the least
            and greatest gradient norm: the same steps for all metrics, with every spike. A multiple of `cost`.
        evaluations: every how many-th evaluation is kept.
    """

    cost: int = 1
    others: int = 1
    evaluations: int = 1

    @property
    def thins(self) -> bool:
        """Whether anything is left out."""
        return self != Thinning()

    def __str__(self) -> str:
        """What is kept, in the words of the run's tag."""
        parts = []
        if self.cost > 1:
            parts.append(f"cost: the first, least and greatest of every {self.cost} steps")
        if self.others > 1:
            kept = f"the first of every {self.others} steps, and those with the least and the greatest gradient norm"
            parts.append(f"other metrics: {kept}")
        if self.evaluations > 1:
            parts.append(f"evaluations: every {_ordinal(self.evaluations)}")
        return "; ".join([*parts, "and always the last"]) if parts else "none: every step is here"


@dataclass(frozen=True)
class Budget:
    """About how many points are sent to MLflow.

    A study of many runs has fewer points a run: a server takes about 5,000 a second, and its charts use 320 a line.
    Which steps are kept depends only on the study as it was submitted, with all its stages.

    Attributes:
        run: the most of one run.
        study: the most of all runs of a study together; but each run may have LEAST.
    """

    run: int = 50_000
    study: int = 300_000

    def share(self, runs: int) -> int:
        """The budget of one of `runs` runs."""
        return min(self.run, max(self.study // runs, LEAST))


def thinning(steps: int, *, others: int, evaluations: int, per_evaluation: int, budget: int) -> Thinning:
    """The thinning that keeps a run of `steps` steps within about `budget` points.

    The cost keeps every step if that takes at most half of the budget. Evaluations may take an eighth. The `others`
    metrics of a step share the rest.
    """
    if steps * (1 + others) + evaluations * per_evaluation <= budget:
        return Thinning()
    cost = 1 if steps <= budget // 2 else -(-3 * steps // (budget // 2))
    every = max(1, -(-evaluations * per_evaluation // max(budget // 8, 1)))
    left = budget - min(steps, budget // 2) - -(-evaluations // every) * per_evaluation
    # Leaves room for the last step, which is always sent, and for a last bucket that is not full.
    width = 1 if steps * others <= left else -(-3 * steps * others // max(left - 4 * others, 1))
    return Thinning(cost, -(-min(width, steps) // cost) * cost, every)


def kept_steps(values: Floats, width: int, *, ended: bool) -> Steps:
    """The indices of the steps that are kept, ascending, by their values; index 0 must begin a bucket of `width` steps.

    A last bucket that is not full keeps only its first step until it is full or the run has `ended`.
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
    """Counts runs' evaluations portion by portion; a run's earlier steps are not read again for its next portion."""

    def __init__(self, store: Store) -> None:
        """Reads from `store`."""
        self._store = store
        self._lock = threading.Lock()
        # By run, (step, evaluations of all steps before it) at the start and the end of its last portion. The next
        # portion begins at that end or, where steps are thinned, up to a bucket before it.
        self._known: dict[str, list[tuple[int, int]]] = {}

    def so_far(self, run: RunRow, first: int, stop: int) -> Floats:
        """(n,) for the steps first … stop − 1: the evaluations of the step and of all steps before it."""
        with self._lock:
            known = self._known.pop(run.id, [])
        at, total = max((count for count in known if count[0] <= first), default=(0, 0))
        while at < first:
            until = min(at + AT_ONCE, first)
            total += int(evaluations_between(self._store, run, at, until).sum())
            at = until
        found = total + np.cumsum(evaluations_between(self._store, run, first, stop).sum(axis=1))
        with self._lock:
            self._known[run.id] = [(first, total), (stop, int(found[-1]) if stop > first else total)]
            if len(self._known) > RUNS:
                # The least recently used run.
                del self._known[next(iter(self._known))]
        return found.astype(np.float64)


def milliseconds(moment: datetime) -> int:
    """Milliseconds since 1970; a moment without a time zone is UTC."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return round(aware.timestamp() * 1000)


@dataclass(frozen=True, eq=False)
class Series:
    """Points of one metric: steps (n,), finite values (n,), timestamps (n,) in milliseconds since 1970."""

    key: str
    steps: Steps
    values: Floats
    times: Steps

    def last(self) -> "Series":
        """The last point, or none."""
        return Series(self.key, self.steps[-1:], self.values[-1:], self.times[-1:])


@dataclass(frozen=True, eq=False)
class Portion:
    """Steps first … stop − 1 of a run; `ended`: the run has ended, and these are its last steps."""

    run: RunRow
    first: int
    stop: int
    ended: bool
    thinning: Thinning

    def series(self, key: str, values: Floats, kept: Steps) -> Series:
        """One metric at the kept steps (indices into `values`, which begins at `first`)."""
        return self.at(key, self.first + kept, values[kept])

    def at(self, key: str, steps: Steps, values: Floats) -> Series:
        """One metric at those of these steps where it is finite.

        MLflow shows no chart of a metric whose last value is NaN, and turns infinity into 1.8e308, which flattens all
        curves of a chart. `diverged_at_step` is the metric that says where a run stopped being finite.

        Timestamps depend on the run's submission and the step only, so that sending a point again changes nothing:
        MLflow keeps every (step, timestamp, value) once.
        """
        finite = np.isfinite(values)
        steps = steps[finite]
        return Series(key, steps, values[finite], milliseconds(self.run.created_at) + steps)


def plan(run: RunRow, *, splits: int, metric: bool, budget: int) -> Thinning:
    """The thinning of a run, from its spec."""
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
        *evaluations(store, portion, metric),
        *diverged(portion),
    ]


def diverged(portion: Portion) -> list[Series]:
    """The step at which the run diverged, as a metric of one point; none where it did not, or not in this portion."""
    step = diverged_at(portion.run)
    if step is None or not portion.first <= step < portion.stop:
        return []
    return [portion.at(DIVERGED, np.array([step], dtype=np.int64), np.array([float(step)]))]


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
        index = row.step - portion.first, columns[row.tensor, row.position]
        # NumPy turns None (NULL: the number was NaN) into NaN.
        derivative[index], parameter[index] = row.derivative, row.parameter
    return [
        portion.series(metric_key(word, tensor, *position.split(",")), table[:, i], kept)
        for word, table in (("derivative", derivative), ("parameter", parameter))
        for (tensor, position), i in columns.items()
    ]


def evaluations(store: Store, portion: Portion, metric: str | None) -> list[Series]:
    """The evaluations at first … stop; the one at `stop` is of the parameters after this portion's last step."""
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
    """Processor and memory of the run's cohort, which its runs share; steps are seconds since the run's submission."""
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
