"""Advance a cohort step by step, and collect its records in segments for the writer."""

import time
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from talweg.execution.segment import Checkpoint, Evaluated, Segment
from talweg.store.batch import Resolved
from talweg_core import Cohort
from talweg_core.cohort import StopReason

# Seconds to the first commit, so that a short run shows progress early; each later interval is twice the last.
_FIRST_COMMIT = 0.05


class Sink(Protocol):
    """Takes segments, in order; a segment does not change after it was put."""

    def put(self, segment: Segment) -> None:
        """Take a segment; raises the error of an earlier one."""


class Recorder:
    """One cohort's steps, from its present step to `last_step`.

    Every commit holds a checkpoint of every run. Those at multiples of `every` are kept, and so is each run's last: the
    kept checkpoints do not depend on the clock, or on interruptions.
    """

    def __init__(
        self,
        cohort: Cohort,
        sink: Sink,
        *,
        last_step: int,
        record: Resolved,
        every: int,
        commit_seconds: float,
    ) -> None:
        """`every` must be a multiple of CHUNK_STEPS."""
        self.cohort = cohort
        self._sink, self._last_step, self._record, self._every = sink, last_step, record, every
        self._commit_seconds = commit_seconds
        self._interval = min(_FIRST_COMMIT, commit_seconds)
        self._last_cut, self._committed = time.monotonic(), cohort.step
        self._segment = self._open()
        # θ_t; `cohort.norms` updates it to θ_{t+1} in place.
        self._before = cohort.parameters.copy()
        # (R,): each run's share of the seconds of its steps since this recorder was made.
        self.seconds = np.zeros(cohort.runs)

    def step(self) -> None:
        """Advance the cohort by one step, in place, and record it."""
        segment, cohort = self._segment, self.cohort
        if segment.parameters is not None:
            segment.parameters[segment.count] = cohort.parameters
        # The clock that compares optimizers covers gradient and update, nothing else.
        began = time.perf_counter()
        record = cohort.advance()
        seconds = time.perf_counter() - began
        segment.add(record, cohort.norms(self._before, record), seconds)
        self.seconds += np.where(record.stepped, segment.seconds[segment.count - 1], 0.0)
        if record.diverged.any():
            self.stop([int(row) for row in np.flatnonzero(record.diverged)], "diverged")
        if cohort.step == self._last_step:
            # The remaining steps are committed together with the ends of the runs.
            return
        waited = time.monotonic() - self._last_cut
        # Fast cohorts commit where a chunk is full anyway, best where checkpoints are kept, since writing one that is
        # not kept is waste; slow cohorts do not wait long for that.
        late = waited >= 2 * self._interval
        if segment.full or late:
            due = waited >= self._interval or waited >= self._left(waited)
            self.cut(commit=late or (due and cohort.step % self._every == 0))

    def evaluate(self, splits: Sequence[str], rows: Sequence[int] | None = None) -> None:
        """Record cost and metric of the present parameters of every active run, or of `rows`, on whole splits."""
        for split in splits:
            for row in np.flatnonzero(self.cohort.active) if rows is None else rows:
                cost, metric = self.cohort.evaluate(int(row), split)
                self._segment.evaluated.append(Evaluated(int(row), self.cohort.step, split, cost, metric))

    def stop(self, rows: Sequence[int], reason: StopReason) -> None:
        """Stop these runs; their last checkpoint is of the present step."""
        for row in rows:
            # Before freezing: a replay of the run's steps must give the same bytes.
            self._checkpoint(row, kept=True)
            self.cohort.freeze(row, reason)
            self._segment.stops[row] = reason

    def cut(self, *, commit: bool) -> None:
        """Hand over the segment; with `commit` the writer makes it durable, with a checkpoint of each run."""
        segment, step = self._segment, self.cohort.step
        kept = step % self._every == 0
        if kept or commit:
            for row in np.flatnonzero(self.cohort.active):
                self._checkpoint(int(row), kept=kept)
        if segment.gradients is not None:
            segment.after = self.cohort.parameters.copy()
        segment.commit = commit
        if commit:
            self._last_cut, self._committed = time.monotonic(), step
            self._interval = min(2 * self._interval, self._commit_seconds)
        self._sink.put(segment)
        self._segment = self._open()

    def _left(self, waited: float) -> float:
        """Seconds to the last step, at the pace since the last commit."""
        return waited * (self._last_step - self.cohort.step) / (self.cohort.step - self._committed)

    def _open(self) -> Segment:
        return Segment.of(self.cohort, self._record, self._last_step)

    def _checkpoint(self, row: int, *, kept: bool) -> None:
        made = Checkpoint(self.cohort.step, self.cohort.checkpoint(row), kept)
        self._segment.checkpoints.setdefault(row, []).append(made)
