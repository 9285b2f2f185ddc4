"""The metrics of runs, read from the laboratory when MLflow asks: all steps of one metric, or all last values.

Nothing is thinned. Names, steps, values and timestamps are those that the REST mirror sends.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from talweg.comparison.results import Floats, Steps
from talweg.errors import InvalidSpec
from talweg.figures.curves import extremes
from talweg.records import problem_of
from talweg.records.steps import norms
from talweg.spec import parse_run
from talweg.store import LatestValues, RunRow, Store
from talweg.tracking.metrics import (
    DIVERGED,
    MEMORY,
    PROCESSOR,
    EvaluationCounts,
    Portion,
    Series,
    Thinning,
    coordinates,
    diverged,
    evaluations,
    milliseconds,
    system,
)
from talweg.tracking.naming import NORMS, metric_key


def history(store: Store, run: RunRow, key: str, first: int = 0, stop: int | None = None) -> Series | None:
    """Every finite value of a metric at the steps first … stop − 1; None where the run has no metric of that name.

    The last evaluation is at the step after the run's last one.
    """
    read = _readers(run).get(key) or _evaluation_reader(run, key)
    if read is None:
        return None
    end = run.step + 1 if stop is None else stop
    recorded = min(end, run.step)
    found = read(store, Portion(run, min(first, recorded), recorded, ended=run.ended, thinning=Thinning()))
    if found is None:
        return None
    inside = (found.steps >= first) & (found.steps < end) if stop is not None else slice(None)
    return Series(key, found.steps[inside], found.values[inside], found.times[inside])


_Reader = Callable[[Store, Portion], Series | None]


def _readers(run: RunRow) -> dict[str, _Reader]:
    """By name, how to read each metric of a run, its evaluations on splits apart."""
    found: dict[str, _Reader] = {
        "cost": lambda store, portion: _column(store, portion, "cost"),
        "learning_rate": lambda store, portion: _column(store, portion, "learning_rate"),
        "evaluations": _counts,
        DIVERGED: _diverged,
    }
    for t, tensor in enumerate(run.tensors):
        for q, quantity in enumerate(NORMS):
            found[metric_key(quantity, tensor["name"])] = _norm_reader(q, t)
    for name, position in coordinates(run):
        for row, word in ((1, "parameter"), (2, "derivative")):
            found[_coordinate_key(word, name, position)] = _coordinate_reader(name, position, row)
    for key in (PROCESSOR, MEMORY):
        found[key] = _system_reader(key)
    return found


def _diverged(_: Store, portion: Portion) -> Series | None:
    return next(iter(diverged(portion)), None)


def _coordinate_key(word: str, tensor: str, position: str) -> str:
    return metric_key(word, tensor, *position.split(","))


def _column(store: Store, portion: Portion, name: str) -> Series:
    table = store.steps(portion.run.id, portion.first, portion.stop)
    return _all(portion, name, getattr(table, name))


def _all(portion: Portion, key: str, values: Floats) -> Series:
    return portion.at(key, portion.first + np.arange(len(values)), values)


def _counts(store: Store, portion: Portion) -> Series:
    return _all(portion, "evaluations", EvaluationCounts(store).so_far(portion.run, portion.first, portion.stop))


def _norm_reader(quantity: int, tensor: int) -> _Reader:
    def read(store: Store, portion: Portion) -> Series:
        if portion.stop == portion.first:
            return _all(portion, "", np.empty(0))
        table = np.asarray(norms(store, portion.run, portion.first, portion.stop), dtype=np.float64)
        return _all(portion, "", np.ascontiguousarray(table[:, quantity, tensor]))

    return read


def _coordinate_reader(tensor: str, position: str, row: int) -> _Reader:
    def read(store: Store, portion: Portion) -> Series:
        table = store.coordinate(portion.run.id, tensor, position, portion.first, portion.stop)
        return portion.at("", table[0].astype(np.int64), table[row])

    return read


def _system_reader(name: str) -> _Reader:
    def read(store: Store, portion: Portion) -> Series | None:
        return next((one for one in system(store, portion.run, ended=True) if one.key == name), None)

    return read


def _evaluation_reader(run: RunRow, key: str) -> _Reader | None:
    """How to read `cost.<split>` or `<metric>.<split>`; None where the run's problem has no such evaluation."""
    try:
        problem = problem_of(parse_run(run.spec))
    except InvalidSpec:
        # Its plug-in or its data is not installed here: the costs are still there.
        return None
    names = ["cost", *([] if problem.metric is None else [problem.metric])]
    if key not in {metric_key(name, split) for name in names for split in problem.splits}:
        return None

    def read(store: Store, portion: Portion) -> Series | None:
        # Evaluations are few; a portion ends before the evaluation of the parameters after its last step.
        whole = Portion(run, 0, run.step, ended=run.ended, thinning=Thinning())
        return next((one for one in evaluations(store, whole, problem.metric) if one.key == key), None)

    return read


