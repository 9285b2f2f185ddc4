"""Split a cohort's segments by run, encode them, and write them commit by commit."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from talweg.execution.segment import Columns, Numbers, Segment, joined
from talweg.store import (
    Checkpoint,
    Chunk,
    Claim,
    CommitBatch,
    DerivativeRows,
    Evaluation,
    Progress,
    Requests,
    RunRow,
    RunState,
    StepRows,
    StopReason,
    Store,
)
from talweg.store.batch import CHUNK_STEPS, ROW_COORDINATES

# Steps whose columns (norms, seconds, evaluations) share a chunk: they are small, and each chunk has a fixed cost.
_JOINED_STEPS = 8 * CHUNK_STEPS

_ENDS: dict[StopReason, RunState] = {"cancelled": "cancelled", "time": "cancelled", "failed": "failed"}


@dataclass
class _RunProgress:
    """A run's progress, including what is assembled but not committed."""

    step: int
    cost: float | None
    best_cost: float | None
    seconds: float
    stop_reason: StopReason | None = None
    kept_at: int | None = None

    def advance(self, step: int, costs: Numbers, seconds: float) -> None:
        """Advance to `step`, by steps with these costs and `seconds` in total."""
        self.step, self.cost = step, float(costs[-1])
        self.seconds += seconds
        finite = costs[np.isfinite(costs)]
        if finite.size:
            best = float(finite.min())
            self.best_cost = best if self.best_cost is None else min(self.best_cost, best)


@dataclass
class _Pending:
    """The content of the next commit."""

    changed: set[int] = field(default_factory=set)
    columns: list[Columns] = field(default_factory=list)
    stops: dict[int, StopReason] = field(default_factory=dict)
    steps: list[StepRows] = field(default_factory=list)
    evaluations: list[Evaluation] = field(default_factory=list)
    derivatives: list[DerivativeRows] = field(default_factory=list)
    chunks: list[Chunk] = field(default_factory=list)
    checkpoints: list[Checkpoint] = field(default_factory=list)


