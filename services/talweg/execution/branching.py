"""Fork runs, and resume ended ones.

A fork is a run of its own. It records the steps from the fork on; earlier steps are read from its parent. It is written
with the checkpoint that it starts from, so a worker trains it like any run that was interrupted there.
"""

import hashlib
import json
from dataclasses import replace
from typing import Any

import numpy as np
from uuid_utils.compat import uuid7

from talweg import queue
from talweg.errors import Conflict, InvalidSpec, NoSuchStep
from talweg.execution.planning import require_room
from talweg.execution.submission import Publish, equal_run, new_run, publish_all, random_name, write
from talweg.records import fork_start, normalise, size_of
from talweg.rules import with_sources
from talweg.settings import Settings
from talweg.settings import settings as process_settings
from talweg.spec import ForkSpec, RunSpec
from talweg.store import LIVE, Checkpoint, NewCohort, RunRow, Store
from talweg.store.batch import checkpoint_every


def fork_run(
    store: Store,
    parent: RunRow,
    spec: ForkSpec,
    *,
    idempotency_key: str | None = None,
    publish: Publish = queue.publish,
    settings: Settings | None = None,
) -> RunRow:
    """Write a run that shares the parent's steps before `spec.step`, and publish its cohort.

    Batches and schedule depend on the step, counted from the start of the history. The optimizer's state is carried
    over where the optimizer is the same, otherwise it is new.

    Raises:
        NoSuchStep: The parent has not recorded the steps before `spec.step` (yet).
        InvalidSpec: The parent diverged there, or the engine refuses the spec; nothing was written.
        Conflict: The name or the key belongs to another run.
        ReplayDiverged, CorruptRecord: The state at that step can neither be read nor recomputed.
    """
    if spec.optimizer is not None:
        with_sources(store, [spec.optimizer], (settings or process_settings()).rules)
    filled = normalise(_spec_of(parent, spec))
    _check(parent, spec, filled)
    start = fork_start(store, parent, filled, spec.step, state=spec.state)
    digest = _digest(filled, parent, spec.step, carried=start.carried)
    if idempotency_key is None and (existing := equal_run(store, spec.name, digest)):
        return existing
    cohort = NewCohort(str(uuid7()))
    name = spec.name or random_name(filled.optimizer.name, parent.problem)
    run = replace(
        new_run(filled, name, cohort.id),
        spec_digest=digest,
        parent_run_id=parent.id,
        parent_step=spec.step,
        step=spec.step,
        **_costs(store, parent, spec.step),
    )
    checkpoint = Checkpoint(run.id, run.step, start.payload)
    submitted = write(store, None, [run], [cohort], idempotency_key, publish, [checkpoint])
    return store.run(submitted.run_ids[0])


def resume_run(
    store: Store,
    run: RunRow,
    steps: int | None = None,
    *,
    max_seconds: float | None = None,
    publish: Publish = queue.publish,
) -> RunRow:
    """Resume an ended run to `steps` steps, with the record that it would have had with so many from the start.

    Without `steps` a cancelled or failed run continues to its own number of steps. Its schedule and its record policy
    do not change: neither depends on the number of steps. A run that has `steps` steps, or is queued or running to
    them, is returned unchanged, so a repeated call is harmless. A time limit that the run reached is removed;
    `max_seconds` sets a new one on all of its training time.

    Raises:
        Conflict: The run is live, with another number of steps to make or another time limit.
        InvalidSpec: It has made more steps, has diverged, or belongs to a study, whose runs all have the same number.
    """
    wanted = run.total_steps if steps is None else steps
    if run.state in LIVE:
        if wanted == run.total_steps and max_seconds in (None, run.spec.get("max_seconds")):
            return run
        if wanted == run.total_steps:
            raise Conflict(f"run {run.name}: is {run.state}; a new max_seconds is taken when it has ended")
        raise Conflict(f"run {run.name}: is {run.state}, to make {run.total_steps} steps; wait until it ends")
    if run.stop_reason == "diverged":
        raise InvalidSpec(f"run {run.name}: diverged at step {run.step - 1}; a further step changes nothing")
    if wanted == run.step == run.total_steps:
        return run
    if wanted <= run.step:
        raise InvalidSpec(f"steps: must be more than the {run.step} that run {run.name} has made, got {wanted}")
    if run.study_id is not None and wanted != run.total_steps:
        raise InvalidSpec(
            f"steps: all runs of a study must have the same number, {run.total_steps}, got {wanted}; "
            f"fork the run at step {run.step} instead: the fork's record has the same bits"
        )
    spec = RunSpec.model_validate(run.spec)
    spec = spec.model_copy(update={"steps": wanted, "max_seconds": _limit(run, spec.max_seconds, max_seconds)})
    cohort = NewCohort(str(uuid7()), run.study_id)
    require_room(store, [replace(run, total_steps=wanted)])
    store.resume(
        run,
        cohort,
        spec=spec.model_dump(mode="json"),
        spec_digest=spec.digest if run.parent_run_id is None else _redigest(run, spec),
        steps=wanted,
        keep=run.step % checkpoint_every(run.record, size_of(run), wanted) == 0 or run.step == run.parent_step,
    )
    publish_all(store, [cohort.id], publish)
    return store.run(run.id)


def _limit(run: RunRow, before: float | None, wanted: float | None) -> float | None:
    """The run's new time limit; raises InvalidSpec where it has trained for so long already."""
    if wanted is not None and wanted <= run.trained_seconds:
        trained = f"{run.trained_seconds:.3g} s that run {run.name} has trained"
        raise InvalidSpec(f"max_seconds: must be more than the {trained}, got {wanted}")
    return None if wanted is None and run.stop_reason == "time" else wanted or before


def _spec_of(parent: RunRow, fork: ForkSpec) -> RunSpec:
    """The parent's spec with the fork's changes."""
    changed = fork.model_dump(mode="json", exclude={"step", "state"}, exclude_none=True)
    return RunSpec.model_validate(parent.spec | {"name": None} | changed)


def _check(parent: RunRow, fork: ForkSpec, filled: RunSpec) -> None:
    if fork.step > parent.step:
        raise NoSuchStep(f"run {parent.name}: can be forked at the steps 0 to {parent.step}, got {fork.step}")
    if parent.stop_reason == "diverged" and fork.step >= parent.step - 1:
        raise InvalidSpec(
            f"step: must be less than {parent.step - 1}, at which run {parent.name} diverged, got {fork.step}"
        )
    if filled.steps <= fork.step:
        raise InvalidSpec(
            f"steps: must be more than the {fork.step} steps before the fork, which count too, got {filled.steps}"
        )


def _costs(store: Store, parent: RunRow, step: int) -> dict[str, Any]:
    """The last and the best cost before the fork."""
    costs = store.steps(parent.id, 0, step).cost
    finite = costs[np.isfinite(costs)]
    return {"cost": float(costs[-1]), "best_cost": float(finite.min())} if finite.size else {}


def _digest(spec: RunSpec, parent: RunRow, step: int, *, carried: bool) -> str:
    """A fork differs from a run that has its spec from the start, and so do their digests."""
    return _sha256([spec.digest, parent.id, step, carried])


def _redigest(run: RunRow, spec: RunSpec) -> str:
    return _sha256([run.spec_digest, spec.digest])


def _sha256(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()
