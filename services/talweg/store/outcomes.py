"""What the runs of a study came to, read for all of them together: a few queries, however many runs.

No run of a study is a fork, so that all its rows have its own id.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, select

from talweg.store import tables
from talweg.store.batch import Chunk
from talweg.store.engine import Database
from talweg.store.finding import portions
from talweg.store.rows import Floats, Json, Quantity, RunState, StopReason

_RUNS = tables.runs
_STEPS = tables.steps
_CHUNKS = tables.chunks
_EVALUATIONS = tables.evaluations


@dataclass(frozen=True, eq=False)
class SplitRows:
    """A run's evaluations on one split: steps (n,), costs (n,) and metrics (n,); NaN where a number was none."""

    steps: NDArray[np.int64]
    costs: Floats
    metrics: Floats


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcome:
    """A run of a study and its costs.

    Attributes:
        step: steps 0 … step − 1 are recorded.
        first_cost, cost: of the first and the last of these; `best_cost` is the least finite one.
        evaluations: by split.
    """

    id: str
    seed: int
    spec: Json
    state: RunState
    stop_reason: StopReason | None
    total_steps: int
    part: Json | None
    step: int
    first_cost: float | None
    cost: float | None
    best_cost: float | None
    evaluations: Mapping[str, SplitRows] = field(default_factory=dict)


def outcomes(connection: Connection, study_id: str) -> list[Outcome]:
    """Of all runs of a study, in the order of its spec."""
    names = ("id", "seed", "spec", "state", "stop_reason", "total_steps", "part", "step", "cost", "best_cost")
    query = select(*(_RUNS.c[name] for name in names), _STEPS.c.cost.label("first_cost")).select_from(
        _RUNS.outerjoin(_STEPS, (_STEPS.c.run_id == _RUNS.c.id) & (_STEPS.c.step == 0))
    )
    rows = connection.execute(query.where(_RUNS.c.study_id == study_id).order_by(_RUNS.c.id)).all()
    evaluations = _evaluations(connection, study_id)
    return [Outcome(**row._mapping, evaluations=evaluations.get(row.id, {})) for row in rows]


def _evaluations(connection: Connection, study_id: str) -> dict[str, dict[str, SplitRows]]:
    table = _EVALUATIONS.c
    query = (
        select(table.run_id, table.split, table.step, table.cost, table.metric)
        .join_from(_RUNS, _EVALUATIONS, table.run_id == _RUNS.c.id)
        .where(_RUNS.c.study_id == study_id)
        .order_by(table.run_id, table.split, table.step)
    )
    rows = connection.execute(query).all()
    steps = np.array([row.step for row in rows], dtype=np.int64)
    costs = np.array([row.cost for row in rows], dtype=np.float64)
    metrics = np.array([row.metric for row in rows], dtype=np.float64)
    found: dict[str, dict[str, SplitRows]] = {}
    start = 0
    for (run, split), own in groupby(rows, key=attrgetter("run_id", "split")):
        stop = start + sum(1 for _ in own)
        found.setdefault(run, {})[split] = SplitRows(steps[start:stop], costs[start:stop], metrics[start:stop])
        start = stop
    return found


def all_costs(connection: Connection, run_ids: Sequence[str]) -> dict[str, Floats]:
    """By run the cost of every recorded step; NaN where it was no number."""
    found: dict[str, Floats] = {}
    for some in portions(run_ids):
        query = select(_STEPS.c.run_id, _STEPS.c.cost).where(_STEPS.c.run_id.in_(some))
        rows = connection.execute(query.order_by(_STEPS.c.run_id, _STEPS.c.step))
        for run, own in groupby(rows, key=attrgetter("run_id")):
            found[run] = np.array([row.cost for row in own], dtype=np.float64)
    return found


def costs_table(connection: Connection, study_id: str, start: int, stop: int, values: int) -> Floats:
    """(runs, steps) of the runs start … stop − 1 in the study's order, as many as `values` numbers hold."""
    query = select(_RUNS.c.id, _RUNS.c.step).where(_RUNS.c.study_id == study_id).order_by(_RUNS.c.id)
    runs = connection.execute(query.offset(start).limit(max(stop - start, 0))).all()
    steps = 0
    for count, run in enumerate(runs):
        if count and (count + 1) * max(steps, run.step) > values:
            runs = runs[:count]
            break
        steps = max(steps, run.step)
    table = np.full((len(runs), steps), np.nan)
    costs = all_costs(connection, [run.id for run in runs])
    for row, run in zip(table, runs, strict=True):
        own = costs.get(run.id, row)[: run.step]
        row[: len(own)] = own
    return table


def chunks_of(connection: Connection, run_ids: Sequence[str], quantity: Quantity) -> Iterator[Chunk]:
    """The chunks of these runs, by run, then step."""
    for some in portions(run_ids):
        query = select(_CHUNKS).where(_CHUNKS.c.run_id.in_(some), _CHUNKS.c.quantity == quantity)
        for row in connection.execute(query.order_by(_CHUNKS.c.run_id, _CHUNKS.c.first_step)):
            yield Chunk(**row._mapping)


class Outcomes(Database):
    """What the runs of a study came to; each method is one transaction."""

    def outcomes(self, study_id: str) -> list[Outcome]:
        """What each run of a study came to, in the order of its spec."""
        with self._read() as connection:
            return outcomes(connection, study_id)

    def all_costs(self, run_ids: Sequence[str]) -> dict[str, Floats]:
        """By run of a study, the cost (n,) of every recorded step; runs without a step are left out."""
        with self._read() as connection:
            return all_costs(connection, run_ids)

    def costs_table(self, study_id: str, start: int, stop: int, values: int) -> Floats:
        """(runs, steps) the costs of a study's runs from `start` on, before `stop`; NaN after a run's last step.

        As many runs as `values` numbers hold, one at least; none from the last on.
        """
        with self._read() as connection:
            return costs_table(connection, study_id, start, stop, values)

    def chunks_of(self, run_ids: Sequence[str], quantity: Quantity) -> Iterator[Chunk]:
        """The chunks of several runs of a study, by run, then step."""
        with self._read() as connection:
            yield from chunks_of(connection, run_ids, quantity)
