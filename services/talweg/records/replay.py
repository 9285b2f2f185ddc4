"""Recompute steps from the checkpoint before them, and compare them with what was recorded.

Every recomputed cost must equal the recorded one bit for bit, and so must the next kept checkpoint, which comes after
at most K steps: then every value between is what the engine computed in training. Cohorts are cached for the next
replay of their run: making one takes as long as fifty steps of a small network. Restoring a checkpoint resets all of a
cohort's state.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from talweg.errors import CorruptRecord, ReplayDiverged
from talweg.records.coordinates import EVERY, Columns, size_of
from talweg.records.from_spec import cohort_of, engine_rules
from talweg.spec import RunSpec
from talweg.store import ReplayBasis, RunRow, Store, codec
from talweg.store.batch import checkpoint_every
from talweg_core import Cohort, Record, numerics
from talweg_core.layout import Array

_CACHED_COHORTS = 8
# Larger cohorts are not cached: making one is quick against its steps, and it holds much memory.
_CACHED_BYTES = 1_000_000

_cache_lock = threading.Lock()
# Spec, cohort and its checkpoint of step 0; least recently used first.
_cached: list[tuple[str, Cohort, bytes]] = []
ReplayedSteps = Iterator[tuple[int, Record | None]]


@contextmanager
def cached_cohort(spec: dict[str, Any]) -> Iterator[Cohort]:
    """A cohort of the one run of this stored spec, at step 0; no other caller uses it. Raises InvalidSpec."""
    run = RunSpec.model_validate(spec)
    key = run.model_dump_json()
    cohort, start = _take_cached(key) or _make_cohort(run)
    yield cohort
    # Not reached after an exception: that cohort is dropped.
    if cohort.parameters.nbytes <= _CACHED_BYTES:
        with _cache_lock:
            _cached.append((key, cohort, start))
            del _cached[:-_CACHED_COHORTS]


def _take_cached(key: str) -> tuple[Cohort, bytes] | None:
    with _cache_lock:
        position = next((i for i in reversed(range(len(_cached))) if _cached[i][0] == key), None)
        if position is None:
            return None
        _, cohort, start = _cached.pop(position)
    with engine_rules():
        cohort.restore(0, start)
    return cohort, start


def _make_cohort(spec: RunSpec) -> tuple[Cohort, bytes]:
    cohort = cohort_of([spec])
    return cohort, cohort.checkpoint(0)


def replay(
    store: Store,
    run: RunRow,
    quantity: Literal["gradient", "parameters"],
    start: int,
    stop: int,
    columns: Columns = EVERY,
) -> Array:
    """Gradients or parameters (stop − start, P) of recorded steps; raises ReplayDiverged or CorruptRecord."""
    with _replayed(store, run, start, stop) as (cohort, replayed):
        values = np.empty((stop - start, len(cohort.parameters[0, columns])), cohort.parameters.dtype)
        for step, record in replayed:
            inside = start <= step < stop
            if record is None and quantity == "parameters" and inside:
                values[step - start] = cohort.parameters[0, columns]
            if record is not None and quantity == "gradient" and inside:
                values[step - start] = record.gradient[0, columns]
    return values


def replay_chosen(
    store: Store, run: RunRow, steps: Sequence[int], enough: Callable[[], bool]
) -> Iterator[tuple[int, float, Array, Array]]:
    """Chosen recorded steps, ascending: cost, parameters (P,) and gradient (P,) of each; raises as `replay` does.

    Ranges between checkpoints without a chosen step are not recomputed. `enough` is called before each step; when it
    returns true, the current range is still recomputed and compared to its end.
    """
    left = iter(steps)
    wanted = None if enough() else next(left, None)
    while wanted is not None:
        with _replayed(store, run, wanted, wanted + 1) as (cohort, replayed):
            for step, record in replayed:
                if step != wanted:
                    continue
                if record is None:
                    before = cohort.parameters[0].copy()
                else:
                    yield step, float(record.costs[0]), before, record.gradient[0].copy()
                    wanted = None if enough() else next(left, None)


@dataclass(frozen=True, eq=False)
class Recomputed:
    """Norms (n, 3 T) in float64, gradient and parameters (n, P) or (1, P), of consecutive steps."""

    norms: Array
    gradient: Array
    parameters: Array


def recompute(store: Store, run: RunRow, start: int, stop: int, *, keep: bool) -> Recomputed:
    """Steps that this run itself recorded, recomputed; raises as `replay` does.

    With `keep` the vectors of all steps, else of the first step only.
    """
    with _replayed(store, run, start, stop) as (cohort, replayed):
        return _collect(cohort, replayed, start, stop, keep=keep)


def _collect(cohort: Cohort, replayed: ReplayedSteps, start: int, stop: int, *, keep: bool) -> Recomputed:
    size, dtype = cohort.parameters.shape[1], cohort.parameters.dtype
    tensors = len(cohort.problem.layout.names)
    gradients, parameters = (np.empty((stop - start if keep else 1, size), dtype) for _ in range(2))
    norms, before = np.empty((stop - start, 3 * tensors)), np.empty_like(cohort.parameters)
    for step, record in replayed:
        if not start <= step < stop:
            continue
        kept = keep or step == start
        if record is None:
            before[:] = cohort.parameters
            if kept:
                parameters[step - start] = before[0]
        else:
            if kept:
                gradients[step - start] = record.gradient[0]
            norms[step - start] = cohort.norms(before, record)[:, 0].reshape(-1)
    return Recomputed(norms, gradients, parameters)


def state_at(store: Store, run: RunRow, step: int) -> bytes:
    """The checkpoint of `step`, which this run itself recorded or starts with.

    Read where it is stored, else recomputed and checked; raises as `replay` does.
    """
    found = store.checkpoint_before(run.id, step)
    if found is not None and found[0] == step:
        return found[1]
    with _replayed(store, run, step, step) as (cohort, replayed):
        made = cohort.checkpoint(0) if cohort.step == step else None
        for at, record in replayed:
            if at + 1 == step and record is not None:
                made = cohort.checkpoint(0)
        if made is None:
            raise CorruptRecord(
                f"run {run.name}: must have recorded the steps before {step}, got {cohort.step} of them"
            )
    return made


@contextmanager
def _replayed(store: Store, run: RunRow, start: int, stop: int) -> Iterator[tuple[Cohort, ReplayedSteps]]:
    """The cohort at its last checkpoint up to `start`, and its steps to the first kept checkpoint from `stop` on.

    The iterator yields each step twice: before it is made (None), and with its record. It raises ReplayDiverged where
    a cost or a kept checkpoint is not the recorded one, CorruptRecord where one is missing.
    """
    end = _next_checkpoint(run, stop)
    recorded = store.replay_basis(run.id, start, end)
    if recorded.checkpoint is None and run.parent_run_id is not None:
        raise CorruptRecord(f"run {run.name}: must have a checkpoint of step {run.parent_step}, its first")
    with cached_cohort(run.spec) as cohort:
        if recorded.checkpoint is not None:
            with engine_rules():
                cohort.restore(0, recorded.checkpoint)
        yield cohort, _recomputed(run, cohort, recorded, end)


def _recomputed(run: RunRow, cohort: Cohort, recorded: ReplayBasis, end: int) -> ReplayedSteps:
    first, costs = cohort.step, recorded.costs
    if len(costs) != max(end - first, 0):
        raise CorruptRecord(f"run {run.name}: must have costs of the steps {first} to {end - 1}, got {len(costs)}")
    # Once, not for each step: it loops over all tensors.
    every = checkpoint_interval(run)
    for step in range(first, end):
        yield step, None
        record = cohort.advance()
        check_cost(run, step, record.costs[0], costs[step - first])
        if (step + 1) % every == 0 or (run.ended and step + 1 == run.step):
            _compare(run, cohort, recorded.digests.get(step + 1))
        yield step, record


def kept_checkpoints(run: RunRow) -> list[int]:
    """The steps of the checkpoints that the run must have by now; a fork starts with one."""
    begin, every = run.parent_step, checkpoint_interval(run)
    found = {step for step in range(0, run.step + 1, every) if step > (begin or 0)}
    found |= ({run.step} if run.ended and run.step > (begin or 0) else set()) | (set() if begin is None else {begin})
    return sorted(found)


def checkpoint_again(store: Store, run: RunRow, step: int) -> bytes:
    """A kept checkpoint recomputed from the one before it, equal to its recorded digest; raises as `replay` does."""
    with _replayed(store, run, step - 1, step) as (cohort, replayed):
        for _ in replayed:
            pass
        return cohort.checkpoint(0)


def restored(store: Store, run: RunRow, step: int) -> Array:
    """The parameters (P,) in the checkpoint of exactly that step; raises CorruptRecord where there is none."""
    with _replayed(store, run, step, step) as (cohort, _):
        if cohort.step != step:
            raise CorruptRecord(f"run {run.name}: must have a checkpoint of step {step}, got that of {cohort.step}")
        parameters: Array = cohort.parameters[0].copy()
    return parameters


def _next_checkpoint(run: RunRow, step: int) -> int:
    """The first kept checkpoint at or after `step`; where none is recorded yet, the last recorded step."""
    every = checkpoint_interval(run)
    return min(-(-step // every) * every, run.step)


def checkpoint_interval(run: RunRow) -> int:
    """K: every K-th step of the run has a kept checkpoint."""
    return checkpoint_every(run.record, size_of(run), run.total_steps)


def _compare(run: RunRow, cohort: Cohort, recorded: str | None) -> None:
    if recorded is None:
        raise CorruptRecord(f"run {run.name}: must have a checkpoint of step {cohort.step}, got none")
    computed = codec.digest_of(cohort.checkpoint(0))
    if computed != recorded:
        raise _diverged(run, f"checkpoint of step {cohort.step}", computed, recorded)


def check_cost(run: RunRow, step: int, computed: float, recorded: float) -> None:
    """Raise ReplayDiverged where the cost of a step is not, bit for bit, the recorded one."""
    # SQL keeps neither the sign nor the payload of a NaN.
    if computed != recorded and (computed == computed or recorded == recorded):
        raise _diverged(run, f"cost of step {step}", computed, recorded)


def _diverged(run: RunRow, what: str, computed: object, recorded: object) -> ReplayDiverged:
    here = numerics.fingerprint()
    return ReplayDiverged(
        f"run {run.name}: the recomputed {what} must equal the recorded one, got {computed!r} for {recorded!r}; "
        f"recorded under {run.numerics}, recomputed under {here}",
        recorded=run.numerics,
        recomputed=here,
    )