class Assembler:
    """Converts segments to commit batches. Encoding is slow, and done outside of a transaction."""

    def __init__(self, runs: Sequence[RunRow], *, every: int, numerics: dict[str, Any]) -> None:
        """`runs` by their row in the training cohort; a checkpoint is kept at every multiple of `every` steps."""
        self._runs, self._numerics = runs, numerics
        self._full = runs[0].record == "full"
        self._coordinates = _coordinates(runs[0].tensors)
        self._progress_of = [
            _RunProgress(
                run.step,
                run.cost,
                run.best_cost,
                run.trained_seconds,
                kept_at=run.step if run.step % every == 0 else None,
            )
            for run in runs
        ]
        self._pending = _Pending()
        self._with_numerics = {row for row, run in enumerate(runs) if run.numerics is not None}

    def take(self, segment: Segment) -> None:
        """Encode a segment's vectors; its columns are joined with those of the batch's other segments."""
        for row in range(len(self._runs)):
            if steps := segment.steps_of(row):
                self._take_vectors(segment, row, steps)
            self._take_checkpoints(segment, row)
        self._pending.evaluations += [
            Evaluation(self._runs[e.row].id, e.step, e.split, e.cost, e.metric) for e in segment.evaluated
        ]
        self._pending.columns.append(segment.columns())
        self._pending.stops |= segment.stops

    def batch(self, lease_seconds: float) -> CommitBatch:
        """All segments since the last batch."""
        for _, together in itertools.groupby(self._pending.columns, lambda part: part.first_step // _JOINED_STEPS):
            self._take_columns(joined(list(together)))
        for row, reason in self._pending.stops.items():
            self._progress_of[row].stop_reason = reason
            self._pending.changed.add(row)
        pending, self._pending = self._pending, _Pending()
        changed = {self._runs[row].id: self._progress(row) for row in sorted(pending.changed)}
        self._with_numerics |= pending.changed
        return CommitBatch(
            lease_seconds,
            changed,
            pending.steps,
            pending.evaluations,
            pending.derivatives,
            pending.chunks,
            pending.checkpoints,
        )

    def _take_vectors(self, segment: Segment, row: int, steps: int) -> None:
        if segment.gradients is None or segment.parameters is None:
            return
        run, first, pending = self._runs[row].id, segment.first_step, self._pending
        gradients, parameters = segment.gradients[:steps, row], segment.parameters[:steps, row]
        if self._full:
            pending.chunks.append(Chunk.of(run, "gradient", first, gradients))
            pending.chunks.append(Chunk.of(run, "parameters", first, parameters))
        if self._coordinates is not None:
            assert segment.after is not None
            after = np.vstack([segment.parameters[1 : segment.count, row], segment.after[row]])[:steps]
            # A run that diverges has infinities, whose difference is NaN: recorded without a warning.
            with np.errstate(all="ignore"):
                updates = after.astype(np.float64) - parameters
            pending.derivatives.append(DerivativeRows(run, first, self._coordinates, parameters, gradients, updates))

    def _take_columns(self, columns: Columns) -> None:
        # A step's time is the same for all runs that made it, so it is encoded once.
        seconds: dict[int, Chunk] = {}
        with np.errstate(all="ignore"):
            # (n, 3, R): norms of whole vectors.
            whole = np.sqrt(np.square(columns.norms).sum(axis=3))
        for row, steps in enumerate(columns.stepped.sum(axis=0).tolist()):
            if not steps:
                continue
            run, first, pending = self._runs[row].id, columns.first_step, self._pending
            costs = columns.costs[:steps, row]
            pending.changed.add(row)
            pending.steps.append(
                StepRows(run, first, costs, columns.learning_rates[:steps, row], *whole[:steps, :, row].T)
            )
            pending.chunks.append(Chunk.of(run, "norms", first, columns.norms[:steps, :, row].reshape(steps, -1)))
            if columns.evaluations is not None:
                pending.chunks.append(Chunk.of(run, "evaluations", first, columns.evaluations[:steps, :, row]))
            if steps not in seconds:
                seconds[steps] = Chunk.of(run, "seconds", first, columns.seconds[:steps, None])
            pending.chunks.append(replace(seconds[steps], run_id=run))
            self._progress_of[row].advance(first + steps, costs, float(columns.seconds[:steps].sum()))

    def _take_checkpoints(self, segment: Segment, row: int) -> None:
        progress = self._progress_of[row]
        for made in segment.checkpoints.get(row, ()):
            # A run that stops at a step whose checkpoint is kept already needs no second one.
            if progress.kept_at == made.step:
                continue
            progress.kept_at = made.step if made.kept else progress.kept_at
            self._pending.checkpoints.append(Checkpoint(self._runs[row].id, made.step, made.payload, made.kept))

    def _progress(self, row: int) -> Progress:
        now = self._progress_of[row]
        state: RunState = "running" if now.stop_reason is None else _ENDS.get(now.stop_reason, "finished")
        # Sent once: a run's first fingerprint stays, and as JSON it is long.
        numerics = None if row in self._with_numerics else self._numerics
        return Progress(now.step, now.cost, now.best_cost, state, now.stop_reason, numerics, now.seconds)


def _coordinates(tensors: Sequence[dict[str, Any]]) -> list[tuple[str, str]] | None:
    """Tensor and position ("3,5") of each coordinate of the flat vector; None for more than ROW_COORDINATES."""
    if sum(math.prod(tensor["shape"]) for tensor in tensors) > ROW_COORDINATES:
        return None
    return [
        (tensor["name"], ",".join(map(str, index)))
        for tensor in tensors
        for index in itertools.product(*map(range, tensor["shape"]))
    ]


class SegmentStore(Protocol):
    """Where a writer writes segments. Each call raises what the store raises."""

    def take(self, segment: Segment) -> None:
        """Encode a segment for the next commit."""

    def commit(self, *, again: bool) -> Mapping[str, Progress]:
        """Commit all segments taken, under the claim's fence; returns the progress of the runs that ended.

        After an error it may be called once more with `again`: then a batch that was written is not written twice.
        """

    def requests(self) -> Requests:
        """The present requests for the claim's runs."""


class LocalSegmentStore:
    """Writes to a store in this process."""

    def __init__(
        self,
        store: Store,
        claim: Claim,
        runs: Sequence[RunRow],
        *,
        every: int,
        numerics: dict[str, Any],
        lease_seconds: float,
    ) -> None:
        """`runs` by their row in the training cohort; a checkpoint is kept at every multiple of `every` steps."""
        self._store, self._claim, self._lease_seconds = store, claim, lease_seconds
        self._assembler = Assembler(runs, every=every, numerics=numerics)
        # The batch of a commit that raised.
        self._unconfirmed: CommitBatch | None = None

    def take(self, segment: Segment) -> None:
        """As in SegmentStore."""
        self._assembler.take(segment)

    def commit(self, *, again: bool) -> Mapping[str, Progress]:
        """As in SegmentStore."""
        batch = self._unconfirmed = self._unconfirmed or self._assembler.batch(self._lease_seconds)
        self._store.commit(self._claim, batch, again=again)
        self._unconfirmed = None
        return {run_id: progress for run_id, progress in batch.progress.items() if progress.stop_reason is not None}

    def requests(self) -> Requests:
        """As in SegmentStore."""
        return self._store.requests(self._claim)