def sampled(series: Series, most: int) -> Series:
    """At most `most` points: the first, the last, and the least and greatest of equal parts between; all where few.

    With fewer than four, points at equal distances that end with the last.
    """
    count = len(series.steps)
    if count <= most:
        return series
    if most < 4:
        kept: Steps = np.linspace(count - 1, 0, most).astype(np.int64)[::-1]
    else:
        width = -(-(count - 2) // ((most - 2) // 2))
        kept = np.unique(np.concatenate([[0], 1 + extremes(series.values[1:-1], width), [count - 1]]))
    return Series(series.key, series.steps[kept], series.values[kept], series.times[kept])


def last_values(store: Store, runs: Sequence[RunRow]) -> Iterator[tuple[RunRow, list[Series]]]:
    """Of each run, the last finite point of every metric that has one.

    Most runs share a few queries. A fork, and a metric whose last value is not finite, take a query of their own.
    """
    found = store.latest([run.id for run in runs if run.step])
    for run in runs:
        yield run, [point for point in _last_of(store, run, found) if len(point.steps)]


def _last_of(store: Store, run: RunRow, found: LatestValues) -> Iterator[Series]:
    if not run.step:
        return
    portion = Portion(run, 0, run.step, ended=run.ended, thinning=Thinning())
    shared = dict(_shared(run, found)) if run.id in found.steps and run.parent_run_id is None else {}
    for key in _readers(run):
        if key in (PROCESSOR, MEMORY, DIVERGED):
            continue
        step, value = shared.get(key, (0, np.nan))
        if np.isfinite(value):
            yield portion.at(key, np.array([step], dtype=np.int64), np.array([value]))
        elif (whole := history(store, run, key)) is not None:
            yield whole.last()
    yield from diverged(portion)
    yield from _last_evaluations(store, portion, found)
    if (sample := found.samples.get(run.id)) is not None:
        time = np.array([milliseconds(sample.taken_at)], dtype=np.int64)
        step_of = (time - milliseconds(run.created_at)) // 1000
        yield Series(PROCESSOR, step_of, np.array([round(sample.processor, 1)]), time)
        yield Series(MEMORY, step_of, np.array([round(sample.memory / 1e6, 1)]), time)


def _shared(run: RunRow, found: LatestValues) -> Iterator[tuple[str, tuple[int, float]]]:
    """(step, value) of every metric that the shared queries answer."""
    step, cost, learning_rate = found.steps[run.id]
    yield "cost", (step, cost)
    yield "learning_rate", (step, learning_rate)
    if run.id not in found.counted:
        yield "evaluations", (step, float(step + 1))
    chunk = found.norms.get(run.id)
    if chunk is not None:
        width = len(NORMS) * len(run.tensors)
        last = chunk.first_step + chunk.steps - 1
        table = chunk.array(np.float64, width, last, last + 1).reshape(len(NORMS), -1)
        for q, quantity in enumerate(NORMS):
            for t, tensor in enumerate(run.tensors):
                yield metric_key(quantity, tensor["name"]), (last, float(table[q, t]))
    for row in found.derivatives.get(run.id, ()):
        values: Mapping[str, float | None] = {"parameter": row.parameter, "derivative": row.derivative}
        for word, value in values.items():
            yield _coordinate_key(word, row.tensor, row.position), (row.step, np.nan if value is None else value)


def _last_evaluations(store: Store, portion: Portion, found: LatestValues) -> Iterator[Series]:
    run = portion.run
    rows = found.evaluations.get(run.id, [])
    if run.parent_run_id is not None:
        # The last of each split, which may be an ancestor's.
        rows = list({row.split: row for row in store.evaluations(run.id)}.values())
    problem = problem_of(parse_run(run.spec)) if rows else None
    for row in rows:
        assert problem is not None
        for name, value in (("cost", row.cost), (problem.metric, row.metric)):
            if name is None or (value is None and name != "cost"):
                continue
            key = metric_key(name, row.split)
            if value is not None and np.isfinite(value):
                yield portion.at(key, np.array([row.step], dtype=np.int64), np.array([value]))
            elif (whole := history(store, run, key)) is not None:
                yield whole.last()
